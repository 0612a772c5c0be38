"""collect-mirror and verify-mirror: the care of the mirror's folder as long jobs of the appliance.

Unlike `skerry mirror gc` on the folder, collecting here knows what the store names: what a bundle brought,
and the images of OS versions, rollouts and registrations stay, whether they still have a tag or not. Both
are safe to run again, take what processor and disk the rest leaves, and stand still while a bundle is loaded.
`appliance.mirror_schedule` starts them now and then.
"""

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias, TypeVar

import msgspec

from appliance.errors import OperationError
from appliance.jobs.os_versions import BUNDLE_LABEL
from appliance.jobs.precedence import run_gently
from appliance.jobs.workshop import Workshop
from appliance.operations import OperationContext, OperationKind
from appliance.resources.core import CONFIG_MAP
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.managed_os_version_channel import MANAGED_OS_VERSION_CHANNEL
from appliance.resources.meta import Document
from appliance.resources.rollout import ROLLOUT
from appliance.resources.seed_image import SEED_IMAGE
from appliance.store.base import EVERYTHING, Selection, Store
from bundles.progress import ProgressEvent
from mirror.care import Care, Chore, write_care
from mirror.collection import GRACE_SECONDS, Collected, collect
from mirror.errors import MirrorError
from mirror.oci import Digest
from mirror.registry import Registry
from mirror.space import bytes_below
from mirror.verification import verify

DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
FINDINGS_TOLD = 100
WAITING = ProgressEvent("checking", 0, 0, "waiting for a load")
HOLDERS = (
    (CONFIG_MAP, Selection(labels=BUNDLE_LABEL)),  # the records of bundles
    *((kind, EVERYTHING) for kind in (MANAGED_OS_VERSION, MANAGED_OS_VERSION_CHANNEL, MANAGED_OS_IMAGE)),
    *((kind, EVERYTHING) for kind in (ROLLOUT, MACHINE_REGISTRATION, MACHINE_INVENTORY, SEED_IMAGE)),
)

T = TypeVar("T")
Weight: TypeAlias = tuple[int, int]  # bytes, and findings


class CollectMirror(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`graceHours`: what was pushed or asked for so recently stays."""

    dry_run: bool = False
    grace_hours: float = GRACE_SECONDS / 3600


class VerifyMirror(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class MirrorDamaged(OperationError):
    """Something in the mirror is not what it should be."""


def collect_mirror_kind(workshop: Workshop) -> OperationKind[CollectMirror]:
    """The kind, bound to what it works with."""

    def work(params: CollectMirror, context: OperationContext) -> dict[str, Any]:
        def show(phase: str, done: int, total: int) -> None:
            context.progress(ProgressEvent("checking", done, total, phase))
            workshop.precedence.give_way(partial(context.progress, WAITING))

        def collect_now() -> Collected:
            return collect(
                workshop.registry,
                grace_seconds=params.grace_hours * 3600,
                keep=held,
                dry_run=params.dry_run,
                progress=show,
            )

        with workshop.precedence.caring(partial(context.progress, WAITING)):
            held = context.on_loop(find_held_digests(workshop.store))
            if params.dry_run:
                collected = run_gently(collect_now)
            else:
                collected = tend(
                    workshop.registry, "collection", collect_now, weigh=lambda done: (done.bytes, 0)
                )
        return {
            "dryRun": params.dry_run,
            "blobs": len(collected.garbage),
            "bytes": collected.bytes,
            "reasons": {
                reason: {"blobs": count, "bytes": size}
                for reason, (count, size) in collected.by_reason().items()
            },
            "waiting": {"blobs": collected.waiting, "bytes": collected.waiting_bytes},
        }

    return OperationKind("collect-mirror", CollectMirror, work, is_resumable=True)


def verify_mirror_kind(workshop: Workshop) -> OperationKind[VerifyMirror]:
    """The kind, bound to what it works with. It fails with MirrorDamaged if there are findings."""

    def work(params: VerifyMirror, context: OperationContext) -> dict[str, Any]:
        total = bytes_below(workshop.registry.blobs.staging.parent / "blobs")
        counting = threading.Lock()
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            with counting:
                done += count
                context.progress(ProgressEvent("checking", done, total, "the mirror"))
            workshop.precedence.give_way(partial(context.progress, WAITING))

        with workshop.precedence.caring(partial(context.progress, WAITING)):
            verified = tend(
                workshop.registry,
                "verification",
                lambda: verify(workshop.registry, progress=advance),
                weigh=lambda done: (done.bytes, len(done.findings)),
            )
        if not verified.is_sound:
            told = "; ".join(
                f"{each.problem}: {each.repository} {each.what}" for each in verified.findings[:FINDINGS_TOLD]
            )
            raise MirrorDamaged(
                f"The mirror has {len(verified.findings)} findings: {told}.",
                hint="Load the bundles that are hit once more; skerry mirror verify --root DIR tells it all.",
            )
        return {
            "blobs": verified.blobs,
            "bytes": verified.bytes,
            "manifests": verified.manifests,
            "tags": verified.tags,
        }

    return OperationKind("verify-mirror", VerifyMirror, work, is_resumable=True)


def tend(registry: Registry, chore: Chore, work: Callable[[], T], *, weigh: Callable[[T], Weight]) -> T:
    """Do it gently and write down how it ended, for the mirror's metrics; not if it was told to end."""
    root = registry.blobs.staging.parent
    try:
        done = run_gently(work)
    except (MirrorError, OSError, sqlite3.Error):
        write_care(root, chore, Care(at=time.time(), is_sound=False))
        raise
    size, findings = weigh(done)
    write_care(root, chore, Care(at=time.time(), is_sound=not findings, bytes=size, findings=findings))
    return done


async def find_held_digests(store: Store) -> frozenset[Digest]:
    """What the store's objects name by digest; a few digests of other things in them do no harm."""
    held: set[Digest] = set()
    for kind, selection in HOLDERS:
        if not await store.has_kind(kind):
            continue
        held.update(digests_in((await store.list(kind, selection)).items))
    return frozenset(held)


def digests_in(documents: Iterable[Document]) -> set[Digest]:
    """Every digest in the documents' texts."""
    return {
        Digest(found)
        for document in documents
        for found in DIGEST.findall(msgspec.json.encode(document).decode())
    }
