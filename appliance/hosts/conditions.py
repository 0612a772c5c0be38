"""What people see of trust: conditions on registrations and machines, kept as the store changes.

`PolicyValid` and `ExpectedHosts` on a MachineRegistration, `IdentityUnique` on a MachineInventory. It decides
nothing: who comes in was decided at the gate, from the same facts.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import msgspec

from appliance.hosts.expected import SUFFIX, ListInvalid
from appliance.hosts.gate import Gate, counted_claims
from appliance.hosts.identities import Identities, Machine
from appliance.hosts.judgement import EXPECTED_AS, describe_doubt
from appliance.hosts.policy import RegistrationPolicy, parse_policy
from appliance.resources.core import CONFIG_MAP
from appliance.resources.machine_inventory import (
    IDENTITY_ACCEPTED,
    IDENTITY_DOUBT,
    MACHINE_INVENTORY,
    REGISTERED_WITH,
    MachineInventory,
)
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Condition, Document, Kind, decode, find_condition
from appliance.store.base import Conflict, NotFound, Store, StoreError, merge

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.5  # let a burst of machines become one look at their registration
PAUSE_SECONDS = 1.0

Concern = tuple[Kind, str, str]


class Conditions:
    def __init__(self, store: Store, gate: Gate, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._gate = gate
        self._now = now
        self._concerns: set[Concern] = set()
        self._woken = asyncio.Event()
        # The gate hears of machines before the watch tells, so what changed shows in a table of our own.
        self._seen = Identities()
        self._doubts: dict[Machine, tuple[str, str]] = {}

    async def run(self) -> None:
        """Keep every condition until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in (MACHINE_INVENTORY, MACHINE_REGISTRATION, CONFIG_MAP):
                group.create_task(self._follow(kind))
            group.create_task(self._settle())

    async def _follow(self, kind: Kind) -> None:
        while True:
            with suppress(StoreError):
                async for event in self._store.watch(kind):
                    if event.type != "BOOKMARK":
                        self._hear(kind, event.document, is_gone=event.type == "DELETED")
            await asyncio.sleep(PAUSE_SECONDS)

    def _hear(self, kind: Kind, document: Document, *, is_gone: bool) -> None:
        namespace, name = document["metadata"].get("namespace", ""), document["metadata"]["name"]
        if kind == MACHINE_INVENTORY:
            annotations = document["metadata"].get("annotations") or {}
            own = (namespace, name)
            if is_gone:
                self._gate.identities.forget(own)
                concerned = self._seen.forget(own)
            else:
                self._gate.remember(document)
                concerned = self._seen.put(own, counted_claims(annotations))
                doubt = (annotations.get(IDENTITY_DOUBT, ""), annotations.get(IDENTITY_ACCEPTED, ""))
                concerned |= {own} if self._doubts.get(own, ("", "")) != doubt else set()
                self._doubts[own] = doubt
            found = {(MACHINE_INVENTORY, *machine) for machine in concerned}
            registration = (
                annotations.get(REGISTERED_WITH, "") if is_gone or EXPECTED_AS in annotations else ""
            )
            found |= {(MACHINE_REGISTRATION, namespace, registration)} if registration else set()
        elif kind == CONFIG_MAP:
            registration = name.removesuffix(SUFFIX)
            found = {(MACHINE_REGISTRATION, namespace, registration)} if registration != name else set()
        else:
            found = {(MACHINE_REGISTRATION, namespace, name)} if not is_gone else set()
        if found:
            self._concerns |= found
            self._woken.set()

    async def _settle(self) -> None:
        while True:
            await self._woken.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._woken.clear()
            concerns, self._concerns = self._concerns, set()
            for kind, namespace, name in sorted(concerns, key=str):
                try:
                    await self._look(kind, namespace, name)
                except NotFound:
                    continue
                except Conflict:
                    self._concerns.add((kind, namespace, name))
                    self._woken.set()
                except StoreError as error:
                    log.warning("%s %s/%s: its conditions were not written: %s", kind, namespace, name, error)

    async def _look(self, kind: Kind, namespace: str, name: str) -> None:
        document = await self._store.get(kind, name, namespace=namespace)
        if kind == MACHINE_INVENTORY:
            machine = decode(MachineInventory, document)
            wanted = [self._judge_identity(machine)]
            present = machine.status.conditions
        else:
            registration = decode(MachineRegistration, document)
            policy = parse_policy(registration)
            wanted = [judge_policy(policy), self._judge_expected(namespace, name, policy)]
            present = registration.status.conditions
        conditions = merge_conditions(present, [each for each in wanted if each], now=self._now())
        if conditions != list(present):
            body: Document = {
                "metadata": {"resourceVersion": document["metadata"]["resourceVersion"]},
                "status": {"conditions": _render(conditions)},
            }
            await self._store.patch(kind, name, merge(body), namespace=namespace, subresource="status")

    def _judge_identity(self, machine: MachineInventory) -> Condition | None:
        own: Machine = (machine.metadata.namespace, machine.metadata.name)
        clashes = self._seen.find_clashes(own, counted_claims(machine.metadata.annotations))
        doubt = describe_doubt(machine, clashes)
        if not doubt:
            before = find_condition(machine.status.conditions, "IdentityUnique")
            # Nothing to say of the many that nobody ever doubted.
            return Condition(type="IdentityUnique", status="True", reason="Unique") if before else None
        message = f"{doubt}; skerry hosts resolve {machine.metadata.name} --keep or --replace"
        return Condition(type="IdentityUnique", status="False", reason="Doubtful", message=message)

    def _judge_expected(self, namespace: str, name: str, policy: RegistrationPolicy) -> Condition | None:
        if policy.expected == "off":
            return None
        listed = self._gate.find_list(namespace, name)
        if isinstance(listed, ListInvalid):
            message = f"the list cannot be read: {listed}"
            return Condition(type="ExpectedHosts", status="False", reason="ListInvalid", message=message)
        missing, total = self._gate.count_missing(namespace, name, listed)
        if missing:
            message = f"{missing} of {total} expected hosts have not come yet"
            return Condition(type="ExpectedHosts", status="False", reason="SomeMissing", message=message)
        message = f"all {total} expected hosts have come"
        return Condition(type="ExpectedHosts", status="True", reason="AllCome", message=message)


def judge_policy(policy: RegistrationPolicy) -> Condition:
    """Whether the registration's annotations of ours can be read."""
    if policy.problems:
        message = f"nobody is admitted: {'; '.join(policy.problems)}"
        return Condition(type="PolicyValid", status="False", reason="Unreadable", message=message)
    return Condition(type="PolicyValid", status="True", reason="Valid")


def merge_conditions(present: list[Condition], wanted: list[Condition], *, now: datetime) -> list[Condition]:
    """Those that are there with ours in them; a transition time moves only when its status does."""
    result = list(present)
    for condition in wanted:
        index = next((i for i, each in enumerate(result) if each.type == condition.type), None)
        before = result[index] if index is not None else None
        is_same = before is not None and before.status == condition.status
        since = before.last_transition_time if before and is_same else now.strftime("%Y-%m-%dT%H:%M:%SZ")
        new = Condition(
            type=condition.type,
            status=condition.status,
            reason=condition.reason,
            message=condition.message[:1024],
            last_transition_time=since,
        )
        if index is None:
            result.append(new)
        else:
            result[index] = new
    return result


def _render(conditions: list[Condition]) -> list[Document]:
    return [msgspec.to_builtins(each) for each in conditions]
