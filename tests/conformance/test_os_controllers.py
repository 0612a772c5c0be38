"""OS images as they move, over each engine: channels, media, rollouts, and Plans where a cluster has them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from appliance.controllers import build
from appliance.controllers.manager import Backoff, Manager
from appliance.controllers.metadata import write_metadata
from appliance.controllers.plans import read_plan
from appliance.controllers.upgrade_plan import CLUSTER_ROLE, CLUSTER_ROLE_BINDING
from appliance.controllers.version_list import ListAddress
from appliance.controllers.writes import render_time
from appliance.resources.core import SECRET
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.managed_os_version_channel import MANAGED_OS_VERSION_CHANNEL
from appliance.resources.meta import Document, Kind
from appliance.resources.metadata import METADATA
from appliance.resources.rollout import ROLLOUT
from appliance.resources.seed_image import SEED_IMAGE
from appliance.resources.service_account import SERVICE_ACCOUNT
from appliance.resources.system_upgrade_plan import SYSTEM_UPGRADE_PLAN
from appliance.store.base import NotFound, Selection, Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.factories import (
    NAMESPACE,
    V2,
    Clock,
    encode,
    host_report,
    inventory,
    registration,
    report,
    settings,
)
from tests.appliance.controllers.test_seed_image import Shelf
from tests.conformance.controlled_cluster import define, is_served, open_cluster
from tests.conformance.store_engines import remove
from tests.kube_cluster import DEFINITIONS, KubeCluster, restart_controllers

PATIENCE = 90.0
OURS = (MANAGED_OS_IMAGE, ROLLOUT, MANAGED_OS_VERSION_CHANNEL, MANAGED_OS_VERSION, SEED_IMAGE)


@asynccontextmanager
async def emptied(store: Store) -> AsyncIterator[Store]:
    """Without what a test of this file left in the cluster."""
    for kind in OURS:
        for document in (await store.list(kind, Selection(namespace=NAMESPACE))).items:
            await remove(store, kind, document)
    yield store


@pytest.fixture(params=["sqlite", pytest.param("kubernetes", marks=pytest.mark.interop)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "sqlite":
        async with SqliteStore.open(tmp_path / "skerry.db") as opened:
            yield opened
    else:
        async with (
            open_cluster(request.getfixturevalue("kube_cluster")) as cluster,
            emptied(cluster) as empty,
        ):
            yield empty


class Running:
    """Every controller over a store, and a hand on the world around it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.shelf = Shelf(self.clock)
        self.names = ["v1", "v2"]

    def read_list(self, address: ListAddress) -> bytes:
        spec = {"version": "x", "type": "container", "metadata": {"upgradeImage": "demo:v2"}}
        return msgspec.json.encode([{"metadata": {"name": name}, "spec": spec} for name in self.names])

    async def find(self, kind: Kind, name: str, namespace: str = NAMESPACE) -> Document:
        try:
            return await self.store.get(kind, name, namespace=namespace)
        except NotFound:
            return {"metadata": {}}

    async def reason(self, kind: Kind, name: str, type: str = "Ready") -> str:
        status = (await self.find(kind, name)).get("status") or {}
        return "".join(each["reason"] for each in status.get("conditions", []) if each["type"] == type)

    async def until(self, read: Callable[[], Awaitable[object]], expected: object) -> None:
        found: object = None
        try:
            async with asyncio.timeout(PATIENCE):
                while (found := await read()) != expected:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{found!r} never became {expected!r}") from None


