from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from tui.filters import BasicTerminal, render_ascii

BLACK = Color(0, 0, 0)


def test_frames_and_bars_have_ascii_twins() -> None:
    assert render_ascii("┌─ slot A ─┐│[██··]…") == "+- slot A -+|[##..]~"


@given(st.text())
def test_the_result_is_ascii_and_keeps_its_width(text: str) -> None:
    shown = render_ascii(text)

    assert shown.isascii()
    assert cell_len(shown) == cell_len(text)


def test_only_attributes_of_a_vt100_stay() -> None:
    style = Style(color="red", bgcolor="blue", dim=True, bold=True, reverse=True)

    (segment,) = BasicTerminal().apply([Segment("x", style)], BLACK)

    assert segment.style == Style(bold=True, reverse=True)
