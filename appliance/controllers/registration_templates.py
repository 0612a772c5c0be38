"""MachineRegistration's templates: tells when machines came in without the values that they ask for.

Each machine's record says what it lacked; this makes a condition and an Event on the registration of it,
where whoever wrote the templates looks. It never changes a machine.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from appliance.controllers.events import Recorder
from appliance.controllers.manager import DONE, Result, Watch
from appliance.controllers.queue import Key
from appliance.controllers.registration_access import find_registration
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.writes import set_condition, write_status
from appliance.resources.machine_inventory import MACHINE_INVENTORY, UNRESOLVED_TEMPLATES
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Condition, Document, Kind, decode, find_condition
from appliance.store.base import NotFound, Selection, Store

RESOLVED = "TemplatesResolved"
SETTLE_SECONDS = 1.0  # let a burst of registering hosts become one look
MAX_MACHINES = 3  # told by name
MAX_LINES = 3  # told of each


class RegistrationTemplatesController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._settings = settings
        self._recorder = Recorder(store, clock=settings.clock)
        # What each machine lacked when it was last seen, so that its other changes wake nobody.
        self._told: dict[str, tuple[str, str]] = {}

    @property
    def kind(self) -> Kind:
        return MACHINE_REGISTRATION

    @property
    def watches(self) -> Sequence[Watch]:
        return (Watch(MACHINE_INVENTORY, self._concerned, settle=SETTLE_SECONDS),)

    async def reconcile(self, key: Key) -> Result:
        """Set the condition once a machine lacked something; a registration without trouble has none."""
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            return DONE
        registration = decode(MachineRegistration, document)
        lacking = await self._find_lacking(key)
        before = registration.status.conditions
        if registration.metadata.deletion_timestamp is not None or not (
            lacking or find_condition(before, RESOLVED)
        ):
            return DONE
        verdict = judge_templates(lacking)
        after = set_condition(
            before, RESOLVED, verdict.status, verdict.reason, verdict.message, now=self._settings.clock()
        )
        status = msgspec.structs.replace(registration.status, conditions=after)
        await write_status(self._store, self.kind, document, status)
        await self._recorder.record_condition(document, RESOLVED, before, after)
        return DONE

    async def _find_lacking(self, key: Key) -> dict[str, str]:
        """What is said of the machines that came by this registration, by name."""
        machines = (await self._store.list(MACHINE_INVENTORY, Selection(namespace=key.namespace))).items
        return {
            machine["metadata"]["name"]: said
            for machine in machines
            if find_registration(machine) == key.name and (said := _read_said(machine))
        }

    def _concerned(self, machine: Document) -> Iterable[Key]:
        """The machine's registration, where what it lacks is news."""
        metadata = machine["metadata"]
        now = (
            ("", "")
            if metadata.get("deletionTimestamp")
            else (find_registration(machine), _read_said(machine))
        )
        before = self._told.pop(metadata["uid"], ("", ""))
        if now[1]:
            self._told[metadata["uid"]] = now
        if now[1] != before[1]:
            for name in {now[0], before[0]} - {""}:
                yield Key(metadata.get("namespace", ""), name)


def judge_templates(lacking: Mapping[str, str]) -> Condition:
    """The condition for what is said of each machine. Pure."""
    if not lacking:
        message = "every machine sent the values that the templates ask for"
        return Condition(type=RESOLVED, status="True", reason="AllValuesSent", message=message)
    some = sorted(lacking.items())[:MAX_MACHINES]
    told = " | ".join(f"{name}: {'; '.join(said.splitlines()[:MAX_LINES])}" for name, said in some)
    count = "1 machine" if len(lacking) == 1 else f"{len(lacking)} machines"
    message = f"{count} did not send what a template asks for. {told}"
    return Condition(type=RESOLVED, status="False", reason="ValuesMissing", message=message)


def _read_said(machine: Document) -> str:
    annotations: Mapping[str, str] = machine["metadata"].get("annotations") or {}
    return annotations.get(UNRESOLVED_TEMPLATES, "")
