import pytest

from tui.terminal import choose_terminal, prepare

SIZE = (80, 24)


@pytest.mark.parametrize("name", ["", "dumb", "unknown", "vt100", "vt220", "vt102", "ansi", "network"])
def test_serial_terminals_are_basic(name: str) -> None:
    assert choose_terminal({"TERM": name}, SIZE).basic


@pytest.mark.parametrize("name", ["xterm-256color", "linux", "tmux-256color", "screen", "foot"])
def test_other_terminals_are_not_unless_asked(name: str) -> None:
    assert not choose_terminal({"TERM": name}, SIZE).basic
    assert choose_terminal({"TERM": name}, SIZE, basic=True).basic


def test_a_serial_line_without_a_size_is_80_by_24() -> None:
    settings = choose_terminal({"TERM": "vt220"}, (0, 0)).settings

    assert (settings["COLUMNS"], settings["LINES"]) == ("80", "24")


def test_an_empty_no_color_does_not_count() -> None:
    environ = {"TERM": "xterm", "NO_COLOR": ""}

    prepare(environ)

    assert "NO_COLOR" not in environ


def test_a_set_no_color_stays() -> None:
    environ = {"TERM": "xterm", "NO_COLOR": "1"}

    prepare(environ)

    assert environ["NO_COLOR"] == "1"


def test_what_the_operator_set_wins() -> None:
    environ = {"TERM": "vt220", "TEXTUAL_FPS": "2"}

    prepare(environ)

    assert environ["TEXTUAL_FPS"] == "2"
