"""SMBIOS tables built byte by byte after the specification (DSP0134), whole and broken."""

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from agent.facts.smbios_tables import ENTRY_POINT, TABLE, Smbios, parse_structures, parse_version

END = struct.pack("<BBH", 127, 4, 0xFEFF) + b"\0\0"


def structure(type: int, body: bytes, strings: Sequence[str] = (), *, handle: int = 0) -> bytes:
    """A structure: header, formatted part, strings."""
    tail = b"".join(text.encode("latin-1") + b"\0" for text in strings) + b"\0" if strings else b"\0\0"
    return struct.pack("<BBH", type, 4 + len(body), handle) + body + tail


def entry_point(table: bytes, *, version: tuple[int, int] = (3, 4)) -> bytes:
    """The 64-bit entry point; the table follows at 32, as in a dump of dmidecode's."""
    entry = bytearray(b"_SM3_\0\x18" + bytes([*version, 0, 1, 0]) + struct.pack("<IQ", len(table), 32))
    entry[5] = -sum(entry) & 0xFF
    return bytes(entry)


def dump(table: bytes, *, version: tuple[int, int] = (3, 4)) -> bytes:
    return entry_point(table, version=version).ljust(32, b"\0") + table


def tables(*structures: bytes, version: tuple[int, int] = (3, 4)) -> Smbios:
    table = b"".join(structures) + END
    return Smbios(parse_version(entry_point(table, version=version)), tuple(parse_structures(table)))


def install(root: Path, structures: Iterable[bytes], *, version: tuple[int, int] = (3, 4)) -> None:
    """Put tables where the kernel shows them."""
    table = b"".join(structures) + END
    for name, content in ((TABLE, table), (ENTRY_POINT, entry_point(table, version=version))):
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def bios(
    *,
    characteristics: int = 0,
    extensions: tuple[int, int] = (0, 0),
    rom: int = 0xFF,
    extended_rom: int = 16,
    segment: int = 0xE800,
    releases: tuple[int, int, int, int] = (1, 2, 3, 4),
    length: int = 0x1A,
) -> bytes:
    body = struct.pack("<BBHBBQ", 1, 2, segment, 3, rom, characteristics)
    body += bytes([*extensions, *releases]) + struct.pack("<H", extended_rom)
    return structure(0, body[: length - 4], ["SeaBIOS", "1.16", "04/01/2014"])


def system(
    *, uuid: bytes = bytes(range(16)), wake_up: int = 6, serial: str = "SN-0001", length: int = 0x1B
) -> bytes:
    body = bytes([1, 2, 3, 4]) + uuid + bytes([wake_up, 5, 6])
    return structure(1, body[: length - 4], ["ACME", "Edge Box 9000", "v2", serial, "SKU-1", "Edge"])


def board(*, features: int = 0, type: int = 0x0A, contained: int = 0, length: int = 0xFF) -> bytes:
    body = bytes([1, 2, 3, 4, 5, features, 6, 9, 0, type, contained])
    body += b"".join(struct.pack("<H", 7 + index) for index in range(contained))
    return structure(2, body[: length - 4], ["ACME", "Board", "1.0", "B-1", "Asset", "Slot 1"])


def chassis(
    *,
    type: int = 0x23,
    states: tuple[int, int, int, int] = (3, 3, 3, 3),
    height: int = 2,
    cords: int = 1,
    elements: bytes = b"",
    count: int = 0,
    size: int = 3,
    length: int = 0xFF,
) -> bytes:
    body = bytes([1, type, 2, 3, 4, *states]) + struct.pack("<I", 0xDEADBEEF)
    body += bytes([height, cords, count, size]) + elements + bytes([5])
    return structure(3, body[: length - 4], ["ACME", "1.0", "C-1", "Asset", "SKU-C"])


def processor(
    *,
    type: int = 3,
    family: int = 0xC6,
    family_2: int = 0,
    id: int = 0x178BFBFF000306A9,
    voltage: int = 0x8C,
    status: int = 0x41,
    upgrade: int = 1,
    cores: int = 4,
    wide_cores: int = 4,
    characteristics: int = 0xFC,
    maker: str = "Intel",
    version: str = "Xeon",
    length: int = 0x30,
) -> bytes:
    body = struct.pack("<BBBBQB", 1, type, family, 2, id, 3)
    body += struct.pack("<BHHHBB", voltage, 100, 4000, 0, status, upgrade)
    body += struct.pack("<HHHBBB", 7, 8, 0xFFFF, 4, 5, 6)
    body += struct.pack("<BBBHHHHH", cores, cores, cores, characteristics, family_2, *[wide_cores] * 3)
    names = ["CPU 0", maker, version, "P-1", "Asset", "Part"]
    return structure(4, body[: length - 4], names, handle=0x400)


def oem_strings(*texts: str, count: int | None = None) -> bytes:
    return structure(11, bytes([len(texts) if count is None else count]), texts)


def memory_device(*, size: int = 0x4000, extended: int = 0, length: int = 0x54) -> bytes:
    body = bytearray(0x54 - 4)
    struct.pack_into("<H", body, 0x0C - 4, size)
    body[0x10 - 4 : 0x12 - 4] = bytes([1, 2])
    body[0x17 - 4 : 0x19 - 4] = bytes([3, 4])
    struct.pack_into("<I", body, 0x1C - 4, extended)
    return structure(17, bytes(body[: length - 4]), ["DIMM A1", "BANK 0", "Samsung", "12345678"])
