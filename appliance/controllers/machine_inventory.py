"""MachineInventory: after a person approved it, its plan Secret, its conditions, and its reset on deletion.

It decides nothing about approval and writes no upgrade plans: the first is a person's annotation, the
second the Rollout's. It reports what the host answered to the plan it has now (D11).
"""

from collections.abc import Sequence
from datetime import datetime

from appliance.controllers.events import Recorder
from appliance.controllers.manager import DONE, Result, Watch, owner_keys
from appliance.controllers.plans import (
    PlanRecord,
    checksum_plan,
    read_plan,
    render_plan_change,
    render_plan_secret,
    render_reset_plan,
)
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.writes import set_condition, write_changes, write_status
from appliance.resources.core import SECRET
from appliance.resources.machine_inventory import (
    APPROVED_BY,
    MACHINE_INVENTORY,
    MachineInventory,
    MachineInventoryStatus,
    PlanStatus,
)
from appliance.resources.meta import Condition, Document, Kind, ObjectReference, decode
from appliance.store.base import AlreadyExists, NotFound, Store

FINALIZER = "machineinventory.elemental.cattle.io"
RESETTABLE = "elemental.cattle.io/resettable"
UNMANAGED = "elemental.cattle.io/os.unmanaged"
SECRET_RETRY_SECONDS = 5.0
TOLD_CONDITIONS = ("Approved", "Ready")


class MachineInventoryController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._clock = settings.clock
        self._recorder = Recorder(store, clock=settings.clock)

    @property
    def kind(self) -> Kind:
        return MACHINE_INVENTORY

    @property
    def watches(self) -> Sequence[Watch]:
        return (Watch(SECRET, owner_keys(MACHINE_INVENTORY)),)

    async def reconcile(self, key: Key) -> Result:
        """Bring the machine's Secret, status and finalizer to where they should be."""
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            return DONE
        machine = decode(MachineInventory, document)
        if machine.metadata.deletion_timestamp is not None:
            await self._finish(document, machine)
            return DONE
        if FINALIZER not in machine.metadata.finalizers:
            document = await self._write_finalizers(document, [*machine.metadata.finalizers, FINALIZER])
        plan = await self._ensure_plan(machine) if machine.approval == "approved" else None
        status = next_status(machine, plan, now=self._clock())
        if plan is None and machine.approval == "approved":
            # The Secret of a deleted namesake on its way out, or one that somebody made by hand.
            message = f"Secret {key} exists and is not this machine's"
            conditions = set_condition(
                status.conditions, "Ready", "False", "PlanCreationFailureReason", message, now=self._clock()
            )
            status = MachineInventoryStatus(conditions=conditions, plan=status.plan)
        await write_status(self._store, self.kind, document, status)
        for told in TOLD_CONDITIONS:
            await self._recorder.record_condition(
                document, told, machine.status.conditions, status.conditions
            )
        failed = plan is None and machine.approval == "approved"
        return Result(again_in=SECRET_RETRY_SECONDS) if failed else DONE

    async def _ensure_plan(self, machine: MachineInventory) -> PlanRecord | None:
        """Read the machine's plan Secret, making it first if there is none; None if its name is taken."""
        secret = await self._find_secret(machine)
        if secret is None:
            try:
                secret = await self._store.create(SECRET, render_plan_secret(machine))
            except AlreadyExists:
                return None
        return read_plan(secret)

    async def _find_secret(self, machine: MachineInventory) -> Document | None:
        try:
            secret = await self._store.get(
                SECRET, machine.metadata.name, namespace=machine.metadata.namespace
            )
        except NotFound:
            return None
        owners = secret["metadata"].get("ownerReferences") or []
        return secret if any(owner.get("uid") == machine.metadata.uid for owner in owners) else None

    async def _finish(self, document: Document, machine: MachineInventory) -> None:
        """Let a deleted machine go; one that can be reset goes when its host acknowledged the reset."""
        if FINALIZER not in machine.metadata.finalizers:
            return
        secret = await self._find_secret(machine)
        if machine.metadata.annotations.get(RESETTABLE) == "true" and secret is not None:
            plan = read_plan(secret)
            if plan.type != "reset":
                reset = render_reset_plan(
                    machine,
                    is_managed=machine.metadata.annotations.get(UNMANAGED) != "true",
                    now=self._clock(),
                )
                await write_changes(self._store, SECRET, secret, render_plan_change(reset, "reset"))
                await self._recorder.record(
                    document, "Normal", "ResetRequested", "the host was asked to reset itself"
                )
                return
            if plan.state != "Applied":
                status = next_status(machine, plan, now=self._clock())
                await write_status(self._store, self.kind, document, status)
                return
        kept = [finalizer for finalizer in machine.metadata.finalizers if finalizer != FINALIZER]
        await self._write_finalizers(document, kept)

    async def _write_finalizers(self, document: Document, finalizers: list[str]) -> Document:
        changes = {"metadata": {"finalizers": finalizers}}
        return await write_changes(self._store, self.kind, document, changes)


def next_status(
    machine: MachineInventory, plan: PlanRecord | None, *, now: datetime
) -> MachineInventoryStatus:
    """The whole status: approval, plan, network, adoption. Pure; `plan` is None before approval."""
    conditions = machine.status.conditions
    for condition in (
        _judge_approval(machine),
        _judge_network(machine),
        _judge_adoption(machine),
        _judge_readiness(machine, plan),
    ):
        conditions = set_condition(
            conditions, condition.type, condition.status, condition.reason, condition.message, now=now
        )
    return MachineInventoryStatus(conditions=conditions, plan=_describe_plan(machine, plan))


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
                type="Approved", status="False", reason="Rejected", message="a person rejected this machine"
            )
        case "pending":
            message = "a person must approve this machine"
            return Condition(type="Approved", status="Unknown", reason="Pending", message=message)


def _judge_network(machine: MachineInventory) -> Condition:
    missing = sorted(machine.spec.ip_address_pools.keys() - machine.spec.network.ip_addresses.keys())
    if missing:
        return Condition(
            type="NetworkConfigReady",
            status="False",
            reason="WaitingForIPAddress",
            message=f"no address yet for {', '.join(missing)}; set spec.network.ipAddresses",
        )
    return Condition(type="NetworkConfigReady", status="True", reason="ReconcilingNetworkConfig")


def _judge_adoption(machine: MachineInventory) -> Condition:
    owners = [o.name for o in machine.metadata.owner_references if o.kind == "MachineInventorySelector"]
    if not owners:
        return Condition(type="AdoptionReady", status="False", reason="WaitingToBeAdopted")
    message = f"owned by MachineInventorySelector {owners[0]}"
    return Condition(type="AdoptionReady", status="Unknown", reason="ValidatingAdoption", message=message)


def _judge_readiness(machine: MachineInventory, plan: PlanRecord | None) -> Condition:
    if plan is None:
        rejected = machine.approval == "rejected"
        return Condition(
            type="Ready",
            status="False",
            reason="Rejected" if rejected else "WaitingForApproval",
            message="a person rejected this machine" if rejected else "a person must approve this machine",
        )
    match plan.state:
        case "Applied":
            return Condition(type="Ready", status="True", reason="PlanSuccessfullyApplied")
        case "Failed":
            message = plan.reason or f"the host could not apply plan {plan.checksum[:12]}"
            return Condition(type="Ready", status="False", reason="PlanFailure", message=message)
        case "":
            message = f"the host has not yet answered to plan {plan.checksum[:12]}"
            return Condition(type="Ready", status="False", reason="WaitingForPlan", message=message)
