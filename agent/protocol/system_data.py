"""The `System Data` tree that label templates read, built from an old client's raw hardware inventory.

Current clients send the tree themselves (message 11); those before 1.6.0 send what their inventory
library printed (message 6), and the receiver picks out the few fields that have a name in templates.
Every field may be missing: what is not there simply has no name.
"""

from collections.abc import Iterator, Mapping

from agent.protocol.documents import JSON

# The inventory writes these in small letters; templates see the library's own spelling.
DRIVE_TYPES = {"unknown": "Unknown", "hdd": "HDD", "fdd": "FDD", "odd": "ODD", "ssd": "SSD"}
STORAGE_CONTROLLERS = {"unknown": "Unknown", "ide": "IDE", "scsi": "SCSI", "nvme": "NVMe", "mmc": "MMC"}


def build_system_data(inventory: Mapping[str, JSON]) -> dict[str, JSON]:
    """The legacy tree under its one top-level key."""
    tree: dict[str, JSON] = {
        "Memory": _pick(
            _mapping(inventory, "memory"),
            {"Total Physical Bytes": "total_physical_bytes", "Total Usable Bytes": "total_usable_bytes"},
        ),
        "CPU": _build_cpu(_mapping(inventory, "cpu")),
        "GPU": _build_gpu(_mapping(inventory, "gpu")),
        "Network": _build_network(_mapping(inventory, "network")),
        "Block Devices": _build_disks(_mapping(inventory, "block")),
        "Runtime": _pick(_mapping(inventory, "runtime"), {"Hostname": "hostname"}),
    }
    return {"System Data": {name: branch for name, branch in tree.items() if branch}}


def _build_cpu(cpu: Mapping[str, JSON]) -> dict[str, JSON]:
    branch = _pick(cpu, {"Total Cores": "total_cores", "Total Threads": "total_threads"})
    for processor in _items(cpu, "processors"):
        branch |= _pick(processor, {"Model": "model", "Vendor": "vendor"})
        branch["Capabilities"] = processor.get("capabilities")
        break
    return branch


def _build_gpu(gpu: Mapping[str, JSON]) -> dict[str, JSON]:
    for card in _items(gpu, "cards"):
        pci = _mapping(card, "pci")
        return _pick(_mapping(pci, "product"), {"Model": "name"}) | _pick(
            _mapping(pci, "vendor"), {"Vendor": "name"}
        )
    return {}


def _build_network(network: Mapping[str, JSON]) -> dict[str, JSON]:
    nics = list(_items(network, "nics"))
    branch: dict[str, JSON] = {"Number Interfaces": str(len(nics))} if nics else {}
    for nic in nics:
        branch[render_leaf(nic.get("name"))] = _pick(
            nic, {"Name": "name", "MacAddress": "mac_address", "IsVirtual": "is_virtual"}
        )
    return branch


def _build_disks(block: Mapping[str, JSON]) -> dict[str, JSON]:
    disks = list(_items(block, "disks"))
    branch: dict[str, JSON] = {"Number Devices": str(len(disks))} if disks else {}
    for disk in disks:
        entry = _pick(
            disk,
            {
                "Name": "name",
                "Size": "size_bytes",
                "Drive Type": "drive_type",
                "Storage Controller": "storage_controller",
                "Removable": "removable",
            },
        )
        for leaf, words in (("Drive Type", DRIVE_TYPES), ("Storage Controller", STORAGE_CONTROLLERS)):
            if leaf in entry:
                word = render_leaf(entry[leaf])
                entry[leaf] = words.get(word.lower(), word)
        branch[render_leaf(disk.get("name"))] = entry
    return branch


def render_leaf(value: JSON) -> str:
    """A leaf of the tree is text: booleans as Go writes them, absent things empty."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pick(source: Mapping[str, JSON], names: Mapping[str, str]) -> dict[str, JSON]:
    return {ours: render_leaf(source[theirs]) for ours, theirs in names.items() if theirs in source}


def _mapping(source: Mapping[str, JSON], key: str) -> Mapping[str, JSON]:
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def _items(source: Mapping[str, JSON], key: str) -> Iterator[Mapping[str, JSON]]:
    value = source.get(key)
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield item
