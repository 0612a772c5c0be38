"""The line that shows the CLI twin of the last action and how it ended, and the notice above it."""

from tui.states import Tone
from tui.widgets.lines import Bar, Line, Span, line, wrap


class CommandLine(Bar):
    """One line always; up to two more while there is something to say."""

    DEFAULT_CSS = "CommandLine { height: 1; }"

    def show_command(self, twin: str, outcome: str, notice: str) -> None:
        lines = render_command(twin, outcome, notice, self.app.size.width)
        if self.styles.height is None or self.styles.height.value != len(lines):
            self.styles.height = len(lines)
        self.show(*lines)


def render_command(twin: str, outcome: str, notice: str, width: int) -> list[Line]:
    tone: Tone = "bad" if outcome == "REFUSED" else "dim"
    command = line(" $ ", Span(twin, "strong"), Span(f"  [{outcome}]" if outcome else "", tone))
    said = wrap(notice, width - 4, tone="warn", first=" ! ", indent="   ")[:2] if notice else []
    return [*said, command]
