"""Everything this console did and saw, newest last: each command as it would be typed, and how it ended."""

from textual.app import ComposeResult

from tui.desk import EntryKind, LogEntry
from tui.screens.frame import Frame
from tui.states import Tone
from tui.widgets.lines import Line, Paper, Span, line

_MARKS: dict[EntryKind, tuple[str, Tone]] = {
    "command": ("$", "strong"),
    "done": ("+", ""),
    "refused": ("!", "warn"),
    "event": ("-", "dim"),
}


class LogScreen(Frame):
    def body(self) -> ComposeResult:
        yield Paper(id="log")

    def paint_body(self) -> None:
        paper = self.query_one(Paper)
        paper.show([_render(entry) for entry in self.desk.log], follow=True)


def _render(entry: LogEntry) -> Line:
    mark, tone = _MARKS[entry.kind]
    return line(Span(f" {entry.at:%H:%M:%S} ", "dim"), Span(f"{mark} {entry.text}", tone))
