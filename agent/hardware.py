"""The hardware tree of message 11 (SystemDataV2), read from /sys and /proc below a host's root.

Leaves are text: numbers and booleans too. The tree's names are upstream's, the old `System Data`
names included, for label templates in the field use both. What cannot be read is "unknown".
"""

import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path

from agent.host import Host
from agent.protocol.documents import JSON
from agent.protocol.system_data import build_system_data, render_leaf

UNKNOWN = "unknown"
DMI = "/sys/class/dmi/id"
SECTOR = 512  # /sys/block/*/size counts these whatever the disk's own sectors are

# A rack of NICs or disks must not outgrow a message; templates name the first few.
MAX_DEVICES = 256

CHASSIS_TYPES = {
    "1": "Other", "2": "Unknown", "3": "Desktop", "4": "Low profile desktop", "5": "Pizza box",
    "6": "Mini tower", "7": "Tower", "8": "Portable", "9": "Laptop", "10": "Notebook", "11": "Hand held",
    "13": "All in one", "17": "Main server chassis", "23": "Rack mount chassis", "28": "Blade",
    "34": "Embedded PC", "35": "Mini PC", "36": "Stick PC",
}  # fmt: skip


def read_system_data(host: Host) -> dict[str, JSON]:
    """The whole tree. Never raises: facts do not stop a registration."""
    processors = read_processors(host)
    nics = read_nics(host)
    disks = read_disks(host)
    memory = read_memory(host)
    hostname = read_hostname(host)
    cores = sum(int(processor["NumCores"]) for processor in processors)
    threads = sum(int(processor["NumThreads"]) for processor in processors)
    cpu: dict[str, JSON] = {
        "TotalCores": str(cores),
        "TotalThreads": str(threads),
        "TotalProcessors": str(len(processors)),
        "Processors": {str(index): dict(item) for index, item in enumerate(processors)},
    }
    if processors:
        cpu["Processor"] = dict(processors[0])
    tree: dict[str, JSON] = {
        "Product": _read_dmi(
            host,
            Family="product_family",
            Name="product_name",
            SKU="product_sku",
            SerialNumber="product_serial",
            UUID="product_uuid",
            Vendor="sys_vendor",
            Version="product_version",
        ),
        "BIOS": _read_dmi(host, Date="bios_date", Vendor="bios_vendor", Version="bios_version"),
        "BaseBoard": _read_dmi(
            host,
            AssetTag="board_asset_tag",
            Product="board_name",
            SerialNumber="board_serial",
            Vendor="board_vendor",
            Version="board_version",
        ),
        "Chassis": read_chassis(host),
        "Memory": {"TotalPhysicalBytes": memory, "TotalUsableBytes": memory},
        "CPU": cpu,
        "GPU": {"TotalCards": "0"},
        "Network": {"TotalNICs": str(len(nics)), "NICs": _by_number_and_name(nics)},
        "Storage": {"TotalDisks": str(len(disks)), "Disks": _by_number_and_name(disks)},
        "Runtime": {"Hostname": hostname},
    }
    return tree | build_system_data(_as_inventory(cores, threads, processors, nics, disks, memory, hostname))


def read_chassis(host: Host) -> dict[str, JSON]:
    branch = _read_dmi(
        host,
        AssetTag="chassis_asset_tag",
        SerialNumber="chassis_serial",
        Type="chassis_type",
        Vendor="chassis_vendor",
        Version="chassis_version",
    )
    branch["TypeDescription"] = CHASSIS_TYPES.get(render_leaf(branch["Type"]), UNKNOWN)
    return branch


def read_memory(host: Host) -> str:
    """Bytes that the kernel can use; what firmware keeps is not visible without SMBIOS tables."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", host.read_text("/proc/meminfo"), re.MULTILINE)
    return str(int(match.group(1)) * 1024) if match else UNKNOWN


def read_hostname(host: Host) -> str:
    return host.read_text("/proc/sys/kernel/hostname") or host.read_text("/etc/hostname") or UNKNOWN


def read_processors(host: Host) -> list[dict[str, str]]:
    """One entry a socket, from /proc/cpuinfo."""
    sockets: dict[str, list[dict[str, str]]] = {}
    for paragraph in host.read_text("/proc/cpuinfo", limit=8 * 1024 * 1024).split("\n\n"):
        pairs = (line.partition(":") for line in paragraph.splitlines())
        thread = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in thread:
            sockets.setdefault(thread.get("physical id", "0"), []).append(thread)
    return [_describe_processor(socket, threads) for socket, threads in sorted(sockets.items())]


def read_nics(host: Host) -> list[dict[str, JSON]]:
    """The network interfaces but loopback, in the kernel's order of names."""
    return [
        _describe_nic(host, interface)
        for interface in _devices(host, "/sys/class/net")
        if interface.name != "lo"
    ]


def read_disks(host: Host) -> list[dict[str, JSON]]:
    """Whole disks, without the loop, memory and device-mapper devices made from them."""
    return [
        _describe_disk(host, device)
        for device in _devices(host, "/sys/block")
        if not device.name.startswith(("loop", "ram", "zram", "dm-"))
    ]


