"""The hardware tree of message 11 (SystemDataV2) and the raw inventory of message 6, which old servers
expect.

Leaves of the tree are text, numbers and booleans too; names are upstream's to the letter, the old `System
Data` names included, for label templates in the field use both. What nobody said is "unknown" where
upstream's client says so, else empty. `SerialNumber`, `WWN` and `Vendor` of disks are ours.
"""

from collections.abc import Sequence

from agent.facts.disks import Disk
from agent.facts.dmi import describe_chassis_type
from agent.facts.graphics import Card
from agent.facts.inventory import Inventory
from agent.facts.memory import Memory, Module
from agent.facts.network import Nic
from agent.facts.processors import Processor
from agent.protocol.documents import JSON
from agent.protocol.system_data import build_system_data, render_leaf

UNKNOWN = "unknown"
SEPARATOR = ", "  # of lists that are one leaf

Tree = dict[str, JSON]


def describe_system(inventory: Inventory) -> Tree:
    """The tree of message 11."""
    tree: Tree = {
        branch: {leaf: value or UNKNOWN for leaf, value in leaves.items()}
        for branch, leaves in inventory.dmi.items()
    }
    if "Chassis" in inventory.dmi:
        chassis = inventory.dmi["Chassis"]
        description = describe_chassis_type(chassis.get("Type", "")) or UNKNOWN
        tree["Chassis"] = {**_as_tree(tree["Chassis"]), "TypeDescription": description}
    tree["Memory"] = _describe_memory(inventory.memory)
    tree["CPU"] = _describe_processors(inventory.processors)
    tree["GPU"] = _describe_cards(inventory.cards)
    tree["Network"] = {
        "TotalNICs": str(len(inventory.nics)),
        "NICs": _by_number_and_name([_describe_nic(nic) for nic in inventory.nics]),
    }
    tree["Storage"] = {
        "TotalDisks": str(len(inventory.disks)),
        "Disks": _by_number_and_name([_describe_disk(disk) for disk in inventory.disks]),
    }
    tree["Runtime"] = {"Hostname": inventory.hostname or UNKNOWN}
    return tree | build_system_data(describe_inventory(inventory))


def describe_inventory(inventory: Inventory) -> Tree:
    """The inventory of message 6: the library's own names, numbers as numbers."""
    chassis = inventory.dmi.get("Chassis", {})
    return {
        "memory": {
            "total_physical_bytes": inventory.memory.physical or 0,
            "total_usable_bytes": inventory.memory.usable or 0,
            "supported_page_sizes": list(inventory.memory.page_sizes),
            "modules": [_list_module(module) for module in inventory.memory.modules],
        },
        "block": {
            "total_size_bytes": sum(disk.size or 0 for disk in inventory.disks),
            "disks": [_list_disk(disk) for disk in inventory.disks],
        },
        "cpu": {
            "total_cores": sum(processor.cores for processor in inventory.processors),
            "total_threads": sum(processor.threads for processor in inventory.processors),
            "total_hardware_threads": sum(processor.threads for processor in inventory.processors),
            "processors": [_list_processor(processor) for processor in inventory.processors],
        },
        "topology": {"architecture": "smp", "nodes": []},
        "network": {"nics": [_list_nic(nic) for nic in inventory.nics]},
        "gpu": {"cards": [_list_card(card) for card in inventory.cards]},
        "chassis": {
            **_list_dmi(inventory, "Chassis"),
            "type_description": describe_chassis_type(chassis.get("Type", "")) or UNKNOWN,
        },
        "bios": _list_dmi(inventory, "BIOS"),
        "baseboard": _list_dmi(inventory, "BaseBoard"),
        "product": _list_dmi(inventory, "Product"),
        "runtime": {"hostname": inventory.hostname},
    }


def _describe_memory(memory: Memory) -> Tree:
    modules: Tree = {
        str(index): {
            "Label": module.label,
            "Location": module.location,
            "SerialNumber": module.serial_number,
            "SizeBytes": str(module.size),
            "Vendor": module.vendor,
        }
        for index, module in enumerate(memory.modules)
    }
    return {
        "Modules": modules or "",
        "SupportedPageSizes": SEPARATOR.join(str(size) for size in memory.page_sizes),
        "TotalPhysicalBytes": UNKNOWN if memory.physical is None else str(memory.physical),
        "TotalUsableBytes": UNKNOWN if memory.usable is None else str(memory.usable),
    }


def _describe_processors(processors: Sequence[Processor]) -> Tree:
    described: list[Tree] = [
        {
            "Capabilities": SEPARATOR.join(processor.capabilities),
            "ID": str(processor.id),
            "Model": processor.model or UNKNOWN,
            "NumCores": str(processor.cores),
            "NumThreads": str(processor.threads),
            "Vendor": processor.vendor or UNKNOWN,
        }
        for processor in processors
    ]
    branch: Tree = {
        "TotalCores": str(sum(processor.cores for processor in processors)),
        "TotalThreads": str(sum(processor.threads for processor in processors)),
        "TotalProcessors": str(len(processors)),
        "Processors": {str(index): dict(item) for index, item in enumerate(described)},
    }
    if described:
        branch["Processor"] = described[0]
    return branch


