"""Text as it may reach the screen: harmless, cut to a width, and with ages and sizes in people's words.

Everything that hosts, the network or an image said passes through `plain` before it is painted; the widgets
do it in one place (`tui.widgets.lines`), so no screen has to remember. Nothing here knows about Textual.
"""

import unicodedata
from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size

_SPACES = frozenset("\t\n\r\v\f\x85\u2028\u2029")
_UNPRINTABLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn"))
_CUT = "…"


def plain(text: str) -> str:
    """Drop what could move the cursor, reorder the line or hide: controls, bidi and zero-width characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_plain_character(character) for character in text)


def fit(text: str, width: int) -> str:
    """Cut or pad to exactly `width` cells; a cut shows."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + _CUT


def parse_time(text: str) -> datetime | None:
    """Read RFC 3339; None for what is empty or is not a time."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def render_age(since: datetime | None, now: datetime) -> str:
    """Say how long ago, coarsely, so that a calm screen stays still: now, 2m, 3h, 5d."""
    if since is None:
        return "never"
    seconds = (now - since).total_seconds()
    return "now" if seconds < 60 else "1m" if seconds < 120 else render_duration(seconds)


def render_duration(seconds: float) -> str:
    """Say how long, with one unit: 12s, 4m, 3h, 5d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length or (unit != "m" and seconds >= length * 1.5):
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def render_since(time: str, now: datetime) -> str:
    """How long since an RFC 3339 time; nothing for none."""
    since = parse_time(time)
    return render_duration((now - since).total_seconds()) if since else ""


def render_size(count: int) -> str:
    """Bytes in the units that storage is sold in: 512 B, 4.2 MB, 41 GB."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def short_digest(digest: str) -> str:
    """The first 12 hex digits: what people compare and registries list."""
    return digest.removeprefix("sha256:")[:12]


def tail(hash: str, length: int = 8) -> str:
    """The end of a serial or hash, which is what a technician can compare with a label."""
    return hash[-length:]


def _plain_character(character: str) -> str:
    if character in _SPACES:
        return " "
    if unicodedata.category(character) in _UNPRINTABLE or "\ufe00" <= character <= "\ufe0f":
        return ""
    return character
