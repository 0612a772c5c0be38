"""The chain: what was written passes, and every way of tampering with it is named with its place."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.chain import (
    MAX_TEXT,
    Decision,
    Entry,
    Place,
    check_lines,
    parse_line,
    render_line,
    seal,
)

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def write(count: int) -> list[Entry]:
    entries: list[Entry] = []
    at = Place()
    for number in range(count):
        decision = Decision("approve_host", f"host/h{number}", "ann", "it is ours", {"address": "10.0.0.1"})
        entries.append(seal(decision, at, at=NOW))
        at = Place(entries[-1].n, entries[-1].hash)
    return entries


ENTRIES = write(6)
LINES = [render_line(entry) for entry in ENTRIES]
HEAD = Place(6, ENTRIES[-1].hash)


def findings(lines: list[bytes], head: Place = HEAD) -> list[str]:
    half = len(lines) // 2
    return [str(each) for each in check_lines([("a", lines[:half]), ("b", lines[half:])], head)]


def test_what_was_written_has_no_findings() -> None:
    assert findings(LINES) == []


def test_lines_behind_the_head_are_those_of_a_power_cut() -> None:
    assert findings(LINES, Place(5, ENTRIES[4].hash)) == []


def test_an_empty_log_is_sound() -> None:
    assert findings([], Place()) == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param(
            [*LINES[:3], LINES[3].replace(b"ours", b"mine"), *LINES[4:]],
            "b, line 1: the line is not as it was written (after entry 3)",
            id="changed",
        ),
        pytest.param([*LINES[:2], *LINES[3:]], "b, line 1: entry 3 missing before entry 4", id="one removed"),
        pytest.param(
            [LINES[0], *LINES[3:]], "a, line 2: entries 2 to 3 missing before entry 4", id="some removed"
        ),
        pytest.param(
            [LINES[0], LINES[2], LINES[1], *LINES[3:]],
            "a, line 3: entry 2 stands after entry 3: out of order, or twice",
            id="reordered",
        ),
        pytest.param(
            [*LINES[:2], *LINES[1:]],
            "a, line 3: entry 2 stands after entry 2: out of order, or twice",
            id="repeated",
        ),
        pytest.param(LINES[:4], "b: the end is missing: entries 5 to 6 were written once", id="end cut off"),
        pytest.param([], "b: the end is missing: entries 1 to 6 were written once", id="all gone"),
        pytest.param(
            [*LINES, LINES[0][:20]],
            "b, line 4: the line is cut off; a power cut can leave that at the very end",
            id="line cut off",
        ),
        pytest.param(
            [*LINES[:5], b" " + LINES[5]],
            "b, line 3: the line is not as it was written (after entry 5)",
            id="white space",
        ),
    ],
)
def test_tampering_is_found_and_named(lines: list[bytes], said: str) -> None:
    assert said in findings(lines)


def test_a_log_written_anew_with_sound_hashes_is_not_what_the_head_remembers() -> None:
    other: list[bytes] = []
    at = Place()
    for number in range(6):
        entry = seal(Decision("reject_host", f"host/h{number}", "eve"), at, at=NOW)
        other.append(render_line(entry))
        at = Place(entry.n, entry.hash)

    assert findings(other) == ["b: entry 6 is not the one that the head remembers"]


def test_a_line_resealed_alone_does_not_fit_its_neighbours() -> None:
    forged = seal(Decision("approve_host", "host/evil", "eve"), Place(1, "f" * 64), at=NOW)

    told = findings([LINES[0], render_line(forged), *LINES[2:]])

    assert told == [
        "a, line 2: entry 2 does not follow the line before it",
        "a, line 3: entry 3 does not follow the line before it",
    ]


def test_one_change_is_told_once() -> None:
    assert len(findings([LINES[0], b"{}\n", *LINES[2:]])) == 1


def test_a_gap_over_the_heads_own_entry_is_told() -> None:
    told = findings([*LINES[:3], *LINES[4:]], Place(4, ENTRIES[3].hash))

    assert "b: entry 4, which the head remembers, is missing" in told


def test_long_and_odd_texts_are_cut_to_what_a_line_holds() -> None:
    entry = seal(Decision("x" * 5000, "\ud800", "w", "y", {str(n): "" for n in range(99)}), Place(), at=NOW)

    assert len(entry.what) == MAX_TEXT
    assert len(entry.details) == 16
    assert parse_line(render_line(entry)) == entry


@given(st.binary(max_size=300))
def test_no_line_of_strangers_is_believed(line: bytes) -> None:
    assert parse_line(line) is None


@given(st.text(max_size=60), st.text(max_size=60), st.dictionaries(st.text(max_size=9), st.text(max_size=9)))
def test_every_decision_reads_back(what: str, why: str, details: dict[str, str]) -> None:
    entry = seal(Decision(what, "host/a", "ann", why, details), Place(), at=NOW)

    assert parse_line(render_line(entry)) == entry


@given(st.data())
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    line = data.draw(st.integers(0, 5))
    at = data.draw(st.integers(0, len(LINES[line]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != LINES[line][at]))
    changed = LINES[line][:at] + bytes([byte]) + LINES[line][at + 1 :]

    assert findings([*LINES[:line], changed, *LINES[line + 1 :]])
