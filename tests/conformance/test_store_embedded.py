"""What only the embedded store promises: a history of known limits, and a cascade that is one write."""

from contextlib import aclosing

import pytest

from appliance.resources.core import SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.resources.rollout import ROLLOUT
from appliance.store.base import (
    Gone,
    Store,
)
from tests.conformance.store_engines import (
    LIMITS,
    NAMESPACE,
    delete,
    get,
    machine,
    names,
    next_event,
    owner_of,
    patch,
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


def secret(name: str, *owners: Document) -> Document:
    references = [owner_of(owner) for owner in owners]
    return {"metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": references}}
