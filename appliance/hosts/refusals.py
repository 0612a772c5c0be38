"""Tells, on the registration itself, of machines that its templates turned away and so have no record.

Such a machine comes again every few seconds, so the same thing is told once and then remembered.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import msgspec

from appliance.hosts.errors import NotAdmissible
from appliance.hosts.handshake import Machine
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Document
from appliance.store.base import StoreError

log = logging.getLogger(__name__)

MAX_REMEMBERED = 4096
REASON = "MachineNotAdmissible"

# Document, type, reason, message: what writes core Events.
RecordEvent: TypeAlias = Callable[[Document, Literal["Normal", "Warning"], str, str], Awaitable[None]]


async def ignore_event(
    document: Document, type: Literal["Normal", "Warning"], reason: str, message: str
) -> None:
    """For an appliance that keeps no Events."""


class Refusals:
    def __init__(self, record: RecordEvent) -> None:
        self._record = record
        self._told: set[tuple[str, str]] = set()

    async def tell(self, registration: MachineRegistration, machine: Machine, error: NotAdmissible) -> None:
        """Make an Event of it, if it is news. A store that cannot write it keeps nobody waiting."""
        message = f"{machine.kind} …{machine.hash[-8:]} was not admitted: {error}"
        news = (registration.metadata.uid, message)
        if news in self._told:
            return
        if len(self._told) >= MAX_REMEMBERED:
            self._told.clear()
        self._told.add(news)
        document: Document = {
            "apiVersion": MACHINE_REGISTRATION.api_version,
            "kind": MACHINE_REGISTRATION.kind,
            "metadata": msgspec.to_builtins(registration.metadata),
        }
        try:
            await self._record(document, "Warning", REASON, message)
        except StoreError as trouble:
            log.warning("%s: an Event could not be kept: %s", registration.metadata.name, trouble)
