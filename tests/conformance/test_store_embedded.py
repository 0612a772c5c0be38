"""What only the embedded store promises: a history of known limits, and a cascade that is one write."""

import sqlite3
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from appliance.resources.core import SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.resources.rollout import ROLLOUT
from appliance.store.base import (
    Gone,
    Selection,
    Store,
)
from tests.conformance.store_engines import (
    LIMITS,
    NAMESPACE,
    delete,
    fill,
    get,
    machine,
    names,
    next_event,
    owner_of,
    patch,
    sqlite,
    take,
)


async def test_a_watch_from_before_the_history_is_gone(embedded: Store) -> None:
    created = await embedded.create(MACHINE_INVENTORY, machine())
    for index in range(LIMITS.history + 10):
        await patch(embedded, {"spec": {"machineHash": str(index)}})

    with pytest.raises(Gone, match="too old"):
        await anext(embedded.watch(MACHINE_INVENTORY, since=created["metadata"]["resourceVersion"]))


async def test_a_watcher_that_reads_too_slowly_is_told_so(embedded: Store) -> None:
    await embedded.create(MACHINE_INVENTORY, machine())
    async with aclosing(embedded.watch(MACHINE_INVENTORY)) as events:
        await next_event(events)
        await anext(events)
        for index in range(LIMITS.history * 2):
            await patch(embedded, {"spec": {"machineHash": str(index)}})

        with pytest.raises(Gone):
            await take(events, LIMITS.history * 2)


async def test_a_quiet_watch_gets_bookmarks_so_that_it_can_resume(embedded: Store) -> None:
    async with aclosing(embedded.watch(ROLLOUT)) as events:
        await anext(events)
        await embedded.create(MACHINE_INVENTORY, machine())
        for index in range(LIMITS.history):
            await patch(embedded, {"spec": {"machineHash": str(index)}})

        bookmark = await anext(events)
        assert bookmark.type == "BOOKMARK"
        version = int(bookmark.document["metadata"]["resourceVersion"])
        assert version > int((await get(embedded))["metadata"]["resourceVersion"]) - LIMITS.history * 2


async def test_a_cascade_is_done_when_the_delete_is(embedded: Store) -> None:
    owner = await embedded.create(MACHINE_INVENTORY, machine())
    middle = await embedded.create(SECRET, secret("plan", owner))
    await embedded.create(SECRET, secret("leaf", middle))
    since = (await embedded.list(SECRET)).resource_version

    await delete(embedded)

    assert await names(embedded, SECRET) == []
    async with aclosing(embedded.watch(SECRET, since=since)) as events:
        assert sorted(await take(events, 2)) == [("DELETED", "leaf"), ("DELETED", "plan")]


async def test_of_two_owners_the_last_one_counts_at_once(embedded: Store) -> None:
    first = await embedded.create(MACHINE_INVENTORY, machine("press-1"))
    second = await embedded.create(MACHINE_INVENTORY, machine("press-2"))
    await embedded.create(SECRET, secret("s", first, second))

    await delete(embedded, "press-1")
    left = await embedded.get(SECRET, "s", namespace=NAMESPACE)
    assert left["metadata"]["ownerReferences"] == [owner_of(second)]

    await delete(embedded, "press-2")
    assert await names(embedded, SECRET) == []


async def test_a_store_of_an_earlier_release_learns_its_labels(tmp_path: Path) -> None:
    async with sqlite(tmp_path, LIMITS) as store:
        await fill(store, 4)
    with closing(sqlite3.connect(tmp_path / "skerry.db")) as connection, connection:
        connection.execute("DROP TABLE labels")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = '0002-labels'")

    async with sqlite(tmp_path, LIMITS) as store:
        page = await store.list(MACHINE_INVENTORY, Selection(labels="site=north"))

    assert [document["metadata"]["name"] for document in page.items] == ["press-1", "press-3"]


def secret(name: str, *owners: Document) -> Document:
    references = [owner_of(owner) for owner in owners]
    return {"metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": references}}
