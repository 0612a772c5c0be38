"""GUID partition tables as bytes (UEFI 2.10, chapter 5), for disks that are files and need no root.

Real block devices are partitioned by sfdisk (`agent.disk`); this writes the same table into a sparse file and
reads one back.
"""

import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from agent.errors import StateInvalid
from agent.layout import SECTOR, Partition

ENTRIES = 128
ENTRY = struct.Struct("<16s16sQQQ72s")
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
SIGNATURE = b"EFI PART"
TABLE_SECTORS = ENTRIES * ENTRY.size // SECTOR
TYPES = {
    "vfat": uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
    "ext4": uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A partition as read back; bytes."""

    name: str
    type: uuid.UUID
    start: int
    size: int


def write_table(disk: BinaryIO, disk_bytes: int, partitions: Sequence[Partition]) -> None:
    """Write the protective MBR and both copies of the table."""
    last = disk_bytes // SECTOR - 1
    identity = uuid.uuid4().bytes_le
    table = b"".join(_render_entry(partition) for partition in partitions).ljust(ENTRIES * ENTRY.size, b"\0")
    disk.seek(0)
    disk.write(_render_protective_mbr(last))
    disk.write(_render_header(1, last, table_at=2, last=last, table=table, identity=identity))
    disk.write(table)
    disk.seek((last - TABLE_SECTORS) * SECTOR)
    disk.write(table)
    disk.write(
        _render_header(last, 1, table_at=last - TABLE_SECTORS, last=last, table=table, identity=identity)
    )


def read_table(disk: BinaryIO) -> list[Entry]:
    """Return the partitions of the primary table. Raises StateInvalid if its checksums do not hold."""
    disk.seek(SECTOR)
    header = disk.read(HEADER.size)
    if len(header) < HEADER.size or not header.startswith(SIGNATURE):
        raise StateInvalid("the disk has no GPT")
    fields = HEADER.unpack(header)
    checked = header[:16] + b"\0" * 4 + header[20:]
    disk.seek(fields[10] * SECTOR)
    table = disk.read(min(fields[11] * fields[12], 1024 * 1024))
    if zlib.crc32(checked) != fields[3] or zlib.crc32(table) != fields[13]:
        raise StateInvalid("the disk's GPT is damaged: a checksum is wrong")
    entries = (ENTRY.unpack_from(table, offset) for offset in range(0, len(table), ENTRY.size))
    return [_parse_entry(entry) for entry in entries if entry[0] != b"\0" * 16]


def _parse_entry(fields: tuple[bytes, bytes, int, int, int, bytes]) -> Entry:
    kind, _, first, last, _, name = fields
    return Entry(
        name=name.decode("utf-16-le").rstrip("\0"),
        type=uuid.UUID(bytes_le=kind),
        start=first * SECTOR,
        size=(last - first + 1) * SECTOR,
    )


def _render_entry(partition: Partition) -> bytes:
    return ENTRY.pack(
        TYPES[partition.file_system].bytes_le,
        uuid.uuid4().bytes_le,
        partition.start // SECTOR,
        (partition.start + partition.size) // SECTOR - 1,
        0,
        partition.name.encode("utf-16-le"),
    )


def _render_header(
    here: int, other: int, *, table_at: int, last: int, table: bytes, identity: bytes
) -> bytes:
    def pack(checksum: int) -> bytes:
        return HEADER.pack(
            SIGNATURE,
            0x00010000,
            HEADER.size,
            checksum,
            0,
            here,
            other,
            2 + TABLE_SECTORS,
            last - TABLE_SECTORS - 1,
            identity,
            table_at,
            ENTRIES,
            ENTRY.size,
            zlib.crc32(table),
        )

    return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")


def _render_protective_mbr(last: int) -> bytes:
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(last, 0xFFFFFFFF))
    return (b"\0" * 446 + entry).ljust(510, b"\0") + b"\x55\xaa"
