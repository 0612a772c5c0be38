"""All hosts, live, in one table: what needs a person first. `/` filters, `s` sorts, Enter opens."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal

from appliance.api.contract import HostView
from tui import twins
from tui.desk import Desk
from tui.find import ORDERS, Order, find_hosts
from tui.known import Known
from tui.screens.frame import Action, Frame
from tui.screens.host import HostScreen
from tui.states import HOST
from tui.text import parse_time, render_age
from tui.widgets.lines import Bar, Span, line
from tui.widgets.progress import percent
from tui.widgets.table import Cells, Column, LineTable
from tui.widgets.typed import Typed

COLUMNS = (
    Column("STATE", 13),
    Column("NAME"),
    Column("SLOT", 4),
    Column("VERSION", 12),
    Column("PHASE", 9),
    Column("PROGRESS", 16),
    Column("SEEN", 5),
    Column("ADDRESS", 15, from_width=110),
)
_BAR_WIDTH = 8
SEARCHED_LETTERS = 3  # fewer say too little to ask the inventory


class HostsScreen(Frame):
    DEFAULT_CSS = """
    HostsScreen Horizontal { height: 1; display: none; }
    HostsScreen Horizontal.shown { display: block; }
    HostsScreen Horizontal Bar { width: 8; }
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.typed = ""
        self.order: Order = "STATE"

    def twin(self) -> str:
        return twins.HOSTS

    def body(self) -> ComposeResult:
        yield LineTable(COLUMNS, self.cells, id="hosts", jump=self.desk.basic)
        with Horizontal(id="filter"):
            label = Bar()
            label.show(line(Span(" find /", "strong")))
            yield label
            yield Typed(placeholder="words to find; !word leaves out; Enter keeps, Esc clears")

    def actions(self) -> Sequence[Action]:
        return (
            Action("/", f"find [{self.typed}]" if self.typed else "find", self.ask_filter),
            Action("s", f"sort by {self._next_order().lower()}", self.sort_next),
        )

    def paint_body(self) -> None:
        known = self.desk.known
        also = known.found if known.found_by == self.typed else frozenset()
        rows = find_hosts(known.hosts.values(), typed=self.typed, order=self.order, also=also)
        table = self.query_one(LineTable)
        table.show(rows, sorted_by=self.order, empty=self._emptiness())

    def cells(self, key: str) -> Cells:
        host = self.desk.known.hosts.get(key)
        if host is None:
            return [Span("")] * len(COLUMNS)
        state = HOST[host.phase]
        return (
            Span(str(state), state.tone),
            Span(host.name, "strong" if state.tone in ("bad", "warn") else ""),
            Span(host.slot.upper()),
            Span(host.version),
            *render_transaction(host, self.desk.known),
            Span(render_age(parse_time(host.last_seen), self.desk.clock()), "dim"),
            Span(host.address, "dim"),
        )

    def ask_filter(self) -> None:
        self.query_one("#filter").add_class("shown")
        self.query_one(Typed).focus()

    def sort_next(self) -> None:
        self.order = self._next_order()

    def back(self) -> bool:
        """Esc first puts the filter away."""
        if not self.typed and not self.query_one("#filter").has_class("shown"):
            return False
        self.query_one(Typed).value = ""
        self._close_filter("")
        return True

    def on_input_changed(self, event: Typed.Changed) -> None:
        self.typed = event.value
        if len(self.typed.strip()) >= SEARCHED_LETTERS:
            self.desk.search(self.typed)
        self.paint()

    def on_input_submitted(self, event: Typed.Submitted) -> None:
        self._close_filter(event.value)

    def on_line_table_chosen(self, event: LineTable.Chosen) -> None:
        self.app.push_screen(HostScreen(self.desk, event.row))

    def _close_filter(self, typed: str) -> None:
        self.typed = typed
        self.query_one("#filter").remove_class("shown")
        self.query_one(LineTable).focus()
        self.paint()

    def _next_order(self) -> Order:
        return ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]

    def _emptiness(self) -> str:
        if self.typed:
            return f"No host matches {self.typed!r}. Esc shows all of them."
        if "hosts" not in self.desk.known.listed:
            return "The appliance has not told us yet."
        return "No hosts yet. Boot one from a seed image; it appears in the inbox (2)."


def render_transaction(host: HostView, known: Known) -> tuple[Span, Span]:
    """The phase and the progress cell: a bar with a number while something runs."""
    transaction = host.transaction
    if transaction is None or transaction.phase == "done":
        return Span(""), Span("")
    full = _BAR_WIDTH * max(0, min(100, transaction.percent)) // 100
    bar = f"[{'█' * full}{'·' * (_BAR_WIDTH - full)}]"
    return Span(transaction.phase, "busy"), Span(f"{bar} {percent(transaction.percent, 100)}", "busy")
