"""Every controller against every power cut: die before write k, start again, end like one undisturbed.

A story is what people and hosts do; the controllers settle after each step. It is told once without a cut,
and then once for every write that the controllers make in it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from appliance.resources.core import EVENT, SECRET
from appliance.resources.ipam import IN_CLUSTER_IP_POOL
from appliance.resources.kinds import KINDS
from appliance.resources.machine import MACHINE
from appliance.resources.machine_inventory import APPROVAL, MACHINE_INVENTORY, RESETTABLE
from appliance.resources.machine_inventory_selector import MACHINE_INVENTORY_SELECTOR
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.managed_os_version_channel import MANAGED_OS_VERSION_CHANNEL
from appliance.resources.meta import Document
from appliance.store.base import Store, merge
from tests.appliance.controllers.factories import (
    NAMESPACE,
    V2,
    bootstrap_secret,
    inventory,
    machine_of,
    pool,
    registration,
    selector,
)
from tests.appliance.controllers.plant import Plant, open_plant

Step = Callable[[Plant], Awaitable[None]]
# What differs between two tellings of the same story, and is nobody's work.
UNTOLD = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "deletionTimestamp")


@dataclass(frozen=True)
class Story:
    name: str
    steps: Sequence[Step]


async def declare_registration(plant: Plant) -> None:
    await plant.store.create(MACHINE_REGISTRATION, registration(token="tok"))
    for name in ("host-0", "host-1"):
        await plant.store.create(
            MACHINE_INVENTORY,
            inventory(name, approval="pending", **{"skerry.dev/machine-registration": "plant"}),
        )


async def approve_all(plant: Plant) -> None:
    for name in ("host-0", "host-1"):
        body = {"metadata": {"annotations": {APPROVAL: "approved"}}}
        await plant.store.patch(MACHINE_INVENTORY, name, merge(body), namespace=NAMESPACE)


async def change_token(plant: Plant) -> None:
    await plant.store.patch(
        MACHINE_REGISTRATION, "plant", merge({"spec": {"token": "new"}}), namespace=NAMESPACE
    )


async def answer_all(plant: Plant) -> None:
    for document in (await plant.store.list(MACHINE_INVENTORY)).items:
        await plant.answer(document["metadata"]["name"])


async def declare_network(plant: Plant) -> None:
    await plant.store.create(IN_CLUSTER_IP_POOL, pool("lan", "10.0.0.10-10.0.0.12"))
    for name in ("host-0", "host-1"):
        document = inventory(name)
        wanted = {"kind": "InClusterIPPool", "name": "lan", "apiGroup": "ipam.cluster.x-k8s.io"}
        document["spec"]["ipAddressPools"] = {"first": wanted, "second": wanted}
        await plant.store.create(MACHINE_INVENTORY, document)


async def delete_first_host(plant: Plant) -> None:
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)


async def declare_cluster(plant: Plant) -> None:
    for name in ("host-0", "host-1", "host-2"):
        await plant.store.create(MACHINE_INVENTORY, inventory(name, **{RESETTABLE: "true"}))
    for name in ("node-0", "node-1"):
        await plant.store.create(SECRET, bootstrap_secret(name))
        owner = await plant.store.create(MACHINE, machine_of(name))
        await plant.store.create(MACHINE_INVENTORY_SELECTOR, selector(name, owner=owner))


async def delete_a_node(plant: Plant) -> None:
    await plant.store.delete(MACHINE_INVENTORY_SELECTOR, "node-0", namespace=NAMESPACE)


async def declare_upgrade(plant: Plant) -> None:
    await plant.add_host("host-0")
    image = {
        "apiVersion": "elemental.cattle.io/v1beta1",
        "kind": "ManagedOSImage",
        "metadata": {"name": "to-v2", "namespace": NAMESPACE},
        "spec": {"osImage": "demo:v2"},
    }
    await plant.store.create(MANAGED_OS_IMAGE, image)


async def finish_upgrade(plant: Plant) -> None:
    await plant.finish_upgrade("host-0", V2)


async def declare_channel(plant: Plant) -> None:
    spec = {"type": "json", "syncInterval": "1h", "options": {"uri": "http://box/list"}}
    channel = {"metadata": {"name": "edge", "namespace": NAMESPACE}, "spec": spec}
    await plant.store.create(MANAGED_OS_VERSION_CHANNEL, channel)


async def upgrade_to_the_channels_version(plant: Plant) -> None:
    await plant.add_host("host-0")
    metadata = {"name": "to-v2", "namespace": NAMESPACE}
    image = {"metadata": metadata, "spec": {"managedOSVersionName": "v2"}}
    await plant.store.create(MANAGED_OS_IMAGE, image)


async def retire_everything(plant: Plant) -> None:
    for kind, name in ((MANAGED_OS_VERSION_CHANNEL, "edge"), (MANAGED_OS_IMAGE, "to-v2")):
        await plant.store.delete(kind, name, namespace=NAMESPACE)


STORIES = (
    Story("registration", (declare_registration, approve_all, answer_all, change_token)),
    Story("network", (declare_network, delete_first_host)),
    Story("cluster", (declare_cluster, answer_all, delete_a_node, answer_all)),
    Story("upgrade", (declare_upgrade, finish_upgrade)),
    Story("channel", (declare_channel, upgrade_to_the_channels_version, finish_upgrade, retire_everything)),
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_a_power_cut_before_any_write_changes_nothing_in_the_end(story: Story, tmp_path: Path) -> None:
    undisturbed, _ = await tell(story, tmp_path / "undisturbed")
    cuts = 0
    for number in range(len(story.steps)):
        for writes in range(1000):
            ended, was_cut = await tell(story, tmp_path / f"{number}-{writes}", cut=(number, writes))
            assert ended == undisturbed, f"cut in step {number} before write {writes}"
            cuts += was_cut
            if not was_cut:
                break

    assert cuts > len(story.steps)


async def tell(
    story: Story, folder: Path, *, cut: tuple[int, int] | None = None
) -> tuple[dict[str, object], bool]:
    """How the story ends, and whether the power cut that it was told with came to pass."""
    was_cut = False
    async with open_plant(folder) as plant:
        for number, step in enumerate(story.steps):
            await step(plant)
            if cut is not None and cut[0] == number:
                was_cut = await plant.die_once(cut[1])
            await plant.settle()
        return await read_end(plant.store), was_cut


async def read_end(store: Store) -> dict[str, object]:
    """Everything in the store but events, with names in the place of uids."""
    documents: list[Document] = []
    for kind in KINDS:
        if kind is not EVENT:
            documents += (await store.list(kind)).items
    text = msgspec.json.encode(documents).decode()
    for document in documents:
        metadata = document["metadata"]
        text = text.replace(metadata["uid"], f"{document['kind']}/{metadata['name']}")
    told: list[Document] = msgspec.json.decode(text)
    return {
        f"{document['kind']}/{document['metadata']['name']}": {
            **document,
            "metadata": {key: value for key, value in document["metadata"].items() if key not in UNTOLD},
        }
        for document in told
    }
