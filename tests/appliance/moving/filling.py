"""What is put into a folder's store, and what is found in it."""

import asyncio
from pathlib import Path

from appliance.resources.core import SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.meta import Document
from appliance.store.base import merge
from appliance.store.sqlite import SqliteStore

NAMESPACE = "fleet-default"


async def fill(folder: Path) -> None:
    async with SqliteStore.open(folder / "skerry.db") as store:
        await store.create(
            MACHINE_REGISTRATION, named("MachineRegistration", "line-4", spec={"token": "t-4"})
        )
        host = await store.create(
            MACHINE_INVENTORY,
            named("MachineInventory", "press-1", spec={"tpmHash": "ab"}, finalizers=["x.example/held"]),
        )
        await store.patch(
            MACHINE_INVENTORY,
            "press-1",
            merge({"status": {"plan": {"checksum": "c1"}}}),
            namespace=NAMESPACE,
            subresource="status",
        )
        owner = {
            "apiVersion": "elemental.cattle.io/v1beta1",
            "kind": "MachineInventory",
            "name": "press-1",
            "uid": host["metadata"]["uid"],
        }
        plan = named("Secret", "press-1", owners=[owner])
        await store.create(SECRET, plan | {"apiVersion": "v1", "data": {"plan": "e30="}})


def named(
    kind: str,
    name: str,
    *,
    spec: Document | None = None,
    owners: list[Document] | None = None,
    finalizers: list[str] | None = None,
) -> Document:
    metadata: Document = {"name": name, "namespace": NAMESPACE}
    metadata |= {"ownerReferences": owners} if owners else {}
    metadata |= {"finalizers": finalizers} if finalizers else {}
    document = {"apiVersion": "elemental.cattle.io/v1beta1", "kind": kind, "metadata": metadata}
    return document | ({"spec": spec} if spec is not None else {})


def objects(folder: Path) -> list[Document]:
    async def read() -> list[Document]:
        async with SqliteStore.open(folder / "skerry.db") as store:
            pages = [await store.list(kind) for kind in (MACHINE_REGISTRATION, MACHINE_INVENTORY, SECRET)]
            return [document for page in pages for document in page.items]

    return asyncio.run(read())
