"""MachineInventorySelector: which machine it takes, how it is bootstrapped, and how it is let go."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.controllers.machine_inventory_selector import MachineInventorySelectorController
from appliance.controllers.manager import Controller
from appliance.controllers.plans import checksum_plan, render_plan_change
from appliance.controllers.queue import Key
from appliance.resources.core import SECRET
from appliance.resources.machine import MACHINE
from appliance.resources.machine_inventory import MACHINE_INVENTORY, RESETTABLE, MachineInventory
from appliance.resources.machine_inventory_selector import (
    MACHINE_INVENTORY_SELECTOR,
    MachineInventorySelector,
    MachineInventorySelectorStatus,
)
from appliance.resources.meta import Document, Kind, decode, find_condition
from appliance.store.base import Conflict, NotFound, merge
from tests.appliance.controllers.dying import DyingStore
from tests.appliance.controllers.factories import (
    NAMESPACE,
    bootstrap_secret,
    inventory,
    machine_of,
    selector,
    settings,
)
from tests.appliance.controllers.plant import Plant, open_plant


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    async with open_plant(tmp_path) as plant:
        yield plant


async def add_node(plant: Plant, name: str = "node-0", *, version: str = "v1beta2", **labels: str) -> None:
    """A Machine, its bootstrap Secret and the selector that it owns."""
    await plant.store.create(SECRET, bootstrap_secret(name))
    owner = await plant.store.create(MACHINE, machine_of(name))
    owner = {**owner, "apiVersion": f"cluster.x-k8s.io/{version}"}
    await plant.store.create(MACHINE_INVENTORY_SELECTOR, selector(name, owner=owner, **labels))


def controller_of(plant: Plant, kind: Kind) -> Controller:
    return next(controller for controller in plant.controllers if controller.kind == kind)


async def status_of(plant: Plant, name: str = "node-0") -> MachineInventorySelectorStatus:
    document = await plant.store.get(MACHINE_INVENTORY_SELECTOR, name, namespace=NAMESPACE)
    return decode(MachineInventorySelector, document).status


async def condition(plant: Plant, type: str, name: str = "node-0") -> tuple[str, str]:
    found = find_condition((await status_of(plant, name)).conditions, type)
    assert found is not None
    return found.status, found.reason


async def machine(plant: Plant, name: str = "host-0") -> MachineInventory:
    return decode(MachineInventory, await plant.store.get(MACHINE_INVENTORY, name, namespace=NAMESPACE))


async def named(plant: Plant, name: str = "node-0") -> str:
    reference = (await status_of(plant, name)).machine_inventory_ref
    return reference.name if reference else ""


async def test_a_machine_is_adopted_bootstrapped_and_ready(plant: Plant) -> None:
    document = inventory()
    document["metadata"]["labels"] |= {
        "elemental.cattle.io/InternalIP": "10.0.0.5",
        "elemental.cattle.io/Hostname": "press",
    }
    await plant.store.create(MACHINE_INVENTORY, document)
    await add_node(plant)
    await plant.settle()
    await plant.settle()

    status, adopted, plan = await status_of(plant), await machine(plant), await plant.plan("host-0")
    assert [(owner.kind, owner.name, owner.controller) for owner in adopted.metadata.owner_references] == [
        ("MachineInventorySelector", "node-0", True)
    ]
    adoption = find_condition(adopted.status.conditions, "AdoptionReady")
    assert adoption is not None
    assert (adoption.status, adoption.reason) == ("True", "SuccessfullyAdopted")
    assert await condition(plant, "InventoryReady") == ("True", "SuccessfullyAdoptedInventory")
    assert await condition(plant, "Ready") == ("True", "SelectorReady")
    assert (status.ready, await named(plant)) == (True, "host-0")
    assert [(address.type, address.address) for address in status.addresses] == [
        ("InternalIP", "10.0.0.5"),
        ("Hostname", "press"),
    ]
    assert (plan.type, plan.checksum) == ("bootstrap", status.bootstrap_plan_checksum)
    assert await plant.events("SelectorReady") != []


async def test_the_bootstrap_plan_is_upstreams(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await add_node(plant)
    await plant.settle()

    plan = json.loads((await plant.plan("host-0")).plan)
    files = {file["path"]: (base64.b64decode(file["content"]), file["permissions"]) for file in plan["files"]}
    labels = b'node-label+:\n- "line=demo"\n'
    assert files == {
        "/var/lib/rancher/bootstrap.sh": (b"#!/bin/sh\necho node-0 joins\n", "0700"),
        "/etc/rancher/rke2/config.yaml.d/99-elemental-name.yaml": (b'node-name: "host-0"\n', "0600"),
        "/etc/rancher/rke2/config.yaml.d/99-elemental-inventory-labels.yaml": (labels, "0600"),
        "/etc/rancher/k3s/config.yaml.d/99-elemental-name.yaml": (b'node-name: "host-0"\n', "0600"),
        "/etc/rancher/k3s/config.yaml.d/99-elemental-inventory-labels.yaml": (labels, "0600"),
        "/usr/local/etc/hostname": (b"host-0", "0644"),
        "/run/elemental/persistent/etc/hostname": (b"host-0", "0644"),
    }
    hostname, script = plan["instructions"]
    assert (hostname["command"], hostname["args"]) == (
        "hostnamectl",
        ["set-hostname", "--transient", "host-0"],
    )
    assert script["command"] == "bash"
    assert "/var/lib/rancher/bootstrap_done" in script["args"][1]


async def test_machines_are_taken_in_order_those_whose_agent_answers_first(plant: Plant) -> None:
    for name in ("host-0", "host-1", "host-2"):
        await plant.store.create(MACHINE_INVENTORY, inventory(name))
    await plant.settle()
    await plant.answer("host-1")
    await plant.settle()
    for name in ("node-0", "node-1", "node-2"):
        await add_node(plant, name)
        await plant.settle()

    assert [await named(plant, f"node-{number}") for number in range(3)] == ["host-1", "host-0", "host-2"]


@pytest.mark.parametrize("why", ["pending", "rejected", "deleted", "owned", "labels", "elsewhere"])
async def test_a_machine_that_is_not_to_be_had_is_left_alone(plant: Plant, why: str) -> None:
    document = inventory(approval=why if why in ("pending", "rejected") else "approved")
    match why:
        case "labels":
            document["metadata"]["labels"] = {"line": "other"}
        case "elsewhere":
            document["metadata"]["namespace"] = "other"
        case "owned":
            other = await plant.store.create(MACHINE, machine_of("other"))
            document["metadata"]["ownerReferences"] = [
                {**owner_of(other), "kind": "Machine", "apiVersion": "cluster.x-k8s.io/v1beta2"}
            ]
        case "deleted":
            document["metadata"]["annotations"][RESETTABLE] = "true"
    await plant.store.create(MACHINE_INVENTORY, document)
    await plant.settle()
    if why == "deleted":
        await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await add_node(plant)
    await plant.settle()

    assert await condition(plant, "Ready") == ("False", "WaitingForInventory")
    assert await named(plant) == ""


def owner_of(document: Document) -> Document:
    return {"name": document["metadata"]["name"], "uid": document["metadata"]["uid"], "controller": True}


async def test_of_two_that_saw_the_same_machine_free_one_takes_it(plant: Plant) -> None:
    """The second looks, then the first adopts and bootstraps, then the second writes."""
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await add_node(plant, "node-0")
    await add_node(plant, "node-1")
    first_is_done = False

    async def let_the_first_finish() -> None:
        nonlocal first_is_done
        if not first_is_done:
            first_is_done = True
            first = MachineInventorySelectorController(plant.store, settings(plant.clock))
            for _ in range(4):
                await plant.settle([controller_of(plant, MACHINE_INVENTORY)])
                await first.reconcile(Key(NAMESPACE, "node-0"))

    late = DyingStore(plant.store, before_write=let_the_first_finish)
    second = MachineInventorySelectorController(late, settings(plant.clock))
    await second.reconcile(Key(NAMESPACE, "node-1"))
    await plant.settle()

    assert first_is_done
    assert (await named(plant, "node-0"), await named(plant, "node-1")) == ("host-0", "")
    assert [owner.name for owner in (await machine(plant)).metadata.owner_references] == ["node-0"]
    assert await condition(plant, "Ready", "node-1") == ("False", "WaitingForInventory")


async def test_a_selector_that_does_not_name_its_machine_in_time_loses_it(plant: Plant) -> None:
    owner = await plant.store.create(MACHINE_INVENTORY_SELECTOR, selector())
    document = inventory()
    document["metadata"]["ownerReferences"] = [
        {"apiVersion": owner["apiVersion"], "kind": owner["kind"], **owner_of(owner)}
    ]
    await plant.store.create(MACHINE_INVENTORY, document)
    machines = [controller_of(plant, MACHINE_INVENTORY)]
    await plant.settle(machines)
    waiting = find_condition((await machine(plant)).status.conditions, "AdoptionReady")
    plant.clock.advance(seconds=6)
    await plant.settle(machines)

    assert waiting is not None
    assert (waiting.status, waiting.reason) == ("Unknown", "ValidatingAdoption")
    assert (await machine(plant)).metadata.owner_references == []
    assert len(await plant.events("AdoptionFailure")) == 1


async def test_a_machine_whose_selector_took_another_is_free_again(plant: Plant) -> None:
    for name in ("host-0", "host-1"):
        await plant.store.create(MACHINE_INVENTORY, inventory(name))
    await add_node(plant)
    await plant.settle()
    taken = await plant.store.get(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    body = {"metadata": {"ownerReferences": taken["metadata"]["ownerReferences"]}}
    await plant.store.patch(MACHINE_INVENTORY, "host-1", merge(body), namespace=NAMESPACE)
    await plant.settle()

    assert await named(plant) == "host-0"
    assert (await machine(plant, "host-1")).metadata.owner_references == []


async def test_a_machine_that_never_confirms_is_given_up(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await plant.store.create(MACHINE_INVENTORY_SELECTOR, selector())
    selectors = [controller_of(plant, MACHINE_INVENTORY_SELECTOR)]
    await plant.settle(selectors)
    named_first = await named(plant)
    plant.clock.advance(seconds=6)
    await selectors[0].reconcile(Key(NAMESPACE, "node-0"))

    assert named_first == "host-0"
    assert await named(plant) == ""
    assert await condition(plant, "InventoryReady") == ("False", "FailedToAdoptInventory")


@pytest.mark.parametrize("gone", ["owner", "Machine", "name", "Secret", "value"])
async def test_without_bootstrap_data_the_reason_is_told_and_it_goes_on_when_it_comes(
    plant: Plant, gone: str
) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await add_node(plant)
    await plant.store.delete(MACHINE_INVENTORY_SELECTOR, "node-0", namespace=NAMESPACE)
    owner = await plant.store.get(MACHINE, "node-0", namespace=NAMESPACE)
    await plant.store.create(MACHINE_INVENTORY_SELECTOR, selector(owner=None if gone == "owner" else owner))
    nothing = {"spec": {"bootstrap": {"dataSecretName": None}}}
    match gone:
        case "Machine":
            await plant.store.delete(MACHINE, "node-0", namespace=NAMESPACE, propagation="Orphan")
            body: Document = {"metadata": {"ownerReferences": [machine_owner(owner)]}}
            await plant.store.patch(MACHINE_INVENTORY_SELECTOR, "node-0", merge(body), namespace=NAMESPACE)
        case "name":
            await plant.store.patch(MACHINE, "node-0", merge(nothing), namespace=NAMESPACE)
        case "Secret":
            await plant.store.delete(SECRET, "node-0-bootstrap", namespace=NAMESPACE)
        case "value":
            body = {"data": {"value": None}}
            await plant.store.patch(SECRET, "node-0-bootstrap", merge(body), namespace=NAMESPACE)
    await plant.settle()
    failed = await condition(plant, "Ready")
    before = (await plant.plan("host-0")).type
    if gone == "Secret":
        await plant.store.create(SECRET, bootstrap_secret("node-0"))
        await plant.settle()
        assert await condition(plant, "Ready") == ("True", "SelectorReady")

    assert (failed, before) == (("False", "FailedToUpdatePlan"), "empty")


def machine_owner(document: Document) -> Document:
    return {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", **owner_of(document)}


async def test_an_older_cluster_apis_machine_will_do_too(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await add_node(plant, version="v1beta1")
    await plant.settle()

    assert await condition(plant, "Ready") == ("True", "SelectorReady")


@pytest.mark.parametrize("type", ["upgrade", "reset"])
async def test_a_machine_that_is_busy_keeps_its_plan(plant: Plant, type: str) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await plant.settle()
    change = render_plan_change(b"{}", "upgrade" if type == "upgrade" else "reset", rollout="to-v2")
    await plant.store.patch(SECRET, "host-0", merge(change), namespace=NAMESPACE)
    await add_node(plant)
    await plant.settle()

    assert await condition(plant, "Ready") == ("False", "FailedToUpdatePlan")
    assert (await plant.plan("host-0")).type == type


async def test_the_bootstrap_plan_is_never_written_again(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await add_node(plant)
    await plant.settle()
    upgrade = render_plan_change(b'{"instructions":[]}', "upgrade", rollout="to-v2")
    await plant.store.patch(SECRET, "host-0", merge(upgrade), namespace=NAMESPACE)
    await plant.settle()

    assert (await plant.plan("host-0")).checksum == checksum_plan(b'{"instructions":[]}')
    assert await condition(plant, "Ready") == ("True", "SelectorReady")


async def test_addresses_follow_the_labels_and_are_never_there_twice(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await add_node(plant)
    for address in ("10.0.0.5", "10.0.0.6"):
        body = {"metadata": {"labels": {"elemental.cattle.io/ExternalIP": address}}}
        await plant.store.patch(MACHINE_INVENTORY, "host-0", merge(body), namespace=NAMESPACE)
        for _ in range(3):
            await plant.settle()

    assert [address.address for address in (await status_of(plant)).addresses] == ["10.0.0.6"]


async def test_deleting_a_selector_deletes_its_machine_by_way_of_a_reset(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory(**{RESETTABLE: "true"}))
    await add_node(plant)
    await plant.settle()
    await plant.store.delete(MACHINE_INVENTORY_SELECTOR, "node-0", namespace=NAMESPACE)
    await plant.settle()
    plan = await plant.plan("host-0")
    await plant.answer("host-0")
    await plant.settle()

    assert plan.type == "reset"
    with pytest.raises(NotFound):
        await machine(plant)


async def test_a_bootstrapped_machine_that_is_gone_is_not_replaced_behind_cluster_apis_back(
    plant: Plant,
) -> None:
    for name in ("host-0", "host-1"):
        await plant.store.create(MACHINE_INVENTORY, inventory(name))
    await add_node(plant)
    await plant.settle()
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle()

    assert await condition(plant, "Ready") == ("False", "FailedToAdoptInventory")
    assert (await machine(plant, "host-1")).metadata.owner_references == []


async def test_a_machine_that_is_gone_before_its_bootstrap_is_replaced(plant: Plant) -> None:
    for name in ("host-0", "host-1"):
        await plant.store.create(MACHINE_INVENTORY, inventory(name))
    await plant.store.create(MACHINE_INVENTORY_SELECTOR, selector())
    await plant.settle()
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle()

    assert await named(plant) == "host-1"


async def test_a_selector_that_nobody_can_read_says_so(plant: Plant) -> None:
    document = selector()
    document["spec"]["selector"] = {"matchLabels": {"line": "two words"}}
    await plant.store.create(MACHINE_INVENTORY_SELECTOR, document)
    await plant.settle()

    assert await condition(plant, "Ready") == ("False", "FailedToAdoptInventory")


async def test_a_bootstrap_script_that_no_secret_can_hold_is_refused_in_words(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await add_node(plant)
    big = {"data": {"value": base64.b64encode(b"#" * 700_000).decode()}}
    await plant.store.patch(SECRET, "node-0-bootstrap", merge(big), namespace=NAMESPACE)
    await plant.settle()

    assert await condition(plant, "Ready") == ("False", "FailedToUpdatePlan")


async def test_a_free_machine_wakes_the_selectors_that_wait_for_such(plant: Plant) -> None:
    controller = MachineInventorySelectorController(plant.store, settings(plant.clock))
    await plant.store.create(MACHINE_INVENTORY_SELECTOR, selector("node-0"))
    await plant.store.create(MACHINE_INVENTORY_SELECTOR, selector("node-1", line="other"))
    for name in ("node-0", "node-1"):
        await controller.reconcile(Key(NAMESPACE, name))
    watch = next(watch for watch in controller.watches if watch.kind == MACHINE_INVENTORY)

    assert list(watch.keys(inventory())) == [Key(NAMESPACE, "node-0")]
    assert list(watch.keys(inventory(approval="pending"))) == []


async def test_a_lost_race_for_the_status_is_a_conflict_and_not_a_second_machine(plant: Plant) -> None:
    for name in ("host-0", "host-1"):
        await plant.store.create(MACHINE_INVENTORY, inventory(name))
    await plant.store.create(MACHINE_INVENTORY_SELECTOR, selector())
    both = [MachineInventorySelectorController(plant.store, settings(plant.clock)) for _ in range(2)]
    outcomes = await asyncio.gather(
        *(controller.reconcile(Key(NAMESPACE, "node-0")) for controller in both), return_exceptions=True
    )
    await plant.settle()

    assert all(
        not isinstance(outcome, BaseException) or isinstance(outcome, Conflict) for outcome in outcomes
    )
    owners = [(await machine(plant, name)).metadata.owner_references for name in ("host-0", "host-1")]
    assert sorted(map(len, owners)) == [0, 1]
