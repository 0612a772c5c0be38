"""Which slot is next, and what to do after a boot. Pure: values in, a decision out.

Two slots, a and b, hold one snapshot each. The promises kept here, whatever fails in whatever order:
the last good snapshot is never written over, never pruned, and always the one the boot loader falls
back to; a bad snapshot is never listed before a good one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent.protocol.report import SlotName

Status = Literal["candidate", "good", "bad"]
TRIES = 3


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """One snapshot as state.yaml knows it."""

    id: int
    slot: SlotName
    status: Status
    digest: str = ""


@dataclass(frozen=True, slots=True)
class BootChoice:
    """What the boot loader will do next: try `next` while `tries` lasts, else `good`, else recovery."""

    next: int | None = None
    tries: int | None = None
    good: int | None = None


@dataclass(frozen=True, slots=True)
class NothingToSettle:
    pass


@dataclass(frozen=True, slots=True)
class AwaitReboot:
    """The candidate is armed and was not tried yet."""

    candidate: int


@dataclass(frozen=True, slots=True)
class Judge:
    """The candidate runs: its health decides."""

    candidate: int


@dataclass(frozen=True, slots=True)
class FinishCommit:
    """The boot loader already has the candidate as good; the rest of the commit was cut off."""

    candidate: int


@dataclass(frozen=True, slots=True)
class RollBack:
    """The candidate failed. `needs_reboot` when it is the one that runs."""

    candidate: int
    reason: str
    needs_reboot: bool


@dataclass(frozen=True, slots=True)
class Resume:
    """The transaction was cut off before the switch: the running system never changed."""

    candidate: int


Settlement = NothingToSettle | AwaitReboot | Judge | FinishCommit | RollBack | Resume


def next_id(records: Sequence[SnapshotRecord]) -> int:
    """Upstream's rule: the highest plus one (host-os.md 2.5)."""
    return max((record.id for record in records), default=0) + 1


def next_slot(records: Sequence[SnapshotRecord], *, good: int | None) -> SlotName:
    """Return the letter that the last good snapshot does not have; `a` on an empty disk."""
    for record in records:
        if record.id == good:
            return "b" if record.slot == "a" else "a"
    return "a"


def choose_pruned(
    records: Sequence[SnapshotRecord], *, good: int | None, booted: int | None, max_snaps: int
) -> list[int]:
    """Return which snapshots make room for one more, worst and oldest first.

    Never the last good one, never the one that runs, and never more than is needed.
    """
    keep = {good, booted}
    expendable = sorted(
        (record for record in records if record.id not in keep),
        key=lambda record: (record.status == "good", record.id),
    )
    surplus = len(records) + 1 - max_snaps
    return [record.id for record in expendable[: max(surplus, 0)]]


def order_passives(records: Sequence[SnapshotRecord], *, active: int | None) -> list[int]:
    """Return what the boot menu lists behind the active snapshot: good ones newest first, then bad ones."""
    others = [record for record in records if record.id != active and record.status != "candidate"]
    return [record.id for record in sorted(others, key=lambda record: (record.status == "bad", -record.id))]


def decide_settlement(
    boot: BootChoice,
    *,
    booted: int | None,
    candidate: int | None,
    is_condemned: bool = False,
) -> Settlement:
    """Say what a fresh boot means for the open transaction's `candidate`.

    `booted` is None in recovery and on a live medium. `is_condemned`: the candidate was already found bad.
    """
    if candidate is None:
        return NothingToSettle()
    if is_condemned:
        return RollBack(candidate, "", needs_reboot=booted == candidate)
    if boot.good == candidate:
        return FinishCommit(candidate)
    if boot.next != candidate:
        return Resume(candidate)
    if booted == candidate:
        return Judge(candidate)
    if boot.tries == TRIES:
        return AwaitReboot(candidate)
    return RollBack(candidate, _describe_tries(boot.tries), needs_reboot=False)


def _describe_tries(tries: int | None) -> str:
    used = TRIES - (tries or 0)
    if used >= TRIES:
        return f"it did not finish starting in {TRIES} attempts"
    return f"the boot loader could not start it (attempt {used} of {TRIES})"


def choose_boot(boot: BootChoice) -> tuple[int | None, BootChoice]:
    """Return what the boot loader's ladder picks (None is recovery) and what it leaves behind.

    This is the rule of host-os.md 2.11 that `agent.bootloader` writes into grub.cfg, for the simulated
    firmware and for the tests of this module.
    """
    if boot.next is not None and boot.tries in (1, 2, 3):
        return boot.next, BootChoice(next=boot.next, tries=boot.tries - 1, good=boot.good)
    return boot.good, boot
