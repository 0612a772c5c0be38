"""The engines that the store suite runs over, and the documents it uses."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document, Kind
from appliance.store.base import Event, Limits, Store
from appliance.store.sqlite import SqliteStore

NAMESPACE = "fleet-default"

Engine = Callable[[Path, Limits], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def sqlite(folder: Path, limits: Limits) -> AsyncIterator[Store]:
    async with SqliteStore.open(folder / "skerry.db", limits=limits) as store:
        yield store


ENGINES: dict[str, Engine] = {"sqlite": sqlite}


def machine(name: str = "press-1", **parts: object) -> Document:
    """A MachineInventory as a client would send it."""
    metadata = {"name": name, "namespace": NAMESPACE}
    given = parts.pop("metadata", {})
    assert isinstance(given, dict)
    return {
        "apiVersion": MACHINE_INVENTORY.api_version,
        "kind": "MachineInventory",
        "metadata": {**metadata, **given},
        "spec": {"tpmHash": "ab12"},
        **parts,
    }


def owner_of(document: Document) -> Document:
    """The owner reference that makes something depend on `document`."""
    return {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "name": document["metadata"]["name"],
        "uid": document["metadata"]["uid"],
    }


async def next_event(events: AsyncIterator[Event]) -> Event:
    """The next event that is no bookmark."""
    async for event in events:
        if event.type != "BOOKMARK":
            return event
    raise AssertionError("the watch ended")


async def names(store: Store, kind: Kind = MACHINE_INVENTORY) -> list[str]:
    return [document["metadata"]["name"] for document in (await store.list(kind)).items]
