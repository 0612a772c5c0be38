"""Whole disks: model, serial number, WWN, size, kind; without the devices that are made from others.

Upstream's client also lists loop devices; a live system runs from one, which would then be disk 0. udev's
database is asked first, for the words that templates in the field see come from there; then the kernel's
attributes.
"""

import re
from dataclasses import dataclass

from agent.facts.reading import MAX_TEXT, clean, list_names, read_bytes, read_line, read_number
from agent.host import Host

BLOCK = "/sys/block"
UDEV = "/run/udev/data"
SECTOR = 512  # /sys/block/*/size counts these whatever the disk's own sectors are
MAX_DISKS = 256  # a rack of them must not outgrow a message; templates name the first few
MAX_UDEV_BYTES = 64 * 1024

NOT_DISKS = ("loop", "ram", "zram", "dm-", "md", "nbd")
SERIAL_KEYS = ("SCSI_IDENT_SERIAL", "ID_SCSI_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL")
WWN_KEYS = ("ID_WWN_WITH_EXTENSION", "ID_WWN", "DM_WWN")

# The beginning of the kernel's name: drive type (HDD until it says it does not turn) and controller.
KINDS = (
    ("fd", "FDD", "Unknown"),
    ("sr", "ODD", "SCSI"),
    ("nvme", "SSD", "NVMe"),
    ("mmc", "SSD", "MMC"),
    ("vd", "HDD", "virtio"),
    ("xvd", "HDD", "SCSI"),
    ("sd", "HDD", "SCSI"),
    ("hd", "HDD", "IDE"),
)


@dataclass(frozen=True, slots=True)
class Disk:
    """`size` in bytes; None where the drive has no medium or does not say."""

    name: str
    size: int | None
    drive_type: str
    controller: str
    removable: bool
    vendor: str = ""
    model: str = ""
    serial_number: str = ""
    wwn: str = ""


def read_disks(host: Host) -> list[Disk]:
    names = list_names(host, BLOCK, limit=4096)
    return [_describe(host, name) for name in names if not name.startswith(NOT_DISKS)][:MAX_DISKS]


def _describe(host: Host, name: str) -> Disk:
    base = f"{BLOCK}/{name}"
    udev = parse_udev(read_bytes(host, f"{UDEV}/b{read_line(host, f'{base}/dev')}", limit=MAX_UDEV_BYTES))
    drive_type, controller = next(
        (kind[1:] for kind in KINDS if name.startswith(kind[0])), ("Unknown", "Unknown")
    )
    if drive_type == "HDD" and read_line(host, f"{base}/queue/rotational") == "0":
        drive_type = "SSD"
    sectors = read_number(host, f"{base}/size")
    return Disk(
        name=name,
        size=sectors * SECTOR if sectors is not None and sectors >= 0 else None,
        drive_type=drive_type,
        controller=controller,
        removable=read_line(host, f"{base}/removable") == "1",
        vendor=read_line(host, f"{base}/device/vendor"),
        model=udev.get("ID_MODEL") or read_line(host, f"{base}/device/model"),
        serial_number=_first(udev, SERIAL_KEYS) or _read_serial(host, base),
        wwn=_first(udev, WWN_KEYS) or _read_wwn(host, base),
    )


def parse_udev(data: bytes) -> dict[str, str]:
    """The properties in a record of udev's database: lines `E:NAME=value`."""
    lines = data.decode(errors="replace").splitlines()
    pairs = (line[2:].partition("=") for line in lines if line.startswith("E:"))
    return {key: clean(value)[:MAX_TEXT] for key, separator, value in pairs if separator}


def _first(properties: dict[str, str], keys: tuple[str, ...]) -> str:
    return next((properties[key] for key in keys if properties.get(key)), "")


def _read_serial(host: Host, base: str) -> str:
    """NVMe and MMC have it beside the device, virtio beside the disk, SCSI in vital product data."""
    for file in ("device/serial", "serial"):
        if serial := read_line(host, f"{base}/{file}"):
            return serial
    page = read_bytes(host, f"{base}/device/vpd_pg80")
    length = int.from_bytes(page[2:4], "big")
    return clean(page[4 : 4 + length].decode("ascii", "replace").strip("\0"))


def _read_wwn(host: Host, base: str) -> str:
    """The kernel's world-wide identifier, in udev's spelling where it is a plain number."""
    wwid = read_line(host, f"{base}/wwid") or read_line(host, f"{base}/device/wwid")
    match = re.fullmatch(r"naa\.([0-9a-f]{1,32})", wwid)
    return f"0x{match.group(1)}" if match else wwid
