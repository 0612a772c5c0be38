"""MachineInventorySelector: takes one machine, gives it its bootstrap plan, and tells Cluster API so.

Adoption is two words that must agree: the machine names its owner, and the selector names the machine. The
first is written bound to the version that was found free, so that of several selectors one wins; the second
is kept only while the first holds. A selector that already owns a machine takes that one, so a crash between
the two words loses nothing, and the machine's controller lets go what no selector names.

Deleting a selector is not its business: the machine is its child and goes with it, by way of a reset.
"""

import asyncio
import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from appliance.controllers.adoption import (
    choose_addresses,
    is_adopted,
    is_free,
    is_taken_by,
    order_candidates,
    render_selector,
)
from appliance.controllers.bootstrap_plan import render_bootstrap_plan
from appliance.controllers.events import Recorder
from appliance.controllers.machine_conditions import ADOPTION_PATIENCE
from appliance.controllers.manager import DONE, Result, Watch, owner_keys
from appliance.controllers.owners import find_owner, is_owned, render_owner
from appliance.controllers.plans import checksum_plan, read_plan, render_plan_change
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.writes import parse_time, set_condition, write_changes, write_status
from appliance.resources.core import SECRET
from appliance.resources.machine import MACHINE, Machine
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.machine_inventory_selector import (
    MACHINE_INVENTORY_SELECTOR,
    MachineInventorySelector,
    MachineInventorySelectorStatus,
)
from appliance.resources.meta import (
    ConditionStatus,
    Document,
    Kind,
    LabelSelector,
    ObjectReference,
    decode,
    find_condition,
)
from appliance.store.base import Conflict, Invalid, NotFound, Selection, Store, TooLarge

NO_MATCH_SECONDS = 60.0
SETTLE_SECONDS = 0.02  # many machines that come at once are one look for each selector that waits
ADOPTION_RETRY_SECONDS = 1.0
BOOTSTRAP_RETRY_SECONDS = 5.0
OLDER_MACHINES = replace(MACHINE, version="v1beta1")  # where Cluster API is older (D39)


class _NotYet(Exception):
    """Why the bootstrap plan cannot be written now; a sentence."""


