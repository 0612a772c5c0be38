"""collect-mirror and verify-mirror: the care of the mirror's folder as long jobs of the appliance.

Unlike `skerry mirror gc` on the folder, collecting here knows what the store names: the image of every
ManagedOSVersion and of every rollout stays, whether it still has a tag or not. Both are safe to run again.
"""

import re
import threading
from collections.abc import Iterable
from typing import Any

import msgspec

from appliance.errors import OperationError
from appliance.jobs.workshop import Workshop
from appliance.operations import OperationContext, OperationKind
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.meta import Document
from appliance.resources.rollout import ROLLOUT
from appliance.store.base import Store
from bundles.progress import ProgressEvent
from mirror.collection import GRACE_SECONDS, collect
from mirror.oci import Digest
from mirror.space import bytes_below
from mirror.verification import verify

DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
FINDINGS_TOLD = 100


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
        collected = collect(
            workshop.registry,
            grace_seconds=params.grace_hours * 3600,
            keep=context.on_loop(find_held_digests(workshop.store)),
            dry_run=params.dry_run,
            progress=lambda phase, done, total: context.progress(
                ProgressEvent("checking", done, total, phase)
            ),
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

        verified = verify(workshop.registry, progress=advance)
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


async def find_held_digests(store: Store) -> frozenset[Digest]:
    """What the store's objects name by digest; a few digests of other things in them do no harm."""
    held: set[Digest] = set()
    for kind in (MANAGED_OS_VERSION, MANAGED_OS_IMAGE, ROLLOUT):
        held.update(digests_in((await store.list(kind)).items))
    return frozenset(held)


def digests_in(documents: Iterable[Document]) -> set[Digest]:
    """Every digest in the documents' texts."""
    return {
        Digest(found)
        for document in documents
        for found in DIGEST.findall(msgspec.json.encode(document).decode())
    }
