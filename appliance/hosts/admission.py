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
from appliance.hosts.handshake import Admitted, NotAdmitted, Registrant
from appliance.hosts.index import Index
from appliance.hosts.records import render_inventory, render_update
from appliance.hosts.reply import describe_config
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
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
    """

    server_url: str
    ca_pem: str = ""
    clock: Callable[[], float] = time.monotonic
    hear: Callable[[MachineInventory, Mapping[str, JSON]], None] = ignore_registration


class Admission:
    """Everything here is safe to repeat: a host that never saw the answer simply asks again."""

    def __init__(self, store: Store, tokens: HostTokens, settings: HostSettings) -> None:
        self._store = store
        self._tokens = tokens
        self._settings = settings
        self._registrations = Index(store, MACHINE_REGISTRATION, _registration_token)
        self._machines = Index(store, MACHINE_INVENTORY, _machine_hash)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Know every registration and machine, and keep knowing them, until the context ends."""
        async with self._registrations.following(), self._machines.following():
            yield

    def find_registration(self, token: str) -> MachineRegistration | None:
        """The one registration that owns the token and is ready; None otherwise."""
        found = [decode(MachineRegistration, document) for document in self._registrations.find(token)]
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
            machine = await self._record(registration, registrant)
        self._settings.hear(machine, registrant.data)
        name = machine.metadata.name
        match machine.approval:
            case "pending":
                tpm_hash = registrant.machine.hash if registrant.machine.kind == "tpm" else ""
                return NotAdmitted(render_waiting(name, tpm_hash=tpm_hash))
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

    async def _record(self, registration: MachineRegistration, registrant: Registrant) -> MachineInventory:
        known = await self._find(registrant.machine.hash)
        if known is not None:
            return await self._update(registration, registrant, known)
        document = await self._render_new(registration, registrant)
        name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
        try:
            created = await self._store.create(MACHINE_INVENTORY, document)
        except AlreadyExists as error:
            # Another writer may have made this very machine since the index was asked.
            present = await self._store.get(MACHINE_INVENTORY, name, namespace=namespace)
            if _machine_hash(present) == registrant.machine.hash:
                return await self._update(registration, registrant, present)
            raise NotAdmissible(
                "MachineInventory creation failed: failed to create machine inventory "
                f"{namespace}/{name}: another machine of that name already exists",
                hint="give the registration a machineName that differs from machine to machine",
            ) from error
        except Invalid as error:
            raise NotAdmissible(f"MachineInventory creation failed: {error}", hint=error.hint) from error
        self._machines.remember(created)
        return decode(MachineInventory, created)

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
        self, registration: MachineRegistration, registrant: Registrant, known: Document
    ) -> MachineInventory:
        machine = decode(MachineInventory, known)
        changes = render_update(registration, registrant, machine)
        if changes:
            try:
                known = await self._store.patch(
                    MACHINE_INVENTORY,
                    machine.metadata.name,
                    merge(changes),
                    namespace=machine.metadata.namespace,
                )
            except Invalid as error:
                raise NotAdmissible(f"MachineInventory update failed: {error}", hint=error.hint) from error
        self._machines.remember(known)
        return decode(MachineInventory, known)

    async def _render_new(self, registration: MachineRegistration, registrant: Registrant) -> Document:
        """The new record, with the registration's network template copied from the document as written."""
        network: Document | None = None
        if registration.spec.config.network.configurator not in ("", "none"):
            written = await self._store.get(
                MACHINE_REGISTRATION, registration.metadata.name, namespace=registration.metadata.namespace
            )
            network = written["spec"]["config"]["network"]
        return render_inventory(registration, registrant, network=network)


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
