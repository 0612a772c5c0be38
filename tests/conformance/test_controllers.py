"""Controllers as they run, over each engine: what follows from what people declare and what hosts answer.

On a cluster its own controllers take part: the garbage collector, and RBAC, which is asked what the account
of a registration may do.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.controllers import ControllerSettings, build
from appliance.controllers.manager import Backoff, Manager
from appliance.controllers.plans import read_plan
from appliance.resources.core import EVENT, SECRET
from appliance.resources.ipam import IN_CLUSTER_IP_POOL, IP_ADDRESS
from appliance.resources.machine import MACHINE
from appliance.resources.machine_inventory import MACHINE_INVENTORY, REGISTERED_WITH, RESETTABLE
from appliance.resources.machine_inventory_selector import MACHINE_INVENTORY_SELECTOR
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.meta import Document, Kind
from appliance.resources.rbac import ROLE, ROLE_BINDING
from appliance.resources.service_account import SERVICE_ACCOUNT
from appliance.store.base import NotFound, Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.factories import (
    NAMESPACE,
    bootstrap_secret,
    encode,
    inventory,
    machine_of,
    pool,
    registration,
    selector,
)
from tests.conformance.controlled_cluster import open_cluster
from tests.kube_cluster import KubeCluster

PATIENCE = 90.0  # seconds; a cluster's garbage collector takes its time


@pytest.fixture(params=["sqlite", pytest.param("kubernetes", marks=pytest.mark.interop)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "sqlite":
        async with SqliteStore.open(tmp_path / "skerry.db") as opened:
            yield opened
    else:
        async with open_cluster(request.getfixturevalue("kube_cluster")) as opened:
            yield opened


@asynccontextmanager
async def controlled(store: Store) -> AsyncIterator[None]:
    """All controllers over the store, until the context ends."""
    settings = ControllerSettings(server_url="https://box.lan", resolve=lambda reference: reference)
    manager = Manager(store, build(store, settings), backoff=Backoff(first=0.02, longest=0.5))
    task = asyncio.create_task(manager.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(is_true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await is_true():
            await asyncio.sleep(0.05)


async def find(store: Store, kind: Kind, name: str) -> Document | None:
    try:
        return await store.get(kind, name, namespace=NAMESPACE)
    except NotFound:
        return None


async def has_condition(store: Store, kind: Kind, name: str, type: str, reason: str) -> bool:
    document = await find(store, kind, name)
    conditions = ((document or {}).get("status") or {}).get("conditions") or []
    return any((found["type"], found["reason"]) == (type, reason) for found in conditions)


async def answer(store: Store, name: str) -> None:
    """The host's agent acknowledges its plan."""
    plan = read_plan(await store.get(SECRET, name, namespace=NAMESPACE))
    body = {"data": {"applied-checksum": encode(plan.checksum)}}
    await store.patch(SECRET, name, merge(body), namespace=NAMESPACE)


async def plan_type(store: Store, name: str) -> str:
    secret = await find(store, SECRET, name)
    return read_plan(secret).type if secret else ""


async def test_a_registration_has_its_children_and_gets_them_back(store: Store) -> None:
    await store.create(MACHINE_REGISTRATION, registration(token="tok"))
    children = ((SERVICE_ACCOUNT, "plant"), (ROLE, "plant"), (ROLE_BINDING, "plant"), (SECRET, "plant-token"))
    async with controlled(store):
        await until(
            lambda: has_condition(store, MACHINE_REGISTRATION, "plant", "Ready", "SuccessfullyCreated")
        )
        for kind, name in children:
            before = await store.get(kind, name, namespace=NAMESPACE)
            await store.delete(kind, name, namespace=NAMESPACE)

            async def is_back(
                kind: Kind = kind, name: str = name, uid: str = before["metadata"]["uid"]
            ) -> bool:
                found = await find(store, kind, name)
                return found is not None and found["metadata"]["uid"] != uid

            await until(is_back)
        await store.delete(MACHINE_REGISTRATION, "plant", namespace=NAMESPACE)

        async def are_gone() -> bool:
            return not any([await find(store, kind, name) for kind, name in children])

        await until(are_gone)


