"""The disk layout of host-os.md 2.1: which partitions, in which order, how large. Pure."""

from dataclasses import dataclass
from typing import Literal

from agent.config import MIB, VolumeSizes
from agent.errors import DiskRefused

FileSystem = Literal["vfat", "ext4"]

SECTOR = 512
ALIGNMENT = MIB
MIN_PERSISTENT = 8 * MIB


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; `start` and `size` in bytes, both whole MiB."""

    number: int
    name: str
    label: str
    file_system: FileSystem
    start: int
    size: int


_LAYOUT: tuple[tuple[str, str, FileSystem], ...] = (
    ("efi", "COS_GRUB", "vfat"),
    ("oem", "COS_OEM", "ext4"),
    ("recovery", "COS_RECOVERY", "ext4"),
    ("state", "COS_STATE", "ext4"),
    ("persistent", "COS_PERSISTENT", "ext4"),
)
LABELS = {name: label for name, label, _ in _LAYOUT}


def plan_partitions(disk_bytes: int, sizes: VolumeSizes) -> list[Partition]:
    """Lay the partitions out on a disk. Raises DiskRefused, with the numbers, if they do not fit."""
    wanted = {"efi": sizes.efi, "oem": sizes.oem, "recovery": sizes.recovery, "state": sizes.state}
    start = ALIGNMENT
    partitions = []
    for number, (name, label, file_system) in enumerate(_LAYOUT, start=1):
        rest = (disk_bytes - ALIGNMENT - start) // ALIGNMENT * ALIGNMENT
        size = wanted[name] * MIB if name in wanted else rest
        partitions.append(Partition(number, name, label, file_system, start, size))
        start += size
    if partitions[-1].size < MIN_PERSISTENT:
        needed = sum(wanted.values()) * MIB + MIN_PERSISTENT + 2 * ALIGNMENT
        raise DiskRefused(
            f"the disk has {disk_bytes // MIB} MiB; the layout needs {needed // MIB} MiB",
            hint="use a larger disk or smaller sizes under [disk.sizes] in the agent configuration",
        )
    return partitions
