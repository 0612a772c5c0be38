"""The engines that the store suite runs over, the documents it uses and the steps its tests share."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from appliance.resources.core import CONFIG_MAP, SECRET
from appliance.resources.core import NAMESPACE as NAMESPACE_KIND
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document, Kind
from appliance.resources.rbac import ROLE_BINDING
from appliance.resources.rollout import ROLLOUT
from appliance.resources.seed_image import SEED_IMAGE
from appliance.store.base import Event, Limits, NotFound, Store, Subresource, merge
from appliance.store.kubernetes import KubernetesStore
from appliance.store.kubernetes_api import KubernetesApi
from appliance.store.kubernetes_watch import WatchSettings
from appliance.store.sqlite import SqliteStore
from tests.kube_cluster import KubeCluster

NAMESPACE = "fleet-default"
NAMESPACES = (NAMESPACE, "other")
USED_KINDS = (MACHINE_INVENTORY, ROLLOUT, SEED_IMAGE, SECRET, CONFIG_MAP, ROLE_BINDING)
LIMITS = Limits(max_document_bytes=4096, history=40, watch_buffer=8)
HOLD = "machineinventory.elemental.cattle.io"
EVENTUALLY_SECONDS = 60.0


@asynccontextmanager
async def sqlite(folder: Path, limits: Limits) -> AsyncIterator[Store]:
    async with SqliteStore.open(folder / "skerry.db", limits=limits) as store:
        yield store


@asynccontextmanager
async def kubernetes(
    cluster: KubeCluster, limits: Limits, *, watching: WatchSettings | None = None
) -> AsyncIterator[KubernetesStore]:
    """A store over the shared cluster, which holds nothing of an earlier test."""
    api = await KubernetesApi.open(cluster.kubeconfig)
    async with KubernetesStore(api, limits=limits, watching=watching) as store:
        await clear(store)
        yield store


async def clear(store: Store) -> None:
    """Take away what tests put into the cluster, these and others, finalizers or not."""
    await asyncio.gather(*(clear_kind(store, kind) for kind in USED_KINDS))
    for namespace in NAMESPACES:
        try:
            found = await store.get(NAMESPACE_KIND, namespace)
        except NotFound:
            continue
        if found["metadata"].get("deletionTimestamp"):
            await eventually(partial(is_gone, store, NAMESPACE_KIND, namespace))


async def clear_kind(store: Store, kind: Kind) -> None:
    is_ours = bool(kind.group) and kind is not ROLE_BINDING  # nobody else in the cluster has such objects
    for document in (await store.list(kind)).items:
        if is_ours or document["metadata"]["namespace"] in NAMESPACES:
            await remove(store, kind, document)


async def remove(store: Store, kind: Kind, document: Document) -> None:
    name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
    try:
        if document["metadata"].get("finalizers"):
            await store.patch(kind, name, merge({"metadata": {"finalizers": None}}), namespace=namespace)
        await store.delete(kind, name, namespace=namespace)
    except NotFound:
        return


async def is_gone(store: Store, kind: Kind, name: str, *, namespace: str = "") -> bool:
    try:
        await store.get(kind, name, namespace=namespace)
    except NotFound:
        return True
    return False


async def eventually(read: Callable[[], Awaitable[object]], *, expected: object = True) -> None:
    """Read until it is as expected. What the embedded store does at once a cluster's controllers do later."""
    deadline = time.monotonic() + EVENTUALLY_SECONDS
    while (found := await read()) != expected and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    assert found == expected


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


async def get(store: Store, name: str = "press-1") -> Document:
    return await store.get(MACHINE_INVENTORY, name, namespace=NAMESPACE)


async def patch(
    store: Store, body: Document, name: str = "press-1", *, subresource: Subresource = ""
) -> Document:
    return await store.patch(
        MACHINE_INVENTORY, name, merge(body), namespace=NAMESPACE, subresource=subresource
    )


async def delete(store: Store, name: str = "press-1") -> Document:
    return await store.delete(MACHINE_INVENTORY, name, namespace=NAMESPACE)


async def fill(store: Store, count: int) -> None:
    for index in range(count):
        labels = {"site": "north" if index % 2 else "south", "index": str(index)}
        await store.create(MACHINE_INVENTORY, machine(f"press-{index}", metadata={"labels": labels}))


async def take(events: AsyncIterator[Event], count: int) -> list[tuple[str, str]]:
    found = [await next_event(events) for _ in range(count)]
    return [(event.type, event.document["metadata"]["name"]) for event in found]
