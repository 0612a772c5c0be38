"""Lines of toned text, and the widget that paints them and sends only the cells that changed.

Textual repaints whole widgets; on a serial line that is seconds (3.5 kB for one changed cell of a
DataTable). A `Lined` widget remembers what it painted, and `repaint` asks for just the differing span of
each line. Text is made harmless and cut to width here, in one place, for every screen. Nothing is
parsed as markup.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, TypeAlias

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.states import Tone
from tui.text import fit, plain

STYLES: dict[Tone, Style] = {
    "": Style(),
    "dim": Style(dim=True),
    "strong": Style(bold=True),
    "good": Style(color="green"),
    "busy": Style(color="cyan"),
    "warn": Style(color="yellow", bold=True),
    "bad": Style(color="red", bold=True),
    "title": Style(bold=True, underline=True),
}
_REVERSE = Style(reverse=True)


class Span(NamedTuple):
    text: str
    tone: Tone = ""


Line: TypeAlias = tuple[Span, ...]
EMPTY: Line = ()


def line(*parts: str | Span) -> Line:
    """Make a line of plain and toned parts."""
    return tuple(Span(part) if isinstance(part, str) else part for part in parts)


def spread(left: Line, right: Line, width: int) -> Line:
    """Put `left` at the left and `right` at the right edge; the left gives way."""
    room = max(0, width - measure(right))
    kept = list[Span]()
    used = 0
    for text, tone in left:
        clean = plain(text)
        length = min(cell_len(clean), room - used)
        kept.append(Span(fit(clean, length), tone))
        used += length
    return (*kept, Span(" " * (room - used)), *right)


def measure(line: Line) -> int:
    """Width in terminal cells."""
    return sum(cell_len(plain(span.text)) for span in line)


def wrap(text: str, width: int, *, tone: Tone = "", first: str = "", indent: str = "") -> list[Line]:
    """Break a sentence into lines at spaces; a word longer than the line is cut hard, not lost."""
    lines = list[Line]()
    room = max(8, width - max(len(first), len(indent)))
    current = ""
    for word in plain(text).split():
        while word:
            joined = f"{current} {word}" if current else word
            if cell_len(joined) <= room:
                current, word = joined, ""
            elif current:
                lines.append(line(indent if lines else first, Span(current, tone)))
                current = ""
            else:
                lines.append(line(indent if lines else first, Span(word[:room], tone)))
                word = word[room:]
    if current or not lines:
        lines.append(line(indent if lines else first, Span(current, tone)))
    return lines


def render_strip(line: Line, width: int, *, reverse: bool = False) -> Strip:
    """Make the harmless, exactly `width` cells wide strip of a line."""
    segments = list[Segment]()
    left = width
    for text, tone in line:
        if left <= 0:
            break
        clean = plain(text)
        length = min(cell_len(clean), left)
        if not length:
            continue
        style = STYLES[tone]
        segments.append(Segment(fit(clean, length), _REVERSE + style if reverse else style))
        left -= length
    if left > 0:
        segments.append(Segment(" " * left, _REVERSE if reverse else STYLES[""]))
    return Strip(Segment.simplify(segments), width)


class Lined(Widget, inherit_bindings=False):
    """A widget of lines. Subclasses answer `line_at(y)`; nothing outside the window is ever asked for."""

    DEFAULT_CSS = "Lined { height: 1fr; width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._painted: dict[int, Strip] = {}

    def line_at(self, y: int) -> Line:
        """The line in row `y` of the window."""
        raise NotImplementedError

    def is_cursor(self, y: int) -> bool:
        """Say whether row `y` carries the cursor bar."""
        return False

    def render_line(self, y: int) -> Strip:
        strip = self._make(y)
        self._painted[y] = strip
        return strip

    def repaint(self) -> None:
        """Send what differs from what is on the screen, and nothing else."""
        for y in range(self.size.height):
            before = self._painted.get(y)
            if before is None:
                self.refresh(Region(0, y, self.size.width, 1))
            elif (span := _difference(before, self._make(y))) is not None:
                self.refresh(Region(span[0], y, span[1] - span[0], 1))

    def _make(self, y: int) -> Strip:
        return render_strip(self.line_at(y), self.size.width, reverse=self.is_cursor(y))


class Paper(Lined, can_focus=True):
    """A text that can be longer than its window; the arrows move it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end", "move(1000000)", show=False),
    ]

    def __init__(self, lines: Sequence[Line] = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines = list(lines)
        self._top = 0

    @property
    def lines(self) -> Sequence[Line]:
        return self._lines

    def show(self, lines: Sequence[Line], *, follow: bool = False) -> None:
        """Replace the text; with `follow`, a window that showed the end keeps showing it."""
        at_end = self._top >= self._last_top()
        self._lines = list(lines)
        self._top = self._last_top() if follow and at_end else min(self._top, self._last_top())
        self.repaint()

    def line_at(self, y: int) -> Line:
        index = self._top + y
        return self._lines[index] if index < len(self._lines) else EMPTY

    def action_move(self, lines: int) -> None:
        self._top = max(0, min(self._top + lines, self._last_top()))
        self.repaint()

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.size.height - 1))

    def _last_top(self) -> int:
        return max(0, len(self._lines) - max(1, self.size.height))


class Bar(Lined):
    """A fixed strip of one or a few lines: header, notices, keys."""

    DEFAULT_CSS = "Bar { height: 1; }"

    def __init__(self, *, id: str | None = None, height: int = 1) -> None:
        super().__init__(id=id)
        self._shown: Sequence[Line] = ()
        self.styles.height = height

    @property
    def shown(self) -> Sequence[Line]:
        return self._shown

    def show(self, *lines: Line) -> None:
        self._shown = lines
        self.repaint()

    def line_at(self, y: int) -> Line:
        return self._shown[y] if y < len(self._shown) else EMPTY


def _difference(before: Strip, after: Strip) -> tuple[int, int] | None:
    """The first and one past the last differing column, None when equal."""
    old, new = _cells(before), _cells(after)
    if len(old) != len(new):
        return 0, len(new)
    differing = [index for index, cell in enumerate(old) if cell != new[index]]
    return (differing[0], differing[-1] + 1) if differing else None


def _cells(strip: Strip) -> list[tuple[str, Style | None]]:
    cells = list[tuple[str, Style | None]]()
    for text, style, _ in strip:
        for character in text:
            cells.extend([(character, style)] * cell_len(character))
    return cells
