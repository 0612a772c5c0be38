"""A machine as a directory: the files of /sys, /proc and /etc that describe one."""

from pathlib import Path

from agent.host import Host

UUID = "4c4c4544-0051-3810-8057-b4c04f4a4e31"

FILES = {
    "/sys/class/dmi/id/sys_vendor": "ACME\n",
    "/sys/class/dmi/id/product_name": "Edge Box 9000\n",
    "/sys/class/dmi/id/product_serial": "SN-0001\n",
    "/sys/class/dmi/id/product_uuid": f"{UUID}\n",
    "/sys/class/dmi/id/bios_vendor": "SeaBIOS\n",
    "/sys/class/dmi/id/chassis_type": "35\n",
    "/proc/meminfo": "MemTotal:       24684084 kB\nMemFree:        1 kB\n",
    "/proc/sys/kernel/hostname": "press-7\n",
    "/proc/net/if_inet6": (
        "fe800000000000000000000000000001 02 40 20 80     eth0\n"
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "nonsense\n"
    ),
    "/etc/os-release": 'NAME="Debian GNU/Linux"\nVERSION="12 (bookworm)"\nVERSION_ID="12"\nID=debian\n',
    "/sys/block/sda/size": "41943040\n",
    "/sys/block/sda/queue/rotational": "0\n",
    "/sys/block/sda/removable": "0\n",
    "/sys/block/sda/device/model": "QEMU HARDDISK\n",
    "/sys/block/nvme0n1/size": "2048\n",
    "/sys/block/sr0/size": "what\n",
    "/sys/block/loop0/size": "8\n",
}

CPUINFO = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Xeon
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu vme

processor\t: 1
vendor_id\t: GenuineIntel
model name\t: Xeon
physical id\t: 0
core id\t\t: 0

processor\t: 2
vendor_id\t: GenuineIntel
model name\t: Xeon
physical id\t: 1
core id\t\t: 0
"""


def make_machine(root: Path) -> Host:
    """A two-socket box with two real network interfaces, one virtual, and three disks."""
    for name, content in FILES.items():
        write(root, name, content)
    write(root, "/proc/cpuinfo", CPUINFO)
    add_interface(root, "eth0", mac="02:fc:00:00:00:09", device="pci0000:00/0000:00:03.0/net")
    add_interface(root, "eth1", mac="02:fc:00:00:00:01", device="pci0000:00/0000:00:04.0/net")
    add_interface(root, "docker0", mac="00:00:00:00:00:01", device="virtual/net")
    add_interface(root, "lo", mac="00:00:00:00:00:00", device="virtual/net")
    return Host(root)


def write(root: Path, name: str, content: str) -> None:
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def add_interface(root: Path, name: str, *, mac: str, device: str) -> None:
    write(root, f"/sys/devices/{device}/{name}/address", f"{mac}\n")
    directory = root / "sys/devices" / device / name
    if "pci" in device:
        (directory / "device").symlink_to(directory.parent.parent)
    link = root / "sys/class/net" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(directory)
