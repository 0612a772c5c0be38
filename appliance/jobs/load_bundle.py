"""load-bundle: bring a bundle into the mirror, then give each OS image in it a name as a ManagedOSVersion.

Names come last: until every byte is verified and in place nothing in the store speaks of the bundle. It is
safe to run again from the start, and a second run writes nothing that is there already.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from appliance.api.contract import DEFAULT_NAMESPACE, BundleImage
from appliance.errors import InvalidParameters
from appliance.jobs.os_versions import BUNDLE_LABEL, MANAGER, choose_name, label_value, render_version
from appliance.jobs.workshop import Workshop
from appliance.operations import OperationContext, OperationKind
from appliance.resources.core import CONFIG_MAP
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.meta import Document, Kind
from appliance.store.base import Patch, Store
from bundles.load import LoadedBundle, load
from bundles.preview import LoadPreview, preview_load
from bundles.signing import load_trust


class LoadBundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`path` is a bundle on the appliance's own machine, such as a mounted stick.

    A dry run tells what would be new, and refuses what a load would refuse before its first byte.
    """

    path: str
    dry_run: bool = False


def load_bundle_kind(workshop: Workshop) -> OperationKind[LoadBundle]:
    """The kind, bound to what it works with."""

    def work(params: LoadBundle, context: OperationContext) -> dict[str, Any]:
        path = Path(params.path)
        if not path.is_absolute():
            raise InvalidParameters(
                f"The path {params.path!r} is not absolute.", hint="Start it with a slash."
            )
        trust = load_trust(workshop.trust_directory)
        if params.dry_run:
            return render_preview(preview_load(path, trust=trust, registry=workshop.registry))
        with workshop.precedence.loading():
            loaded = load(
                path,
                trust=trust,
                registry=workshop.registry,
                progress=context.progress,
            )
        context.on_loop(publish(workshop.store, loaded, mirror=workshop.mirror))
        return {
            "name": loaded.name,
            "signer": loaded.signer,
            "images": [image.reference for image in loaded.images],
            "blobsWritten": loaded.blobs_written,
            "blobsPresent": loaded.blobs_present,
            "bytesWritten": loaded.bytes_written,
        }

    return OperationKind("load-bundle", LoadBundle, work, is_resumable=True)


def render_preview(preview: LoadPreview) -> dict[str, Any]:
    """What a dry run has for a result."""
    return {
        "dryRun": True,
        "name": preview.name,
        "signer": preview.signer,
        "images": msgspec.to_builtins(preview.images),
        "blobsToCopy": preview.blobs_to_copy,
        "blobsPresent": preview.blobs_present,
        "bytesToCopy": preview.bytes_to_copy,
    }


async def publish(store: Store, loaded: LoadedBundle, *, mirror: str) -> None:
    """Write the versions, then the record that says the bundle is here."""
    for image in loaded.images:
        if image.kind == "os":
            version = render_version(
                reference=image.reference,
                digest=image.digest,
                version=image.version,
                display_name=image.display_name,
                bundle=loaded.name,
                mirror=mirror,
            )
            await _apply(store, MANAGED_OS_VERSION, version)
    await _apply(store, CONFIG_MAP, render_record(loaded, now=datetime.now(UTC)))


def render_record(loaded: LoadedBundle, *, now: datetime) -> Document:
    """The ConfigMap that `skerry bundle list` reads."""
    images = [
        BundleImage(
            reference=image.reference,
            digest=image.digest,
            version=image.version,
            display_name=image.display_name,
        )
        for image in loaded.images
    ]
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": {
            "name": choose_name("bundle", loaded.name),
            "namespace": DEFAULT_NAMESPACE,
            "labels": {BUNDLE_LABEL: label_value(loaded.name)},
        },
        "data": {
            "name": loaded.name,
            "created": loaded.created,
            "sequence": str(loaded.sequence),
            "signer": loaded.signer,
            "loadedAt": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "images": msgspec.json.encode(images).decode(),
        },
    }


async def _apply(store: Store, kind: Kind, document: Document) -> None:
    """Create the object, or bring the fields that we own to what the document says."""
    metadata = document["metadata"]
    patch = Patch(type="apply", body=document, manager=MANAGER, force=True)
    await store.patch(kind, metadata["name"], patch, namespace=metadata["namespace"])
