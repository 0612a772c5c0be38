from datetime import timedelta

import pytest

from tests.tui.factories import NOW
from tui.estimate import Sighting, next_sighting, render_remaining


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def watch(*sightings: tuple[float, int]) -> Sighting | None:
    seen: Sighting | None = None
    for at, done in sightings:
        seen = next_sighting(seen, done, 100, now=NOW + seconds(at))
    return seen


@pytest.mark.parametrize(
    ("sightings", "at", "words"),
    [
        ([], 0, ""),
        ([(0, 10)], 5, ""),
        ([(0, 10), (9, 20)], 9, ""),
        ([(0, 0), (20, 50)], 20, "15-30s left"),
        ([(0, 0), (600, 50)], 600, "8-15m left"),
        ([(0, 0), (36000, 50)], 36000, "8-15h left"),
        ([(0, 0), (20, 50)], 200, "no progress for 3m"),
        ([(0, 0), (20, 100)], 20, ""),
    ],
)
def test_the_remaining_time_is_a_range_or_nothing(
    sightings: list[tuple[float, int]], at: float, words: str
) -> None:
    assert render_remaining(watch(*sightings), NOW + seconds(at)) == words


def test_what_goes_backwards_starts_anew() -> None:
    seen = watch((0, 0), (100, 80), (110, 5))

    assert seen is not None
    assert (seen.first_done, seen.first_at) == (5, NOW + seconds(110))


def test_the_range_holds_the_true_end_of_a_steady_phase() -> None:
    seen = watch((0, 0), (60, 25))

    low, high = render_remaining(seen, NOW + seconds(60)).removesuffix("m left").split("-")

    assert int(low) * 60 <= 180 <= int(high) * 60
