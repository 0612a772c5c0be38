"""Garbage collection: takes out of the mirror what nothing reaches any more, while it serves.

Three rules make it safe beside pushes, mounts, pulls and loads, in this process and in others:

1. Names go first, in one transaction of the index, which also makes the mark again: whatever was tagged or
   pushed before it is seen, whatever comes after it is not taken from. So no name ever loses its content.
2. Files go next, each batch in a transaction in which no name for them is found. Whoever makes a name asks
   for the file in its own transaction (`mirror.index`), and transactions come one after another.
3. Nothing goes whose lease is younger than the grace (`mirror.blobs`): a pusher that was told "the blob is
   there" has that long to name it. The lock orders the renewing of leases and the looking at them.

1 and 2 hold whatever the clock does; 3 is what spares pushers a refusal. A reader that has a file open reads
it to its end. Killed anywhere, files without names are left, and the next run takes them.
"""

import fcntl
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from mirror.errors import RequestInvalid
from mirror.index import Holdings
from mirror.marking import Node, Reached, References, mark
from mirror.oci import Digest
from mirror.registry import Registry

GRACE_SECONDS: Final = 24 * 3600.0
BATCH: Final = 64  # files deleted under one hold of the locks

Reason = Literal["untagged", "unreferenced", "unlinked"]
REASONS: Final[dict[Reason, str]] = {
    "untagged": "manifests that no tag, index or grace holds",
    "unreferenced": "blobs of repositories in which no manifest names them any more",
    "unlinked": "content that no repository has: deleted, or its push was never finished",
}
OnProgress = Callable[[str, int, int], None]  # phase, done and total files; may raise to stop


def nobody_asks(phase: str, done: int, total: int) -> None:
    """The `OnProgress` of those who do not ask."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """One piece of content that goes. `repositories` are those that lose it."""

    digest: Digest
    size: int
    reason: Reason
    repositories: tuple[str, ...] = ()


@dataclass(slots=True)
class Collected:
    """What went, or would go. `waiting` is unreachable too, and kept until its grace is over."""

    is_dry_run: bool
    garbage: list[Garbage] = field(default_factory=list)
    waiting: int = 0
    waiting_bytes: int = 0
    stale_uploads: int = 0

    @property
    def bytes(self) -> int:
        return sum(each.size for each in self.garbage)

    def by_reason(self) -> dict[Reason, tuple[int, int]]:
        """How many, and how many bytes, for each reason there is."""
        counts: Counter[Reason] = Counter(each.reason for each in self.garbage)
        sizes: Counter[Reason] = Counter()
        for each in self.garbage:
            sizes[each.reason] += each.size
        return {reason: (counts[reason], sizes[reason]) for reason in REASONS if counts[reason]}


def collect(
    registry: Registry,
    *,
    grace_seconds: float = GRACE_SECONDS,
    keep: Collection[Digest] = (),
    dry_run: bool = False,
    now: Callable[[], float] = time.time,
    progress: OnProgress = nobody_asks,
) -> Collected:
    """Free what nothing reaches. `keep` are manifests that something outside the mirror holds by digest.

    Whatever `progress` raises stops it between two batches; what is gone by then is gone.
    """
    if grace_seconds < 2 * registry.limits.renewal_seconds:
        raise RequestInvalid(
            f"a grace of {grace_seconds:.0f} s is too short: leases are renewed only every "
            f"{registry.limits.renewal_seconds:.0f} s",
            hint=f"give at least {2 * registry.limits.renewal_seconds:.0f} s",
        )
    young_after = now() - grace_seconds
    references = References(registry.index.content)
    collected = Collected(is_dry_run=dry_run)
    progress("marking", 0, 0)
    plan = _plan(registry, references, keep=keep, young_after=young_after)
    if not dry_run:
        collected.stale_uploads = registry.sweep()
        plan = _remove_names(registry, references, keep=keep, young_after=young_after)
    reasons = _reasons(plan)
    files = [file for file in registry.blobs.files() if file.digest not in plan.stays]
    doomed: list[Garbage] = []
    for file in files:
        if file.renewed_at >= young_after:
            collected.waiting += 1
            collected.waiting_bytes += file.size
        else:
            reason, repositories = reasons.get(file.digest, ("unlinked", ()))
            doomed.append(Garbage(file.digest, file.size, reason, repositories))
    doomed.sort(key=lambda each: (-each.size, each.digest))
    for start in range(0, len(doomed), BATCH):
        progress("sweeping", start, len(doomed))
        batch = doomed[start : start + BATCH]
        gone = batch if dry_run else _remove_files(registry, batch, young_after=young_after)
        collected.garbage.extend(gone)
    if not dry_run:
        registry.blobs.sync()
    progress("sweeping", len(doomed), len(doomed))
    return collected


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the index named at one moment, and which of it goes."""

    holdings: Holdings
    manifests: list[Node]
    blobs: list[Node]
    stays: set[Digest]


def _plan(
    registry: Registry, references: References, *, keep: Collection[Digest], young_after: float
) -> _Plan:
    def is_young(digest: Digest) -> bool:
        file = registry.blobs.stat(digest)
        return file is not None and file.renewed_at >= young_after

    holdings = registry.index.holdings()
    reached: Reached = mark(holdings, references, keep=keep, is_young=is_young)
    manifests = [node for node in holdings.manifests if node not in reached.manifests]
    blobs = [node for node in holdings.blobs if node not in reached.blobs and not is_young(node[1])]
    stays = reached.contents
    return _Plan(holdings, manifests, blobs, stays)


def _remove_names(
    registry: Registry, references: References, *, keep: Collection[Digest], young_after: float
) -> _Plan:
    """Rule 1. A mark before this one has read the manifests, so that others wait for milliseconds only."""
    with registry.blobs.locked(fcntl.LOCK_EX), registry.index.transaction():
        plan = _plan(registry, references, keep=keep, young_after=young_after)
        registry.index.forget(plan.manifests, plan.blobs)
        registry.index.compact_journal()
    return plan


def _remove_files(registry: Registry, batch: list[Garbage], *, young_after: float) -> list[Garbage]:
    """Rules 2 and 3: what was named or renewed meanwhile is left alone."""
    gone = []
    with registry.blobs.locked(fcntl.LOCK_EX), registry.index.transaction():
        for each in batch:
            file = registry.blobs.stat(each.digest)
            if file is None or file.renewed_at >= young_after or registry.index.is_named(each.digest):
                continue
            registry.blobs.delete(each.digest)
            gone.append(each)
    return gone


def _reasons(plan: _Plan) -> dict[Digest, tuple[Reason, tuple[str, ...]]]:
    reasons: dict[Digest, tuple[Reason, tuple[str, ...]]] = {}
    losers: list[tuple[Node, Reason]] = [(node, "unreferenced") for node in plan.blobs]
    losers.extend((node, "untagged") for node in plan.manifests)
    for (repository, digest), reason in losers:
        names = reasons.get(digest, (reason, ()))[1]
        reasons[digest] = reason, (*names, plan.holdings.repositories.get(repository, "?"))
    return reasons
