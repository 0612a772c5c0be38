from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.tui.factories import NOW
from tui.text import fit, parse_time, plain, render_age, render_duration, render_size


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("host-1", "host-1"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("a\nb\tc\rd", "a b c d"),
        ("pay\u202eload\u2066x\u2069", "payloadx"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("\x9b31m\x07bell\x00", "31mbell"),
        ("Müller 工場", "Müller 工場"),
        ("heart\ufe0f", "heart"),
        ("\ud800lone", "lone"),
    ],
)
def test_what_could_steer_the_terminal_is_dropped(said: str, shown: str) -> None:
    assert plain(said) == shown


@given(st.text())
def test_nothing_unprintable_survives(text: str) -> None:
    shown = plain(text)

    assert all(character.isprintable() or character.isspace() for character in shown)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)


@given(st.text(alphabet="abc工場é", max_size=30), st.integers(min_value=0, max_value=40))
def test_a_fitted_text_is_exactly_as_wide_as_asked(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) == width


def test_a_cut_is_seen() -> None:
    assert fit("host-number-one", 8) == "host-nu…"


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(seconds=-30), "now"),
        (timedelta(seconds=59), "now"),
        (timedelta(seconds=119), "1m"),
        (timedelta(minutes=4), "4m"),
        (timedelta(hours=3), "3h"),
        (timedelta(days=5), "5d"),
    ],
)
def test_ages_are_coarse_so_that_a_calm_screen_stays_still(ago: timedelta, words: str) -> None:
    assert render_age(NOW - ago, NOW) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (61, "61s"), (125, "2m"), (5399, "89m"), (5401, "1h"), (130000, "1d")]
)
def test_durations_have_one_unit(seconds: float, words: str) -> None:
    assert render_duration(seconds) == words


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (4_200_000, "4.2 MB"), (41_000_000_000, "41.0 GB")])
def test_sizes_are_in_the_units_storage_is_sold_in(count: int, words: str) -> None:
    assert render_size(count) == words


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z"])
def test_what_is_not_a_time_is_none(text: str) -> None:
    assert parse_time(text) is None
