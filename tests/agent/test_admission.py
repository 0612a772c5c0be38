"""Waiting for a person: patient with absence and indecision, final about a refusal."""

import threading
from collections.abc import Callable

import pytest

from agent.admission import wait_for_admission
from agent.errors import Denied, Unreachable
from agent.protocol.client_config import Config
from agent.register import Outcome, Refused, Registered, WaitingForApproval


def answer_with(*answers: "Outcome | Exception") -> Callable[[], Outcome]:
    left = list(answers)

    def attempt() -> Outcome:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return attempt


def wait(*answers: "Outcome | Exception", stop: threading.Event | None = None) -> Config:
    return wait_for_admission(
        answer_with(*answers), stop=stop or threading.Event(), first_delay=0.001, max_delay=0.001
    )


def test_absence_and_indecision_are_waited_out() -> None:
    config = Config()

    got = wait(
        Unreachable("no route"),
        WaitingForApproval("waiting for approval: m1"),
        WaitingForApproval("waiting for approval: m1"),
        Registered(config, 12),
    )

    assert got is config


def test_a_refusal_is_final() -> None:
    with pytest.raises(Denied, match="refused: not ours"):
        wait(Refused("refused: not ours"), Registered(Config(), 12))


def test_being_told_no_by_the_protocol_is_final() -> None:
    with pytest.raises(Denied, match="wrong token"):
        wait(Denied("wrong token"), Registered(Config(), 12))


def test_stopping_ends_the_wait_with_what_was_last_heard() -> None:
    stop = threading.Event()
    stop.set()

    with pytest.raises(Denied) as stopped:
        wait(WaitingForApproval("waiting for approval: m1"), stop=stop)

    assert stopped.value.hint == "waiting for approval: m1"
