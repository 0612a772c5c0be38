"""Bring a bundle into the mirror: check and copy in one pass, and show nothing before everything is checked.

The order is what makes it safe to stop anywhere: signature and listing; image manifests; blobs, copied into
an intake that is dropped unless all of them are good; then links, manifests, and tags last. A second load
of the same bundle finds everything there and writes nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from bundles.archive import Bundle, damaged, open_bundle
from bundles.errors import NoSpace, TooLarge
from bundles.graph import ImageGraph
from bundles.manifest import BundledBlob, BundledImage, ImageKind
from bundles.progress import Meter, Progress, ProgressEvent, ignore_progress
from bundles.signing import Trust
from mirror import errors as mirror_errors
from mirror.intake import Intake
from mirror.oci import parse_digest
from mirror.registry import Registry


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """`was_present` says that the mirror had this tag pointing to this digest already."""

    reference: str
    digest: str
    version: str
    display_name: str
    kind: ImageKind
    size: int
    was_present: bool


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """`blobs_written`, `blobs_present` and `bytes_written` count blobs, image manifests left out."""

    name: str
    created: str
    sequence: int
    signer: str
    images: list[LoadedImage]
    blobs_written: int
    blobs_present: int
    bytes_written: int


def load(
    path: Path, *, trust: Trust, registry: Registry, progress: Progress = ignore_progress
) -> LoadedBundle:
    """Load the bundle at `path`; raise a Refused, NoSpace or Cancelled and leave the mirror as it was."""
    bundle = open_bundle(path, trust)
    graphs = bundle.graphs()
    leaves = {blob.digest: bundle.blobs[blob.digest] for _, graph in graphs for blob in graph.blobs}
    missing = [blob for digest, blob in leaves.items() if not registry.has_blob(digest)]
    copy_blobs(bundle, missing, registry=registry, progress=progress)
    present = {image.reference for image, _ in graphs if has_tag(registry, image)}
    for image, graph in graphs:
        publish_image(registry, image, graph)
    for image, _ in graphs:
        if image.reference not in present:
            registry.put_tags(image.repository, [image.tag], image.digest)
    return LoadedBundle(
        name=bundle.manifest.name,
        created=bundle.manifest.created,
        sequence=bundle.manifest.sequence,
        signer=bundle.signer,
        images=[_loaded(image, was_present=image.reference in present) for image, _ in graphs],
        blobs_written=len(missing),
        blobs_present=len(leaves) - len(missing),
        bytes_written=sum(blob.size for blob in missing),
    )


def copy_blobs(bundle: Bundle, blobs: list[BundledBlob], *, registry: Registry, progress: Progress) -> None:
    """Copy all `blobs` into the mirror, checking each, or none; after the last event it cannot be stopped."""
    meter = Meter(progress, "copying", total=sum(blob.size for blob in blobs))
    publishing = ProgressEvent("publishing", meter.total, meter.total, bundle.manifest.name)
    if not blobs:
        progress(publishing)
        return
    check_room(bundle, registry, meter.total)
    try:
        with registry.open_intake() as intake:
            for blob in blobs:
                _copy_blob(bundle, blob, intake=intake, meter=meter)
            progress(publishing)
            intake.publish()
    except mirror_errors.NoSpace as error:
        raise _does_not_fit(bundle, error) from error
    except mirror_errors.TooLarge as error:
        raise TooLarge(f"bundle {bundle.manifest.name}: {error}", hint=error.hint) from error


def check_room(bundle: Bundle, registry: Registry, size: int) -> None:
    """Raise NoSpace if the mirror's quota or its disk has no room for so many bytes more of the bundle."""
    try:
        registry.check_room(size)
    except mirror_errors.NoSpace as error:
        raise _does_not_fit(bundle, error) from error


def publish_image(registry: Registry, image: BundledImage, graph: ImageGraph) -> None:
    """Make an image visible by its digests; its blobs are in the mirror already."""
    for blob in graph.blobs:
        if not registry.has_blob(blob.digest, image.repository):
            registry.link_blob(image.repository, blob.digest)
    for each in graph.manifests:
        digest = each.descriptor.digest
        if not registry.has_manifest(image.repository, digest):
            registry.put_manifest(
                image.repository, each.content, each.descriptor.media_type, reference=digest
            )


def has_tag(registry: Registry, image: BundledImage) -> bool:
    return tagged_digest(registry, image) == image.digest


def tagged_digest(registry: Registry, image: BundledImage) -> str:
    """What the mirror has under the image's tag now, or nothing."""
    try:
        return registry.get_manifest(image.repository, image.tag).digest
    except (mirror_errors.ManifestUnknown, mirror_errors.NameUnknown):
        return ""


def _does_not_fit(bundle: Bundle, error: mirror_errors.NoSpace) -> NoSpace:
    return NoSpace(f"bundle {bundle.manifest.name} does not fit: {error}", hint=error.hint)


def _copy_blob(bundle: Bundle, blob: BundledBlob, *, intake: Intake, meter: Meter) -> None:
    with bundle.open_blob(blob) as reader:
        try:
            intake.add(
                reader.read_into, parse_digest(blob.digest), lambda count: meter.advance(count, blob.path)
            )
        except mirror_errors.DigestInvalid as error:
            raise damaged(blob.path, digest=blob.digest) from error


def _loaded(image: BundledImage, *, was_present: bool) -> LoadedImage:
    return LoadedImage(
        reference=image.reference,
        digest=image.digest,
        version=image.version,
        display_name=image.display_name,
        kind=image.kind,
        size=image.size,
        was_present=was_present,
    )
