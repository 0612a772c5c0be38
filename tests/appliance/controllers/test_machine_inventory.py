"""MachineInventory: approval, plan Secret, Ready, and a reset before a machine goes."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.controllers.plans import checksum_plan, render_plan_change
from appliance.resources.core import SECRET
from appliance.resources.machine_inventory import (
    APPROVAL,
    FINALIZER,
    MACHINE_INVENTORY,
    OS_UNMANAGED,
    REJECTION_REASON,
    RESETTABLE,
    MachineInventory,
)
from appliance.resources.meta import decode, find_condition
from appliance.resources.rollout import ROLLOUT
from appliance.store.base import NotFound, merge
from tests.appliance.controllers.factories import NAMESPACE, V2, encode, failure_output, inventory, rollout
from tests.appliance.controllers.plant import Plant, open_plant


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    async with open_plant(tmp_path) as plant:
        yield plant


async def machine(plant: Plant) -> MachineInventory:
    return decode(MachineInventory, await plant.store.get(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE))


async def condition(plant: Plant, type: str) -> tuple[str, str]:
    found = find_condition((await machine(plant)).status.conditions, type)
    assert found is not None
    return found.status, found.reason


async def annotate(plant: Plant, **annotations: str) -> None:
    body = {"metadata": {"annotations": annotations}}
    await plant.store.patch(MACHINE_INVENTORY, "host-0", merge(body), namespace=NAMESPACE)
    await plant.settle()


async def test_a_waiting_machine_has_no_plan_secret(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory(approval="pending"))
    await plant.settle()

    assert await condition(plant, "Approved") == ("Unknown", "Pending")
    assert await condition(plant, "Ready") == ("False", "WaitingForApproval")
    with pytest.raises(NotFound):
        await plant.plan("host-0")


async def test_approval_makes_the_secret_and_the_hosts_answer_makes_it_ready(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory(approval="pending"))
    await plant.settle()
    await annotate(plant, **{APPROVAL: "approved", "skerry.dev/approved-by": "anna"})
    waiting = await condition(plant, "Ready")
    await plant.answer("host-0")
    await plant.settle()

    assert await condition(plant, "Approved") == ("True", "Approved")
    assert waiting == ("False", "WaitingForPlan")
    assert await condition(plant, "Ready") == ("True", "PlanSuccessfullyApplied")
    status = (await machine(plant)).status
    assert (status.plan.state, status.plan.checksum) == ("Applied", checksum_plan(b"{}"))
    assert status.plan.secret_ref is not None
    assert (status.plan.secret_ref.namespace, status.plan.secret_ref.name) == (NAMESPACE, "host-0")
    assert await plant.events("Approved") == ["approved by anna"]


async def test_the_other_conditions_are_upstreams(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await plant.settle()

    assert await condition(plant, "NetworkConfigReady") == ("True", "ReconcilingNetworkConfig")
    assert await condition(plant, "AdoptionReady") == ("False", "WaitingToBeAdopted")
    assert (await machine(plant)).metadata.finalizers == [FINALIZER]


async def test_a_missing_address_holds_the_network(plant: Plant) -> None:
    document = inventory()
    document["spec"]["ipAddressPools"] = {"lan": {"kind": "InClusterIPPool", "name": "a"}}
    await plant.store.create(MACHINE_INVENTORY, document)
    await plant.settle()

    assert await condition(plant, "NetworkConfigReady") == ("False", "WaitingForIPAddress")


async def test_an_old_answer_does_not_hide_the_failure_of_a_new_plan(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await plant.settle()
    await plant.answer("host-0")
    bootstrap = {"data": {"plan": encode("bootstrap")}}  # as upstream: nothing else is cleared
    await plant.store.patch(SECRET, "host-0", merge(bootstrap), namespace=NAMESPACE)
    await plant.settle()
    waiting = await condition(plant, "Ready")
    failed = {
        "failed-checksum": encode(checksum_plan(b"bootstrap")),
        "failed-output": failure_output("boom"),
    }
    await plant.store.patch(SECRET, "host-0", merge({"data": failed}), namespace=NAMESPACE)
    await plant.settle()

    assert waiting == ("False", "WaitingForPlan")
    assert await condition(plant, "Ready") == ("False", "PlanFailure")
    assert (await machine(plant)).status.plan.state == "Failed"
    assert await plant.events("PlanFailure") == ["boom"]


async def test_a_secret_that_was_deleted_comes_back(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await plant.settle()
    await plant.store.delete(SECRET, "host-0", namespace=NAMESPACE)
    await plant.settle()

    assert (await plant.plan("host-0")).plan == b"{}"


async def test_a_secret_of_somebody_else_is_left_alone_and_named(plant: Plant) -> None:
    await plant.store.create(SECRET, {"metadata": {"name": "host-0", "namespace": NAMESPACE}})
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await plant.settle()

    assert await condition(plant, "Ready") == ("False", "PlanCreationFailureReason")
    secret = await plant.store.get(SECRET, "host-0", namespace=NAMESPACE)
    assert "data" not in secret


async def test_a_rejected_machine_says_so(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory(approval="rejected"))
    await plant.settle()

    assert await condition(plant, "Approved") == ("False", "Rejected")
    assert await condition(plant, "Ready") == ("False", "Rejected")


async def test_what_the_person_said_who_rejected_a_machine_is_quoted(plant: Plant) -> None:
    await plant.store.create(
        MACHINE_INVENTORY, inventory(approval="rejected", **{REJECTION_REASON: "not from this plant"})
    )
    await plant.settle()

    approved = find_condition((await machine(plant)).status.conditions, "Approved")
    assert approved is not None
    assert approved.message == "a person rejected this machine: not from this plant"


async def test_a_resettable_machine_whose_secret_is_gone_goes_with_a_warning(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory(**{RESETTABLE: "true"}))
    await plant.settle()
    await plant.store.delete(SECRET, "host-0", namespace=NAMESPACE)
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle()

    with pytest.raises(NotFound):
        await machine(plant)
    assert await plant.events("ResetImpossible") == [
        "its plan Secret is gone, so the host was not asked to reset itself"
    ]


async def test_a_rejected_machine_is_not_waited_for(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory(**{RESETTABLE: "true"}))
    await plant.settle()
    await annotate(plant, **{APPROVAL: "rejected"})
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle()

    with pytest.raises(NotFound):
        await machine(plant)


async def test_a_dead_host_is_let_go_without_its_reset_when_a_person_says_so(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory(**{RESETTABLE: "true"}))
    await plant.settle()
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle()
    ready = find_condition((await machine(plant)).status.conditions, "Ready")
    body = {"metadata": {"annotations": {RESETTABLE: None}}}
    await plant.store.patch(MACHINE_INVENTORY, "host-0", merge(body), namespace=NAMESPACE)
    await plant.settle()

    assert ready is not None
    assert (ready.reason, RESETTABLE in ready.message) == ("WaitingForPlan", True)
    with pytest.raises(NotFound):
        await machine(plant)


@pytest.mark.parametrize(
    ("unmanaged", "configurator", "expected"),
    [
        ("", "none", ["grub2-editenv", "shutdown"]),
        ("", "nmc", ["elemental-register", "grub2-editenv", "shutdown"]),
        ("true", "none", None),
    ],
    ids=["managed", "with a network", "unmanaged"],
)
async def test_the_reset_plan_is_upstreams(
    plant: Plant, unmanaged: str, configurator: str, expected: list[str] | None
) -> None:
    document = inventory(**{RESETTABLE: "true", OS_UNMANAGED: unmanaged})
    document["spec"]["network"] = {"configurator": configurator}
    await plant.store.create(MACHINE_INVENTORY, document)
    await plant.settle()
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle()

    plan = json.loads((await plant.plan("host-0")).plan)
    commands = [instruction["command"] for instruction in plan["instructions"]] if expected else None
    assert commands == expected
    assert [(file["path"], file["permissions"]) for file in plan["files"]] == [
        ("/oem/reset-cloud-config.yaml" if expected else "/var/lib/elemental/.unmanaged_reset", "0600")
    ]


async def test_a_machine_that_goes_in_the_middle_of_a_rollout_does_not_hold_it(plant: Plant) -> None:
    for name in ("host-0", "host-1"):
        await plant.add_host(name)
    await annotate(plant, **{RESETTABLE: "true"})
    await plant.store.create(ROLLOUT, rollout(waves=[{"size": "100%"}]))
    await plant.settle()
    planned = await plant.planned()
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle()
    reset = await plant.plan("host-0")
    await plant.finish_upgrade("host-1", V2)
    await plant.settle()

    assert (planned, reset.type) == (["host-0"], "reset")
    assert (await plant.rollout()).phase == "Completed"


async def test_a_machine_that_cannot_be_reset_goes_at_once(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory())
    await plant.settle()
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle()

    with pytest.raises(NotFound):
        await machine(plant)
    with pytest.raises(NotFound):
        await plant.plan("host-0")


async def test_a_resettable_machine_goes_when_its_host_took_the_reset(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory(**{RESETTABLE: "true"}))
    await plant.settle()
    await plant.answer("host-0")
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle()
    plan = await plant.plan("host-0")
    still_there = await machine(plant)
    await plant.answer("host-0")
    await plant.settle()

    assert (plan.type, plan.state) == ("reset", "")
    assert b"next_entry=recovery" in plan.plan
    assert still_there.metadata.deletion_timestamp is not None
    with pytest.raises(NotFound):
        await machine(plant)


async def test_a_resettable_machine_that_was_never_approved_goes_at_once(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory(approval="pending", **{RESETTABLE: "true"}))
    await plant.settle()
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle()

    with pytest.raises(NotFound):
        await machine(plant)


@pytest.mark.parametrize("writes", range(1, 5))
async def test_approval_and_reset_survive_power_cuts(plant: Plant, writes: int) -> None:
    await plant.store.create(MACHINE_INVENTORY, inventory(**{RESETTABLE: "true"}))
    await plant.settle_with_power_cuts(writes)
    ready = await condition(plant, "Ready")
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle_with_power_cuts(writes)
    reset = await plant.plan("host-0")
    await plant.answer("host-0")
    await plant.settle_with_power_cuts(writes)

    assert (ready, reset.type) == (("False", "WaitingForPlan"), "reset")
    with pytest.raises(NotFound):
        await machine(plant)


def test_a_plan_change_is_a_single_patch() -> None:
    assert set(render_plan_change(b"x", "reset")) == {"metadata", "data"}
