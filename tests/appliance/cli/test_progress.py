"""Progress of work in the command itself: what a line says, and that a pipe gets JSON."""

import json

import pytest

from appliance.cli.following import render_bar
from appliance.cli.progress import Telling, render_line


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (0, 0, 0.0, "verifying"),
        (0, 10**9, 5.0, "[....................] verifying 0 %"),
        (4 * 10**8, 10**9, 0.5, "[########............] verifying 40 %"),
        (4 * 10**8, 10**9, 2.0, "[########............] verifying 40 %  200 MB/s, 3 s left"),
        (5 * 10**6, 0, 0.5, "verifying 5 MB"),
        (5 * 10**6, 0, 2.0, "verifying 5 MB  2 MB/s"),
    ],
)
def test_a_line_says_how_far_and_how_long(done: int, total: int, seconds: float, line: str) -> None:
    assert render_line("verifying", done, total, unit="B", seconds=seconds) == line


def test_a_bar_does_not_grow_beyond_its_end() -> None:
    assert render_bar(30, 20) == f"[{'#' * 20}] "


def test_things_that_are_not_bytes_have_no_speed_in_bytes() -> None:
    assert (
        render_line("sweeping", 50, 200, unit="", seconds=10)
        == "[#####...............] sweeping 25 %, 30 s left"
    )


def test_a_pipe_gets_one_line_of_json_a_second_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Telling("copying", total=100, clock=lambda: now[0]) as telling:
        telling.advance(10)
        now[0] = 1.5
        telling.advance(10)
        telling.advance(10)
        now[0] = 3.0
        telling.show("sweeping", 1, 2)

    out, err = capsys.readouterr()
    assert out == ""
    assert [json.loads(line) for line in err.splitlines()] == [
        {"phase": "copying", "done": 20, "total": 100},
        {"phase": "sweeping", "done": 1, "total": 2},
    ]
