"""What a MachineInventory's status says: approval, plan, network, adoption. Pure.

Types and reasons are upstream's, except `Approved`. `Ready` tells of the plan that the host has now and no
other (D11); addresses that are still missing come before it, as upstream.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from appliance.controllers.owners import find_owner
from appliance.controllers.plans import PlanRecord, checksum_plan
from appliance.controllers.writes import parse_time, set_condition
from appliance.resources.machine_inventory import (
    APPROVED_BY,
    REJECTION_REASON,
    RESETTABLE,
    MachineInventory,
    MachineInventoryStatus,
    PlanStatus,
)
from appliance.resources.machine_inventory_selector import (
    MACHINE_INVENTORY_SELECTOR,
    MachineInventorySelector,
)
from appliance.resources.meta import Condition, ConditionStatus, ObjectReference, find_condition

ADOPTION_PATIENCE = timedelta(seconds=5)  # for the selector to name the machine that names it
REJECTION_LIMIT = 512


@dataclass(frozen=True, slots=True)
class NetworkFindings:
    """`waiting` says for each address that is missing what it waits for; `fault` is what cannot work."""

    waiting: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Adoption:
    """`is_void`: the owner has not kept its word, so the machine is free again."""

    condition: Condition
    is_void: bool = False
    is_pending: bool = False


def next_status(
    machine: MachineInventory,
    plan: PlanRecord | None,
    *,
    network: NetworkFindings,
    adoption: Condition,
    now: datetime,
) -> MachineInventoryStatus:
    """The whole status; `plan` is None before approval and while the Secret's name is taken."""
    conditions = machine.status.conditions
    for condition in (
        _judge_approval(machine),
        _judge_network(network),
        adoption,
        _judge_readiness(machine, plan, network),
    ):
        conditions = set_condition(
            conditions, condition.type, condition.status, condition.reason, condition.message, now=now
        )
    return MachineInventoryStatus(conditions=conditions, plan=_describe_plan(machine, plan))


def judge_adoption(
    machine: MachineInventory, selector: MachineInventorySelector | None, *, now: datetime
) -> Adoption:
    """Is the machine its owner's? Both must name each other; `selector` is the owner, if it still exists."""
    before = find_condition(machine.status.conditions, "AdoptionReady")
    owner = find_owner(machine.metadata, MACHINE_INVENTORY_SELECTOR)
    if owner is None:
        return Adoption(_adoption("False", "WaitingToBeAdopted", "no MachineInventorySelector owns it"))
    if before is not None and before.status == "True":
        # Once given it is kept: an owner that goes takes the machine with it.
        return Adoption(before)
    if selector is None or selector.metadata.uid != owner.uid:
        message = f"MachineInventorySelector {owner.name} is gone"
        return Adoption(_adoption("False", "AdoptionFailure", message), is_void=True)
    reference = selector.status.machine_inventory_ref
    if reference is not None and reference.name == machine.metadata.name:
        return Adoption(_adoption("True", "SuccessfullyAdopted", f"adopted by {owner.name}"))
    if reference is not None:
        message = f"MachineInventorySelector {owner.name} took {reference.name} instead"
        return Adoption(_adoption("False", "AdoptionFailure", message), is_void=True)
    since = now
    if before is not None and before.status == "Unknown":
        since = parse_time(before.last_transition_time, default=now)
    if now - since >= ADOPTION_PATIENCE:
        message = f"MachineInventorySelector {owner.name} did not name this machine in time"
        return Adoption(_adoption("False", "AdoptionFailure", message), is_void=True)
    message = f"waits for MachineInventorySelector {owner.name} to name it"
    return Adoption(_adoption("Unknown", "ValidatingAdoption", message), is_pending=True)


def _adoption(status: ConditionStatus, reason: str, message: str) -> Condition:
    return Condition(type="AdoptionReady", status=status, reason=reason, message=message)


def _describe_plan(machine: MachineInventory, plan: PlanRecord | None) -> PlanStatus:
    if plan is None:
        return PlanStatus()
    reference = ObjectReference(namespace=machine.metadata.namespace, name=machine.metadata.name)
    return PlanStatus(secret_ref=reference, checksum=checksum_plan(plan.plan), state=plan.state)


def _judge_approval(machine: MachineInventory) -> Condition:
    match machine.approval:
        case "approved":
            person = machine.metadata.annotations.get(APPROVED_BY, "")
            message = f"approved by {person}" if person else "approved"
            return Condition(type="Approved", status="True", reason="Approved", message=message)
        case "rejected":
            return Condition(
                type="Approved", status="False", reason="Rejected", message=_describe_rejection(machine)
            )
        case "pending":
            message = "a person must approve this machine"
            return Condition(type="Approved", status="Unknown", reason="Pending", message=message)


def _describe_rejection(machine: MachineInventory) -> str:
    said = machine.metadata.annotations.get(REJECTION_REASON, "").strip()[:REJECTION_LIMIT]
    return f"a person rejected this machine: {said}" if said else "a person rejected this machine"


def _judge_network(network: NetworkFindings) -> Condition:
    if not network.waiting:
        return Condition(type="NetworkConfigReady", status="True", reason="ReconcilingNetworkConfig")
    return Condition(
        type="NetworkConfigReady",
        status="False",
        reason="WaitingForIPAddress",
        message=network.fault or _describe_waiting(network),
    )


def _describe_waiting(network: NetworkFindings) -> str:
    missing = "; ".join(f"{key}: {reason}" for key, reason in sorted(network.waiting.items()))
    return f"no address yet for {missing}"


def _judge_readiness(
    machine: MachineInventory, plan: PlanRecord | None, network: NetworkFindings
) -> Condition:
    match machine.approval:
        case "pending":
            return _not_ready("WaitingForApproval", "a person must approve this machine")
        case "rejected":
            return _not_ready("Rejected", _describe_rejection(machine))
        case "approved":
            pass
    if plan is None:
        # The Secret of a deleted namesake on its way out, or one that somebody made by hand.
        name = f"{machine.metadata.namespace}/{machine.metadata.name}"
        return _not_ready("PlanCreationFailureReason", f"Secret {name} exists and is not this machine's")
    if network.fault:
        return _not_ready("NetworkConfigFailure", network.fault)
    if network.waiting:
        return _not_ready("ReconcilingNetworkConfig", _describe_waiting(network))
    match plan.state:
        case "Applied":
            return Condition(type="Ready", status="True", reason="PlanSuccessfullyApplied")
        case "Failed":
            message = plan.reason or f"the host could not apply plan {plan.checksum[:12]}"
            return _not_ready("PlanFailure", message)
        case "":
            if plan.type == "reset" and machine.metadata.deletion_timestamp is not None:
                message = (
                    "the host has not yet taken its reset; to let it go without one, remove annotation "
                    f"{RESETTABLE}"
                )
                return _not_ready("WaitingForPlan", message)
            return _not_ready("WaitingForPlan", f"the host has not yet answered to plan {plan.checksum[:12]}")


def _not_ready(reason: str, message: str) -> Condition:
    return Condition(type="Ready", status="False", reason=reason, message=message)
