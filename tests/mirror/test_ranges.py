"""Which bytes a range header asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import RequestInvalid
from mirror.ranges import Unsatisfiable, parse_content_range, parse_range


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=500-1499", (500, 500)),
        ("bytes=500-", (500, 500)),
        ("bytes=-500", (500, 500)),
        ("bytes=-5000", (0, 1000)),
        ("bytes=999-999", (999, 1)),
        ("", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("items=0-5", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_a_range_of_a_thousand_bytes(header: str, part: tuple[int, int] | None) -> None:
    assert parse_range(header, 1000) == part


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=2000-5000", "bytes=500-0", "bytes=-0"])
def test_a_range_outside_of_the_blob_is_unsatisfiable(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 1000)


def test_an_empty_blob_has_no_ranges() -> None:
    with pytest.raises(Unsatisfiable):
        parse_range("bytes=0-", 0)


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(1, 1500))
def test_a_range_is_never_wider_than_the_blob(first: int, last: int, size: int) -> None:
    try:
        part = parse_range(f"bytes={first}-{last}", size)
    except Unsatisfiable:
        assert first >= size or last < first
        return
    assert part == (first, min(last, size - 1) - first + 1)


@pytest.mark.parametrize("header", ["0-99", "bytes 0-99/200", "bytes=0-99", " 0-99 ", "bytes 0-99/*"])
def test_a_chunk_is_announced_in_the_ways_that_clients_do(header: str) -> None:
    assert parse_content_range(header) == (0, 99)


@pytest.mark.parametrize(
    "header", ["", "0", "-5", "5-", "9-5", "a-b", "0-1-2", "bytes */200", "1" * 40 + "-2"]
)
def test_anything_else_announces_no_chunk(header: str) -> None:
    with pytest.raises(RequestInvalid):
        parse_content_range(header)
