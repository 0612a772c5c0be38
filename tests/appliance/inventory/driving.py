"""An inventory that follows a store, and waiting for what it takes in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from appliance.discovery import Candidates
from appliance.inventory.errors import MachineUnknown
from appliance.inventory.following import Following
from appliance.inventory.inventory import Inventory
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.store.base import Store
from tests.appliance.inventory.factories import LATER, NOW, record

PATIENCE = 20


async def settle(inventory: Inventory) -> None:
    """Wait until what was heard is written: a write of people's is behind it in the one queue."""
    with pytest.raises(MachineUnknown):
        await inventory.set_tag("nobody-at-all", "x", by="test")


@asynccontextmanager
async def followed(inventory: Inventory, store: Store, *, origin: str = "here") -> AsyncIterator[Candidates]:
    candidates = Candidates()
    task = asyncio.create_task(
        Following(inventory._writer, store, candidates, origin=origin, clock=lambda: NOW, pause=0.01).run()
    )
    try:
        yield candidates
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await settle(inventory)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await is_so():
            await asyncio.sleep(0.01)


async def create(store: Store, name: str, **metadata: object) -> Document:
    document = record(name, **metadata)  # type: ignore[arg-type]
    for given in ("uid", "creationTimestamp"):
        document["metadata"].pop(given)
    return await store.create(MACHINE_INVENTORY, document)


async def report(store: Store, name: str, *addresses: str, at: str = LATER) -> None:
    await store.create(
        HOST_REPORT,
        {
            "metadata": {"name": name, "namespace": "fleet-default"},
            "report": {
                "agentVersion": "1",
                "bootId": "b",
                "mode": "active",
                "addresses": list(addresses),
            },
            "receivedAt": at,
        },
    )


def is_known(inventory: Inventory, name: str, **fields: object) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        try:
            entry = (await inventory.show(name)).entry
        except MachineUnknown:
            return False
        return all(getattr(entry, field) == value for field, value in fields.items())

    return ask
