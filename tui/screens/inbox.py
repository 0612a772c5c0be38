"""Machines that nobody has decided about: found on the network, or registered and waiting.

The tail of the TPM hash stands on the machine's own screen too; comparing the two is the decision. An entry
that was decided here stays, with its answer, until the cursor leaves it: a second press of `a` must never
fall on the neighbour that moved up.
"""

from collections.abc import Sequence

from textual.app import ComposeResult

from appliance.api.contract import InboxEntry
from tui import twins
from tui.desk import Desk
from tui.screens.frame import Action, Frame
from tui.screens.host import approval_of
from tui.session import Command
from tui.states import APPROVED, REJECTED, State, state_of
from tui.text import parse_time, render_age, tail
from tui.widgets.confirm import Choice, Option
from tui.widgets.lines import Line, Span, line, wrap
from tui.widgets.table import Cells, Column, LineTable

COLUMNS = (
    Column("STATE", 10),
    Column("NAME"),
    Column("TPM TAIL", 9),
    Column("ADDRESS", 21),
    Column("SINCE", 6),
)


class InboxScreen(Frame):
    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._decided: dict[str, tuple[InboxEntry, State]] = {}

    @property
    def entry(self) -> InboxEntry | None:
        """The one under the cursor, unless it has just been decided."""
        row = self.query_one(LineTable).row
        return None if row is None or row in self._decided else self.desk.known.inbox.get(row)

    def twin(self) -> str:
        return twins.INBOX

    def body(self) -> ComposeResult:
        yield LineTable(COLUMNS, self.cells, id="inbox", jump=self.desk.basic)

    def actions(self) -> Sequence[Action]:
        return (Action("a", "approve", self.approve), Action("r", "reject…", self.ask_reject))

    def paint_body(self) -> None:
        entries = {**self.desk.known.inbox, **{row: entry for row, (entry, _) in self._decided.items()}}
        ordered = sorted(
            entries.values(), key=lambda entry: (state_of(entry).rank, entry.first_seen, entry.id)
        )
        said = "Nobody waits. A machine that boots our seed image appears here."
        self.query_one(LineTable).show([entry.id for entry in ordered], empty=said)

    def cells(self, row: str) -> Cells:
        entry, state = self._decided.get(row, (None, None))
        entry = entry or self.desk.known.inbox.get(row)
        if entry is None:
            return [Span("")] * len(COLUMNS)
        state = state or state_of(entry)
        return (
            Span(str(state), state.tone),
            Span(entry.name, "dim" if row in self._decided else ""),
            Span(tail(entry.details.get("tpm", "")), "strong"),
            Span(entry.address),
            Span(render_age(parse_time(entry.first_seen), self.desk.clock()), "dim"),
        )

    def approve(self) -> None:
        entry = self._waiting()
        if entry is not None:
            self._decided[entry.id] = (entry, APPROVED)
            self.desk.act(approval_of(entry.name, entry.namespace, by=self.desk.operator))

    def ask_reject(self) -> None:
        entry = self._waiting()
        if entry is None:
            return

        def reject(answer: str | None) -> None:
            if answer:
                self.reject(entry)

        self.app.push_screen(
            Choice(
                f"Reject {entry.name}?",
                [
                    *_describe(entry),
                    *wrap("It is refused until somebody approves it. Nothing is deleted.", 66),
                ],
                [Option("1", f"reject {entry.name}", "reject")],
            ),
            reject,
        )

    def reject(self, entry: InboxEntry) -> None:
        self._decided[entry.id] = (entry, REJECTED)
        self.desk.act(
            Command(
                twins.reject(entry.name, entry.namespace),
                f"{entry.name} is rejected.",
                lambda appliance: appliance.reject(entry.name, entry.namespace, by=self.desk.operator),
            )
        )
        self.paint()

    def on_line_table_moved(self) -> None:
        """Decided entries go when the cursor moves on."""
        row = self.query_one(LineTable).row
        self._decided = {key: decided for key, decided in self._decided.items() if key == row}
        self.paint()

    def on_screen_suspend(self) -> None:
        self._decided.clear()

    def on_line_table_chosen(self, event: LineTable.Chosen) -> None:
        entry = self.entry
        if entry is None:
            return
        options = (Option("1", "approve", "a"), Option("2", "reject", "r")) if entry.kind == "waiting" else ()

        def decide(answer: str | None) -> None:
            if answer == "a":
                self.approve()
            elif answer == "r":
                self.reject(entry)
            self.paint()

        self.app.push_screen(Choice(entry.name, _describe(entry), options), decide)

    def _waiting(self) -> InboxEntry | None:
        """The entry under the cursor if it can be decided; says why when it cannot."""
        entry = self.entry
        if entry is not None and entry.kind == "found":
            self.desk.notice = (
                f"{entry.name} shows a code on its screen: {twins.pair(entry.name)}"
                if entry.details.get("pair") == "1"
                else f"{entry.name} was only heard on the network, which proves nothing; "
                "it has to register first."
            )
            return None
        return entry


def _describe(entry: InboxEntry) -> list[Line]:
    tpm_hash = entry.details.get("tpm", "")
    lines = [line(f"{name:<13}", Span(value)) for name, value in _facts(entry).items() if value]
    if tpm_hash:
        compare = line("TPM tail     ", Span(tail(tpm_hash), "strong"), "  <== same on the machine's screen?")
        lines = [compare, *lines]
    return lines


def _facts(entry: InboxEntry) -> dict[str, str]:
    details = {name: value for name, value in entry.details.items() if name != "tpm"}
    return {"address": entry.address, "namespace": entry.namespace, **dict(list(details.items())[:8])}
