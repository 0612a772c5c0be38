"""MachineRegistration: gives it a token and a URL, once and for good, and says why if it cannot.

Unlike upstream it makes no service account: every host gets a token of its own (D03). The URL follows
the appliance's address (D02). MachineInventories are not its children and stay when it goes.
"""

import asyncio
import re
import secrets
from collections.abc import Sequence

import msgspec

from appliance.controllers.events import Recorder
from appliance.controllers.manager import DONE, Result, Watch
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.writes import set_condition, write_status
from appliance.resources.machine_registration import (
    MACHINE_REGISTRATION,
    MachineRegistration,
    MachineRegistrationStatus,
)
from appliance.resources.meta import Kind, decode, find_condition
from appliance.store.base import NotFound, Store

TOKEN_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # noqa: S105 - upstream's, without vowels
TOKEN_LENGTH = 54
STATIC_TOKEN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
STATIC_TOKEN_LIMIT = 253
RETRY_DUPLICATE_SECONDS = 10.0


class MachineRegistrationController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._settings = settings
        self._recorder = Recorder(store, clock=settings.clock)
        # Two registrations that want one token must not both find it free.
        self._tokens = asyncio.Lock()

    @property
    def kind(self) -> Kind:
        return MACHINE_REGISTRATION

    @property
    def watches(self) -> Sequence[Watch]:
        return ()

    async def reconcile(self, key: Key) -> Result:
        """Give the registration its token, URL and Ready condition."""
        async with self._tokens:
            try:
                document = await self._store.get(self.kind, key.name, namespace=key.namespace)
            except NotFound:
                return DONE
            registration = decode(MachineRegistration, document)
            if registration.metadata.deletion_timestamp is not None:
                return DONE
            status = await self._next_status(registration)
            await write_status(self._store, self.kind, document, status)
        await self._recorder.record_condition(
            document, "Ready", registration.status.conditions, status.conditions
        )
        ready = find_condition(status.conditions, "Ready")
        duplicate = ready is not None and ready.reason == "DuplicateToken"
        return Result(again_in=RETRY_DUPLICATE_SECONDS) if duplicate else DONE

    async def _next_status(self, registration: MachineRegistration) -> MachineRegistrationStatus:
        status, wanted = registration.status, registration.spec.token
        token = status.registration_token
        if wanted and wanted != token:
            fault = await self._find_fault(registration)
            if fault:
                return self._refuse(status, *fault)
            token = wanted
        if not self._settings.server_url:
            message = "the appliance has no URL that hosts can reach"
            return self._refuse(status, "MissingTokenOrServerURL", message)
        token = token or "".join(secrets.choice(TOKEN_ALPHABET) for _ in range(TOKEN_LENGTH))
        return msgspec.structs.replace(
            status,
            registration_token=token,
            registration_url=f"{self._settings.server_url.rstrip('/')}/elemental/registration/{token}",
            conditions=set_condition(
                status.conditions,
                "Ready",
                "True",
                "SuccessfullyCreated",
                "the registration URL is ready",
                now=self._settings.clock(),
            ),
        )

    async def _find_fault(self, registration: MachineRegistration) -> tuple[str, str] | None:
        """Why the token in the spec cannot be used: a reason and a sentence."""
        wanted = registration.spec.token
        if len(wanted) > STATIC_TOKEN_LIMIT or not STATIC_TOKEN.fullmatch(wanted):
            return "MissingTokenOrServerURL", (
                "spec.token must be lower-case letters, digits and inner dashes, at most "
                f"{STATIC_TOKEN_LIMIT} characters"
            )
        for document in (await self._store.list(self.kind)).items:
            other = decode(MachineRegistration, document)
            if other.metadata.uid != registration.metadata.uid and other.status.registration_token == wanted:
                owner = f"{other.metadata.namespace}/{other.metadata.name}"
                return "DuplicateToken", f"the token is already used by {owner}"
        return None

    def _refuse(
        self, status: MachineRegistrationStatus, reason: str, message: str
    ) -> MachineRegistrationStatus:
        conditions = set_condition(
            status.conditions, "Ready", "False", reason, message, now=self._settings.clock()
        )
        return MachineRegistrationStatus(conditions=conditions)
