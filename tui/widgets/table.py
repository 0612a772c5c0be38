"""A table of any length on the line API: it asks for the cells of the visible rows and for no others.

Rows are named by id. The cursor stays on its id, and on its line of the screen, when rows come, go or are
sorted anew, so a row never moves under the operator's finger. It keeps no data: ids in order and a function
from id to cells are all it knows. Sorting and filtering are the screen's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from tui.states import Tone
from tui.text import fit, plain
from tui.widgets.lines import EMPTY, Line, Lined, Span

Cells: TypeAlias = Sequence[Span]
_GAP = " "


@dataclass(frozen=True, slots=True)
class Column:
    """`width` 0 takes what is left; `from_width` hides the column on narrower screens."""

    title: str
    width: int = 0
    from_width: int = 0


class LineTable(Lined, can_focus=True):
    """Titles in the first line, rows below, the row under the cursor reversed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("home", "move(-1000000000)", show=False),
        Binding("end", "move(1000000000)", show=False),
        Binding("enter", "choose", show=False),
    ]

    class Chosen(Message):
        """Enter was pressed on a row."""

        def __init__(self, table: "LineTable", row: str) -> None:
            super().__init__()
            self.table = table
            self.row = row

        @property
        def control(self) -> "LineTable":
            return self.table

    class Moved(Message):
        """The operator moved the cursor to another row."""

    def __init__(
        self,
        columns: Sequence[Column],
        cells_of: Callable[[str], Cells],
        *,
        id: str | None = None,
        empty: str = "",
        jump: bool = False,
    ) -> None:
        """`jump` scrolls by half a window at the edge: fewer full repaints on a slow line."""
        super().__init__(id=id)
        self._columns = columns
        self.cells_of = cells_of
        self._empty = empty
        self._jump = jump
        self._rows: Sequence[str] = ()
        self._cursor = 0
        self._top = 0
        self._sorted_by = ""

    @property
    def rows(self) -> Sequence[str]:
        return self._rows

    @property
    def row(self) -> str | None:
        """The id under the cursor."""
        return self._rows[self._cursor] if self._rows else None

    @property
    def position(self) -> str:
        return f"{self._cursor + 1}/{len(self._rows)}" if self._rows else "0/0"

    def show(self, rows: Sequence[str], *, sorted_by: str = "", empty: str = "") -> None:
        """Take new rows, or the same ones with new cells; the cursor keeps its id and its line."""
        offset = self._cursor - self._top
        current = self.row
        self._rows, self._sorted_by = rows, sorted_by
        self._empty = empty or self._empty
        if current is not None and (self._cursor >= len(rows) or rows[self._cursor] != current):
            self._cursor = _find(rows, current, near=self._cursor)
        self._top = max(0, min(self._cursor - offset, len(rows) - self._room()))
        self._reveal()
        self.repaint()

    def line_at(self, y: int) -> Line:
        if y == 0:
            return self._titles()
        index = self._top + y - 1
        if index < len(self._rows):
            return self._row_line(self.cells_of(self._rows[index]))
        return (Span(f" {self._empty}", "dim"),) if y == 2 and not self._rows else EMPTY

    def is_cursor(self, y: int) -> bool:
        return y > 0 and bool(self._rows) and self._top + y - 1 == self._cursor

    def action_move(self, rows: int) -> None:
        if not self._rows:
            return
        before = self._cursor
        self._cursor = max(0, min(self._cursor + rows, len(self._rows) - 1))
        self._reveal()
        self.repaint()
        if self._cursor != before:
            self.post_message(self.Moved())

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self._room() - 1))

    def action_choose(self) -> None:
        if (row := self.row) is not None:
            self.post_message(self.Chosen(self, row))

    def on_resize(self, _: events.Resize) -> None:
        self._reveal()
        self.repaint()

    def _room(self) -> int:
        return max(1, self.size.height - 1)

    def _reveal(self) -> None:
        step = self._room() // 2 if self._jump else 0
        if self._cursor < self._top:
            self._top = max(0, self._cursor - step)
        elif self._cursor >= self._top + self._room():
            self._top = min(self._cursor - self._room() + 1 + step, max(0, len(self._rows) - self._room()))

    def _titles(self) -> Line:
        return self._row_line([Span(self._title(column)) for column in self._columns], tone="title")

    def _title(self, column: Column) -> str:
        return f"{column.title} ^" if self._sorted_by == column.title else column.title

    def _row_line(self, cells: Cells, *, tone: Tone = "") -> Line:
        width = self.size.width
        shown = [
            (column, cell)
            for column, cell in zip(self._columns, cells, strict=True)
            if width >= column.from_width
        ]
        fixed = sum(column.width + 1 for column, _ in shown if column.width) + 1
        flexible = max(1, sum(1 for column, _ in shown if not column.width))
        rest = max(4, (width - fixed) // flexible - 1)
        spans = [Span(_GAP)]
        for column, cell in shown:
            spans += [Span(fit(plain(cell.text), column.width or rest), tone or cell.tone), Span(_GAP)]
        return tuple(spans)


def _find(rows: Sequence[str], row: str, *, near: int) -> int:
    """Where `row` is now; when it is gone, the place where it was."""
    try:
        return rows.index(row)
    except ValueError:
        return max(0, min(near, len(rows) - 1))
