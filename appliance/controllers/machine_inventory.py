"""MachineInventory: after a person approved it, its plan Secret, addresses, conditions, and its reset.

It decides nothing about approval and writes no upgrade or bootstrap plans: the first is a person's
annotation, the others the Rollout's and the selector's. What its status says is `machine_conditions`'.
"""

import asyncio
from collections.abc import Iterable, Sequence

from appliance.controllers.address_claims import claim_addresses, missing_addresses
from appliance.controllers.events import Recorder
from appliance.controllers.machine_conditions import (
    Adoption,
    NetworkFindings,
    judge_adoption,
    next_status,
)
from appliance.controllers.manager import DONE, Result, Watch, owner_keys
from appliance.controllers.owners import find_owner, is_owned
from appliance.controllers.plans import (
    PlanRecord,
    read_plan,
    render_plan_change,
    render_plan_secret,
    render_reset_plan,
)
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.writes import write_changes, write_status
from appliance.resources.core import SECRET
from appliance.resources.ipam import IP_ADDRESS_CLAIM
from appliance.resources.machine_inventory import (
    FINALIZER,
    MACHINE_INVENTORY,
    OS_UNMANAGED,
    RESETTABLE,
    MachineInventory,
    MachineInventoryStatus,
)
from appliance.resources.machine_inventory_selector import (
    MACHINE_INVENTORY_SELECTOR,
    MachineInventorySelector,
)
from appliance.resources.meta import Document, Kind, decode, find_condition
from appliance.store.base import AlreadyExists, NotFound, Store

SECRET_RETRY_SECONDS = 5.0
ADDRESS_RETRY_SECONDS = 5.0  # a foreign provider may give an address without touching the claim
ADOPTION_RETRY_SECONDS = 1.0
# The last two are told when they change, not when a new machine has them for the first time.
TOLD_CONDITIONS = ("Approved", "Ready", "AdoptionReady", "NetworkConfigReady")
TOLD_FROM_THE_START = ("Approved", "Ready")


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
        children = owner_keys(MACHINE_INVENTORY)
        return (
            Watch(SECRET, children),
            Watch(IP_ADDRESS_CLAIM, children),
            Watch(MACHINE_INVENTORY_SELECTOR, _named_machine),
        )

    async def reconcile(self, key: Key) -> Result:
        """Bring the machine's Secret, addresses, status and finalizer to where they should be."""
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
        is_approved = machine.approval == "approved"
        plan = await self._ensure_plan(machine) if is_approved else None
        network = NetworkFindings(dict.fromkeys(missing_addresses(machine), "the machine is not approved"))
        if is_approved:
            claimed = await claim_addresses(self._store, document, machine)
            document, network = claimed.document, claimed.findings
        adoption = await self._judge_adoption(machine)
        if adoption.is_void:
            document = await self._release(document, machine)
        status = next_status(machine, plan, network=network, adoption=adoption.condition, now=self._clock())
        await self._write_status(document, machine, status)
        return _next_look(is_blocked=is_approved and plan is None, network=network, adoption=adoption)

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
        return secret if is_owned(secret, machine.metadata) else None

    async def _judge_adoption(self, machine: MachineInventory) -> Adoption:
        owner = find_owner(machine.metadata, MACHINE_INVENTORY_SELECTOR)
        selector: MachineInventorySelector | None = None
        if owner is not None:
            try:
                document = await self._store.get(
                    MACHINE_INVENTORY_SELECTOR, owner.name, namespace=machine.metadata.namespace
                )
                selector = decode(MachineInventorySelector, document)
            except NotFound:
                pass
        return judge_adoption(machine, selector, now=self._clock())

    async def _release(self, document: Document, machine: MachineInventory) -> Document:
        """Take a selector's ownership back, so that the machine can be adopted again."""
        owner = find_owner(machine.metadata, MACHINE_INVENTORY_SELECTOR)
        references = document["metadata"].get("ownerReferences") or []
        kept = [reference for reference in references if owner is None or reference["uid"] != owner.uid]
        return await write_changes(self._store, self.kind, document, {"metadata": {"ownerReferences": kept}})

    async def _finish(self, document: Document, machine: MachineInventory) -> None:
        """Let a deleted machine go; one that can be reset goes when its host acknowledged the reset."""
        if FINALIZER not in machine.metadata.finalizers:
            return
        if machine.metadata.annotations.get(RESETTABLE) == "true" and machine.approval == "approved":
            secret = await self._find_secret(machine)
            if secret is None:
                # Upstream is stuck here for ever. Without its Secret nobody can ask the host anything.
                message = "its plan Secret is gone, so the host was not asked to reset itself"
                await self._recorder.record(document, "Warning", "ResetImpossible", message)
            elif not await self._is_reset(document, machine, secret):
                return
        kept = [finalizer for finalizer in machine.metadata.finalizers if finalizer != FINALIZER]
        await self._write_finalizers(document, kept)

    async def _is_reset(self, document: Document, machine: MachineInventory, secret: Document) -> bool:
        """Ask for the reset if that was not done; say whether the host acknowledged it."""
        plan = read_plan(secret)
        if plan.type != "reset":
            is_managed = machine.metadata.annotations.get(OS_UNMANAGED) != "true"
            reset = render_reset_plan(machine, is_managed=is_managed, now=self._clock())
            changed = await write_changes(self._store, SECRET, secret, render_plan_change(reset, "reset"))
            plan = read_plan(changed)
            message = "the host was asked to reset itself"
            await self._recorder.record(document, "Normal", "ResetRequested", message)
        if plan.state == "Applied":
            return True
        adoption = judge_adoption(machine, None, now=self._clock()).condition
        before = find_condition(machine.status.conditions, "AdoptionReady")
        status = next_status(
            machine, plan, network=NetworkFindings(), adoption=before or adoption, now=self._clock()
        )
        await self._write_status(document, machine, status)
        return False

    async def _write_status(
        self, document: Document, machine: MachineInventory, status: MachineInventoryStatus
    ) -> None:
        await write_status(self._store, self.kind, document, status)
        before, after = machine.status.conditions, status.conditions
        # Side by side, so that the events of one machine share a commit.
        await asyncio.gather(
            *(
                self._recorder.record_condition(document, told, before, after)
                for told in TOLD_CONDITIONS
                if told in TOLD_FROM_THE_START or find_condition(before, told)
            )
        )

    async def _write_finalizers(self, document: Document, finalizers: list[str]) -> Document:
        changes = {"metadata": {"finalizers": finalizers}}
        return await write_changes(self._store, self.kind, document, changes)


def _next_look(*, is_blocked: bool, network: NetworkFindings, adoption: Adoption) -> Result:
    """When time or somebody whom we do not watch may change the answer."""
    waits = []
    if is_blocked:
        waits.append(SECRET_RETRY_SECONDS)
    if network.waiting:
        waits.append(ADDRESS_RETRY_SECONDS)
    if adoption.is_pending:
        waits.append(ADOPTION_RETRY_SECONDS)
    return Result(again_in=min(waits)) if waits else DONE


def _named_machine(selector: Document) -> Iterable[Key]:
    """The machine that a selector names, which may wait for just that."""
    reference = (selector.get("status") or {}).get("machineInventoryRef") or {}
    if reference.get("name"):
        yield Key(selector["metadata"].get("namespace", ""), reference["name"])
