"""The fleet that watches keep current: what is read, what is believed, and what is not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.controllers.fleet import Fleet
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.store.base import Event, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.factories import NAMESPACE, inventory

NEW = {"metadata": {"labels": {"line": "new"}}}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        await store.create(MACHINE_INVENTORY, inventory("host-0"))
        yield store


@pytest.fixture
def fed(store: SqliteStore) -> Fleet:
    """A fleet whose watches have told everything there was."""
    fleet = Fleet(store)
    for shelf in (fleet.machines, fleet.reports, fleet.plans):
        shelf.restart()
        shelf.take(Event("BOOKMARK", MACHINE_INVENTORY, {"metadata": {"resourceVersion": "1"}}))
    return fleet


async def names(fleet: Fleet) -> list[str]:
    return [host.machine.metadata.name for host in await fleet.hosts(NAMESPACE)]


async def line(fleet: Fleet) -> str:
    return (await fleet.hosts(NAMESPACE))[0].machine.metadata.labels["line"]


async def change(store: SqliteStore) -> Document:
    return await store.patch(MACHINE_INVENTORY, "host-0", merge(NEW), namespace=NAMESPACE)


async def test_a_fleet_without_a_watch_reads_the_store_at_every_look(store: SqliteStore) -> None:
    fleet = Fleet(store)
    before = await line(fleet)
    await change(store)

    assert (before, await line(fleet)) == ("demo", "new")


async def test_a_fed_fleet_believes_its_events_and_reads_no_more(store: SqliteStore, fed: Fleet) -> None:
    await line(fed)
    changed = await change(store)
    unheard = await line(fed)
    fed.machines.take(Event("MODIFIED", MACHINE_INVENTORY, changed))

    assert (unheard, await line(fed)) == ("demo", "new")


async def test_an_old_event_does_not_undo_a_write_of_our_own(store: SqliteStore, fed: Fleet) -> None:
    old = await store.get(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await line(fed)
    fed.machines.put(await change(store))
    fed.machines.take(Event("MODIFIED", MACHINE_INVENTORY, old))

    assert await line(fed) == "new"


async def test_a_deletion_is_believed_unless_the_name_is_used_anew(store: SqliteStore, fed: Fleet) -> None:
    await line(fed)
    gone = await store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    again = await store.create(MACHINE_INVENTORY, inventory("host-0"))
    fed.machines.take(Event("ADDED", MACHINE_INVENTORY, again))
    fed.machines.take(Event("DELETED", MACHINE_INVENTORY, gone))
    used_anew = await names(fed)
    fed.machines.take(Event("DELETED", MACHINE_INVENTORY, again))

    assert (used_anew, await names(fed)) == (["host-0"], [])


async def test_what_the_watch_tells_while_the_store_is_read_is_not_lost(
    store: SqliteStore, fed: Fleet
) -> None:
    present = await store.get(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)

    class Slow:
        """The real store, but something happens between its answer and its being heard."""

        async def list(self, *given: object, **named: object) -> object:
            page = await store.list(*given, **named)  # type: ignore[arg-type]
            fed.machines.take(Event("DELETED", MACHINE_INVENTORY, present))
            return page

    fed.machines._store = Slow()  # type: ignore[assignment]  # a store that is slow at one method only

    assert await names(fed) == []


async def test_a_watch_that_broke_makes_the_fleet_read_again(store: SqliteStore, fed: Fleet) -> None:
    await line(fed)
    await change(store)
    fed.machines.restart()

    assert await line(fed) == "new"


async def test_another_machines_plan_is_not_a_hosts_own(store: SqliteStore, fed: Fleet) -> None:
    secret: Document = {
        "metadata": {
            "name": "host-0",
            "namespace": NAMESPACE,
            "uid": "1",
            "resourceVersion": "9",
            "labels": {"elemental.cattle.io/managed": "true"},
            "ownerReferences": [{"uid": "a-namesake-of-old"}],
        },
        "data": {"plan": "e30="},
    }
    await line(fed)
    fed.plans.put(secret)

    assert (await fed.hosts(NAMESPACE))[0].plan is None
