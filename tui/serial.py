"""For slow lines: a driver that sends only the cells that differ from what the terminal shows.

Textual paints a new page three times over while it settles, and always from the left edge of a widget to the
change; at 9600 baud that is seconds. This keeps a copy of the terminal's cells and lets through differences
only. Anything but text, colours and cursor moves is sent as it is and makes it forget everything, and so
does `forget`, for when something else wrote on the line.
"""

import re
from collections.abc import Iterator

from textual.drivers.linux_driver import LinuxDriver

_TOKEN = re.compile(
    r"\x1b\[(?P<y>\d+);(?P<x>\d+)H|\x1b\[(?P<style>[\d;]*)m|(?P<newline>\r?\n)|(?P<text>[ -~]+)"
)
_POINTER = re.compile(r"\x1b\]22;[^\x07]*\x07")  # the shape of a mouse pointer; old terminals print it
_WORTH_A_MOVE = 7  # a cursor move costs about as many bytes as this many cells

Cell = tuple[str, str]
Row = dict[int, Cell]


class ShownCells:
    """What the terminal shows, as far as it is known: character and attributes of each cell."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._cursor = (-1, -1)

    def forget(self) -> None:
        """Believe nothing; whatever is painted next is sent whole."""
        self._rows.clear()
        self._cursor = (-1, -1)

    def next_output(self, data: str) -> str:
        """What has to be sent so that the terminal looks as if it had been sent `data`."""
        data = _POINTER.sub("", data)
        if not data:
            return ""
        painted = _parse(data)
        if painted is None:
            self.forget()
            return data
        rows, cursor = painted
        out = "".join(self._render_row(y, row) for y, row in rows.items())
        if out or cursor != self._cursor:
            out += f"\x1b[{cursor[0]};{cursor[1]}H"
        self._cursor = cursor
        return out

    def _render_row(self, y: int, row: Row) -> str:
        shown = self._rows.setdefault(y, {})
        differing = sorted(x for x, cell in row.items() if shown.get(x) != cell)
        shown.update(row)
        return "".join(_render_run(y, run, shown) for run in _runs(differing, shown))


class SerialDriver(LinuxDriver):
    """The usual driver with `ShownCells` before the line."""

    shown: ShownCells

    def write(self, data: str) -> None:
        if not hasattr(self, "shown"):
            self.shown = ShownCells()
        if out := self.shown.next_output(data):
            super().write(out)


def _parse(data: str) -> tuple[dict[int, Row], tuple[int, int]] | None:
    """The cells that `data` paints and where it leaves the cursor; None when it does anything else."""
    rows: dict[int, Row] = {}
    y = x = 0
    style = ""
    end = 0
    for token in _TOKEN.finditer(data):
        if token.start() != end:
            return None
        end = token.end()
        if token["y"]:
            y, x = int(token["y"]), int(token["x"])
        elif token["style"] is not None:
            given = token["style"]
            style = "" if given in ("", "0") else f"{style};{given}".lstrip(";")
        elif token["newline"]:
            y, x = y + 1, 1
        else:
            if y < 1:
                return None  # text before any cursor move: we do not know where it goes
            row = rows.setdefault(y, {})
            for character in token["text"]:
                row[x] = (character, style)
                x += 1
    return (rows, (y, x)) if end == len(data) and y >= 1 else None


def _runs(differing: list[int], shown: Row) -> Iterator[range]:
    """Join differing cells over short gaps whose content is known."""
    start = before = None
    for x in differing:
        if start is None or before is None:
            start = x
        elif x - before > _WORTH_A_MOVE or any(gap not in shown for gap in range(before, x)):
            yield range(start, before + 1)
            start = x
        before = x
    if start is not None and before is not None:
        yield range(start, before + 1)


def _render_run(y: int, run: range, shown: Row) -> str:
    parts = [f"\x1b[{y};{run.start}H"]
    current = ""
    for x in run:
        character, style = shown[x]
        if style != current:
            parts.append("\x1b[0m" if current else "")
            parts.append(f"\x1b[{style}m" if style else "")
            current = style
        parts.append(character)
    return "".join(parts) + ("\x1b[0m" if current else "")
