"""SMBIOS tables as bytes: cut into structures, every offset and string checked against what is there.

The kernel shows the firmware's tables under /sys/firmware/dmi/tables. What the structures mean is the
business of `agent.facts.smbios`. Firmware lies about lengths, counts and string numbers; nothing here
raises for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from agent.facts.reading import read_bytes
from agent.host import Host

ENTRY_POINT = "/sys/firmware/dmi/tables/smbios_entry_point"
TABLE = "/sys/firmware/dmi/tables/DMI"
MAX_TABLE_BYTES = 1024 * 1024  # large servers have some ten kilobytes
MAX_STRUCTURES = 4096
HEADER_BYTES = 4
END_OF_TABLE = 127
NEWEST = (3, 5)

# Versions that firmware is known to state wrongly, as dmidecode repairs them.
_MISSTATED = {(2, 0x1F): (2, 3), (2, 0x21): (2, 3), (2, 0x33): (2, 6)}


@dataclass(frozen=True, slots=True)
class Structure:
    """One structure: `data` is its formatted part with the header, so offsets are the specification's."""

    type: int
    handle: int
    data: bytes
    strings: tuple[bytes, ...] = ()

    @property
    def length(self) -> int:
        return len(self.data)

    def number(self, offset: int, size: int = 1) -> int:
        """Little-endian; 0 beyond the end."""
        return int.from_bytes(self.data[offset : offset + size], "little")

    def text(self, offset: int) -> str:
        """The string that the byte at `offset` names, in dmidecode's words where there is none."""
        return self.string(self.number(offset))

    def string(self, index: int) -> str:
        if index == 0:
            return "Not Specified"
        if index > len(self.strings):
            return "<BAD INDEX>"
        return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in self.strings[index - 1])


@dataclass(frozen=True, slots=True)
class Smbios:
    version: tuple[int, int]
    structures: tuple[Structure, ...]

    def of_type(self, number: int) -> list[Structure]:
        return [structure for structure in self.structures if structure.type == number]


def load_smbios(host: Host) -> Smbios | None:
    """This host's tables; None where the kernel shows none (no firmware tables, or not root)."""
    table = read_bytes(host, TABLE, limit=MAX_TABLE_BYTES)
    structures = tuple(parse_structures(table))
    if not structures:
        return None
    return Smbios(parse_version(read_bytes(host, ENTRY_POINT)), structures)


def parse_version(entry: bytes) -> tuple[int, int]:
    """The specification's version that an entry point states (DSP0134, 5.2)."""
    if entry.startswith(b"_SM3_") and len(entry) >= 9:
        return entry[7], entry[8]
    if entry.startswith(b"_SM_") and len(entry) >= 8:
        stated = entry[6], entry[7]
        return _MISSTATED.get(stated, stated)
    return NEWEST


def parse_structures(table: bytes) -> Iterator[Structure]:
    """The structures up to the end marker, the first that makes no sense, or the limit."""
    table = table[:MAX_TABLE_BYTES]
    start = 0
    for _ in range(MAX_STRUCTURES):
        header = table[start : start + HEADER_BYTES]
        if len(header) < HEADER_BYTES or header[1] < HEADER_BYTES or start + header[1] > len(table):
            return
        strings_start = start + header[1]
        end = table.find(b"\0\0", strings_start)
        if end < 0:  # the last structure without its end: what is there counts, as with dmidecode
            end = len(table)
        strings = table[strings_start:end]
        yield Structure(
            type=header[0],
            handle=int.from_bytes(header[2:4], "little"),
            data=table[start:strings_start],
            strings=tuple(strings.split(b"\0")) if strings else (),
        )
        if header[0] == END_OF_TABLE:
            return
        start = end + 2
