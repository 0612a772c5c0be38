"""Upgrade: write an image into the other slot and arm it. The reboot and the judgement come after.

Refusals come first and are explained; everything after them is journaled, so that a run that was cut off
goes on where it stopped. `switch_back` is the same without the writing: a rollback that a person asked for.
"""

import uuid

from agent.errors import AgentError, UpgradeRefused
from agent.image import resolve
from agent.installation import Installation
from agent.journal import Record, Step
from agent.reference import ImageReference
from agent.registry import Registry
from agent.slots import next_id, next_slot
from agent.staging import (
    CONDEMN,
    abandon,
    build_step,
    check_step,
    prune_step,
    pull_step,
    switch_steps,
    unpack_step,
)
from agent.state import State


def upgrade(
    installation: Installation,
    reference: ImageReference,
    *,
    registry: Registry,
    correlation_id: str = "",
    again: bool = False,
) -> Record | None:
    """Stage and arm the image; None when it runs already and is good. A reboot is requested, not made.

    `again` tries an image that is known bad. Raises UpgradeRefused before anything is touched, and other
    AgentErrors with the old system as it was.
    """
    digest = reference.digest or resolve(reference, registry)[0]
    state = installation.state()
    record = installation.journal.open_record()
    if record is not None and record.digest == digest and _awaits_reboot(installation, record):
        installation.host.request_reboot()
        return record
    _check_settled(installation, record)
    if record is not None and record.digest != digest:
        give_up(installation, record, reason="another image was asked for")
        record = None
        state = installation.state()
    if record is None:
        if _runs_already(installation, state, digest):
            return None
        reason = state.failure_of(digest) or installation.journal.failure_of(digest)
        if reason is not None and not again:
            _refuse(installation, reference, digest, correlation_id=correlation_id, reason=reason)
        record = installation.journal.begin(
            _plan_record(installation, state, reference, digest=digest, correlation_id=correlation_id)
        )
    return resume(installation, record, registry=registry)


def resume(installation: Installation, record: Record, *, registry: Registry) -> Record:
    """Run what is left of a transaction, up to the armed candidate."""
    try:
        record = installation.journal.run(record, _steps(installation, record, registry))
    except AgentError as error:
        give_up(installation, record, reason=str(error))
        raise
    installation.host.request_reboot()
    return record


def switch_back(installation: Installation) -> Record:
    """Arm the newest good snapshot that is not the running one. Raises UpgradeRefused if there is none."""
    state = installation.state()
    unfinished = installation.journal.open_record()
    _check_settled(installation, unfinished)
    if unfinished is not None:
        give_up(installation, unfinished, reason="a rollback was asked for")
        state = installation.state()
    good = installation.good()
    targets = [one for one in state.records() if one.status == "good" and one.id != good]
    if not targets:
        raise UpgradeRefused("there is no other good system on this host to roll back to")
    target = targets[-1]
    snapshot = state.snapshots[target.id]
    record = Record(
        id=uuid.uuid4().hex,
        action="rollback",
        reference=snapshot.source,
        digest=target.digest,
        version=snapshot.version,
        snapshot=target.id,
        slot=target.slot,
        previous=good,
    )
    record = installation.journal.begin(record)
    record = installation.journal.run(record, switch_steps(installation, record))
    installation.host.request_reboot()
    return record


def give_up(installation: Installation, record: Record, *, reason: str) -> None:
    """Close a transaction that did not reach the switch, and remove its traces."""
    abandon(installation, record)
    installation.journal.finish(record, "failed", reason=reason)


def _steps(installation: Installation, record: Record, registry: Registry) -> list[Step]:
    switch = switch_steps(installation, record)
    known = installation.state().snapshots.get(record.snapshot)
    if record.action == "rollback" or (known is not None and known.status == "good"):
        return switch
    return [
        pull_step(installation, record, registry),
        prune_step(installation, record),
        unpack_step(installation, record),
        build_step(installation, record),
        check_step(installation, record),
        *switch,
    ]


def _plan_record(
    installation: Installation,
    state: State,
    reference: ImageReference,
    *,
    digest: str,
    correlation_id: str,
) -> Record:
    """Take the other slot; if a good snapshot of this very image waits there, use it as it is."""
    good = installation.good()
    records = state.records()
    present = next((one for one in records if one.digest == digest and one.status == "good"), None)
    return Record(
        id=uuid.uuid4().hex,
        action="upgrade",
        reference=str(reference),
        digest=digest,
        version=state.snapshots[present.id].version if present else reference.tag,
        snapshot=present.id if present else next_id(records),
        slot=present.slot if present else next_slot(records, good=good),
        previous=good,
        correlation_id=correlation_id,
    )


def _runs_already(installation: Installation, state: State, digest: str) -> bool:
    booted = installation.booted().snapshot
    running = state.snapshots.get(booted) if booted is not None else None
    return running is not None and running.digest == digest and running.status == "good"


def _awaits_reboot(installation: Installation, record: Record) -> bool:
    armed = installation.boot.choice().next == record.snapshot
    return armed and installation.booted().snapshot != record.snapshot


def _check_settled(installation: Installation, record: Record | None) -> None:
    """An armed candidate must be tried and judged, and a bad one left, before the next change."""
    if record is None:
        return
    is_armed = installation.boot.choice().next == record.snapshot
    runs = installation.booted().snapshot == record.snapshot
    if is_armed or runs or CONDEMN in record.done:
        raise UpgradeRefused(
            f"the {record.action} to {record.version or record.digest} is not settled yet",
            hint="let this host reboot and judge it; the next change can follow then",
        )


def _refuse(
    installation: Installation,
    reference: ImageReference,
    digest: str,
    *,
    correlation_id: str,
    reason: str,
) -> None:
    """Say no to a known bad image, and keep that answer unless it only repeats the last one."""
    message = f"{reference} was tried on this host before and failed: {reason}"
    last = installation.journal.record()
    if last is None or (last.digest, last.correlation_id) != (digest, correlation_id):
        state = installation.state()
        planned = _plan_record(installation, state, reference, digest=digest, correlation_id=correlation_id)
        installation.journal.finish(installation.journal.begin(planned), "refused", reason=message)
    raise UpgradeRefused(
        message, hint="load a newer image, or give `--again` on this host to try it once more"
    )
