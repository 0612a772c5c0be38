"""A large machine as a directory: SMBIOS tables, memory blocks, graphics, udev's database, disks."""

from pathlib import Path

from agent.host import Host
from tests.agent.facts import smbios_factory as factory
from tests.agent.machines import write

FILES = {
    "/proc/meminfo": "MemTotal:       384000 kB\n",
    "/proc/sys/kernel/hostname": "bench-1\n",
    "/sys/devices/system/memory/block_size_bytes": "8000000\n",
    "/sys/devices/system/memory/memory0/state": "online\n",
    "/sys/devices/system/memory/memory1/state": "online\n",
    "/sys/devices/system/memory/memory2/state": "offline\n",
    "/sys/devices/system/memory/memory40/state": "online\n",
    "/sys/devices/system/memory/auto_online_blocks": "offline\n",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "0\n",
    "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
    "/sys/class/dmi/id/chassis_type": "99\n",
    "/sys/block/nvme0n1/size": "2048\n",
    "/sys/block/nvme0n1/dev": "259:0\n",
    "/sys/block/nvme0n1/queue/rotational": "0\n",
    "/sys/block/nvme0n1/wwid": "eui.0025385b\n",
    "/sys/block/nvme0n1/device/model": "Samsung SSD 980                         \n",
    "/sys/block/nvme0n1/device/serial": "S64DNX0R     \n",
    "/sys/block/sda/size": "7814037168\n",
    "/sys/block/sda/dev": "8:0\n",
    "/sys/block/sda/queue/rotational": "1\n",
    "/sys/block/sda/removable": "0\n",
    "/sys/block/sda/device/vendor": "ATA     \n",
    "/sys/block/sda/device/model": "ST4000NM0035-1V4\n",
    "/run/udev/data/b8:0": (
        "S:disk/by-id/wwn-0x5000c500a1b2c3d4\nE:ID_MODEL=ST4000NM0035\nE:ID_SERIAL_SHORT=ZC1A\n"
        "E:ID_SERIAL=ST4000NM0035_ZC1A\nE:ID_WWN=0x5000c500a1b2c3d4\nE:broken\n"
    ),
    "/sys/block/sdb/size": "1\n",
    "/sys/block/sdb/dev": "8:16\n",
    "/sys/block/sdb/removable": "1\n",
    "/sys/block/sdb/queue/rotational": "1\n",
    "/sys/block/sdb/device/wwid": "naa.600508b1\n",
    "/sys/block/sdb/device/vpd_pg80": "\0\x80\0\x0bPG80-SERIAL",
    "/sys/block/vda/size": "16\n",
    "/sys/block/vda/queue/rotational": "1\n",
    "/sys/block/loop0/size": "8\n",
    "/sys/block/dm-0/size": "8\n",
    "/usr/share/misc/pci.ids": (
        "# comment\n0e11  Compaq\n\t9a49  Wrong one\n8086  Intel Corporation\n\t1234  Something\n"
        "\t\t1028 0a20  A subsystem\n\t9a49  TigerLake-LP GT2 [Iris Xe Graphics]\n10de  NVIDIA Corporation\n"
        "\t0020  NV4\nC 00  Unclassified device\n"
    ),
}


def make_workstation(root: Path) -> Host:
    for name, content in FILES.items():
        write(root, name, content)
    add_processors(root, sockets=2, cores=4)
    factory.install(
        root,
        [
            factory.bios(),
            factory.system(),
            factory.board(contained=1),
            factory.chassis(),
            factory.processor(),
            factory.oem_strings("one", "two"),
            factory.memory_device(),
            factory.memory_device(size=0),
        ],
    )
    add_card(root, 0, "0000:00:02.0", vendor="0x8086", device="0x9a49", driver="i915")
    add_card(root, 1, "0000:65:00.0", vendor="0x10de", device="0x1db6", driver="nouveau")
    write(root, "/sys/class/drm/card0-HDMI-A-1/status", "connected\n")
    add_pci_interface(root, "enp3s0", "0000:03:00.0")
    return Host(root)


def add_processors(root: Path, *, sockets: int, cores: int) -> None:
    """Two threads a core, numbered as Linux does: all first threads, then all second ones."""
    paragraphs = []
    for number in range(2 * sockets * cores):
        socket, core = divmod(number % (sockets * cores), cores)
        topology = f"/sys/devices/system/cpu/cpu{number}/topology"
        write(root, f"{topology}/physical_package_id", f"{socket}\n")
        write(root, f"{topology}/core_id", f"{core}\n")
        paragraphs.append(
            f"processor\t: {number}\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7302P\n"
            f"physical id\t: {socket}\ncore id\t\t: {core}\nflags\t\t: fpu sse4_2\n\n"
        )
    write(root, "/proc/cpuinfo", "".join(paragraphs))


def add_card(root: Path, number: int, address: str, *, vendor: str, device: str, driver: str) -> None:
    place = f"/sys/devices/pci0000:00/{address}"
    write(root, f"{place}/vendor", f"{vendor}\n")
    write(root, f"{place}/device", f"{device}\n")
    (root / place.lstrip("/") / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
    card = root / place.lstrip("/") / f"drm/card{number}"
    card.mkdir(parents=True)
    (card / "device").symlink_to("../..")
    link = root / f"sys/class/drm/card{number}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"../../devices/pci0000:00/{address}/drm/card{number}")


def add_pci_interface(root: Path, name: str, address: str) -> None:
    place = f"/sys/devices/pci0000:00/{address}"
    for file, content in {
        "address": "3c:ec:ef:00:00:01\n",
        "addr_assign_type": "0\n",
        "speed": "1000\n",
        "duplex": "full\n",
    }.items():
        write(root, f"{place}/net/{name}/{file}", content)
    (root / "sys/bus/pci").mkdir(parents=True, exist_ok=True)
    (root / place.lstrip("/") / "subsystem").symlink_to("../../../bus/pci")
    (root / place.lstrip("/") / "net" / name / "device").symlink_to(f"../../../{address}")
    link = root / "sys/class/net" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"../../devices/pci0000:00/{address}/net/{name}")
