"""MachineRegistration: gives it a token, a URL and an account, and says why if it cannot.

The URL follows the appliance's address (D02); a token stays until the spec names another. Each look makes
every child that is missing (D01) and leaves alone what carries a child's name but is somebody else's.
MachineInventories are not its children and stay when it goes.
"""

import asyncio
import secrets
from collections.abc import Iterable, Sequence

import msgspec

from appliance.controllers.events import Recorder
from appliance.controllers.manager import DONE, Result, Watch, owner_keys
from appliance.controllers.owners import is_owned
from appliance.controllers.queue import Key
from appliance.controllers.registration_access import (
    Child,
    choose_plans,
    find_registration,
    has_plan,
    render_children,
    render_new,
)
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.writes import set_condition, write_changes, write_status
from appliance.resources.core import SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_registration import (
    MACHINE_REGISTRATION,
    MachineRegistration,
    MachineRegistrationStatus,
)
from appliance.resources.meta import ConditionStatus, Document, Kind, ObjectReference, decode
from appliance.resources.rbac import ROLE, ROLE_BINDING
from appliance.resources.service_account import SERVICE_ACCOUNT
from appliance.store.base import AlreadyExists, Conflict, NotFound, Selection, Store

TOKEN_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # noqa: S105 - upstream's, without vowels
TOKEN_LENGTH = 54
RETRY_SECONDS = 10.0  # while somebody else has the token or the name of a child
RECHECK_SECONDS = 600.0
SETTLE_SECONDS = 1.0  # let a burst of registering hosts become one change of the Role


class MachineRegistrationController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._settings = settings
        self._recorder = Recorder(store, clock=settings.clock)
        # Two registrations that want one token must not both find it free.
        self._tokens = asyncio.Lock()
        # Which registration's Role names which machine, so that a machine's other changes wake nobody.
        self._named: dict[str, tuple[str, bool]] = {}

    @property
    def kind(self) -> Kind:
        return MACHINE_REGISTRATION

    @property
    def watches(self) -> Sequence[Watch]:
        children = owner_keys(MACHINE_REGISTRATION)
        return (
            *(Watch(kind, children) for kind in (SERVICE_ACCOUNT, ROLE, ROLE_BINDING, SECRET)),
            Watch(MACHINE_INVENTORY, self._concerned, settle=SETTLE_SECONDS),
        )

    async def reconcile(self, key: Key) -> Result:
        """Give the registration its token, URL, children and Ready condition."""
        async with self._tokens:
            try:
                document = await self._store.get(self.kind, key.name, namespace=key.namespace)
            except NotFound:
                return DONE
            registration = decode(MachineRegistration, document)
            if registration.metadata.deletion_timestamp is not None:
                return DONE
            status, fault = await self._next_status(registration)
            await write_status(self._store, self.kind, document, status)
        await self._recorder.record_condition(
            document, "Ready", registration.status.conditions, status.conditions
        )
        return Result(again_in=RETRY_SECONDS if fault else RECHECK_SECONDS)

    async def _next_status(self, registration: MachineRegistration) -> tuple[MachineRegistrationStatus, bool]:
        """The whole status, and whether something is wrong that time or other people may put right."""
        token, fault = await self._choose_token(registration)
        if fault is None and not self._settings.server_url:
            fault = ("MissingTokenOrServerURL", "the appliance has no URL that hosts can reach")
        if fault is not None:
            status = MachineRegistrationStatus(conditions=registration.status.conditions)
            return self._judge(status, "False", *fault), True
        status = MachineRegistrationStatus(
            conditions=registration.status.conditions,
            registration_token=token,
            registration_url=f"{self._settings.server_url.rstrip('/')}/elemental/registration/{token}",
        )
        taken = await self._ensure_children(registration)
        if taken:
            return self._judge(status, "False", "RbacCreationFailure", taken), True
        account = ObjectReference(
            kind=SERVICE_ACCOUNT.kind,
            namespace=registration.metadata.namespace,
            name=registration.metadata.name,
        )
        status = msgspec.structs.replace(status, service_account_ref=account)
        return self._judge(status, "True", "SuccessfullyCreated", "the registration URL is ready"), False

    async def _choose_token(self, registration: MachineRegistration) -> tuple[str, tuple[str, str] | None]:
        """The token to use, or the reason and the sentence why there is none."""
        wanted, present = registration.spec.token, registration.status.registration_token
        if not wanted:
            return present or "".join(secrets.choice(TOKEN_ALPHABET) for _ in range(TOKEN_LENGTH)), None
        for document in (await self._store.list(self.kind)).items:
            other = decode(MachineRegistration, document)
            if other.metadata.uid == registration.metadata.uid:
                continue
            # Two appliances may have let two in at once: then the one that was there first keeps it.
            if other.status.registration_token == wanted and (
                present != wanted or _seniority(other) < _seniority(registration)
            ):
                owner = f"{other.metadata.namespace}/{other.metadata.name}"
                return "", ("DuplicateToken", f"the token is already used by {owner}")
        return wanted, None

    async def _ensure_children(self, registration: MachineRegistration) -> str:
        """Make or correct each child; answer with a sentence about a name that is taken, if one is."""
        here = Selection(namespace=registration.metadata.namespace)
        machines = (await self._store.list(MACHINE_INVENTORY, here)).items
        plans = choose_plans(registration.metadata.name, machines)
        for child in render_children(registration.metadata, plans):
            if not await self._ensure_child(child, registration):
                return (
                    f"{child.kind} {child.name} exists and is not this registration's;"
                    " delete it or rename the registration"
                )
        return ""

    async def _ensure_child(self, child: Child, registration: MachineRegistration) -> bool:
        try:
            present = await self._store.get(child.kind, child.name, namespace=registration.metadata.namespace)
        except NotFound:
            try:
                await self._store.create(child.kind, render_new(child, registration.metadata))
            except AlreadyExists as error:
                raise Conflict(f"{child.kind} {child.name} was made by somebody else just now") from error
            return True
        if not is_owned(present, registration.metadata):
            return False
        await write_changes(self._store, child.kind, present, child.owned)
        return True

    def _judge(
        self, status: MachineRegistrationStatus, ready: ConditionStatus, reason: str, message: str
    ) -> MachineRegistrationStatus:
        conditions = set_condition(
            status.conditions, "Ready", ready, reason, message, now=self._settings.clock()
        )
        return msgspec.structs.replace(status, conditions=conditions)

    def _concerned(self, machine: Document) -> Iterable[Key]:
        """The registration whose Role must follow: a machine came to it, got its Secret, or goes."""
        metadata = machine["metadata"]
        name = find_registration(machine)
        is_going = bool(metadata.get("deletionTimestamp"))
        named = (name, has_plan(machine))
        before = self._named.get(metadata["uid"])
        if is_going:
            self._named.pop(metadata["uid"], None)
        else:
            self._named[metadata["uid"]] = named
        if named == before and not is_going:
            return
        for registration in {name, before[0] if before else ""} - {""}:
            yield Key(metadata.get("namespace", ""), registration)


def _seniority(registration: MachineRegistration) -> tuple[str, str]:
    return registration.metadata.creation_timestamp or "", registration.metadata.uid
