"""Everything that this host's kernel and firmware say of its hardware, read once; the wire's trees come
from it.

Each source is asked on its own and has a limit in size and time. What does not answer is left out, where
upstream's client gives up the whole registration.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from agent.facts.disks import Disk, read_disks
from agent.facts.dmi import read_dmi
from agent.facts.graphics import Card, read_cards
from agent.facts.memory import Memory, read_memory
from agent.facts.network import Nic, read_nics
from agent.facts.processors import Processor, read_processors
from agent.facts.reading import gather, read_line
from agent.facts.smbios_tables import Smbios
from agent.host import Host


@dataclass(frozen=True, slots=True)
class Inventory:
    """`dmi` has the branches and leaves of `agent.facts.dmi`."""

    dmi: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    processors: tuple[Processor, ...] = ()
    cards: tuple[Card, ...] = ()
    nics: tuple[Nic, ...] = ()
    disks: tuple[Disk, ...] = ()
    hostname: str = ""


def read_inventory(host: Host, tables: Smbios | None) -> Inventory:
    """Never raises: facts do not stop a registration."""
    sources: dict[str, Callable[[], object]] = {
        "dmi": lambda: read_dmi(host),
        "memory": lambda: read_memory(host, tables),
        "processors": lambda: tuple(read_processors(host)),
        "cards": lambda: tuple(read_cards(host)),
        "nics": lambda: tuple(read_nics(host)),
        "disks": lambda: tuple(read_disks(host)),
        "hostname": lambda: read_hostname(host),
    }
    answers = gather(sources)
    nothing = Inventory()
    return Inventory(
        dmi=cast("Mapping[str, Mapping[str, str]]", answers.get("dmi", nothing.dmi)),
        memory=cast("Memory", answers.get("memory", nothing.memory)),
        processors=cast("tuple[Processor, ...]", answers.get("processors", ())),
        cards=cast("tuple[Card, ...]", answers.get("cards", ())),
        nics=cast("tuple[Nic, ...]", answers.get("nics", ())),
        disks=cast("tuple[Disk, ...]", answers.get("disks", ())),
        hostname=cast("str", answers.get("hostname", "")),
    )


def read_hostname(host: Host) -> str:
    return read_line(host, "/proc/sys/kernel/hostname") or read_line(host, "/etc/hostname")
