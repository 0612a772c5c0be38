import queue
from collections.abc import Iterator
from typing import TypeVar

import pytest
from textual.message import Message

from appliance.api.client import ApplianceError
from appliance.api.contract import HostView
from tests.simulators.appliance import SimulatedAppliance
from tests.tui.factories import make_bundle, make_host, make_operation, make_rollout
from tui.known import Change, Changed, Listed, Removed
from tui.messages import CommandFinished, ConnectionLost, ConnectionMade, NewsArrived, ObjectUnreadable
from tui.session import Backoff, Command, Session

M = TypeVar("M", bound=Message)
PATIENCE_SECONDS = 20


class Listener:
    """Takes a session's messages; `wait` returns the next of a type and drops what came before it."""

    def __init__(self, appliance: SimulatedAppliance) -> None:
        self._messages: queue.Queue[Message] = queue.Queue()
        self.session = Session(appliance, self._messages.put, backoff=Backoff(first=0.001, longest=0.002))

    def wait(self, type: type[M]) -> M:
        while True:
            message = self._messages.get(timeout=PATIENCE_SECONDS)
            if isinstance(message, type):
                return message

    def news(self, *, until: type[Change] = Listed, shelf: str = "") -> list[Change]:
        """Everything up to the first change of that type (and shelf)."""
        heard = self.session.take_news()
        while not any(isinstance(c, until) and getattr(c, "shelf", "") in ("", shelf) for c in heard):
            self.wait(NewsArrived)
            heard += self.session.take_news()
        return heard


@pytest.fixture
def appliance() -> SimulatedAppliance:
    return SimulatedAppliance()


@pytest.fixture
def listener(appliance: SimulatedAppliance) -> Iterator[Listener]:
    listener = Listener(appliance)
    yield listener
    listener.session.stop()
    appliance.go_away()


def test_what_exists_comes_as_one_list_a_kind(appliance: SimulatedAppliance, listener: Listener) -> None:
    appliance.put_host(make_host("host-1"), make_host("host-2"))
    appliance.put_rollout(make_rollout())
    appliance.loaded.append(make_bundle())

    listener.session.start()

    heard = listener.news(shelf="rollouts")
    lists = {change.shelf: len(change.items) for change in heard if isinstance(change, Listed)}
    assert lists == {"hosts": 2, "rollouts": 1, "bundles": 1, "inbox": 0, "operations": 0}
    assert not any(isinstance(change, Changed) for change in heard)


def test_changes_come_singly_after_the_list(appliance: SimulatedAppliance, listener: Listener) -> None:
    appliance.put_host(make_host("host-1"))
    listener.session.start()
    listener.news(shelf="rollouts")

    appliance.put_host(make_host("host-1", "Failed"))
    (changed,) = listener.news(until=Changed)
    appliance.remove("hosts", "fleet-default/host-1")
    (removed,) = listener.news(until=Removed, shelf="hosts")

    assert isinstance(changed, Changed)
    assert isinstance(changed.item, HostView)
    assert changed.item.phase == "Failed"
    assert removed == Removed("hosts", "fleet-default/host-1")


def test_it_comes_back_by_itself_and_lists_everything_anew(
    appliance: SimulatedAppliance, listener: Listener
) -> None:
    listener.session.start()
    listener.wait(ConnectionMade)
    listener.news(shelf="rollouts")

    appliance.go_away("The cable is out.")
    lost = listener.wait(ConnectionLost)
    listener.wait(ConnectionLost)
    appliance.put_host(make_host("host-1"))
    appliance.come_back()

    assert lost.reason == "The cable is out."
    listener.wait(ConnectionMade)
    hosts = next(c for c in listener.news(shelf="rollouts") if isinstance(c, Listed) and c.shelf == "hosts")
    assert len(hosts.items) == 1


def test_waiting_grows_and_is_bounded() -> None:
    backoff = Backoff(first=0.5, longest=15)

    waits = [0.0]
    for _ in range(8):
        waits.append(backoff.next(waits[-1]))

    assert waits[1:] == [0.5, 1, 2, 4, 8, 15, 15, 15]


def test_an_object_of_an_unknown_shape_does_not_end_the_watch(
    appliance: SimulatedAppliance, listener: Listener
) -> None:
    appliance.put_raw("hosts", "broken", {"name": 7})
    appliance.put_host(make_host("host-1"))

    listener.session.start()

    unreadable = listener.wait(ObjectUnreadable)
    hosts = next(c for c in listener.news(shelf="rollouts") if isinstance(c, Listed) and c.shelf == "hosts")
    assert unreadable.kind == "hosts"
    assert len(hosts.items) == 1


def test_a_finished_operation_brings_the_new_bundles(
    appliance: SimulatedAppliance, listener: Listener
) -> None:
    listener.session.start()
    listener.news(shelf="rollouts")

    appliance.loaded.append(make_bundle())
    appliance.put_operation(make_operation(state="succeeded"))

    heard = listener.news(shelf="bundles")
    assert [len(c.items) for c in heard if isinstance(c, Listed) and c.shelf == "bundles"] == [1]


def test_a_refused_command_comes_back_as_a_sentence_with_its_hint(
    appliance: SimulatedAppliance, listener: Listener
) -> None:
    appliance.refusal = ApplianceError("Conflict", "host-1 is already rejected.", hint="Approve it first.")

    listener.session.run(Command("skerry approve host-1", "done", lambda a: a.approve("host-1", "ns", by="")))

    finished = listener.wait(CommandFinished)
    assert not finished.succeeded
    assert finished.sentence == "host-1 is already rejected. Approve it first."


def test_a_defect_in_a_command_is_an_answer_too(listener: Listener) -> None:
    listener.session.run(Command("skerry break", "done", lambda _: [][1]))

    finished = listener.wait(CommandFinished)
    assert not finished.succeeded
    assert "IndexError" in finished.sentence
