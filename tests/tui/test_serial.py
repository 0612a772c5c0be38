import re

from hypothesis import given
from hypothesis import strategies as st

from tui.serial import ShownCells

WIDTH, HEIGHT = 12, 4
STYLES = ("", "1", "7", "1;4")


class Screen:
    """The smallest terminal that can be compared: cells with their attributes."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], tuple[str, str]] = {}
        self.y = self.x = 1
        self.style = ""

    def feed(self, data: str) -> None:
        for sequence, text in re.findall(r"(\x1b\[[\d;?]*[A-Za-z]|\r?\n)|([^\x1b\r\n]+)", data):
            if sequence.endswith("H"):
                self.y, self.x = map(int, sequence[2:-1].split(";"))
            elif sequence.endswith("m"):
                given = sequence[2:-1]
                self.style = "" if given in ("", "0") else f"{self.style};{given}".lstrip(";")
            elif sequence.endswith("J"):
                self.cells.clear()
            elif sequence:
                self.y, self.x = self.y + 1, 1
            for character in text:
                self.cells[self.y, self.x] = (character, self.style)
                self.x += 1


def paint(y: int, x: int, text: str, style: str) -> str:
    return f"\x1b[{y};{x}H\x1b[{style}m{text}\x1b[0m" if style else f"\x1b[{y};{x}H{text}"


paints = st.builds(
    paint,
    st.integers(1, HEIGHT),
    st.integers(1, WIDTH),
    st.text(alphabet="ab ", min_size=1, max_size=6),
    st.sampled_from(STYLES),
)
writes = st.lists(
    st.one_of(st.lists(paints, min_size=1, max_size=4).map("".join), st.just("\x1b[2J")), max_size=8
)


@given(writes)
def test_the_terminal_looks_the_same_as_without_it(writes: list[str]) -> None:
    plain, thrifty, shown = Screen(), Screen(), ShownCells()

    for data in writes:
        plain.feed(data)
        thrifty.feed(shown.next_output(data))

    assert thrifty.cells == plain.cells
    assert (thrifty.y, thrifty.x) == (plain.y, plain.x)


def test_painting_the_same_again_sends_nothing() -> None:
    shown = ShownCells()
    data = paint(1, 1, "hosts 212", "1")

    assert shown.next_output(data) != ""
    assert shown.next_output(data) == ""


def test_one_changed_cell_is_one_move_and_one_cell() -> None:
    shown = ShownCells()
    shown.next_output("\x1b[1;1Hprogress 40%\x1b[2;1H")

    assert shown.next_output("\x1b[1;1Hprogress 41%\x1b[2;1H") == "\x1b[1;11H1\x1b[2;1H"


def test_after_forgetting_everything_is_sent() -> None:
    shown = ShownCells()
    data = "\x1b[1;1Hhosts\x1b[2;1H"
    shown.next_output(data)

    shown.forget()

    assert shown.next_output(data) == data


def test_the_shape_of_a_mouse_pointer_is_nothing_to_tell_a_serial_terminal() -> None:
    shown = ShownCells()
    data = paint(1, 1, "hosts", "")
    shown.next_output(data)

    assert shown.next_output("\x1b]22;default\x07") == ""
    assert shown.next_output(f"\x1b]22;pointer\x07{data}") == ""


def test_what_it_does_not_understand_passes_and_makes_it_forget() -> None:
    shown = ShownCells()
    data = "\x1b[1;1Hhosts\x1b[2;1H"
    shown.next_output(data)

    for other in ("\x1b[?1049h", "\x1b[1;1Hé", "no place"):
        assert shown.next_output(other) == other
        assert shown.next_output(data) == data
