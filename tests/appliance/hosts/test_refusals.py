"""Machines that templates turn away are told of on the registration: once each, never in the host's way."""

from typing import Literal

import pytest

from appliance.hosts import refusals
from appliance.hosts.errors import NotAdmissible
from appliance.hosts.handshake import Machine
from appliance.hosts.refusals import Refusals
from appliance.resources.machine_registration import MachineRegistration
from appliance.resources.meta import Document, decode
from appliance.store.base import Unavailable

REGISTRATION = decode(
    MachineRegistration, {"metadata": {"name": "plant", "namespace": "fleet-default", "uid": "u-1"}}
)
MACHINE = Machine("tpm", "0" * 56 + "1234abcd")
ERROR = NotAdmissible("label site has no value")


class Notebook:
    def __init__(self, *, is_broken: bool = False) -> None:
        self.events: list[tuple[Document, str, str]] = []
        self._is_broken = is_broken

    async def record(
        self, document: Document, type: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        self.events.append((document, type, message))
        if self._is_broken:
            raise Unavailable("the disk is full")


async def test_a_machine_that_comes_again_and_again_is_told_of_once() -> None:
    notebook = Notebook()
    told = Refusals(notebook.record)

    for _ in range(3):
        await told.tell(REGISTRATION, MACHINE, ERROR)

    ((document, severity, message),) = notebook.events
    assert (document["kind"], document["metadata"]["name"]) == ("MachineRegistration", "plant")
    assert (severity, message) == ("Warning", "tpm …1234abcd was not admitted: label site has no value")


async def test_what_is_remembered_has_a_limit() -> None:
    notebook = Notebook()
    told = Refusals(notebook.record)

    for number in range(refusals.MAX_REMEMBERED + 1):
        await told.tell(REGISTRATION, MACHINE, NotAdmissible(str(number)))
    await told.tell(REGISTRATION, MACHINE, NotAdmissible("0"))

    assert len(notebook.events) == refusals.MAX_REMEMBERED + 2


async def test_an_event_that_cannot_be_kept_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await Refusals(Notebook(is_broken=True).record).tell(REGISTRATION, MACHINE, ERROR)

    assert "plant: an Event could not be kept" in caplog.text
