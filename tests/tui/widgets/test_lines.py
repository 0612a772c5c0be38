from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.strip import Strip

from tui.widgets.lines import Bar, Line, Paper, Span, line, measure, render_strip, spread, wrap


class Page(App[None]):
    """One widget, whose painted strips are counted."""

    def __init__(self, widget: Paper | Bar) -> None:
        super().__init__()
        self.widget = widget

    def compose(self) -> ComposeResult:
        yield self.widget


class CountingPaper(Paper):
    def __init__(self, lines: list[Line]) -> None:
        super().__init__(lines)
        self.painted: list[int] = []

    def render_line(self, y: int) -> Strip:
        self.painted.append(y)
        return super().render_line(y)


@given(st.lists(st.text(max_size=20), max_size=5), st.integers(min_value=1, max_value=60))
def test_a_strip_is_exactly_as_wide_as_its_window(texts: list[str], width: int) -> None:
    assert cell_len(render_strip(line(*texts), width).text) == width


def test_nothing_from_the_network_reaches_the_strip_unharmed() -> None:
    strip = render_strip(line(Span("a\x1b[2Jb\u202e", "bad"), "[bold]x[/bold]"), 30)

    assert strip.text.rstrip() == "a[2Jb[bold]x[/bold]"


def test_the_right_side_survives_a_long_left_side() -> None:
    spread_out = spread(line("x" * 100), line("+ live "), 40)

    assert measure(spread_out) == 40
    assert spread_out[-1].text == "+ live "


@given(st.text(alphabet="ab c", max_size=200), st.integers(min_value=8, max_value=40))
def test_wrapping_loses_no_word(text: str, width: int) -> None:
    lines = wrap(text, width)

    joined = "".join(span.text for each in lines for span in each)
    assert joined.replace(" ", "") == text.replace(" ", "")
    assert all(measure(each) <= width for each in lines)


async def test_a_long_text_moves_with_the_arrows() -> None:
    page = Page(Paper([line(f"line {number}") for number in range(100)]))
    async with page.run_test(size=(20, 10)) as pilot:
        await pilot.press("down", "down", "pagedown")

        assert page.widget.line_at(0) == line("line 11")

        await pilot.press("end")
        assert page.widget.line_at(9) == line("line 99")


async def test_only_lines_that_differ_are_painted_again() -> None:
    paper = CountingPaper([line(f"line {number}") for number in range(10)])
    async with Page(paper).run_test(size=(20, 10)) as pilot:
        paper.painted.clear()
        paper.show([line(f"line {number}") if number != 4 else line("LINE 4") for number in range(10)])
        await pilot.pause()

    assert paper.painted == [4]


async def test_showing_the_same_text_paints_nothing() -> None:
    lines = [line(f"line {number}") for number in range(10)]
    paper = CountingPaper(lines)
    async with Page(paper).run_test(size=(20, 10)) as pilot:
        paper.painted.clear()
        paper.show(list(lines))
        await pilot.pause()

    assert paper.painted == []
