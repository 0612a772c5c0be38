"""A host that proved its identity becomes a MachineInventory, waits for a person, or is told no.

One identity is one machine for ever: it is found by its hash, whatever state the host lost, and never
renamed. Nothing is written before the host asks for its configuration, and then in a single write, so an
appliance that is killed in the middle has either the whole machine or none.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from agent.protocol.approval import render_refused, render_waiting
from agent.protocol.documents import JSON
from appliance.credentials import HostTokens
from appliance.hosts.errors import Ambiguous, NotAdmissible
from appliance.hosts.gate import Gate
from appliance.hosts.handshake import Admitted, NotAdmitted, Registrant
from appliance.hosts.index import Index
from appliance.hosts.judgement import Judgement
from appliance.hosts.policy import digest_token, has_old_token
from appliance.hosts.records import render_inventory, render_update
from appliance.hosts.refusals import RecordEvent, Refusals, ignore_event
from appliance.hosts.reply import describe_config
from appliance.resources.machine_inventory import (
    MACHINE_INVENTORY,
    REGISTERED_WITH,
    UNRESOLVED_TEMPLATES,
    MachineInventory,
)
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Document, decode, find_condition
from appliance.store.base import AlreadyExists, Invalid, NotFound, Store, merge

NETWORK_CONFIG_SINCE = 12


def ignore_registration(machine: MachineInventory, facts: Mapping[str, JSON]) -> None:
    """For an appliance that keeps no inventory."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What hosts are told about the appliance. `ca_pem` is empty where TLS is off; `clock` never jumps.

    `hear` is told of every machine that was recorded, with the facts it sent; it must return at once.
    `record` writes Events about registrations.
    """

    server_url: str
    ca_pem: str = ""
    clock: Callable[[], float] = time.monotonic
    hear: Callable[[MachineInventory, Mapping[str, JSON]], None] = ignore_registration
    record: RecordEvent = ignore_event


class Admission:
    """Everything here is safe to repeat: a host that never saw the answer simply asks again."""

    def __init__(self, store: Store, tokens: HostTokens, settings: HostSettings, gate: Gate) -> None:
        self._store = store
        self._gate = gate
        self._tokens = tokens
        self._settings = settings
        self._refusals = Refusals(settings.record)
        self._registrations = Index(store, MACHINE_REGISTRATION, _registration_token)
        self._machines = Index(store, MACHINE_INVENTORY, _machine_hash)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Know every registration and machine, and keep knowing them, until the context ends."""
        async with self._registrations.following(), self._machines.following(), self._gate.running():
            yield

    def find_registration(self, token: str) -> MachineRegistration | None:
        """The one registration that owns the token, or did before, and is ready; None otherwise."""
        documents = self._registrations.find(token)
        if not documents:
            digest = digest_token(token)
            documents = [each for each in self._registrations.everything() if has_old_token(each, digest)]
        found = [decode(MachineRegistration, document) for document in documents]
        ready = [registration for registration in found if _is_ready(registration)]
        return ready[0] if len(ready) == 1 else None

    def is_known(self, identity: str) -> bool:
        """Say whether a machine with that hash registered before."""
        return bool(self._machines.find(identity))

    def find_machine(self, namespace: str, name: str) -> MachineInventory | None:
        """The machine of that name, if it has an identity."""
        document = self._machines.get(namespace, name)
        return decode(MachineInventory, document) if document else None

    async def admit(
        self, registration: MachineRegistration, registrant: Registrant
    ) -> Admitted | NotAdmitted:
        """Record the host and answer its Get. Raises HostsError and StoreError."""
        lock = self._locks.setdefault(registrant.machine.hash, asyncio.Lock())
        async with lock:
            known = await self._find(registrant.machine.hash)
            document = await self._record(registration, registrant, known)
        self._gate.remember(document)
        machine = decode(MachineInventory, document)
        await self._gate.record_admission(registration, machine, is_new=known is None)
        self._settings.hear(machine, registrant.data)
        name = machine.metadata.name
        match machine.approval:
            case "pending":
                tpm_hash = registrant.machine.hash if registrant.machine.kind == "tpm" else ""
                return NotAdmitted(render_waiting(name, tpm_hash=tpm_hash, remark=_read_remark(machine)))
            case "rejected":
                return NotAdmitted(render_refused(f"{name} was rejected on the appliance"))
        config = describe_config(
            registration,
            machine,
            ca_pem=self._settings.ca_pem,
            server_url=self._settings.server_url,
            token=self._tokens.issue(namespace=machine.metadata.namespace, name=name, uid=machine.token_uid),
            with_network=registrant.version >= NETWORK_CONFIG_SINCE,
        )
        return Admitted(config)

    async def _record(
        self, registration: MachineRegistration, registrant: Registrant, known: Document | None
    ) -> Document:
        judgement = self._judge(registration, registrant, known)
        if judgement.refusal:
            if known is not None and judgement.annotations:
                await self._write(known, {"metadata": {"annotations": dict(judgement.annotations)}})
            await self._gate.record_refusal(registration, judgement.refusal, machine=registrant.machine)
            raise NotAdmissible(render_refused(judgement.refusal))
        if known is not None:
            return await self._update(registration, registrant, known, judgement)
        document = await self._render_new(registration, registrant)
        document["metadata"]["annotations"] |= judgement.annotations
        name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
        await self._gate.take_use(registration)
        try:
            created = await self._store.create(MACHINE_INVENTORY, document)
        except AlreadyExists as error:
            # Another writer may have made this very machine since the index was asked.
            present = await self._store.get(MACHINE_INVENTORY, name, namespace=namespace)
            if _machine_hash(present) == registrant.machine.hash:
                judgement = self._judge(registration, registrant, present)
                return await self._update(registration, registrant, present, judgement)
            raise NotAdmissible(
                "MachineInventory creation failed: failed to create machine inventory "
                f"{namespace}/{name}: another machine of that name already exists",
                hint="give the registration a machineName that differs from machine to machine",
            ) from error
        except Invalid as error:
            raise NotAdmissible(f"MachineInventory creation failed: {error}", hint=error.hint) from error
        self._machines.remember(created)
        return created

    def _judge(
        self, registration: MachineRegistration, registrant: Registrant, known: Document | None
    ) -> Judgement:
        if known is None:
            return self._gate.judge(registration, registrant, None, elsewhere="")
        machine = decode(MachineInventory, known)
        other = machine.metadata.annotations.get(REGISTERED_WITH, "")
        is_elsewhere = (machine.metadata.namespace, other) != (
            registration.metadata.namespace,
            registration.metadata.name,
        ) and self._registrations.get(machine.metadata.namespace, other) is not None
        return self._gate.judge(registration, registrant, machine, elsewhere=other if is_elsewhere else "")

    async def _find(self, identity: str) -> Document | None:
        """The machine as the store has it now; the index only says where to look."""
        found = []
        for candidate in self._machines.find(identity):
            metadata = candidate["metadata"]
            try:
                found.append(
                    await self._store.get(
                        MACHINE_INVENTORY, metadata["name"], namespace=metadata["namespace"]
                    )
                )
            except NotFound:
                self._machines.forget(metadata["namespace"], metadata["name"])
        if len(found) > 1:
            names = ", ".join(
                f"{machine['metadata']['namespace']}/{machine['metadata']['name']}" for machine in found
            )
            raise Ambiguous(f"several machines have this identity: {names}", hint="delete all but one")
        return found[0] if found else None

    async def _update(
        self,
        registration: MachineRegistration,
        registrant: Registrant,
        known: Document,
        judgement: Judgement,
    ) -> Document:
        changes = render_update(registration, registrant, decode(MachineInventory, known))
        written = known["metadata"].get("annotations") or {}
        ours = {key: value for key, value in judgement.annotations.items() if written.get(key) != value}
        if ours:
            metadata = changes.setdefault("metadata", {})
            metadata["annotations"] = {**metadata.get("annotations", {}), **ours}
        if changes:
            known = await self._write(known, changes)
        self._machines.remember(known)
        return known

    async def _write(self, known: Document, changes: Document) -> Document:
        metadata = known["metadata"]
        try:
            return await self._store.patch(
                MACHINE_INVENTORY, metadata["name"], merge(changes), namespace=metadata["namespace"]
            )
        except Invalid as error:
            raise NotAdmissible(f"MachineInventory update failed: {error}", hint=error.hint) from error

    async def _render_new(self, registration: MachineRegistration, registrant: Registrant) -> Document:
        """The new record, with the registration's network template copied from the document as written."""
        network: Document | None = None
        if registration.spec.config.network.configurator not in ("", "none"):
            written = await self._store.get(
                MACHINE_REGISTRATION, registration.metadata.name, namespace=registration.metadata.namespace
            )
            network = written["spec"]["config"]["network"]
        try:
            return render_inventory(registration, registrant, network=network)
        except NotAdmissible as error:
            await self._refusals.tell(registration, registrant.machine, error)
            raise


def _read_remark(machine: MachineInventory) -> str:
    """What the templates lacked, for the host's own screen; the rest stands on its record."""
    first, _, more = machine.metadata.annotations.get(UNRESOLVED_TEMPLATES, "").partition("\n")
    return f"{first} (and more on the appliance)" if more else first


def _is_ready(registration: MachineRegistration) -> bool:
    ready = find_condition(registration.status.conditions, "Ready")
    deleting = registration.metadata.deletion_timestamp is not None
    return ready is not None and ready.status == "True" and not deleting


def _registration_token(document: Document) -> str:
    token: str = (document.get("status") or {}).get("registrationToken") or ""
    return token


def _machine_hash(document: Document) -> str:
    spec = document.get("spec") or {}
    identity: str = spec.get("tpmHash") or spec.get("machineHash") or ""
    return identity
