"""Many selectors, many machines, several appliances at once that keep dying: nobody is adopted twice.

The appliances share one store and know nothing of each other. Each lives for a random number of writes and
then starts again, so that over a run they die between any two writes. Time runs faster. What
may never happen is looked for in every version of every object; what must happen is awaited.
"""

import asyncio
import base64
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.controllers.address_pools import AddressPoolController
from appliance.controllers.machine_inventory import MachineInventoryController
from appliance.controllers.machine_inventory_selector import MachineInventorySelectorController
from appliance.controllers.manager import Backoff, Controller, Manager
from appliance.controllers.settings import ControllerSettings
from appliance.resources.core import SECRET
from appliance.resources.ipam import IN_CLUSTER_IP_POOL, IP_ADDRESS, IP_ADDRESS_CLAIM
from appliance.resources.machine import MACHINE
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.machine_inventory_selector import (
    MACHINE_INVENTORY_SELECTOR,
    MachineInventorySelector,
)
from appliance.resources.meta import Document, Kind, decode, find_condition
from appliance.store.base import Store
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.dying import DyingStore, PowerCut
from tests.appliance.controllers.factories import (
    NAMESPACE,
    bootstrap_secret,
    inventory,
    machine_of,
    pool,
    selector,
)
from tests.conformance.controlled_cluster import open_cluster

APPLIANCES = 3
SPEED = 20  # of a store that answers at once
CLUSTER_SPEED = (
    4  # five of its seconds, in which a machine must confirm, are more than a start of an appliance
)
HESITATIONS = (0.0, 0.0, 0.0, 0.0, 0.3)  # seconds before a write: some writers are far behind
FAST = Backoff(first=0.01, longest=0.1)
PATIENCE = 90.0  # seconds; only a run that never ends meets it

Build = Callable[[Store, ControllerSettings], Sequence[Controller]]


