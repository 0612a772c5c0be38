"""Who was heard stays as long as they answer us, is hidden while they do not, and comes back."""

from datetime import UTC, datetime, timedelta

from agent.protocol.discovery import NODE_SERVICE
from appliance.discovery.candidates import (
    MAX_ADDRESSES,
    MISSES_BEFORE_FORGOTTEN,
    MISSES_BEFORE_SILENT,
    Candidates,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
SERVICE = f"m-1.{NODE_SERVICE}"


def hear(candidates: Candidates, address: str = "10.0.0.7") -> None:
    candidates.hear(SERVICE, address, {"id": "x1"}, now=NOW, addresses=(address, "10.1.0.7"))


def miss(candidates: Candidates, times: int) -> None:
    for _ in range(times):
        candidates.note_answer(SERVICE, "", now=NOW)


def test_one_missed_answer_hides_nobody_and_several_do() -> None:
    candidates = Candidates()
    hear(candidates)

    miss(candidates, MISSES_BEFORE_SILENT - 1)
    before = len(candidates.list())
    miss(candidates, 1)

    assert (before, len(candidates.list()), list(candidates.targets())) == (1, 0, [SERVICE])


def test_who_answers_again_is_shown_again_where_it_answered() -> None:
    candidates = Candidates()
    hear(candidates)
    miss(candidates, MISSES_BEFORE_SILENT)

    candidates.note_answer(SERVICE, "10.1.0.7", now=LATER)

    (only,) = candidates.list()
    assert (only.address, only.first_seen, only.last_seen) == (
        "10.1.0.7",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:30Z",
    )


def test_a_new_announcement_shows_it_again() -> None:
    candidates = Candidates()
    hear(candidates)
    miss(candidates, MISSES_BEFORE_SILENT)

    hear(candidates, "10.0.0.99")

    assert [candidate.address for candidate in candidates.list()] == ["10.0.0.99"]


def test_who_is_silent_for_long_is_forgotten() -> None:
    candidates = Candidates()
    hear(candidates)

    miss(candidates, MISSES_BEFORE_FORGOTTEN)
    candidates.note_answer(SERVICE, "10.0.0.7", now=LATER)

    assert (candidates.list(), dict(candidates.targets())) == ([], {})


def test_a_machine_is_found_by_its_id_and_by_its_name() -> None:
    candidates = Candidates()
    hear(candidates)

    assert candidates.find("x1") == candidates.find("m-1") == candidates.list()
    assert candidates.find("m-2") == []


def test_a_hundred_announced_addresses_are_not_all_asked() -> None:
    candidates = Candidates()
    many = tuple(f"10.0.1.{n}" for n in range(100))

    candidates.hear(SERVICE, many[0], {}, now=NOW, addresses=many)

    assert len(candidates.list()[0].addresses) == MAX_ADDRESSES


def test_a_machine_that_was_started_again_is_one_and_two_with_one_id_are_two() -> None:
    candidates = Candidates()
    for name, address in (("m-1", "10.0.0.7"), ("m-2", "10.0.0.7"), ("m-3", "10.0.0.66")):
        candidates.hear(f"{name}.{NODE_SERVICE}", address, {"id": "x1"}, now=NOW)

    assert [candidate.name for candidate in candidates.find("x1")] == ["m-2", "m-3"]