@asynccontextmanager
async def running(store: Store) -> AsyncIterator[Running]:
    world = Running(store)
    given = replace(settings(world.clock), read_list=world.read_list, media=world.shelf)
    manager = Manager(store, build(store, given), backoff=Backoff(first=0.02, longest=0.5))
    task = asyncio.create_task(manager.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_channel_keeps_its_versions_and_lets_the_unused_go(store: Store) -> None:
    channel: Document = {
        "metadata": {"name": "edge", "namespace": NAMESPACE},
        "spec": {"type": "json", "options": {"uri": "oci://list"}, "deleteNoLongerInSyncVersions": True},
    }
    async with running(store) as world:
        await store.create(MANAGED_OS_VERSION_CHANNEL, channel)
        await world.until(lambda: world.reason(MANAGED_OS_VERSION_CHANNEL, "edge"), "Synchronized")
        before = await names(store, MANAGED_OS_VERSION)
        world.names = ["v2"]
        await store.patch(
            MANAGED_OS_VERSION_CHANNEL, "edge", merge({"spec": {"syncInterval": "2h"}}), namespace=NAMESPACE
        )
        await world.until(lambda: names(store, MANAGED_OS_VERSION), ["v2"])
        await store.delete(MANAGED_OS_VERSION_CHANNEL, "edge", namespace=NAMESPACE)
        await world.until(lambda: names(store, MANAGED_OS_VERSION), [])

    assert before == ["v1", "v2"]


async def test_a_seed_image_is_exposed_rebuilt_and_goes_with_its_registration(store: Store) -> None:
    body = {"type": "iso", "baseImage": "edge/iso:1", "registrationRef": {"name": "plant"}}
    async with running(store) as world:

        async def reason() -> str:
            world.shelf.finish()
            return await world.reason(SEED_IMAGE, "stick", "SeedImageReady")

        await store.create(MACHINE_REGISTRATION, registration(token="tok"))
        await store.create(SEED_IMAGE, {"metadata": {"name": "stick", "namespace": NAMESPACE}, "spec": body})
        await world.until(reason, "SeedImageBuildSuccess")
        first = (await world.find(SEED_IMAGE, "stick"))["status"]
        await store.patch(SEED_IMAGE, "stick", merge({"spec": {"retriggerBuild": True}}), namespace=NAMESPACE)

        async def is_another() -> bool:
            await reason()
            status = (await world.find(SEED_IMAGE, "stick"))["status"]
            return status.get("downloadURL", "") not in ("", first["downloadURL"])

        await world.until(is_another, expected=True)
        await store.delete(MACHINE_REGISTRATION, "plant", namespace=NAMESPACE)
        await world.until(lambda: names(store, SEED_IMAGE), [])

    assert first["state"] == "Completed"
    assert len(first["downloadToken"]) == 54


async def test_an_image_moves_its_hosts_and_its_end_takes_back_what_was_not_answered(store: Store) -> None:
    image: Document = {
        "metadata": {"name": "line", "namespace": NAMESPACE},
        "spec": {
            "osImage": "demo:v2",
            "cloudConfig": {"users": []},
            "nodeSelector": {"matchLabels": {"line": "demo"}},
        },
    }
    async with running(store) as world:
        for name in ("host-0", "host-1"):
            await store.create(MACHINE_INVENTORY, inventory(name))
            said = host_report(name, report(), received_at=render_time(world.clock()))
            await store.create(HOST_REPORT, said)
            await world.until(lambda name=name: plan_type(store, name), "empty")  # type: ignore[misc]
        await store.create(MANAGED_OS_IMAGE, image)
        await world.until(lambda: plan_type(store, "host-0"), "upgrade")
        plan = read_plan(await store.get(SECRET, "host-0", namespace=NAMESPACE))
        applied = {"data": {"applied-checksum": encode(plan.checksum)}}
        await store.patch(SECRET, "host-0", merge(applied), namespace=NAMESPACE)
        runs = {"report": msgspec.to_builtins(report(digest=V2, booted="b"))}
        await store.patch(HOST_REPORT, "host-0", merge(runs), namespace=NAMESPACE)
        await world.until(lambda: plan_type(store, "host-1"), "upgrade")

        async def count() -> tuple[int, int, str]:
            status = (await world.find(ROLLOUT, "line"))["status"]
            return status["updated"], status["total"], status["phase"]

        # The plan is handed out before the rollout's status tells of it.
        await world.until(count, (1, 2, "Progressing"))
        await store.delete(MANAGED_OS_IMAGE, "line", namespace=NAMESPACE)
        await world.until(lambda: names(store, ROLLOUT), [])
        await world.until(lambda: plan_type(store, "host-1"), "empty")

    assert await plan_type(store, "host-0") == "upgrade"


@pytest.mark.interop
async def test_where_a_cluster_has_plans_an_image_becomes_one(kube_cluster: KubeCluster) -> None:
    name, system = "os-upgrader-line", "cattle-system"
    definition = f"{SYSTEM_UPGRADE_PLAN.plural}.{SYSTEM_UPGRADE_PLAN.group}"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": system}}
    kube_cluster.request("POST", "/api/v1/namespaces", namespace)
    kube_cluster.request("POST", DEFINITIONS, define(SYSTEM_UPGRADE_PLAN))
    kube_cluster.wait("plans to be served", lambda: is_served(kube_cluster, definition))
    try:
        async with open_cluster(kube_cluster) as store, emptied(store), running(store) as world:
            await store.create(
                MANAGED_OS_IMAGE,
                {"metadata": {"name": "line", "namespace": NAMESPACE}, "spec": {"osImage": "reg.lan/os:2"}},
            )
            await world.until(lambda: world.reason(MANAGED_OS_IMAGE, "line"), "Progressing")
            plan = await world.find(SYSTEM_UPGRADE_PLAN, name, system)
            done = {"status": {"conditions": [{"type": "Complete", "status": "True", "reason": "Done"}]}}
            await store.patch(SYSTEM_UPGRADE_PLAN, name, merge(done), namespace=system, subresource="status")
            await world.until(lambda: world.reason(MANAGED_OS_IMAGE, "line"), "Completed")
            roles = [await world.find(kind, name, "") for kind in (CLUSTER_ROLE, CLUSTER_ROLE_BINDING)]
            account = await world.find(SERVICE_ACCOUNT, name, system)
            rollouts = await names(store, ROLLOUT)
            await store.delete(MANAGED_OS_IMAGE, "line", namespace=NAMESPACE)
            await world.until(lambda: names(store, MANAGED_OS_IMAGE), [])
            left = [
                await world.find(SYSTEM_UPGRADE_PLAN, name, system),
                await world.find(CLUSTER_ROLE, name, ""),
            ]
    finally:
        kube_cluster.request("DELETE", f"{DEFINITIONS}/{definition}")
        restart_controllers(kube_cluster)

    assert plan["spec"]["upgrade"] == {"image": "reg.lan/os", "command": ["/usr/sbin/suc-upgrade"]}
    assert plan["spec"]["version"] == "2"
    assert [each["metadata"]["name"] for each in (*roles, account)] == [name] * 3
    assert (rollouts, left) == ([], [{"metadata": {}}, {"metadata": {}}])


async def test_who_answers_here_is_written_and_what_others_added_stays(store: Store) -> None:
    await write_metadata(store, version="1.0", server_url="https://box.lan")
    added = merge({"spec": {"annotations": {"theirs": "stays"}}})
    await store.patch(METADATA, "elemental-operator", added, namespace="cattle-elemental-system")
    await write_metadata(store, version="2.0", server_url="https://box.lan")

    document = await store.get(METADATA, "elemental-operator", namespace="cattle-elemental-system")
    assert document["spec"]["appVersion"] == "2.0"
    assert document["spec"]["annotations"] == {"skerry.dev/server-url": "https://box.lan", "theirs": "stays"}


async def names(store: Store, kind: Kind) -> list[str]:
    page = await store.list(kind, Selection(namespace=NAMESPACE))
    return [document["metadata"]["name"] for document in page.items]


async def plan_type(store: Store, name: str) -> str:
    try:
        return read_plan(await store.get(SECRET, name, namespace=NAMESPACE)).type
    except NotFound:
        return ""