async def test_a_machine_is_approved_addressed_adopted_and_reset(store: Store) -> None:
    await store.create(IN_CLUSTER_IP_POOL, pool("lan", "10.0.0.10-10.0.0.12"))
    document = inventory(**{RESETTABLE: "true"})
    document["spec"]["ipAddressPools"] = {
        "eth0": {"apiGroup": "ipam.cluster.x-k8s.io", "kind": "InClusterIPPool", "name": "lan"}
    }
    await store.create(MACHINE_INVENTORY, document)
    await store.create(SECRET, bootstrap_secret("node-0"))
    owner = await store.create(MACHINE, machine_of("node-0"))
    async with controlled(store):
        await until(lambda: has_condition(store, MACHINE_INVENTORY, "host-0", "Ready", "WaitingForPlan"))
        await answer(store, "host-0")
        await until(
            lambda: has_condition(store, MACHINE_INVENTORY, "host-0", "Ready", "PlanSuccessfullyApplied")
        )
        addressed = await store.get(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
        await store.create(MACHINE_INVENTORY_SELECTOR, selector(owner=owner))
        await until(
            lambda: has_condition(store, MACHINE_INVENTORY_SELECTOR, "node-0", "Ready", "SelectorReady")
        )
        bootstrap = read_plan(await store.get(SECRET, "host-0", namespace=NAMESPACE))

        # As Cluster API does: the Machine goes, its selector with it, the host by way of a reset.
        await store.delete(MACHINE, "node-0", namespace=NAMESPACE)

        async def is_resetting() -> bool:
            return await plan_type(store, "host-0") == "reset"

        await until(is_resetting)
        await answer(store, "host-0")

        async def is_over() -> bool:
            left = [
                await find(store, MACHINE_INVENTORY, "host-0"),
                await find(store, IP_ADDRESS, "host-0-eth0"),
            ]
            return left == [None, None]

        await until(is_over)

    assert addressed["spec"]["network"]["ipAddresses"] == {"eth0": "10.0.0.10"}
    files = {file["path"]: base64.b64decode(file["content"]) for file in json.loads(bootstrap.plan)["files"]}
    assert files["/var/lib/rancher/bootstrap.sh"] == b"#!/bin/sh\necho node-0 joins\n"
    reasons = {event["reason"] for event in (await store.list(EVENT)).items}
    assert {"Approved", "SuccessfullyAdopted", "SelectorReady", "ResetRequested"} <= reasons


@pytest.mark.interop
async def test_rbac_lets_a_registrations_account_reach_its_own_hosts_plans_and_no_more(
    kube_cluster: KubeCluster,
) -> None:
    async with open_cluster(kube_cluster) as store:
        await store.create(MACHINE_REGISTRATION, registration(token="tok"))
        await store.create(MACHINE_INVENTORY, inventory("mine", **{REGISTERED_WITH: "plant"}))
        await store.create(MACHINE_INVENTORY, inventory("other", **{REGISTERED_WITH: "elsewhere"}))

        async def may(verb: str, name: str = "") -> bool:
            return await asyncio.to_thread(ask, kube_cluster, verb, name)

        async with controlled(store):
            await until(lambda: may("get", "mine"))

        assert [verb for verb in ("get", "update", "patch", "watch") if not await may(verb, "mine")] == []
        assert [verb for verb in ("get", "update", "patch", "delete") if await may(verb, "other")] == []
        assert [verb for verb in ("list", "watch", "create", "get") if await may(verb)] == []


def ask(cluster: KubeCluster, verb: str, name: str) -> bool:
    """What the cluster's own RBAC says to the account of the registration."""
    attributes = {"namespace": NAMESPACE, "verb": verb, "resource": "secrets", "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{NAMESPACE}:plant", "resourceAttributes": attributes},
    }
    answered = cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    is_allowed: bool = json.loads(answered)["status"]["allowed"]
    return is_allowed
