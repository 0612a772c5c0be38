"""What kind of terminal this is, decided before Textual is imported: it reads its settings at import.

Pure but for `prepare`, which sets the environment.
"""

import os
import shutil
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

# What getty and terminal servers call a serial line; all lack colour, Unicode or both.
_NO_TERMINALS = ("", "dumb", "unknown", "network")
_PLAIN_PREFIXES = ("vt1", "vt2", "vt3", "vt4", "vt5", "ansi", "sun", "wy", "ibm327", "sclp")
_SERIAL_SIZE = (80, 24)


@dataclass(frozen=True, slots=True)
class Terminal:
    """`basic` is ASCII and monochrome; `settings` are environment variables, None meaning: remove."""

    basic: bool
    settings: Mapping[str, str | None]


def choose_terminal(environ: Mapping[str, str], size: tuple[int, int], *, basic: bool = False) -> Terminal:
    """Decide from the environment and the size that the terminal claims (0x0 is usual on serial lines)."""
    name = environ.get("TERM", "")
    plain = basic or name in _NO_TERMINALS or name.startswith(_PLAIN_PREFIXES)
    settings: dict[str, str | None] = {
        "TEXTUAL_ANIMATIONS": "none",
        "TEXTUAL_SMOOTH_SCROLL": "0",
    }
    if not environ.get("NO_COLOR"):
        settings["NO_COLOR"] = None  # the convention is "present and not empty"; Textual asks for presence
    if plain:
        settings |= {
            "TEXTUAL_DISABLE_KITTY_KEY": "1",
            "TEXTUAL_COLOR_SYSTEM": "standard",
            "TEXTUAL_FPS": "10",
            "ESCDELAY": "300",
        }
    if 0 in size:
        settings |= {"COLUMNS": str(_SERIAL_SIZE[0]), "LINES": str(_SERIAL_SIZE[1])}
    return Terminal(plain, settings)


def prepare(environ: MutableMapping[str, str], *, basic: bool = False) -> Terminal:
    """Apply the choice to the process; call it before anything imports Textual."""
    try:
        claimed = os.get_terminal_size()
    except OSError:
        claimed = shutil.get_terminal_size(_SERIAL_SIZE)
    terminal = choose_terminal(environ, (claimed.columns, claimed.lines), basic=basic)
    for name, value in terminal.settings.items():
        if value is None:
            environ.pop(name, None)
        elif name in ("COLUMNS", "LINES"):
            environ[name] = value
        else:
            environ.setdefault(name, value)
    return terminal
