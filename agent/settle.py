"""Settle: after a boot, commit the candidate or roll it back.

The decision is `agent.slots`'; what is done about it is journaled here, in an order that leaves the host
bootable wherever the power is cut. A bad image is remembered in state.yaml and refused from then on.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from agent.disk import unmark
from agent.errors import StateInvalid
from agent.health import Verdict
from agent.installation import Installation
from agent.journal import Record, Step
from agent.slots import (
    AwaitReboot,
    FinishCommit,
    Judge,
    NothingToSettle,
    Resume,
    RollBack,
    decide_settlement,
    order_passives,
)
from agent.staging import CONDEMN, clean_up
from agent.state import State, load_state, with_active, with_status, write_state


@dataclass(frozen=True, slots=True)
class Settled:
    """`record` is what was settled; `unfinished` a transaction that never reached its switch."""

    record: Record | None = None
    unfinished: Record | None = None
    needs_reboot: bool = False


def settle(installation: Installation, *, judge: Callable[[], Verdict]) -> Settled:
    """Bring the open transaction, if there is one, to where this boot allows. May be repeated."""
    state = load_state(installation.host)
    if state is None:
        return Settled()
    record = installation.journal.open_record() or _rebuild_record(installation, state)
    candidate = state.snapshots.get(record.snapshot) if record else None
    decision = decide_settlement(
        installation.boot.choice(),
        booted=installation.booted().snapshot,
        candidate=record.snapshot if record else None,
        is_condemned=candidate is not None and candidate.status == "bad",
    )
    if record is None:
        return Settled()
    match decision:
        case NothingToSettle():
            return Settled()
        case AwaitReboot():
            installation.host.request_reboot()
            return Settled(record, needs_reboot=True)
        case Resume():
            return _resume(record)
        case Judge():
            record = installation.journal.put(msgspec.structs.replace(record, phase="trying"))
            verdict = judge()
            if verdict.is_healthy:
                return commit(installation, record)
            return roll_back(installation, record, reason=verdict.reason, needs_reboot=True)
        case FinishCommit():
            return commit(installation, record)
        case RollBack(_, reason, needs_reboot):
            return roll_back(installation, record, reason=reason or record.reason, needs_reboot=needs_reboot)


def commit(installation: Installation, record: Record) -> Settled:
    """Make the candidate the good one. The first step decides; the rest follows from it."""

    def put_good() -> None:
        state = _with_good(installation.state(), record)
        installation.boot.commit(
            record.snapshot, passives=order_passives(state.records(), active=record.snapshot)
        )

    def put_state() -> None:
        write_state(installation.host, _with_good(installation.state(), record))

    def clean() -> None:
        clean_up(installation)
        if record.action == "install":
            unmark(installation.host, installation.disk.node())

    steps = [
        Step("commit-boot", "trying", put_good),
        Step("commit-state", "trying", put_state),
        Step("commit-clean", "trying", clean),
    ]
    record = installation.journal.run(record, steps, name="commit")
    return Settled(installation.journal.finish(record, "committed"))


def roll_back(installation: Installation, record: Record, *, reason: str, needs_reboot: bool) -> Settled:
    """Condemn the candidate and return to the previous snapshot; it is over when that one runs."""
    host, boot = installation.host, installation.boot
    record = msgspec.structs.replace(record, reason=reason)

    def condemn() -> None:
        state = with_status(installation.state(), record.snapshot, "bad", reason=reason)
        write_state(host, with_active(state, record.previous))

    def disarm() -> None:
        records = installation.state().records()
        boot.disarm(record.previous, passives=order_passives(records, active=record.previous))

    steps = [
        Step(CONDEMN, "trying", condemn),
        Step("unvouch", "trying", boot.release_active),
        Step("relink", "trying", lambda: installation.snapshots.link_active(record.previous)),
        Step("disarm", "trying", disarm),
    ]
    record = installation.journal.run(record, steps, name="roll-back")
    if needs_reboot:
        host.request_reboot()
        return Settled(record, needs_reboot=True)
    clean_up(installation)
    return Settled(installation.journal.finish(record, "rolled-back"))


def _resume(record: Record) -> Settled:
    if record.action == "install":
        raise StateInvalid(
            "the installation on this disk was cut off", hint="boot the install medium again to repeat it"
        )
    return Settled(unfinished=record)


def _with_good(state: State, record: Record) -> State:
    return with_active(with_status(state, record.snapshot, "good"), record.snapshot)


def _rebuild_record(installation: Installation, state: State) -> Record | None:
    """The boot loader tries a candidate that the journal forgot: settle it all the same."""
    boot = installation.boot.choice()
    if boot.next is None or boot.next not in state.snapshots:
        return None
    snapshot = state.snapshots[boot.next]
    return installation.journal.begin(
        Record(
            id=f"boot-{boot.next}",
            action="upgrade",
            reference=snapshot.source.removeprefix("oci://"),
            digest=snapshot.digest,
            version=snapshot.version,
            snapshot=boot.next,
            slot=snapshot.slot or "a",
            previous=boot.good,
            done=["record", "release", "link", "arm"],
        )
    )
