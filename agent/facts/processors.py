"""The processors, one a socket: from /proc/cpuinfo, and /sys for architectures whose cpuinfo names no
cores.
"""

from collections import defaultdict
from dataclasses import dataclass

from agent.facts.reading import clean, read_bytes, read_number
from agent.host import Host

MAX_CPUINFO_BYTES = 8 * 1024 * 1024  # some 1.5 KiB a hardware thread
MAX_SOCKETS = 64
MAX_SYSFS_THREADS = 1024
TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/{}"

# Where architectures put the same thing; the first that is there counts.
MODEL_KEYS = ("model name", "Processor", "cpu model", "Model Name", "uarch", "Model")
CAPABILITY_KEYS = ("flags", "Features")
ARM_IMPLEMENTERS = {"0x41": "ARM"}

Thread = dict[str, str]


@dataclass(frozen=True, slots=True)
class Processor:
    id: int
    model: str
    vendor: str
    cores: int
    threads: int
    capabilities: tuple[str, ...] = ()


def read_processors(host: Host) -> list[Processor]:
    """The sockets in order; empty where cpuinfo says nothing."""
    text = read_bytes(host, "/proc/cpuinfo", limit=MAX_CPUINFO_BYTES).decode(errors="replace")
    sockets: defaultdict[int, list[tuple[int, Thread]]] = defaultdict(list)
    for index, thread in enumerate(parse_cpuinfo(text)):
        socket, core = _locate(host, thread, index)
        sockets[socket].append((core, thread))
    return [_describe(socket, threads) for socket, threads in sorted(sockets.items())[:MAX_SOCKETS]]


def parse_cpuinfo(text: str) -> list[Thread]:
    """One mapping a hardware thread."""
    threads = []
    for paragraph in text.split("\n\n"):
        pairs = (line.partition(":") for line in paragraph.splitlines())
        thread = {key.strip(): clean(value) for key, _, value in pairs}
        if "processor" in thread:
            threads.append(thread)
    return threads


def _locate(host: Host, thread: Thread, index: int) -> tuple[int, int]:
    """Socket and core. A thread of which nothing is known is a core of its own in the first socket."""
    socket, core = _number(thread.get("physical id")), _number(thread.get("core id"))
    if core is None and index < MAX_SYSFS_THREADS:
        number = _number(thread["processor"])
        socket = read_number(host, TOPOLOGY.format(number, "physical_package_id"))
        core = read_number(host, TOPOLOGY.format(number, "core_id"))
    # Some boards say -1 for the only socket.
    return max(0, socket or 0), index if core is None else core


def _describe(socket: int, threads: list[tuple[int, Thread]]) -> Processor:
    first = threads[0][1]
    vendor = first.get("vendor_id") or first.get("isa") or first.get("CPU implementer", "")
    capabilities = next((first[key] for key in CAPABILITY_KEYS if first.get(key)), "")
    return Processor(
        id=socket,
        model=next((first[key] for key in MODEL_KEYS if first.get(key)), ""),
        vendor=ARM_IMPLEMENTERS.get(vendor, vendor),
        cores=len({core for core, _ in threads}),
        threads=len(threads),
        capabilities=tuple(capabilities.split()),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None
