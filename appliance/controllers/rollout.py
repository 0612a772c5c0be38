"""Rollout: carries out what `appliance.rollout` decides, by writing upgrade plans into hosts' Secrets.

It freezes the image's digest before the first host moves, reads where every host is, asks the policy, and
writes the plans before it writes the status: a plan in a Secret is the truth, the status only tells of it.
A host that failed gets its plan withdrawn, so that nothing retries by itself; so does one that has not
answered yet when the rollout is deleted. What it remembers of its hosts is `host_memory`'s affair.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from appliance.controllers.cloud_config import render_cloud_config
from appliance.controllers.events import Recorder
from appliance.controllers.fleet import Fleet, Host
from appliance.controllers.host_memory import recall_host, render_waves
from appliance.controllers.host_phase import (
    Observed,
    Target,
    has_our_plan,
    observe_host,
    silence_deadline,
)
from appliance.controllers.manager import DONE, Result, Watch
from appliance.controllers.plans import (
    EMPTY_PLAN,
    UPDATED_AT,
    checksum_plan,
    render_plan_change,
    render_upgrade_plan,
)
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings, ImageUnresolved
from appliance.controllers.writes import (
    parse_time,
    render_time,
    set_condition,
    write_bound,
    write_changes,
    write_status,
)
from appliance.resources.core import SECRET
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.managed_os_version import MANAGED_OS_VERSION, ManagedOSVersion
from appliance.resources.meta import Document, Kind, decode
from appliance.resources.rollout import (
    MAX_HOSTS_TOLD,
    ROLLOUT,
    HostPhase,
    Rollout,
    RolloutHost,
    RolloutPhase,
    RolloutStatus,
)
from appliance.rollout import (
    ACCEPTED_FAILURES,
    ACTIVE_PHASES,
    FAILED_PHASES,
    HostState,
    InvalidWave,
    Policy,
    Steps,
    is_finished,
    next_steps,
    parse_accepted,
)
from appliance.store.base import NotFound, Store

FINALIZER = "rollout.skerry.dev"
SETTLE_SECONDS = 0.05  # let the changes of many hosts come together before looking at all of them
UNRESOLVED_RETRY_SECONDS = 15.0
BREATH = 500  # hosts looked at before others on the event loop get their turn
WRITES_AT_ONCE = 64  # plans on their way into the store together, which then shares one flush
_TOLD_FIRST: tuple[HostPhase, ...] = ("RolledBack", "Failed", "Upgrading", "Planned", "Waiting", "Updated")


@dataclass(frozen=True, slots=True)
class _Sight:
    """One host of the rollout: where it was written down, and what is seen of it."""

    host: Host
    entry: RolloutHost | None
    seen: Observed


class RolloutController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._settings = settings
        self._recorder = Recorder(store, clock=settings.clock)
        # The rollouts that still move hosts, so that a host's change wakes them. Filled by reconciling.
        self._unfinished: set[Key] = set()
        self._fleet = Fleet(store)

    @property
    def kind(self) -> Kind:
        return ROLLOUT

    @property
    def watches(self) -> Sequence[Watch]:
        return (
            Watch(HOST_REPORT, self._concerned, settle=SETTLE_SECONDS, observer=self._fleet.reports),
            Watch(MACHINE_INVENTORY, self._concerned, settle=SETTLE_SECONDS, observer=self._fleet.machines),
            Watch(SECRET, self._concerned, settle=SETTLE_SECONDS, observer=self._fleet.plans),
            Watch(MANAGED_OS_VERSION, self._concerned),
        )

    @property
    def is_fed(self) -> bool:
        """The watches have told what there is, so that a look need not read the store."""
        return self._fleet.is_fed

    async def reconcile(self, key: Key) -> Result:
        """Move the rollout by one step, if it may."""
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            self._leave(key)
            return DONE
        rollout = decode(Rollout, document)
        if rollout.metadata.deletion_timestamp is not None:
            await self._withdraw(document, rollout)
            self._leave(key)
            return DONE
        source = _name_source(rollout)
        if is_finished(rollout.status.phase) and rollout.status.source == source:
            self._leave(key)
            return DONE
        self._unfinished.add(key)
        if FINALIZER not in rollout.metadata.finalizers:
            document = await self._write_finalizers(document, [*rollout.metadata.finalizers, FINALIZER])

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
        sights = await self._observe(rollout, target)
        states = await self._judge(sights, target, rollout, now=now)
        try:
            steps = next_steps(_read_policy(rollout), states, now=now)
        except InvalidWave as error:
            status = self._hold(rollout.status, "Pending", "InvalidWave", str(error))
            await write_status(self._store, self.kind, document, status)
            return DONE

        await self._write_plans(_plan_changes(sights, states, steps, target, now=now))
        status = self._describe(rollout, states, steps, now=now)
        await write_status(self._store, self.kind, document, status)
        await self._tell(document, rollout.status, status)
        return Result(again_in=_next_look(sights, states, steps, now=now, silence=self._settings.silence))

    async def _judge(
        self, sights: Sequence[_Sight], target: Target, rollout: Rollout, *, now: datetime
    ) -> list[HostState]:
        started = parse_time(rollout.status.started_at, default=now)
        states = []
        for number, sight in enumerate(sights):
            if number % BREATH == 0:
                await asyncio.sleep(0)
            state = observe_host(sight.seen, target, now=now, silence=self._settings.silence)
            if state.phase == "Updated" and not has_our_plan(sight.seen, target):
                state = replace(state, since=started)  # not our doing, so nothing has to prove itself
            elif sight.entry and sight.entry.phase == state.phase and state.since == now:
                state = replace(state, since=parse_time(sight.entry.since, default=now))
            states.append(state)
        return states

    async def _write_plans(self, changes: Sequence[tuple[Document, Document]]) -> None:
        """Write plans in small crowds; where somebody wrote one first, its crowd is written still."""
        for first in range(0, len(changes), WRITES_AT_ONCE):
            written = await asyncio.gather(
                *(
                    write_bound(self._store, SECRET, secret["metadata"], change)
                    for secret, change in changes[first : first + WRITES_AT_ONCE]
                ),
                return_exceptions=True,
            )
            for outcome in written:
                if not isinstance(outcome, BaseException):
                    self._fleet.plans.put(outcome)
            for outcome in written:
                if isinstance(outcome, BaseException):
                    raise outcome

    async def _withdraw(self, document: Document, rollout: Rollout) -> None:
        """Take back the plans that no host has answered yet, then let the rollout go."""
        if FINALIZER not in rollout.metadata.finalizers:
            return
        open_plans = [
            (host.plan.secret, render_plan_change(EMPTY_PLAN, "empty"))
            for host in await self._fleet.hosts(rollout.metadata.namespace)
            if host.plan
            and host.plan.record.rollout == rollout.metadata.name
            and host.plan.record.state == ""
        ]
        await self._write_plans(open_plans)
        kept = [finalizer for finalizer in rollout.metadata.finalizers if finalizer != FINALIZER]
        await self._write_finalizers(document, kept)

    async def _write_finalizers(self, document: Document, finalizers: list[str]) -> Document:
        return await write_changes(self._store, self.kind, document, {"metadata": {"finalizers": finalizers}})

    def _leave(self, key: Key) -> None:
        self._unfinished.discard(key)
        if not self._unfinished:
            self._fleet.forget()

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

    async def _observe(self, rollout: Rollout, target: Target) -> list[_Sight]:
        """Every approved host that the selector names, in the order of its name."""
        entries = {host.name: host for host in rollout.status.hosts}
        sights = []
        for number, host in enumerate(await self._fleet.hosts(rollout.metadata.namespace)):
            if number % BREATH == 0:
                await asyncio.sleep(0)
            machine = host.machine
            if machine.approval != "approved" or machine.metadata.deletion_timestamp is not None:
                continue
            if not rollout.spec.selector.matches(machine.metadata.labels):
                continue
            entry = entries.get(machine.metadata.name)
            plan = host.plan.record if host.plan else None
            before = recall_host(machine, plan, entry, target=target, status=rollout.status)
            sights.append(_Sight(host, entry, Observed(machine, host.report, plan, before)))
        return sights

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
            waves=render_waves(hosts, rollout.status),
            hosts=_choose_told(hosts),
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


def _name_source(rollout: Rollout) -> str:
    """What the spec asks for, as text that changes with it; empty unless it names exactly one thing."""
    image, version = rollout.spec.image, rollout.spec.managed_os_version_name
    if bool(image) == bool(version):
        return ""
    config = render_cloud_config(rollout.spec.cloud_config)
    mark = f" with configuration {checksum_plan(config)[:12]}" if config else ""
    return f"{image or f'ManagedOSVersion/{version}'}{mark}"


def _aim(rollout: Rollout) -> Target:
    status = rollout.status
    digest = status.digest
    correlation_id = f"{rollout.metadata.name}-{digest.partition(':')[2][:12]}"
    config = render_cloud_config(rollout.spec.cloud_config)
    return Target(
        rollout=rollout.metadata.name,
        digest=digest,
        correlation_id=correlation_id,
        plan=render_upgrade_plan(status.image, correlation_id, cloud_config=config),
        configures=bool(config),
    )


def _read_policy(rollout: Rollout) -> Policy:
    return Policy(
        waves=[wave.size for wave in rollout.spec.waves],
        max_unavailable=rollout.spec.max_unavailable,
        soak=timedelta(seconds=rollout.spec.soak_seconds),
        paused=rollout.spec.paused,
        accepted=parse_accepted(rollout.metadata.annotations.get(ACCEPTED_FAILURES, "")),
    )


def _plan_changes(
    sights: Sequence[_Sight], states: Sequence[HostState], steps: Steps, target: Target, *, now: datetime
) -> list[tuple[Document, Document]]:
    """What becomes of which plan Secret: given, withdrawn, or marked as carried out."""
    given = frozenset(steps.plan)
    changes: list[tuple[Document, Document]] = []
    for sight, state in zip(sights, states, strict=True):
        plan = sight.host.plan
        if plan is None:
            continue
        ours = has_our_plan(sight.seen, target)
        if state.name in given:
            at = render_time(now)
            change = render_plan_change(target.plan, "upgrade", rollout=target.rollout, planned_at=at)
        elif state.phase in FAILED_PHASES and ours and _was_recorded(sight, state):
            change = render_plan_change(EMPTY_PLAN, "empty")
        elif state.phase == "Updated" and ours and not _is_past(plan.record.updated_at, now=now):
            change = {"metadata": {"annotations": {UPDATED_AT: render_time(state.since)}}}
        else:
            continue
        changes.append((plan.secret, change))
    return changes


def _is_past(time: str, *, now: datetime) -> bool:
    """A time that is over. What a host made of it otherwise would hold up its wave for ever."""
    return parse_time(time, default=datetime.max.replace(tzinfo=now.tzinfo)) <= now


def _was_recorded(sight: _Sight, state: HostState) -> bool:
    """The failure is in the status already, so that withdrawing the plan loses nothing; silence keeps it."""
    recorded = sight.entry is not None and sight.entry.phase == state.phase
    answered = sight.seen.plan is not None and sight.seen.plan.state != ""
    return recorded and (state.phase == "RolledBack" or answered)


def _choose_told(hosts: Sequence[RolloutHost]) -> list[RolloutHost]:
    """The hosts that the status names: all of a small fleet, the most telling of a large one."""
    telling = sorted(hosts, key=lambda host: (_TOLD_FIRST.index(host.phase), host.wave, host.name))
    return sorted(telling[:MAX_HOSTS_TOLD], key=lambda host: (host.wave, host.name))


def _next_look(
    sights: Sequence[_Sight],
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
    for sight, state in zip(sights, states, strict=True):
        if state.phase not in ACTIVE_PHASES:
            continue
        deadline = silence_deadline(sight.seen, state, silence=silence)
        if deadline is not None:
            waits.append(deadline - now)
    return max(0.1, min(waits).total_seconds()) if waits else None
