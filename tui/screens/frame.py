"""What all screens share: header, body, command line, keys; digits, actions and how they are reached.

A screen lists its `actions`; each is then reachable by its letter, by the numbered menu behind 6 (so that
digits, arrows, Enter and Esc suffice), and named in the key line. Letters that are not actions do nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.events import Key
from textual.screen import Screen

from tui.desk import Desk
from tui.widgets.command_line import CommandLine
from tui.widgets.confirm import Choice, Option
from tui.widgets.header import Header
from tui.widgets.lines import Bar, Line, Span
from tui.widgets.typed import Typed


@dataclass(frozen=True, slots=True)
class Action:
    key: str
    label: str
    run: Callable[[], None]


class Frame(Screen[None], inherit_bindings=False):
    """Subclasses answer `body`, `actions` and `paint_body`."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    def body(self) -> ComposeResult:
        raise NotImplementedError

    def paint_body(self) -> None:
        raise NotImplementedError

    def actions(self) -> Sequence[Action]:
        return ()

    def compose(self) -> ComposeResult:
        yield Header()
        yield from self.body()
        yield CommandLine(id="command")
        yield Bar(id="keys", height=2)

    def twin(self) -> str:
        """What shows the same in a shell."""
        return ""

    def on_screen_resume(self) -> None:
        self.desk.enter(self)
        self.paint()

    def on_resize(self) -> None:
        self.call_after_refresh(self.paint)

    def paint(self) -> None:
        """Show what is known now; only what differs is sent."""
        if not self.is_mounted:
            return
        desk = self.desk
        self.query_one(Header).show_known(desk.known, server=desk.server, now=desk.clock())
        notice = desk.notice or (f"{desk.known.trouble} Trying again." if desk.known.trouble else "")
        self.query_one(CommandLine).show_command(desk.twin or self.twin(), desk.outcome, notice)
        self.query_one("#keys", Bar).show(*self._keys())
        self.paint_body()

    def paint_header(self) -> None:
        if self.is_mounted:
            self.query_one(Header).show_known(self.desk.known, server=self.desk.server, now=self.desk.clock())

    def say(self, sentence: str) -> None:
        """Show a notice until the next action."""
        self.desk.notice = sentence
        self.paint()

    def on_key(self, event: Key) -> None:
        if isinstance(self.focused, Typed):
            return
        for action in self.actions():
            if event.character == action.key:
                event.stop()
                self.desk.notice = ""
                action.run()
                self.paint()
                return

    def show_actions(self) -> None:
        """The numbered menu: every action of the screen without a letter key."""
        actions = list(self.actions())
        options = [Option(str(number), action.label, action.key) for number, action in enumerate(actions, 1)]
        if not options:
            self.say("There is nothing to do here; Esc goes back.")
            return

        def choose(key: str | None) -> None:
            for action in actions:
                if action.key == key:
                    self.desk.notice = ""
                    action.run()
                    self.paint()

        self.app.push_screen(Choice("What now?", [], options), choose)

    def _keys(self) -> Iterator[Line]:
        spans = [Span(" ")]
        for action in self.actions():
            spans += [Span(action.key, "strong"), Span(f" {action.label}  ")]
        yield tuple(spans)
        waiting = sum(1 for entry in self.desk.known.inbox.values() if entry.kind == "waiting")
        places = [
            "hosts",
            f"inbox({waiting})" if waiting else "inbox",
            "rollouts",
            "bundles",
            "log",
            "actions",
        ]
        keys = [*enumerate(places, 1), (9, "help"), (0, "back"), ("q", "quit")]
        yield tuple(span for key, place in keys for span in (Span(f" {key}", "strong"), Span(f" {place}")))
