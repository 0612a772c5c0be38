"""How controllers write: only what differs, only onto what was read, transition times that mean something."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.controllers.events import Recorder
from appliance.controllers.writes import parse_time, render_time, set_condition, write_changes, write_status
from appliance.resources.core import CONFIG_MAP, EVENT
from appliance.resources.meta import Document
from appliance.resources.rollout import ROLLOUT, RolloutStatus
from appliance.store.base import Conflict, Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.factories import NAMESPACE, START, Clock, rollout


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        yield store


async def put(store: Store) -> Document:
    document: Document = {"metadata": {"name": "one", "namespace": NAMESPACE}, "data": {"a": "1", "b": "2"}}
    return await store.create(CONFIG_MAP, document)


async def test_a_change_is_merged(store: SqliteStore) -> None:
    written = await write_changes(store, CONFIG_MAP, await put(store), {"data": {"a": None, "c": "3"}})

    assert written["data"] == {"b": "2", "c": "3"}


@pytest.mark.parametrize(
    "changes", [{}, {"data": {"a": "1"}}, {"data": {"x": None}}, {"metadata": {"labels": {}}}]
)
async def test_what_changes_nothing_is_not_written(store: SqliteStore, changes: Document) -> None:
    document = await put(store)
    document["metadata"].setdefault("labels", {})

    assert await write_changes(store, CONFIG_MAP, document, changes) is document


async def test_nothing_is_written_onto_what_somebody_changed_since(store: SqliteStore) -> None:
    read = await put(store)
    await store.patch(CONFIG_MAP, "one", merge({"data": {"a": "theirs"}}), namespace=NAMESPACE)

    with pytest.raises(Conflict):
        await write_changes(store, CONFIG_MAP, read, {"data": {"b": "ours"}})


async def test_a_status_is_written_whole_and_leaves_the_spec_alone(store: SqliteStore) -> None:
    document = await store.create(ROLLOUT, rollout())
    paused = await write_status(store, ROLLOUT, document, RolloutStatus(phase="Paused", reason="because"))
    again = await write_status(store, ROLLOUT, paused, RolloutStatus(phase="Completed"))

    assert (paused["status"]["reason"], again["status"]["reason"]) == ("because", "")
    assert again["spec"] == document["spec"]
    assert again["metadata"]["generation"] == document["metadata"]["generation"]


def test_a_transition_time_moves_only_with_the_status() -> None:
    later = START + timedelta(minutes=1)
    first = set_condition([], "Ready", "False", "Waiting", now=START)
    same = set_condition(first, "Ready", "False", "StillWaiting", now=later)
    changed = set_condition(same, "Ready", "True", "Done", now=later)

    assert [c[0].last_transition_time for c in (first, same, changed)] == [
        "2026-11-20T12:00:00Z",
        "2026-11-20T12:00:00Z",
        "2026-11-20T12:01:00Z",
    ]
    assert same[0].reason == "StillWaiting"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-20T12:00:00", "0"])
def test_a_time_that_cannot_be_read_counts_as_the_default(text: str) -> None:
    assert parse_time(text, default=START) == START
    assert parse_time(render_time(START), default=START + timedelta(1)) == START


async def test_the_same_thing_again_only_counts(store: SqliteStore) -> None:
    clock = Clock()
    document = await put(store)
    recorder = Recorder(store, clock=clock)
    await recorder.record(document, "Warning", "Broken", "it broke")
    clock.advance(minutes=5)
    await recorder.record(document, "Warning", "Broken", "it broke")
    await recorder.record(document, "Warning", "Broken", "it broke otherwise")

    events = sorted((await store.list(EVENT)).items, key=lambda event: int(event["count"]))
    assert [(event["message"], event["count"]) for event in events] == [
        ("it broke otherwise", 1),
        ("it broke", 2),
    ]
    assert (events[1]["firstTimestamp"], events[1]["lastTimestamp"]) == (
        "2026-11-20T12:00:00Z",
        "2026-11-20T12:05:00Z",
    )