class MachineInventorySelectorController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._clock = settings.clock
        self._recorder = Recorder(store, clock=settings.clock)
        # One choice at a time, so that selectors do not all run for the same machine.
        self._choosing = asyncio.Lock()
        # The selectors without a machine, so that a machine that becomes free wakes them.
        self._waiting: dict[Key, LabelSelector] = {}

    @property
    def kind(self) -> Kind:
        return MACHINE_INVENTORY_SELECTOR

    @property
    def watches(self) -> Sequence[Watch]:
        return (
            Watch(MACHINE_INVENTORY, self._concerned, settle=SETTLE_SECONDS),
            Watch(MACHINE, _infrastructure),
        )

    async def reconcile(self, key: Key) -> Result:
        """Take the selector one step further: a machine, its word, the bootstrap plan, ready."""
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            self._waiting.pop(key, None)
            return DONE
        selector = decode(MachineInventorySelector, document)
        if selector.metadata.deletion_timestamp is not None:
            self._waiting.pop(key, None)
            return DONE
        if selector.status.machine_inventory_ref is None:
            self._waiting[key] = selector.spec.selector
            status, result = await self._adopt(selector)
        else:
            status, result = await self._advance(selector, selector.status.machine_inventory_ref.name)
        if status.machine_inventory_ref is not None:
            self._waiting.pop(key, None)
        await write_status(self._store, self.kind, document, status)
        for told in ("InventoryReady", "Ready"):
            await self._recorder.record_condition(
                document, told, selector.status.conditions, status.conditions
            )
        return result

    async def _adopt(
        self, selector: MachineInventorySelector
    ) -> tuple[MachineInventorySelectorStatus, Result]:
        """Make a free machine ours and name it, or say that there is none."""
        status = selector.status
        try:
            async with self._choosing:
                name = await self._take_machine(selector)
        except Invalid as error:
            message = f"spec.selector cannot be used: {error}"
            return self._judge(status, "Ready", "False", "FailedToAdoptInventory", message), DONE
        if not name:
            message = "no approved MachineInventory that is free matches the selector"
            waiting = self._judge(status, "Ready", "False", "WaitingForInventory", message)
            return waiting, Result(again_in=NO_MATCH_SECONDS)
        status = self._judge(
            msgspec.structs.replace(status, machine_inventory_ref=ObjectReference(name=name)),
            "InventoryReady",
            "Unknown",
            "WaitForInventoryCheck",
            f"MachineInventory {name} was taken and has not confirmed it yet",
        )
        waiting = self._judge(status, "Ready", "False", "WaitingForInventory", f"waits for {name}")
        return waiting, Result(again_in=ADOPTION_RETRY_SECONDS)

    async def _take_machine(self, selector: MachineInventorySelector) -> str:
        """The name of a machine that is ours from now on, or was already; empty if none is to be had."""
        here = Selection(
            namespace=selector.metadata.namespace, labels=render_selector(selector.spec.selector)
        )
        documents = (await self._store.list(MACHINE_INVENTORY, here)).items
        machines = [decode(MachineInventory, document) for document in documents]
        owned = [machine.metadata.name for machine in machines if _is_kept(machine, selector)]
        if owned:
            return min(owned)
        by_name = {document["metadata"]["name"]: document for document in documents}
        for machine in order_candidates(machines):
            document = by_name[machine.metadata.name]
            references = document["metadata"].get("ownerReferences") or []
            owner = render_owner(MACHINE_INVENTORY_SELECTOR, selector.metadata)
            changes = {"metadata": {"ownerReferences": [*references, owner]}}
            try:
                await write_changes(self._store, MACHINE_INVENTORY, document, changes)
            except (Conflict, NotFound):
                continue  # it is another's, or changed in some other way: then it comes round again
            return machine.metadata.name
        return ""

    async def _advance(
        self, selector: MachineInventorySelector, name: str
    ) -> tuple[MachineInventorySelectorStatus, Result]:
        """From a machine that is named to one that is ready."""
        try:
            document = await self._store.get(MACHINE_INVENTORY, name, namespace=selector.metadata.namespace)
            machine = decode(MachineInventory, document)
        except NotFound:
            return self._lose(selector, f"MachineInventory {name} is gone")
        if not is_taken_by(machine, selector):
            return self._lose(selector, f"MachineInventory {name} is owned by somebody else")
        if not selector.status.bootstrap_plan_checksum and machine.metadata.deletion_timestamp is not None:
            return self._lose(selector, f"MachineInventory {name} is being deleted")
        if not is_adopted(machine):
            return self._await_confirmation(selector, name)
        status = self._judge(
            selector.status, "InventoryReady", "True", "SuccessfullyAdoptedInventory", f"adopted {name}"
        )
        if not status.bootstrap_plan_checksum:
            return await self._bootstrap(selector, status, machine)
        status = msgspec.structs.replace(status, ready=True, addresses=choose_addresses(machine))
        return self._judge(status, "Ready", "True", "SelectorReady", ""), DONE

    def _await_confirmation(
        self, selector: MachineInventorySelector, name: str
    ) -> tuple[MachineInventorySelectorStatus, Result]:
        asked = find_condition(selector.status.conditions, "InventoryReady")
        now = self._clock()
        since = parse_time(asked.last_transition_time, default=now) if asked else now
        if asked is not None and asked.status != "Unknown":
            since = now
        if now - since >= ADOPTION_PATIENCE:
            return self._lose(selector, f"MachineInventory {name} did not confirm its adoption in time")
        message = f"MachineInventory {name} was taken and has not confirmed it yet"
        status = self._judge(selector.status, "InventoryReady", "Unknown", "WaitForInventoryCheck", message)
        return status, Result(again_in=ADOPTION_RETRY_SECONDS)

    def _lose(
        self, selector: MachineInventorySelector, message: str
    ) -> tuple[MachineInventorySelectorStatus, Result]:
        """Let the name go and choose again; but a Machine that was bootstrapped is never another one."""
        status = selector.status
        result = Result(again_in=ADOPTION_RETRY_SECONDS)
        if status.bootstrap_plan_checksum:
            message += "; delete this selector (or its Machine) to have another bootstrapped"
            status = self._judge(status, "Ready", "False", "FailedToAdoptInventory", message)
            result = DONE
        else:
            status = msgspec.structs.replace(status, machine_inventory_ref=None)
        return self._judge(status, "InventoryReady", "False", "FailedToAdoptInventory", message), result

    async def _bootstrap(
        self,
        selector: MachineInventorySelector,
        status: MachineInventorySelectorStatus,
        machine: MachineInventory,
    ) -> tuple[MachineInventorySelectorStatus, Result]:
        """Write the bootstrap plan, once; what came of it is the machine's to tell."""
        try:
            script = await self._find_script(selector)
            plan = render_bootstrap_plan(machine.metadata.name, machine.metadata.labels, script)
            await self._write_plan(machine, plan)
        except (_NotYet, Invalid, TooLarge) as error:
            failed = self._judge(status, "Ready", "False", "FailedToUpdatePlan", str(error))
            return failed, Result(again_in=BOOTSTRAP_RETRY_SECONDS)
        status = msgspec.structs.replace(status, bootstrap_plan_checksum=checksum_plan(plan))
        message = f"{machine.metadata.name} was given its bootstrap plan"
        written = self._judge(status, "Ready", "False", "SuccessfullyUpdatedPlan", message)
        return written, Result(again_in=0.0)

    async def _find_script(self, selector: MachineInventorySelector) -> bytes:
        """The bootstrap script of the Cluster API Machine that owns the selector."""
        owner = find_owner(selector.metadata, MACHINE)
        if owner is None:
            raise _NotYet(f"no owner of kind {MACHINE.kind} ({MACHINE.group}) names this selector")
        namespace = selector.metadata.namespace
        kind = MACHINE if await self._store.has_kind(MACHINE) else OLDER_MACHINES
        try:
            machine = decode(Machine, await self._store.get(kind, owner.name, namespace=namespace))
        except NotFound as error:
            raise _NotYet(f"Machine {owner.name} does not exist") from error
        name = machine.spec.bootstrap.data_secret_name
        if not name:
            raise _NotYet(f"Machine {owner.name} has no bootstrap.dataSecretName yet")
        try:
            secret = await self._store.get(SECRET, name, namespace=namespace)
        except NotFound as error:
            raise _NotYet(f"Secret {name}, the bootstrap data of Machine {owner.name}, is missing") from error
        try:
            script = base64.b64decode((secret.get("data") or {}).get("value") or "", validate=True)
        except binascii.Error as error:
            raise _NotYet(f"Secret {name}: the key value is not base64") from error
        if not script:
            raise _NotYet(f"Secret {name} has no bootstrap script under the key value")
        return script

    async def _write_plan(self, machine: MachineInventory, plan: bytes) -> None:
        """Put the plan into the machine's Secret; written already, it keeps what the host answered to it."""
        name = machine.metadata.name
        try:
            secret = await self._store.get(SECRET, name, namespace=machine.metadata.namespace)
        except NotFound as error:
            raise _NotYet(f"{name} has no plan Secret yet") from error
        if not is_owned(secret, machine.metadata):
            raise _NotYet(f"Secret {name} is not the machine's own")
        present = read_plan(secret)
        if present.plan == plan and present.type == "bootstrap":
            return
        if present.type == "reset":
            raise _NotYet(f"{name} is being reset")
        if present.type == "upgrade" and not present.state:
            raise _NotYet(f"{name} is upgrading for rollout {present.rollout}")
        await write_changes(self._store, SECRET, secret, render_plan_change(plan, "bootstrap"))

    def _judge(
        self,
        status: MachineInventorySelectorStatus,
        type: str,
        value: ConditionStatus,
        reason: str,
        message: str,
    ) -> MachineInventorySelectorStatus:
        conditions = set_condition(status.conditions, type, value, reason, message, now=self._clock())
        return msgspec.structs.replace(status, conditions=conditions)

    def _concerned(self, document: Document) -> Iterable[Key]:
        """The machine's owner; for a free machine, every selector of its namespace that waits for such."""
        yield from owner_keys(MACHINE_INVENTORY_SELECTOR)(document)
        if not self._waiting:
            return
        machine = decode(MachineInventory, document)
        if is_free(machine):
            for key, selector in list(self._waiting.items()):
                if key.namespace == machine.metadata.namespace and selector.matches(machine.metadata.labels):
                    yield key


def _is_kept(machine: MachineInventory, selector: MachineInventorySelector) -> bool:
    return is_taken_by(machine, selector) and machine.metadata.deletion_timestamp is None


def _infrastructure(machine: Document) -> Iterable[Key]:
    """The selector that a Machine is made of."""
    reference = ((machine.get("spec") or {}).get("infrastructureRef")) or {}
    if reference.get("kind") == MACHINE_INVENTORY_SELECTOR.kind and reference.get("name"):
        yield Key(machine["metadata"].get("namespace", ""), reference["name"])