def _describe_cards(cards: Sequence[Card]) -> Tree:
    described: list[Tree] = [
        {"Driver": card.driver, "ProductName": card.product or UNKNOWN, "VendorName": card.vendor or UNKNOWN}
        for card in cards
    ]
    branch: Tree = {"TotalCards": str(len(cards))}
    if described:
        branch["GraphicsCards"] = described[0] | {
            str(index): item.copy() for index, item in enumerate(described)
        }
    return branch


def _describe_nic(nic: Nic) -> Tree:
    return {
        "Name": nic.name,
        "MacAddress": nic.mac,
        "IsVirtual": render_leaf(nic.is_virtual),
        "Speed": nic.speed,
        "Duplex": nic.duplex,
        "PCIAddress": nic.pci_address,
        "AdvertisedLinkModes": SEPARATOR.join(nic.link.advertised_modes),
        "SupportedLinkModes": SEPARATOR.join(nic.link.supported_modes),
        "SupportedPorts": SEPARATOR.join(nic.link.supported_ports),
        "IPv4Address": nic.ipv4[0] if nic.ipv4 else "",
        "IPv4Addresses": {str(index): address for index, address in enumerate(nic.ipv4)} or "",
        "IPv6Address": nic.ipv6[0] if nic.ipv6 else "",
        "IPv6Addresses": {str(index): address for index, address in enumerate(nic.ipv6)} or "",
    }


def _describe_disk(disk: Disk) -> Tree:
    return {
        "Name": disk.name,
        "Size": UNKNOWN if disk.size is None else str(disk.size),
        "DriveType": disk.drive_type,
        "StorageController": disk.controller,
        "Removable": render_leaf(disk.removable),
        "Model": disk.model or UNKNOWN,
        "Vendor": disk.vendor or UNKNOWN,
        "SerialNumber": disk.serial_number or UNKNOWN,
        "WWN": disk.wwn or UNKNOWN,
    }


def _list_module(module: Module) -> Tree:
    return {
        "label": module.label,
        "location": module.location,
        "serial_number": module.serial_number,
        "size_bytes": module.size,
        "vendor": module.vendor,
    }


def _list_processor(processor: Processor) -> Tree:
    return {
        "id": processor.id,
        "total_cores": processor.cores,
        "total_threads": processor.threads,
        "total_hardware_threads": processor.threads,  # its name since 0.12 of the library
        "vendor": processor.vendor,
        "model": processor.model,
        "capabilities": list(processor.capabilities),
    }


def _list_nic(nic: Nic) -> Tree:
    entry: Tree = {
        "name": nic.name,
        "mac_address": nic.mac,
        "is_virtual": nic.is_virtual,
        "capabilities": [],
        "speed": nic.speed,
        "duplex": nic.duplex,
    }
    if nic.pci_address is not None:
        entry["pci_address"] = nic.pci_address
    return entry


def _list_disk(disk: Disk) -> Tree:
    return {
        "name": disk.name,
        "size_bytes": disk.size or 0,
        "drive_type": disk.drive_type.lower(),
        "removable": disk.removable,
        "storage_controller": disk.controller.lower(),
        "vendor": disk.vendor or UNKNOWN,
        "model": disk.model or UNKNOWN,
        "serial_number": disk.serial_number or UNKNOWN,
        "wwn": disk.wwn or UNKNOWN,
        "partitions": [],
    }


def _list_card(card: Card) -> Tree:
    return {
        "address": card.address,
        "index": card.index,
        "pci": {
            "driver": card.driver,
            "address": card.address,
            "parent_address": "",
            "vendor": {"id": card.vendor_id, "name": card.vendor},
            "product": {"id": card.product_id, "name": card.product},
            "revision": "",
            # The library's own reader stumbles where one of these is not there at all.
            **{
                key: {"id": UNKNOWN, "name": UNKNOWN}
                for key in ("subsystem", "class", "subclass", "programming_interface")
            },
        },
    }


def _list_dmi(inventory: Inventory, branch: str) -> Tree:
    """The branch with the library's names: `SerialNumber` is `serial_number`."""
    leaves = inventory.dmi.get(branch, {})
    names = {"AssetTag": "asset_tag", "SerialNumber": "serial_number"}
    return {names.get(leaf, leaf.lower()): value or UNKNOWN for leaf, value in leaves.items()}


def _by_number_and_name(entries: Sequence[Tree]) -> Tree:
    """Each entry twice: by its place in the list and by its own name."""
    tree: Tree = {str(index): entry for index, entry in enumerate(entries)}
    return tree | {str(entry["Name"]): entry for entry in entries}


def _as_tree(value: JSON) -> Tree:
    return value if isinstance(value, dict) else {}
