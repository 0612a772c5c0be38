"""Events: one per thing and counted, shaped as Kubernetes' own, and gone after a week."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.controllers.events import Recorder, choose_stale, prune_events
from appliance.controllers.writes import render_time
from appliance.resources.core import CONFIG_MAP, EVENT
from appliance.resources.meta import Condition, Document
from appliance.store.base import Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.dying import DyingStore
from tests.appliance.controllers.factories import NAMESPACE, START, Clock


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        yield store


async def put(store: Store, name: str = "thing") -> Document:
    return await store.create(CONFIG_MAP, {"metadata": {"name": name, "namespace": NAMESPACE}})


async def events(store: Store) -> list[Document]:
    return (await store.list(EVENT)).items


async def test_an_event_is_shaped_as_kubernetes_own(store: SqliteStore) -> None:
    thing = await put(store)
    await Recorder(store, clock=Clock()).record(thing, "Warning", "Broke", "it broke")

    (event,) = await events(store)
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "namespace": NAMESPACE,
        "name": "thing",
        "uid": thing["metadata"]["uid"],
    }
    told = {key: event[key] for key in ("type", "reason", "message", "count", "source")}
    assert told == {
        "type": "Warning",
        "reason": "Broke",
        "message": "it broke",
        "count": 1,
        "source": {"component": "skerry"},
    }
    assert event["firstTimestamp"] == event["lastTimestamp"] == render_time(START)


async def test_the_same_thing_again_raises_the_count(store: SqliteStore) -> None:
    thing, clock = await put(store), Clock()
    recorder = Recorder(store, clock=clock)
    for _ in range(3):
        await recorder.record(thing, "Normal", "Seen", "again")
        clock.advance(minutes=1)
    await recorder.record(thing, "Normal", "Seen", "something else")

    counts = {event["message"]: event["count"] for event in await events(store)}
    assert counts == {"again": 3, "something else": 1}
    again = next(event for event in await events(store) if event["message"] == "again")
    assert (again["firstTimestamp"], again["lastTimestamp"]) == (
        render_time(START),
        render_time(START + timedelta(minutes=2)),
    )


async def test_an_object_with_the_longest_name_has_events_too(store: SqliteStore) -> None:
    thing = await put(store, "n" * 253)
    await Recorder(store, clock=Clock()).record(thing, "Normal", "Seen", "it")

    assert len(await events(store)) == 1


@pytest.mark.parametrize(
    ("before", "after", "type"),
    [
        (None, ("False", "WaitingForPlan"), "Normal"),
        (("True", "Good"), ("False", "ReconcilingNetworkConfig"), "Normal"),
        (("True", "Good"), ("False", "PlanFailure"), "Warning"),
        (("False", "PlanFailure"), ("True", "Good"), "Normal"),
        (("True", "Good"), ("True", "Good"), None),
    ],
    ids=["first", "underway", "fails", "recovers", "same"],
)
async def test_a_condition_that_changed_is_told(
    store: SqliteStore, before: tuple[str, str] | None, after: tuple[str, str], type: str | None
) -> None:
    def conditions(given: tuple[str, str] | None) -> list[Condition]:
        return [Condition(type="Ready", status=given[0], reason=given[1])] if given else []  # type: ignore[arg-type]

    recorder = Recorder(store, clock=Clock())
    await recorder.record_condition(await put(store), "Ready", conditions(before), conditions(after))

    assert [event["type"] for event in await events(store)] == ([type] if type else [])


async def test_events_older_than_a_week_go_and_newer_ones_stay(store: SqliteStore) -> None:
    thing, clock = await put(store), Clock()
    recorder = Recorder(store, clock=clock)
    await recorder.record(thing, "Normal", "Old", "once")
    await recorder.record(thing, "Normal", "Seen", "again")
    clock.advance(days=6)
    await recorder.record(thing, "Normal", "Seen", "again")
    clock.advance(days=2)
    pruned = await prune_events(store, now=clock())

    assert pruned == 1
    assert [event["reason"] for event in await events(store)] == ["Seen"]


async def test_of_one_object_only_the_newest_stay(store: SqliteStore) -> None:
    clock = Clock()
    recorder = Recorder(store, clock=clock)
    for name in ("noisy", "quiet"):
        thing = await put(store, name)
        for number in range(5 if name == "noisy" else 1):
            await recorder.record(thing, "Normal", "Said", f"{name} {number}")
            clock.advance(seconds=1)
    await prune_events(store, now=clock(), per_object=2)

    assert sorted(event["message"] for event in await events(store)) == ["noisy 3", "noisy 4", "quiet 0"]


async def test_events_of_others_are_not_ours_to_prune(store: SqliteStore) -> None:
    thing = await put(store)
    await Recorder(store, clock=Clock()).record(thing, "Normal", "Seen", "ours")
    theirs = {**(await events(store))[0], "source": {"component": "kubelet"}}
    theirs["metadata"] = {"name": "theirs", "namespace": NAMESPACE}
    await store.create(EVENT, theirs)
    await prune_events(store, now=START + timedelta(days=30))

    assert [event["metadata"]["name"] for event in await events(store)] == ["theirs"]


async def test_an_event_that_happens_again_while_others_are_pruned_stays(store: SqliteStore) -> None:
    thing, clock = await put(store), Clock()
    recorder = Recorder(store, clock=clock)
    await recorder.record(thing, "Normal", "Seen", "it")
    clock.advance(days=8)

    async def happen_again() -> None:
        await recorder.record(thing, "Normal", "Seen", "it")

    late = DyingStore(store, before_write=happen_again)

    assert await prune_events(late, now=clock()) == 0
    assert [event["count"] for event in await events(store)] == [2]


async def test_many_pages_of_events_are_pruned(store: SqliteStore) -> None:
    thing = await put(store)
    await Recorder(store, clock=Clock()).record(thing, "Normal", "Seen", "it")
    first = (await events(store))[0]
    for number in range(520):
        copied = {**first, "metadata": {"name": f"copy-{number}", "namespace": NAMESPACE}}
        await store.create(EVENT, copied)

    assert await prune_events(store, now=START, per_object=10) == 511
    assert len(await events(store)) == 10


async def test_an_event_without_a_time_goes(store: SqliteStore) -> None:
    thing = await put(store)
    await Recorder(store, clock=Clock()).record(thing, "Normal", "Seen", "it")
    (event,) = await events(store)
    body = merge({"lastTimestamp": None, "involvedObject": {"uid": None}})
    await store.patch(EVENT, event["metadata"]["name"], body, namespace=NAMESPACE)

    stale = choose_stale(await events(store), before=START + timedelta(days=4000), per_object=50)
    assert len(stale) == 1
