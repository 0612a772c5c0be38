"""Loads go first; care waits, stands still, and can be told to end while it does."""

import os
import threading

import pytest

from appliance.jobs.precedence import NICENESS, Precedence, run_gently
from bundles.progress import Cancelled
from tests.mirror.running import wait_until


def look_on() -> None:
    """A check that never ends anything."""


def refuse() -> None:
    raise Cancelled("told to end")


def test_care_begins_when_nothing_is_loaded_and_stands_still_during_a_load() -> None:
    precedence = Precedence()
    steps: list[str] = []
    may_step = threading.Semaphore(0)

    def care() -> None:
        with precedence.caring(look_on):
            steps.append("begun")
            may_step.acquire()
            precedence.give_way(lambda: steps.append("waits"))
            steps.append("went on")

    caring = threading.Thread(target=care)
    with precedence.loading():
        caring.start()
    wait_until(lambda: steps == ["begun"])

    with precedence.loading():
        may_step.release()
        wait_until(lambda: "waits" in steps)
        assert "went on" not in steps
    caring.join(20)

    assert steps[-1] == "went on"


def test_care_does_not_begin_during_a_load() -> None:
    precedence = Precedence()

    with precedence.loading(), pytest.raises(Cancelled), precedence.caring(refuse):
        raise AssertionError("it began")


def test_care_is_one_at_a_time_and_the_next_can_be_told_to_end() -> None:
    precedence = Precedence()

    with precedence.caring(look_on), pytest.raises(Cancelled), precedence.caring(refuse):
        raise AssertionError("two at once")

    with precedence.caring(refuse):
        pass


def test_loads_never_wait() -> None:
    precedence = Precedence()

    with precedence.caring(look_on), precedence.loading(), precedence.loading(), pytest.raises(Cancelled):
        precedence.give_way(refuse)

    precedence.give_way(refuse)


def test_gentle_work_is_nice_and_so_are_its_threads_and_nobody_else() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def with_a_thread() -> tuple[int, int]:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(niceness()))
        thread.start()
        thread.join()
        return niceness(), found[0]

    before = niceness()

    wanted = max(NICENESS, before)
    assert run_gently(with_a_thread) == (wanted, wanted)
    assert niceness() == before


def test_what_gentle_work_raises_comes_through() -> None:
    with pytest.raises(Cancelled):
        run_gently(refuse)
