"""Everything this console did and saw, newest last: each command as it would be typed, and how it ended."""

from textual.app import ComposeResult

from tui.desk import EntryKind, LogEntry
from tui.screens.frame import Frame
from tui.states import Tone
from tui.widgets.lines import Line, Paper, wrap

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
        width = self.app.size.width
        paper.show([each for entry in self.desk.log for each in _render(entry, width)], follow=True)


def _render(entry: LogEntry, width: int) -> list[Line]:
    mark, tone = _MARKS[entry.kind]
    return wrap(entry.text, width - 1, tone=tone, first=f" {entry.at:%H:%M:%S} {mark} ", indent=" " * 12)
