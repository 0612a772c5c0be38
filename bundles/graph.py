"""Which manifests and blobs an image is made of. Decides; the caller reads the bytes and copies them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from bundles.errors import IncompleteImage, NotABundle
from mirror.errors import MirrorError
from mirror.oci import INDEX_TYPES, MANIFEST_TYPES, Descriptor, Index, Manifest, parse_manifest

MAX_DEPTH = 8  # of indexes in indexes
MAX_MANIFESTS = 4096  # of one image

LABEL_VERSION = "org.opencontainers.image.version"
LABEL_TITLE = "org.opencontainers.image.title"
LABEL_KIND = "dev.skerry.image.kind"  # "os" on what a host can boot

ReadManifest = Callable[[Descriptor], bytes]  # the bytes, checked against the descriptor's digest


@dataclass(frozen=True, slots=True)
class ManifestContent:
    descriptor: Descriptor
    content: bytes


@dataclass(frozen=True, slots=True)
class ImageGraph:
    """`manifests` has children before their parents, the root last; `blobs` leaves foreign layers out."""

    manifests: list[ManifestContent] = field(default_factory=list)
    blobs: list[Descriptor] = field(default_factory=list)

    @property
    def root(self) -> ManifestContent:
        return self.manifests[-1]

    @property
    def size(self) -> int:
        return sum(each.descriptor.size for each in self.manifests) + sum(blob.size for blob in self.blobs)

    @property
    def digests(self) -> set[str]:
        return {each.descriptor.digest for each in self.manifests} | {blob.digest for blob in self.blobs}

    @property
    def config(self) -> Descriptor | None:
        """The configuration of the first image in it."""
        for each in self.manifests:
            if each.descriptor.media_type in MANIFEST_TYPES:
                manifest = parse_manifest(each.content, each.descriptor.media_type)
                return manifest.config if isinstance(manifest, Manifest) else None
        return None


def walk_image(root: Descriptor, read: ReadManifest) -> ImageGraph:
    """Follow an image down to its blobs; raise NotABundle if a manifest cannot be read as one."""
    graph = ImageGraph()
    seen: set[str] = set()

    def visit(descriptor: Descriptor, depth: int) -> None:
        if descriptor.digest in seen:
            return
        seen.add(descriptor.digest)
        is_manifest = descriptor.media_type in MANIFEST_TYPES + INDEX_TYPES or depth == 0
        if not is_manifest:
            graph.blobs.append(descriptor)
            return
        if depth > MAX_DEPTH or len(seen) > MAX_MANIFESTS:
            raise NotABundle(f"image {root.digest} is nested too deep or has too many manifests")
        content = read(descriptor)
        for child in _children(content, descriptor):
            if isinstance(child, _Blob):
                _add_blob(child.descriptor)
            else:
                visit(child, depth + 1)
        graph.manifests.append(ManifestContent(descriptor, content))

    def _add_blob(descriptor: Descriptor) -> None:
        if not descriptor.is_foreign and descriptor.digest not in seen:
            seen.add(descriptor.digest)
            graph.blobs.append(descriptor)

    visit(root, 0)
    return graph


def check_held(image: str, graph: ImageGraph, held: Callable[[str], int | None]) -> None:
    """Raise IncompleteImage unless all of `graph` is held, by sizes that `held` gives or None."""
    for descriptor in [*(each.descriptor for each in graph.manifests), *graph.blobs]:
        size = held(descriptor.digest)
        if size is None:
            raise IncompleteImage(f"image {image} needs {descriptor.digest}, which is not there")
        if size != descriptor.size:
            raise IncompleteImage(
                f"image {image} says that {descriptor.digest} has {descriptor.size} bytes, but it has {size}"
            )


class _Config(msgspec.Struct):
    labels: dict[str, str] | None = msgspec.field(default=None, name="Labels")


class _ImageConfig(msgspec.Struct):
    config: _Config | None = None


def parse_labels(config: bytes) -> dict[str, str]:
    """The labels in an image's configuration; an artifact's configuration, whatever it is, has none."""
    try:
        parsed = msgspec.json.decode(config, type=_ImageConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return (parsed.config and parsed.config.labels) or {}


@dataclass(frozen=True, slots=True)
class _Blob:
    descriptor: Descriptor


def _children(content: bytes, descriptor: Descriptor) -> list[Descriptor | _Blob]:
    try:
        manifest = parse_manifest(content, descriptor.media_type)
    except MirrorError as error:
        raise NotABundle(f"manifest {descriptor.digest} cannot be read: {error}", hint=error.hint) from error
    match manifest:
        case Manifest():
            return [_Blob(manifest.config), *(_Blob(layer) for layer in manifest.layers)]
        case Index():
            return list(manifest.manifests)
        case _:
            return []
