"""Watches: what exists, what changes, resuming, and being told when that cannot be."""

import asyncio
from contextlib import aclosing

import pytest

from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.store.base import (
    Gone,
    Malformed,
    Selection,
    Store,
)
from tests.conformance.store_engines import (
    LIMITS,
    NAMESPACE,
    delete,
    machine,
    next_event,
    patch,
    take,
)


async def test_a_watch_says_what_exists_then_a_bookmark_then_what_changes(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine("press-1"))
    async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
        assert [(await anext(events)).type, (await anext(events)).type] == ["ADDED", "BOOKMARK"]

        await store.create(MACHINE_INVENTORY, machine("press-2"))
        await patch(store, {"spec": {"machineHash": "1"}})
        await delete(store)

        expected = [("ADDED", "press-2"), ("MODIFIED", "press-1"), ("DELETED", "press-1")]
        assert await take(events, 3) == expected


async def test_a_watch_resumes_where_it_ended(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())
    await patch(store, {"spec": {"machineHash": "1"}})
    await delete(store)

    since = created["metadata"]["resourceVersion"]
    async with aclosing(store.watch(MACHINE_INVENTORY, since=since)) as events:
        assert await take(events, 2) == [("MODIFIED", "press-1"), ("DELETED", "press-1")]


async def test_the_last_event_of_an_object_has_a_version_of_its_own(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())
    async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
        await next_event(events)
        await delete(store)

        deleted = (await next_event(events)).document
        assert int(deleted["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


async def test_a_watch_from_a_version_that_never_was_is_gone(store: Store) -> None:
    with pytest.raises(Gone, match="not known"):
        await anext(store.watch(MACHINE_INVENTORY, since="123456"))


@pytest.mark.parametrize("since", ["x", "-1", "1.5", "9" * 30])
async def test_a_watch_from_nonsense_is_refused(store: Store, since: str) -> None:
    with pytest.raises(Malformed, match="no resource version"):
        await anext(store.watch(MACHINE_INVENTORY, since=since))


async def test_objects_come_into_and_leave_what_is_selected(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())
    selection = Selection(namespace=NAMESPACE, labels="site=north")
    async with aclosing(store.watch(MACHINE_INVENTORY, selection)) as events:
        await anext(events)  # the bookmark: nothing is selected yet
        for site in ("south", "north", "north", "south"):
            await patch(store, {"metadata": {"labels": {"site": site}}})
            await patch(store, {"spec": {"machineHash": site}})
        await store.create(MACHINE_INVENTORY, machine("elsewhere", metadata={"namespace": "other"}))

        assert await take(events, 3) == [
            ("ADDED", "press-1"),
            ("MODIFIED", "press-1"),
            ("DELETED", "press-1"),
        ]


async def test_a_watch_of_one_name_sees_nothing_else(store: Store) -> None:
    selection = Selection(namespace=NAMESPACE, fields="metadata.name=press-2")
    async with aclosing(store.watch(MACHINE_INVENTORY, selection)) as events:
        await anext(events)
        for name in ("press-1", "press-2", "press-3"):
            await store.create(MACHINE_INVENTORY, machine(name))
        await delete(store, "press-2")

        assert await take(events, 2) == [("ADDED", "press-2"), ("DELETED", "press-2")]


async def test_a_watcher_that_reads_slowly_misses_nothing(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())
    async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
        await next_event(events)
        await anext(events)
        for index in range(LIMITS.watch_buffer * 3):  # far over its buffer
            await patch(store, {"spec": {"machineHash": str(index)}})

        seen = [
            (await next_event(events)).document["spec"]["machineHash"] for _ in range(LIMITS.watch_buffer * 3)
        ]
        assert seen == [str(index) for index in range(LIMITS.watch_buffer * 3)]


async def test_every_watcher_sees_every_object_once_whenever_it_came(store: Store) -> None:
    async def follow() -> list[str]:
        seen: list[str] = []
        async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
            while "the-last" not in seen:
                seen.append((await next_event(events)).document["metadata"]["name"])
        return seen

    # Some begin before the writes, some in their middle: what they list and what they are told overlaps.
    watchers = []
    for index in range(20):
        watchers.append(asyncio.create_task(follow()))
        await store.create(MACHINE_INVENTORY, machine(f"press-{index:02}"))
    await store.create(MACHINE_INVENTORY, machine("the-last"))

    expected = sorted(["the-last", *(f"press-{index:02}" for index in range(20))])
    assert [sorted(await watcher) for watcher in watchers] == [expected] * 20
