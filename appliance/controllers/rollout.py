"""Rollout: carries out what `appliance.rollout` decides, by writing upgrade plans into hosts' Secrets.

It freezes the image's digest before the first host moves, reads where every host is, asks the policy, and
writes the plans before it writes the status: a plan in a Secret is the truth, the status only tells of it.
A host that failed gets its plan withdrawn, so that nothing retries by itself.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from appliance.controllers.events import Recorder
from appliance.controllers.host_phase import (
    Observed,
    Target,
    has_our_plan,
    observe_host,
    silence_deadline,
)
from appliance.controllers.manager import DONE, Result, Watch
from appliance.controllers.plans import EMPTY_PLAN, read_plan, render_plan_change, render_upgrade_plan
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings, ImageUnresolved
from appliance.controllers.writes import render_time, set_condition, write_changes, write_status
from appliance.resources.core import MANAGED, SECRET
from appliance.resources.host_report import HOST_REPORT, HostReport
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.managed_os_version import MANAGED_OS_VERSION, ManagedOSVersion
from appliance.resources.meta import Document, Kind, Resource, decode
from appliance.resources.rollout import ROLLOUT, Rollout, RolloutHost, RolloutPhase, RolloutStatus
from appliance.rollout import (
    ACCEPTED_FAILURES,
    FAILED_PHASES,
    HostState,
    InvalidWave,
    Policy,
    Steps,
    is_finished,
    next_steps,
    parse_accepted,
)
from appliance.store.base import NotFound, Selection, Store

SETTLE_SECONDS = 0.05  # let the changes of many hosts come together before looking at all of them
UNRESOLVED_RETRY_SECONDS = 15.0
BREATH = 500  # hosts looked at before others on the event loop get their turn


class RolloutController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._settings = settings
        self._recorder = Recorder(store, clock=settings.clock)
        # The rollouts that still move hosts, so that a host's change wakes them. Filled by reconciling.
        self._unfinished: set[Key] = set()

    @property
    def kind(self) -> Kind:
        return ROLLOUT

    @property
    def watches(self) -> Sequence[Watch]:
        return (
            Watch(HOST_REPORT, self._concerned, settle=SETTLE_SECONDS),
            Watch(MACHINE_INVENTORY, self._concerned, settle=SETTLE_SECONDS),
            Watch(SECRET, self._concerned, settle=SETTLE_SECONDS),
            Watch(MANAGED_OS_VERSION, self._concerned),
        )

    async def reconcile(self, key: Key) -> Result:
        """Move the rollout by one step, if it may."""
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            self._unfinished.discard(key)
            return DONE
        rollout = decode(Rollout, document)
        source = _name_source(rollout)
        is_over = is_finished(rollout.status.phase) and rollout.status.source == source
        if is_over or rollout.metadata.deletion_timestamp is not None:
            self._unfinished.discard(key)
            return DONE
        self._unfinished.add(key)

        if not source or rollout.status.source != source:
            frozen = await self._freeze(rollout, source)
            document = await write_status(self._store, self.kind, document, frozen)
            rollout = decode(Rollout, document)
            if not rollout.status.digest:
                return Result(again_in=UNRESOLVED_RETRY_SECONDS)
        return await self._advance(document, rollout)

    async def _advance(self, document: Document, rollout: Rollout) -> Result:
        now = self._settings.clock()
        target = _aim(rollout)
        secrets = await self._by_name(SECRET, rollout, labels=f"{MANAGED}=true")
        observed = await self._observe(rollout, secrets)
        states = [observe_host(seen, target, now=now, silence=self._settings.silence) for seen in observed]
        try:
            steps = next_steps(_read_policy(rollout), states, now=now)
        except InvalidWave as error:
            status = self._hold(rollout.status, "Pending", "InvalidWave", str(error))
            await write_status(self._store, self.kind, document, status)
            return DONE

        for seen, state in zip(observed, states, strict=True):
            secret = secrets.get(state.name)
            if secret is None:
                continue
            if state.name in steps.plan:
                change = render_plan_change(target.plan, "upgrade", rollout=target.rollout)
                await write_changes(self._store, SECRET, secret, change)
            elif state.phase in FAILED_PHASES and has_our_plan(seen, target) and _was_recorded(seen, state):
                await write_changes(self._store, SECRET, secret, render_plan_change(EMPTY_PLAN, "empty"))
        status = self._describe(rollout, states, steps, now=now)
        await write_status(self._store, self.kind, document, status)
        await self._tell(document, rollout.status, status)
        return Result(again_in=_next_look(observed, states, steps, now=now, silence=self._settings.silence))

    async def _freeze(self, rollout: Rollout, source: str) -> RolloutStatus:
        """Find the digest that this rollout will bring, from here on whatever becomes of the tag."""
        fresh = RolloutStatus()
        if not source:
            message = "a rollout names exactly one of spec.image and spec.managedOSVersionName"
            return self._hold(fresh, "Pending", "InvalidSpec", message)
        try:
            reference = rollout.spec.image or await self._find_version_image(rollout)
            image = await asyncio.to_thread(self._settings.resolve, reference)
        except ImageUnresolved as error:
            return self._hold(fresh, "Pending", "ImageUnresolved", str(error))
        digest = image.partition("@")[2]
        if not digest:
            message = f"{image} names no digest, and hosts are only ever sent to a digest"
            return self._hold(fresh, "Pending", "ImageUnresolved", message)
        conditions = set_condition(
            fresh.conditions, "ImageResolved", "True", "Resolved", image, now=self._settings.clock()
        )
        return msgspec.structs.replace(
            fresh,
            phase="Progressing",
            reason="the image is resolved",
            source=source,
            image=image,
            digest=digest,
            started_at=render_time(self._settings.clock()),
            conditions=conditions,
        )

    async def _find_version_image(self, rollout: Rollout) -> str:
        name = rollout.spec.managed_os_version_name
        try:
            document = await self._store.get(MANAGED_OS_VERSION, name, namespace=rollout.metadata.namespace)
        except NotFound as error:
            raise ImageUnresolved(f"there is no ManagedOSVersion {name}") from error
        version = decode(ManagedOSVersion, document)
        image = version.spec.metadata.get("upgradeImage")
        if version.spec.type.lower() != "container" or not isinstance(image, str) or not image:
            raise ImageUnresolved(f"ManagedOSVersion {name} names no container image to upgrade to")
        return image

    def _hold(self, status: RolloutStatus, phase: RolloutPhase, reason: str, message: str) -> RolloutStatus:
        kind = "ImageResolved" if reason != "InvalidWave" else "PolicyValid"
        conditions = set_condition(
            status.conditions, kind, "False", reason, message, now=self._settings.clock()
        )
        return msgspec.structs.replace(status, phase=phase, reason=message, conditions=conditions)

    async def _observe(self, rollout: Rollout, secrets: Mapping[str, Document]) -> list[Observed]:
        """Every approved host that the selector names, in the order of its name."""
        machines = await self._by_name(MACHINE_INVENTORY, rollout)
        reports = await self._by_name(HOST_REPORT, rollout)
        before = {host.name: host for host in rollout.status.hosts}
        observed = []
        for number, (name, document) in enumerate(sorted(machines.items())):
            if number % BREATH == 0:
                await asyncio.sleep(0)
            machine = decode(MachineInventory, document)
            if machine.approval != "approved" or machine.metadata.deletion_timestamp is not None:
                continue
            if not rollout.spec.selector.matches(machine.metadata.labels):
                continue
            report, secret = reports.get(name), secrets.get(name)
            observed.append(
                Observed(
                    machine=machine,
                    report=_decode_owned(HostReport, report, machine) if report else None,
                    plan=read_plan(secret) if secret else None,
                    before=before.get(name),
                )
            )
        return observed

    async def _by_name(self, kind: Kind, rollout: Rollout, *, labels: str = "") -> dict[str, Document]:
        page = await self._store.list(kind, Selection(namespace=rollout.metadata.namespace, labels=labels))
        return {document["metadata"]["name"]: document for document in page.items}

    def _describe(
        self, rollout: Rollout, states: Sequence[HostState], steps: Steps, *, now: datetime
    ) -> RolloutStatus:
        hosts = [
            RolloutHost(
                name=state.name,
                wave=steps.waves[state.name],
                phase="Planned" if state.name in steps.plan else state.phase,
                reason=state.obstacle or state.reason,
                since=render_time(now if state.name in steps.plan else state.since),
            )
            for state in states
        ]
        return msgspec.structs.replace(
            rollout.status,
            phase=steps.phase,
            reason=steps.reason,
            current_wave=steps.wave,
            total=len(hosts),
            updated=sum(host.phase == "Updated" for host in hosts),
            failed=sum(host.phase in FAILED_PHASES for host in hosts),
            finished_at=render_time(now) if is_finished(steps.phase) else "",
            hosts=sorted(hosts, key=lambda host: (host.wave, host.name)),
            conditions=set_condition(
                rollout.status.conditions,
                "Progressing",
                "True" if steps.phase == "Progressing" else "False",
                steps.phase,
                steps.reason,
                now=now,
            ),
        )

    async def _tell(self, document: Document, before: RolloutStatus, after: RolloutStatus) -> None:
        if before.phase != after.phase:
            bad = after.phase in ("Paused", "Failed")
            await self._recorder.record(
                document, "Warning" if bad else "Normal", after.phase, after.reason or after.phase
            )

    def _concerned(self, document: Document) -> Iterable[Key]:
        """The rollouts that a change in their namespace may move."""
        namespace = document["metadata"].get("namespace", "")
        return [key for key in self._unfinished if key.namespace == namespace]


R = TypeVar("R", bound=Resource)


def _decode_owned(struct: type[R], document: Document, machine: MachineInventory) -> R | None:
    """A child of this machine; that of a deleted namesake does not count."""
    resource = decode(struct, document)
    owners = {owner.uid for owner in resource.metadata.owner_references}
    return resource if not owners or machine.metadata.uid in owners else None


def _name_source(rollout: Rollout) -> str:
    """What the spec asks for, as text; empty unless it names exactly one thing."""
    image, version = rollout.spec.image, rollout.spec.managed_os_version_name
    if bool(image) == bool(version):
        return ""
    return image or f"ManagedOSVersion/{version}"


def _aim(rollout: Rollout) -> Target:
    status = rollout.status
    digest = status.digest
    correlation_id = f"{rollout.metadata.name}-{digest.partition(':')[2][:12]}"
    plan = render_upgrade_plan(status.image, correlation_id)
    return Target(rollout=rollout.metadata.name, digest=digest, correlation_id=correlation_id, plan=plan)


def _read_policy(rollout: Rollout) -> Policy:
    return Policy(
        waves=[wave.size for wave in rollout.spec.waves],
        max_unavailable=rollout.spec.max_unavailable,
        soak=timedelta(seconds=rollout.spec.soak_seconds),
        paused=rollout.spec.paused,
        accepted=parse_accepted(rollout.metadata.annotations.get(ACCEPTED_FAILURES, "")),
    )


def _was_recorded(seen: Observed, state: HostState) -> bool:
    """The failure is in the status already, so that withdrawing the plan loses nothing; silence keeps it."""
    recorded = seen.before is not None and seen.before.phase == state.phase
    return recorded and (state.phase == "RolledBack" or (seen.plan is not None and seen.plan.state != ""))


def _next_look(
    observed: Sequence[Observed],
    states: Sequence[HostState],
    steps: Steps,
    *,
    now: datetime,
    silence: timedelta,
) -> float | None:
    """When time alone changes the answer: a soak that ends, or a host that was silent for too long."""
    waits = [steps.again_in] if steps.again_in else []
    if steps.plan:
        waits.append(silence)
    for seen, state in zip(observed, states, strict=True):
        deadline = silence_deadline(seen, state, silence=silence)
        if deadline is not None:
            waits.append(deadline - now)
    return max(0.1, min(waits).total_seconds()) if waits else None
