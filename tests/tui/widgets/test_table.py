from textual.app import App, ComposeResult

from tui.widgets.lines import Span
from tui.widgets.table import Cells, Column, LineTable


class Page(App[None]):
    """A table of one column whose cells are counted."""

    def __init__(self, rows: list[str]) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.chosen: list[str] = []
        self.rows = rows
        self.table = LineTable([Column("NAME")], self.cells, empty="nothing")

    def cells(self, row: str) -> Cells:
        self.asked.append(row)
        return [Span(row)]

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.show(self.rows)

    def on_line_table_chosen(self, event: LineTable.Chosen) -> None:
        self.chosen.append(event.row)

    def shown(self) -> list[str]:
        lines = [self.table.render_line(y).text.strip() for y in range(1, self.table.size.height)]
        return [text for text in lines if text]


def names(count: int) -> list[str]:
    return [f"host-{number:05}" for number in range(count)]


async def test_of_ten_thousand_rows_only_the_visible_are_asked_for() -> None:
    page = Page(names(10_000))
    async with page.run_test(size=(40, 20)):
        assert set(page.asked) == set(names(19))


async def test_the_cursor_can_go_to_the_end_and_still_only_that_window_is_asked_for() -> None:
    page = Page(names(10_000))
    async with page.run_test(size=(40, 20)) as pilot:
        page.asked.clear()
        await pilot.press("end", "enter")

        assert set(page.asked) <= set(names(10_000)[-20:])
        assert page.chosen == ["host-09999"]


async def test_the_cursor_keeps_its_row_and_its_line_when_rows_come_above() -> None:
    page = Page(names(100))
    async with page.run_test(size=(40, 11)) as pilot:
        await pilot.press(*["down"] * 20)
        line_before = page.shown().index("host-00020")

        page.table.show(["new-1", "new-2", *names(100)])

        assert page.table.row == "host-00020"
        assert page.shown().index("host-00020") == line_before


async def test_when_the_row_under_the_cursor_goes_its_neighbour_is_next() -> None:
    page = Page(names(10))
    async with page.run_test(size=(40, 11)) as pilot:
        await pilot.press("down", "down")

        page.table.show([name for name in names(10) if name != "host-00002"])

        assert page.table.row == "host-00003"


async def test_the_last_rows_stay_in_sight_when_the_list_shrinks() -> None:
    page = Page(names(100))
    async with page.run_test(size=(40, 11)) as pilot:
        await pilot.press("end")

        page.table.show(names(5))

        assert page.shown() == names(5)
        assert page.table.row == "host-00004"


async def test_an_empty_table_says_why_and_chooses_nothing() -> None:
    page = Page([])
    async with page.run_test(size=(40, 11)) as pilot:
        await pilot.press("down", "enter")

        assert page.shown() == ["nothing"]
        assert page.chosen == []
        assert page.table.row is None


async def test_a_jumping_table_moves_by_half_a_window_at_the_edge() -> None:
    page = Page(names(100))
    page.table = LineTable([Column("NAME")], page.cells, jump=True)
    async with page.run_test(size=(40, 11)) as pilot:
        await pilot.press(*["down"] * 10)

        assert page.shown()[0] == "host-00006"
        assert page.table.row == "host-00010"