def _describe_processor(socket: str, threads: list[dict[str, str]]) -> dict[str, str]:
    first = threads[0]
    cores = {thread.get("core id", str(index)) for index, thread in enumerate(threads)}
    return {
        "ID": socket,
        "Model": first.get("model name") or first.get("Model") or UNKNOWN,
        "Vendor": first.get("vendor_id") or first.get("CPU implementer") or UNKNOWN,
        "NumCores": str(len(cores)),
        "NumThreads": str(len(threads)),
        "Capabilities": first.get("flags") or first.get("Features") or "",
    }


def _describe_nic(host: Host, interface: Path) -> dict[str, JSON]:
    base = f"/sys/class/net/{interface.name}"
    device = interface / "device"
    entry: dict[str, JSON] = {
        "Name": interface.name,
        "MacAddress": host.read_text(f"{base}/address"),
        "IsVirtual": render_leaf("/devices/virtual/net/" in f"{interface.resolve()}/"),
        "Speed": host.read_text(f"{base}/speed"),
        "Duplex": host.read_text(f"{base}/duplex"),
        "PCIAddress": device.resolve().name if device.exists() else None,
    }
    addresses = read_ipv6_addresses(host, interface.name)
    if addresses:
        entry["IPv6Address"] = addresses[0]
        entry["IPv6Addresses"] = {str(index): address for index, address in enumerate(addresses)}
    return entry


def read_ipv6_addresses(host: Host, interface: str) -> list[str]:
    """From /proc/net/if_inet6; IPv4 addresses have no file and are left to the connection's annotation."""
    found = []
    for line in host.read_text("/proc/net/if_inet6").splitlines():
        words = line.split()
        if len(words) == 6 and words[5] == interface and re.fullmatch("[0-9a-f]{32}", words[0]):
            found.append(str(ipaddress.IPv6Address(int(words[0], 16))))
    return found


def _describe_disk(host: Host, device: Path) -> dict[str, JSON]:
    base = f"/sys/block/{device.name}"
    sectors = host.read_text(f"{base}/size")
    return {
        "Name": device.name,
        "Size": str(int(sectors) * SECTOR) if sectors.isdecimal() else UNKNOWN,
        "DriveType": _choose_drive_type(device.name, host.read_text(f"{base}/queue/rotational")),
        "StorageController": _choose_controller(device.name),
        "Removable": render_leaf(host.read_text(f"{base}/removable") == "1"),
        "Model": host.read_text(f"{base}/device/model") or UNKNOWN,
    }


def _choose_drive_type(name: str, rotational: str) -> str:
    if name.startswith("sr"):
        return "odd"
    return {"0": "ssd", "1": "hdd"}.get(rotational, UNKNOWN)


def _choose_controller(name: str) -> str:
    for prefix, controller in (("nvme", "nvme"), ("vd", "virtio"), ("mmcblk", "mmc"), ("sd", "scsi")):
        if name.startswith(prefix):
            return controller
    return UNKNOWN


def _as_inventory(
    cores: int,
    threads: int,
    processors: list[dict[str, str]],
    nics: list[dict[str, JSON]],
    disks: list[dict[str, JSON]],
    memory: str,
    hostname: str,
) -> dict[str, JSON]:
    """The raw inventory that old clients send, for the one function that makes the legacy tree of it."""
    return {
        "memory": {"total_physical_bytes": memory, "total_usable_bytes": memory},
        "cpu": {
            "total_cores": cores,
            "total_threads": threads,
            "processors": [
                {
                    "model": processor["Model"],
                    "vendor": processor["Vendor"],
                    "capabilities": list(processor["Capabilities"].split()),
                }
                for processor in processors
            ],
        },
        "network": {
            "nics": [
                {"name": nic["Name"], "mac_address": nic["MacAddress"], "is_virtual": nic["IsVirtual"]}
                for nic in nics
            ]
        },
        "block": {
            "disks": [
                {
                    "name": disk["Name"],
                    "size_bytes": disk["Size"],
                    "drive_type": disk["DriveType"],
                    "storage_controller": disk["StorageController"],
                    "removable": disk["Removable"],
                }
                for disk in disks
            ]
        },
        "runtime": {"hostname": hostname},
    }


def _read_dmi(host: Host, **names: str) -> dict[str, JSON]:
    return {ours: host.read_text(f"{DMI}/{file}") or UNKNOWN for ours, file in names.items()}


def _devices(host: Host, directory: str) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(host.path(directory)))
    except OSError:
        return
    for name in names[:MAX_DEVICES]:
        yield host.path(directory) / name


def _by_number_and_name(items: list[dict[str, JSON]]) -> dict[str, JSON]:
    """Templates may say `NICs/0` or `NICs/eth0`."""
    numbered: dict[str, JSON] = {str(index): item for index, item in enumerate(items)}
    return numbered | {render_leaf(item["Name"]): item for item in items}
