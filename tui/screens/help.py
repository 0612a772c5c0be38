"""Every key and every symbol, on one screen."""

from textual.app import ComposeResult

from tui.screens.frame import Frame
from tui.states import HOST, ROLLOUT_HOST
from tui.widgets.lines import EMPTY, Line, Paper, Span, line

_KEYS = (
    ("1 2 3 4 5", "hosts, inbox, rollouts, bundles and operations, log; again: redraw"),
    ("arrows, Enter", "move, open; PgUp PgDn Home End move further"),
    ("Esc or 0", "back: out of a question, a filter, a page"),
    ("6", "what can be done here, as a numbered list"),
    ("9 or ?", "this page"),
    ("q", "leave; the appliance and everything on it goes on"),
    ("/  s", "hosts: find words (name, state, version, label, TPM); sort"),
    ("a  r", "inbox: approve, reject the machine under the cursor"),
    ("p  r", "rollouts: pause, resume"),
)


class HelpScreen(Frame):
    def body(self) -> ComposeResult:
        yield Paper(_render(), id="help")

    def paint_body(self) -> None:
        self.query_one(Paper).show(_render())


def _render() -> list[Line]:
    return [
        line(Span(" keys", "title")),
        *(line(" ", Span(f"{keys:<14}", "strong"), f" {meaning}") for keys, meaning in _KEYS),
        EMPTY,
        line(Span(" states", "title")),
        *_symbols([(state.symbol, state.word) for state in HOST.values()]),
        line(" in a wave's bar:"),
        *_symbols([(state.symbol, state.word) for state in ROLLOUT_HOST.values()]),
        EMPTY,
        line(" The line above the keys is what you would type in a shell to do the same."),
        line(" When the appliance is away, everything stays as last heard; the top says how old."),
    ]


def _symbols(pairs: list[tuple[str, str]]) -> list[Line]:
    words = [f"{symbol} {word}" for symbol, word in pairs]
    return [
        line("  ", "".join(f"{word:<15}" for word in words[start : start + 5]))
        for start in range(0, len(words), 5)
    ]
