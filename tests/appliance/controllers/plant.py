"""A plant of hosts over the real store: controllers run until nothing changes, hosts play their part."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from agent.protocol.report import Report
from appliance.controllers import build
from appliance.controllers.manager import Controller, identify
from appliance.controllers.plans import PlanRecord, read_plan
from appliance.controllers.writes import render_time
from appliance.resources.core import EVENT, SECRET
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import decode
from appliance.resources.rollout import ROLLOUT, Rollout, RolloutStatus
from appliance.store.base import NotFound, Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.dying import DyingStore, PowerCut
from tests.appliance.controllers.factories import (
    NAMESPACE,
    V1,
    Clock,
    encode,
    host_report,
    inventory,
    report,
    settings,
    transaction,
)

MAX_ROUNDS = 30


class Plant:
    """One namespace. `settle` plays the manager without time: everything is reconciled until it is still."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.controllers = build(store, settings(clock))

    async def settle(self, controllers: Sequence[Controller] | None = None) -> None:
        for _ in range(MAX_ROUNDS):
            before = (await self.store.list(ROLLOUT)).resource_version
            for controller in controllers or self.controllers:
                for document in (await self.store.list(controller.kind)).items:
                    await controller.reconcile(identify(document))
            if (await self.store.list(ROLLOUT)).resource_version == before:
                return
        raise AssertionError("the controllers never come to rest")

    async def settle_with_power_cuts(self, writes: int) -> int:
        """Die after so many writes, again and again, until the work is done; answer how often it died."""
        for deaths in range(1000):
            dying = DyingStore(self.store, writes=writes)
            try:
                await self.settle(build(dying, settings(self.clock)))
            except PowerCut:
                continue
            return deaths
        raise AssertionError(f"{writes} writes at a time never finish the work")

    async def die_once(self, writes: int) -> bool:
        """Settle with a power cut before the write of that number; answer whether it came to that."""
        try:
            await self.settle(build(DyingStore(self.store, writes=writes), settings(self.clock)))
        except PowerCut:
            return True
        return False

    async def add_host(self, name: str, *, digest: str = V1) -> None:
        await self.store.create(MACHINE_INVENTORY, inventory(name))
        await self.say(name, report(digest=digest))

    async def say(self, name: str, said: Report) -> None:
        """A host reports."""
        document = host_report(name, said, received_at=render_time(self.clock()))
        try:
            body = {"report": document["report"], "receivedAt": document["receivedAt"]}
            await self.store.patch(HOST_REPORT, name, merge(body), namespace=NAMESPACE)
        except NotFound:
            await self.store.create(HOST_REPORT, document)

    async def answer(self, name: str, *, failed: bool = False, **data: str) -> None:
        """A host's agent acknowledges its plan."""
        plan = await self.plan(name)
        key, other = ("failed", "applied") if failed else ("applied", "failed")
        body = {"data": {f"{key}-checksum": encode(plan.checksum), f"{other}-checksum": "", **data}}
        await self.store.patch(SECRET, name, merge(body), namespace=NAMESPACE)

    async def finish_upgrade(self, name: str, digest: str) -> None:
        await self.answer(name)
        await self.say(name, report(digest=digest, booted="b"))

    async def roll_back(self, name: str, digest: str) -> None:
        await self.answer(name)
        outcome = transaction(digest, phase="done", outcome="rolled-back", reason="50-demo.sh: no pressure")
        await self.say(name, report(digest=V1, bad=digest, transaction=outcome))

    async def plan(self, name: str) -> PlanRecord:
        return read_plan(await self.store.get(SECRET, name, namespace=NAMESPACE))

    async def planned(self) -> list[str]:
        """The hosts whose Secret holds an upgrade plan that they have not answered."""
        names = []
        for document in (await self.store.list(SECRET)).items:
            plan = read_plan(document)
            if plan.type == "upgrade" and plan.state == "":
                names.append(document["metadata"]["name"])
        return names

    async def rollout(self, name: str = "to-v2") -> RolloutStatus:
        return decode(Rollout, await self.store.get(ROLLOUT, name, namespace=NAMESPACE)).status

    async def phases(self, name: str = "to-v2") -> dict[str, str]:
        return {host.name: host.phase for host in (await self.rollout(name)).hosts}

    async def events(self, reason: str) -> list[str]:
        page = await self.store.list(EVENT)
        return [event["message"] for event in page.items if event["reason"] == reason]

    async def snapshot(self) -> bytes:
        """Everything that controllers write, without versions, identities and events."""
        documents = []
        for kind in (MACHINE_INVENTORY, SECRET, ROLLOUT):
            for document in (await self.store.list(kind)).items:
                metadata = {
                    key: value
                    for key, value in document["metadata"].items()
                    if key in ("name", "labels", "annotations", "finalizers")
                }
                documents.append({**document, "metadata": metadata})
        return msgspec.json.encode(documents, order="deterministic")


@asynccontextmanager
async def open_plant(directory: Path) -> AsyncIterator[Plant]:
    directory.mkdir(exist_ok=True)
    async with SqliteStore.open(directory / "skerry.db") as store:
        yield Plant(store, Clock())


def as_store(store: object) -> Store:
    return store  # type: ignore[return-value]  # what it does not define is the real store's
