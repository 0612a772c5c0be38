"""The two questions of the console: choose one of a few by digit, and type the tail of what is destroyed.

The safe answer is always there, is the one selected, and is what Esc means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key
from textual.screen import ModalScreen

from tui.widgets.lines import EMPTY, Bar, Line, Lined, Span, line
from tui.widgets.typed import Typed

_WIDTH = 68
_BOX = f"""
{{name}} {{{{ align: center middle; }}}}
{{name}} > Vertical {{{{ width: {_WIDTH + 4}; height: auto; border: round; padding: 0 1; }}}}
"""


@dataclass(frozen=True, slots=True)
class Option:
    """`value` is what the question returns; `digit` is the key that picks it."""

    digit: str
    label: str
    value: str


BACK = Option("0", "back, change nothing", "")


class _Options(Lined, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("enter", "choose", show=False),
    ]

    def __init__(self, options: Sequence[Option]) -> None:
        super().__init__()
        self.options = options
        self.selected = len(options) - 1
        self.styles.height = len(options)

    def line_at(self, y: int) -> Line:
        option = self.options[y]
        return line(" ", Span(option.digit, "strong"), f"  {option.label}")

    def is_cursor(self, y: int) -> bool:
        return y == self.selected

    def action_move(self, rows: int) -> None:
        self.selected = max(0, min(self.selected + rows, len(self.options) - 1))
        self.repaint()

    def action_choose(self) -> None:
        screen = self.screen
        if isinstance(screen, Choice):
            screen.dismiss(self.options[self.selected].value)


class Choice(ModalScreen[str], inherit_bindings=False):
    """Returns the chosen option's value, and "" for back. The last option is the safe one."""

    DEFAULT_CSS = _BOX.format(name="Choice")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", show=False)]

    def __init__(self, title: str, lines: Sequence[Line], options: Sequence[Option]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self.options = (*options, BACK)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield _text(self._title, self._lines)
            yield _Options(self.options)

    def on_key(self, event: Key) -> None:
        for option in self.options:
            if event.character == option.digit:
                event.stop()
                self.dismiss(option.value)

    def action_back(self) -> None:
        self.dismiss("")


class TailQuestion(ModalScreen[bool], inherit_bindings=False):
    """Asks for the last characters of a serial or hash before something is destroyed."""

    DEFAULT_CSS = _BOX.format(name="TailQuestion")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", show=False)]

    def __init__(self, title: str, lines: Sequence[Line], *, tail: str) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._tail = tail

    def compose(self) -> ComposeResult:
        ask = line(f"Type the last {len(self._tail)} characters of its TPM hash, Enter; or Esc for back.")
        with Vertical():
            yield _text(self._title, [*self._lines, (), ask])
            yield Typed(placeholder="?" * len(self._tail), max_length=16)
            yield Bar(id="answer")

    def on_input_submitted(self, event: Typed.Submitted) -> None:
        if event.value.strip().lower() == self._tail.lower():
            self.dismiss(True)
        else:
            said = f"{event.value!r} is not its tail; nothing was changed."
            self.query_one("#answer", Bar).show(line(Span(said, "warn")))

    def action_back(self) -> None:
        self.dismiss(False)


def _text(title: str, lines: Sequence[Line]) -> Bar:
    shown = [line(Span(title, "strong")), EMPTY, *lines, *([EMPTY] if lines else [])]
    bar = Bar(height=len(shown))
    bar.show(*shown)
    return bar
