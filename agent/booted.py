"""What runs now, from the boot loader's own word: the kernel command line. Never remembered."""

import re
from dataclasses import dataclass

from agent.host import Host
from agent.protocol.report import Mode

SNAPSHOT_ARGUMENT = "skerry.snapshot"
_IMAGE = re.compile(r"/\.snapshots/(\d+)/")


@dataclass(frozen=True, slots=True)
class Booted:
    """`snapshot` is None in recovery and on a live medium."""

    mode: Mode
    snapshot: int | None


def read_booted(host: Host, *, active: int | None = None) -> Booted:
    """Read the command line. `active` is where the active link points, for loaders that do not say more."""
    words = host.command_line()
    mode = _parse_mode(words.get("elemental.mode", words.get("cos.mode", "")))
    if mode in ("live", "recovery"):
        return Booted(mode, None)
    own = words.get(SNAPSHOT_ARGUMENT, "")
    if own.isdigit():
        return Booted(mode, int(own))
    image = _IMAGE.search(words.get("elemental.image", ""))
    return Booted(mode, int(image.group(1)) if image else active)


def _parse_mode(word: str) -> Mode:
    match word:
        case "active" | "passive" | "recovery":
            return word
        case _:
            return "live"
