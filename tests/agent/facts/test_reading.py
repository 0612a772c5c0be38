"""Reads that end: limits, pipes that nobody writes to, sources that hang or fail."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.facts.reading import MAX_TEXT, gather, list_names, read_bytes, read_line, read_number
from agent.host import Host
from tests.agent.machines import write


def test_no_more_is_read_than_may_be(tmp_path: Path) -> None:
    write(tmp_path, "/long", "x" * 100_000)

    assert len(read_bytes(Host(tmp_path), "/long", limit=5000)) == 5000
    assert read_line(Host(tmp_path), "/long") == "x" * MAX_TEXT


def test_a_pipe_that_nobody_writes_to_is_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert read_bytes(Host(tmp_path), "/pipe") == b""


def test_what_is_no_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    assert read_bytes(Host(tmp_path), "/folder") == read_bytes(Host(tmp_path), "/nothing") == b""
    assert list_names(Host(tmp_path), "/nothing", limit=9) == []


@pytest.mark.parametrize(
    ("content", "line"),
    [("a\nb", "a"), ("  a \n", "a"), ("a\x1b[2Jb\x00", "a [2Jb"), ("\n\n", ""), ("\x00", "")],
    ids=["two lines", "padded", "control characters", "blank", "nothing but a zero"],
)
def test_a_line_is_what_a_person_can_read(tmp_path: Path, content: str, line: str) -> None:
    write(tmp_path, "/file", content)

    assert read_line(Host(tmp_path), "/file") == line


def test_what_is_no_number_is_none(tmp_path: Path) -> None:
    write(tmp_path, "/number", "12\n")
    write(tmp_path, "/word", "twelve\n")

    host = Host(tmp_path)
    assert (read_number(host, "/number"), read_number(host, "/number", base=16)) == (12, 18)
    assert (read_number(host, "/word"), read_number(host, "/nothing")) == (None, None)


def test_a_source_that_hangs_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    never = threading.Event()
    sources: dict[str, Callable[[], object]] = {"hostname": lambda: "press-7", "disks": never.wait}

    answers = gather(sources, seconds=0.05)
    never.set()

    assert answers == {"hostname": "press-7"}
    assert "disks did not answer" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_source_that_fails_is_left_out() -> None:
    sources: dict[str, Callable[[], object]] = {"hostname": lambda: "press-7", "disks": lambda: 1 // 0}

    assert gather(sources) == {"hostname": "press-7"}
