"""What a load would change, without changing it. Reads the bundle's manifests, not its blobs' content."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bundles.archive import open_bundle
from bundles.load import check_room, tagged_digest
from bundles.signing import Trust
from mirror.registry import Registry

Change = Literal["new", "same", "moved"]


@dataclass(frozen=True, slots=True)
class ImageChange:
    """`moved`: the tag points to `previous` now, which stays in the mirror by its digest."""

    reference: str
    digest: str
    version: str
    change: Change
    previous: str = ""


@dataclass(frozen=True, slots=True)
class LoadPreview:
    name: str
    signer: str
    images: list[ImageChange]
    blobs_to_copy: int
    bytes_to_copy: int
    blobs_present: int


def preview_load(path: Path, *, trust: Trust, registry: Registry) -> LoadPreview:
    """Compare the bundle with the mirror; raise a Refused or NoSpace as a load would."""
    bundle = open_bundle(path, trust)
    graphs = bundle.graphs()
    leaves = {blob.digest: blob.size for _, graph in graphs for blob in graph.blobs}
    missing = [size for digest, size in leaves.items() if not registry.has_blob(digest)]
    check_room(bundle, registry, sum(missing))
    changes = []
    for image, _ in graphs:
        previous = tagged_digest(registry, image)
        changes.append(
            ImageChange(
                image.reference,
                image.digest,
                image.version,
                change=choose_change(previous, image.digest),
                previous=previous,
            )
        )
    return LoadPreview(
        name=bundle.manifest.name,
        signer=bundle.signer,
        images=changes,
        blobs_to_copy=len(missing),
        bytes_to_copy=sum(missing),
        blobs_present=len(leaves) - len(missing),
    )


def choose_change(previous: str, digest: str) -> Change:
    if not previous:
        return "new"
    return "same" if previous == digest else "moved"