@pytest.fixture(params=["sqlite", pytest.param("kubernetes", marks=pytest.mark.interop)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "sqlite":
        async with SqliteStore.open(tmp_path / "skerry.db") as opened:
            yield opened
    else:
        async with open_cluster(request.getfixturevalue("kube_cluster")) as opened:
            yield opened


@pytest.mark.parametrize(("machines", "selectors"), [(6, 10), (10, 6)], ids=["scarce", "plenty"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_machine_is_adopted_twice_and_all_that_can_be_are(
    store: Store, machines: int, selectors: int, seed: int
) -> None:
    for number in range(selectors):
        await store.create(SECRET, bootstrap_secret(f"node-{number}"))
        owner = await store.create(MACHINE, machine_of(f"node-{number}"))
        await store.create(MACHINE_INVENTORY_SELECTOR, selector(f"node-{number}", owner=owner))
    for number in range(machines):
        await store.create(MACHINE_INVENTORY, inventory(f"host-{number}"))
    async with witnessing(store, MACHINE_INVENTORY_SELECTOR, SECRET) as seen:
        async with mortal_appliances(store, adopters, seed=seed) as deaths:
            await until(store, lambda state: is_settled(state, min(machines, selectors)))
        async with immortal_appliance(store, adopters):
            await until(store, lambda state: is_settled(state, min(machines, selectors)))
        state = await read_state(store)

    assert sum(deaths) > APPLIANCES
    # In the end everybody agrees with everybody.
    owners = {name: machine.metadata.owner_references for name, machine in state.machines.items()}
    for name, found in state.selectors.items():
        reference = found.status.machine_inventory_ref
        mine = [machine for machine, owned in owners.items() if any(o.name == name for o in owned)]
        assert mine == ([reference.name] if reference else [])
    # And at no time did two selectors hold one machine, or one machine get two bootstrap plans.
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for document in seen[MACHINE_INVENTORY_SELECTOR.kind]:
        found = decode(MachineInventorySelector, document)
        confirmed = find_condition(found.status.conditions, "InventoryReady")
        if found.status.machine_inventory_ref and confirmed and confirmed.status == "True":
            holders[found.status.machine_inventory_ref.name].add(found.metadata.name)
    assert len(holders) == min(machines, selectors)
    assert [names for names in holders.values() if len(names) > 1] == []
    plans: defaultdict[str, set[str]] = defaultdict(set)
    for document in seen[SECRET.kind]:
        if document["metadata"].get("annotations", {}).get("elemental.cattle.io/plan.type") == "bootstrap":
            plans[document["metadata"]["name"]].add(document["data"]["plan"])
    assert sorted(map(len, plans.values())) == [1] * min(machines, selectors)
    scripts = [base64.b64decode(plan) for found in plans.values() for plan in found]
    assert len(set(scripts)) == len(scripts)


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_address_is_given_twice_and_none_is_lost(store: Store, seed: int) -> None:
    await store.create(IN_CLUSTER_IP_POOL, pool("lan", "10.0.0.0/28", gateway="10.0.0.1"))
    for number in range(16):
        await store.create(IP_ADDRESS_CLAIM, claim_of(f"claim-{number:02}"))
    async with witnessing(store, IP_ADDRESS) as seen, mortal_appliances(store, givers, seed=seed) as deaths:
        await until_addresses(store, 13)
        for number in range(8):
            await store.delete(IP_ADDRESS_CLAIM, f"claim-{number:02}", namespace=NAMESPACE)
        await until_addresses(store, 8)

    assert sum(deaths) > APPLIANCES
    given = [document["spec"]["address"] for document in (await store.list(IP_ADDRESS)).items]
    assert len(set(given)) == len(given) == 8
    everything = {document["spec"]["address"] for document in seen[IP_ADDRESS.kind]}
    assert everything == {f"10.0.0.{number}" for number in range(2, 15)}
    history: defaultdict[str, set[str]] = defaultdict(set)
    for document in seen[IP_ADDRESS.kind]:
        history[document["metadata"]["name"]].add(document["spec"]["address"])
    assert [addresses for addresses in history.values() if len(addresses) > 1] == []


def adopters(store: Store, settings: ControllerSettings) -> Sequence[Controller]:
    return (
        MachineInventoryController(store, settings),
        MachineInventorySelectorController(store, settings),
    )


def givers(store: Store, settings: ControllerSettings) -> Sequence[Controller]:
    return (AddressPoolController(store, settings),)


def claim_of(name: str) -> Document:
    return {
        "apiVersion": IP_ADDRESS_CLAIM.api_version,
        "kind": IP_ADDRESS_CLAIM.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"poolRef": {"apiGroup": "ipam.cluster.x-k8s.io", "kind": "InClusterIPPool", "name": "lan"}},
    }


@asynccontextmanager
async def mortal_appliances(store: Store, build: Build, *, seed: int) -> AsyncIterator[list[int]]:
    """Several appliances that die after a few writes and start again; yields how often each has died."""
    lives = random.Random(seed)
    settings = fast_settings(store)

    deaths = [0] * APPLIANCES

    async def hesitate() -> None:
        await asyncio.sleep(lives.choice(HESITATIONS))

    async def live(number: int) -> None:
        while True:
            mortal = DyingStore(store, writes=lives.randint(0, 12), before_write=hesitate)
            manager = Manager(mortal, build(mortal, settings), backoff=FAST)
            try:
                await manager.run()
            except* PowerCut:
                deaths[number] += 1

    async with in_background([live(number) for number in range(APPLIANCES)]):
        yield deaths


@asynccontextmanager
async def immortal_appliance(store: Store, build: Build) -> AsyncIterator[None]:
    async with in_background([Manager(store, build(store, fast_settings(store)), backoff=FAST).run()]):
        yield


@asynccontextmanager
async def witnessing(store: Store, *kinds: Kind) -> AsyncIterator[dict[str, list[Document]]]:
    """Every version of every object of these kinds, as the store tells of them."""
    seen: dict[str, list[Document]] = {kind.kind: [] for kind in kinds}

    async def witness(kind: Kind) -> None:
        async for event in store.watch(kind):
            if event.type in ("ADDED", "MODIFIED"):
                seen[kind.kind].append(event.document)

    async with in_background([witness(kind) for kind in kinds]):
        yield seen


@asynccontextmanager
async def in_background(work: Sequence[Coroutine[None, None, None]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(part) for part in work]
    try:
        yield
    finally:
        left = set(tasks)
        while left:  # a cancellation that meets a power cut in Python 3.11's task groups is lost
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=1)


def fast_settings(store: Store) -> ControllerSettings:
    start = datetime.now(UTC)
    speed = SPEED if isinstance(store, SqliteStore) else CLUSTER_SPEED
    return ControllerSettings(
        server_url="https://box.lan",
        resolve=lambda reference: reference,
        clock=lambda: start + speed * (datetime.now(UTC) - start),
    )


@dataclass(frozen=True)
class State:
    machines: dict[str, MachineInventory]
    selectors: dict[str, MachineInventorySelector]


async def read_state(store: Store) -> State:
    machines = [decode(MachineInventory, found) for found in (await store.list(MACHINE_INVENTORY)).items]
    selectors = [
        decode(MachineInventorySelector, found)
        for found in (await store.list(MACHINE_INVENTORY_SELECTOR)).items
    ]
    return State(
        {machine.metadata.name: machine for machine in machines},
        {selector.metadata.name: selector for selector in selectors},
    )


def is_settled(state: State, pairs: int) -> bool:
    """So many selectors are ready, the others have nothing, and so many machines are owned."""
    ready = [found for found in state.selectors.values() if found.status.ready]
    named = [found for found in state.selectors.values() if found.status.machine_inventory_ref]
    owned = [machine for machine in state.machines.values() if machine.metadata.owner_references]
    return len(ready) == len(named) == len(owned) == pairs


async def until(store: Store, is_true: Callable[[State], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_true(await read_state(store)):
            await asyncio.sleep(0.05)


async def until_addresses(store: Store, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len((await store.list(IP_ADDRESS)).items) != count:
            await asyncio.sleep(0.05)
