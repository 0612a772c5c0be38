"""Memory: what is fitted, what the kernel uses, huge page sizes, and the modules that SMBIOS lists."""

import re
from dataclasses import dataclass

from agent.facts.reading import list_names, read_bytes, read_line, read_number
from agent.facts.smbios_tables import Smbios, Structure
from agent.host import Host

BLOCKS = "/sys/devices/system/memory"
HUGE_PAGES = "/sys/kernel/mm/hugepages"
MAX_BLOCKS = 64 * 1024  # listed
MAX_STATES = 2048  # read one by one; a machine with more blocks has them online
MAX_MODULES = 256
MODULE = 17  # the SMBIOS type "Memory Device"
UNKNOWN_SIZE, EXTENDED_SIZE = 0xFFFF, 0x7FFF
IN_KILOBYTES = 0x8000


@dataclass(frozen=True, slots=True)
class Module:
    label: str
    location: str
    serial_number: str
    size: int
    vendor: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes; None where nobody says."""

    physical: int | None = None
    usable: int | None = None
    page_sizes: tuple[int, ...] = ()
    modules: tuple[Module, ...] = ()


def read_memory(host: Host, tables: Smbios | None) -> Memory:
    usable = _read_usable(host)
    return Memory(
        physical=_read_physical(host) or usable,
        usable=usable,
        page_sizes=_read_page_sizes(host),
        modules=tuple(list_modules(tables)) if tables is not None else (),
    )


def list_modules(tables: Smbios) -> list[Module]:
    """The fitted modules; an empty slot is none (DSP0134, 7.18)."""
    modules = [_describe_module(one) for one in tables.of_type(MODULE)[:MAX_MODULES] if one.length >= 0x15]
    return [module for module in modules if module.size]


def _describe_module(one: Structure) -> Module:
    size = one.number(0x0C, 2)
    if size == UNKNOWN_SIZE:
        size_bytes = 0
    elif size == EXTENDED_SIZE and one.length >= 0x20:
        size_bytes = (one.number(0x1C, 4) & 0x7FFFFFFF) << 20
    else:
        size_bytes = (size & 0x7FFF) << (10 if size & IN_KILOBYTES else 20)
    has_names = one.length >= 0x1B
    return Module(
        label=one.text(0x10).strip(),
        location=one.text(0x11).strip(),
        serial_number=one.text(0x18).strip() if has_names else "",
        size=size_bytes,
        vendor=one.text(0x17).strip() if has_names else "",
    )


def _read_usable(host: Host) -> int | None:
    text = read_bytes(host, "/proc/meminfo").decode(errors="replace")
    match = re.search(r"^MemTotal:\s+(\d{1,15}) kB", text, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def _read_physical(host: Host) -> int | None:
    """The memory blocks that are online, with what firmware keeps for itself."""
    size = read_number(host, f"{BLOCKS}/block_size_bytes", base=16)
    if not size:
        return None
    names = [name for name in list_names(host, BLOCKS, limit=MAX_BLOCKS) if re.fullmatch(r"memory\d+", name)]
    if len(names) > MAX_STATES:
        return len(names) * size
    return sum(size for name in names if read_line(host, f"{BLOCKS}/{name}/state") == "online")


def _read_page_sizes(host: Host) -> tuple[int, ...]:
    names = list_names(host, HUGE_PAGES, limit=64)
    sizes = [match.group(1) for name in names if (match := re.fullmatch(r"hugepages-(\d{1,12})kB", name))]
    return tuple(int(size) * 1024 for size in sizes)
