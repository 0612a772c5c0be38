"""OCI image layouts: find an image in one, and write one from tars.

A layout read here was made by somebody else (skopeo, buildah, oras), so what it gives is checked against its
digest. A layout written here depends on nothing but its input: no clock, no compressor's name or time.
Source: image-spec 1.1, image-layout.md and config.md.
"""

import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from bundles.archive import INDEX_NAME, LAYOUT_CONTENT, LAYOUT_NAME
from bundles.errors import SourceError
from bundles.manifest import MAX_IMAGE_MANIFEST_BYTES, blob_path
from mirror.errors import MirrorError
from mirror.oci import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    Digest,
    Index,
    Manifest,
    parse_digest,
    parse_manifest,
)

REF_NAME = "org.opencontainers.image.ref.name"
MAX_INDEX_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
GZIP_WINDOW = 31  # zlib's own number for a gzip header, which it writes without a name or a time
Compression = Literal["gzip", "none"]


@dataclass(frozen=True, slots=True)
class OciLayout:
    """An image layout made by anyone."""

    path: Path

    def index(self) -> Index:
        content = self._read(INDEX_NAME, limit=MAX_INDEX_BYTES)
        try:
            index = parse_manifest(content, OCI_INDEX)
        except MirrorError as error:
            raise SourceError(f"{self.path / INDEX_NAME} cannot be read: {error}") from error
        assert isinstance(index, Index)
        return index

    def find(self, name: str) -> Descriptor:
        """The image called `name` (its ref name, or its digest); with no name, the only one there is."""
        manifests = self.index().manifests
        chosen = [each for each in manifests if not name or name in (_ref_name(each), each.digest)]
        if len({each.digest for each in chosen}) == 1:
            return chosen[0]
        names = ", ".join(sorted(_ref_name(each) or each.digest for each in manifests)) or "nothing"
        if not chosen:
            raise SourceError(f"{self.path} holds no image {name!r}", hint=f"it holds: {names}")
        raise SourceError(
            f"{self.path} holds several images {name or ''}".rstrip(), hint=f"name one of: {names}"
        )

    def blob_path(self, digest: str) -> Path:
        return self.path / blob_path(parse_digest(digest))

    def read_manifest(self, descriptor: Descriptor) -> bytes:
        """The bytes of a manifest, checked against their digest."""
        return self.read_blob(descriptor, limit=MAX_IMAGE_MANIFEST_BYTES)

    def read_blob(self, descriptor: Descriptor, *, limit: int) -> bytes:
        content = self._read(blob_path(parse_digest(descriptor.digest)), limit=limit)
        algorithm, _, encoded = descriptor.digest.partition(":")
        if hashlib.new(algorithm, content).hexdigest() != encoded:
            raise SourceError(
                f"{descriptor.digest} in {self.path} is damaged: its content has another digest"
            )
        return content

    def _read(self, name: str, *, limit: int) -> bytes:
        try:
            with (self.path / name).open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise SourceError(
                f"{self.path / name} cannot be read: {error.strerror}",
                hint="give the folder of an OCI image layout, as skopeo copy … oci:FOLDER:NAME makes it",
            ) from error
        if len(content) > limit:
            raise SourceError(f"{self.path / name} is larger than the {limit} bytes that are read of it")
        return content


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that lies in a layout already. `diff_id` is the digest of its uncompressed tar."""

    descriptor: Descriptor
    diff_id: Digest


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What goes into an image's configuration besides its layers; `created` is RFC 3339 text."""

    labels: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "amd64"
    created: str = "1970-01-01T00:00:00Z"
    command: Sequence[str] = ()
    entrypoint: Sequence[str] = ()


def create_layout(path: Path) -> OciLayout:
    """Make an empty layout at `path`, or go on with the one that is there."""
    path.mkdir(parents=True, exist_ok=True)
    if not (path / LAYOUT_NAME).exists():
        write_file(path / LAYOUT_NAME, LAYOUT_CONTENT)
    if not (path / INDEX_NAME).exists():
        write_file(path / INDEX_NAME, render_index([]))
    return OciLayout(path)


def write_layer(layout: OciLayout, tar: Iterable[bytes], *, compression: Compression = "gzip") -> Layer:
    """Put a layer into the layout from the chunks of its tar, in one pass."""
    diff, packed, size = hashlib.sha256(), hashlib.sha256(), 0
    compressor = zlib.compressobj(6, zlib.DEFLATED, GZIP_WINDOW) if compression == "gzip" else None
    blobs = layout.path / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=blobs, prefix=".layer-")
    try:
        with os.fdopen(fd, "wb") as output:
            for chunk in tar:
                diff.update(chunk)
                data = compressor.compress(chunk) if compressor else chunk
                packed.update(data)
                size += output.write(data)
            rest = compressor.flush() if compressor else b""
            packed.update(rest)
            size += output.write(rest)
            output.flush()
            os.fchmod(output.fileno(), 0o644)
            os.fsync(output.fileno())
        os.rename(temporary, blobs / packed.hexdigest())
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(blobs)
    media_type = OCI_LAYER_GZIP if compressor else OCI_LAYER
    descriptor = Descriptor(media_type=media_type, digest=f"sha256:{packed.hexdigest()}", size=size)
    return Layer(descriptor, Digest(f"sha256:{diff.hexdigest()}"))


def write_image(layout: OciLayout, layers: Sequence[Layer], *, name: str, settings: ImageSettings) -> Digest:
    """Make an image of the layers and enter it in the index as `name`, replacing an older one."""
    entrypoint = {"Entrypoint": list(settings.entrypoint)} if settings.entrypoint else {}
    labels = dict(sorted(settings.labels.items()))
    config = {
        "architecture": settings.architecture,
        "config": {"Cmd": list(settings.command), **entrypoint, "Labels": labels},
        "created": settings.created,
        "os": "linux",
        "rootfs": {"diff_ids": [layer.diff_id for layer in layers], "type": "layers"},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _builtins(write_blob(layout, msgspec.json.encode(config), media_type=OCI_CONFIG)),
        "layers": [_builtins(layer.descriptor) for layer in layers],
        "annotations": labels,
    }
    descriptor = write_blob(layout, msgspec.json.encode(manifest), media_type=OCI_MANIFEST)
    others = [each for each in layout.index().manifests if _ref_name(each) != name]
    named = msgspec.structs.replace(descriptor, annotations={REF_NAME: name})
    write_file(layout.path / INDEX_NAME, render_index([*others, named]))
    return Digest(descriptor.digest)


def write_blob(layout: OciLayout, content: bytes, *, media_type: str) -> Descriptor:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = layout.path / blob_path(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content)
    return Descriptor(media_type=media_type, digest=digest, size=len(content))


def render_index(manifests: Sequence[Descriptor]) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [_builtins(each) for each in manifests],
    }
    return msgspec.json.encode(document)


def image_layers(layout: OciLayout, descriptor: Descriptor) -> list[Descriptor]:
    """The layers of an image manifest, base first."""
    manifest = parse_manifest(layout.read_manifest(descriptor), descriptor.media_type)
    if not isinstance(manifest, Manifest):
        raise SourceError(f"{descriptor.digest} in {layout.path} is not an image of one platform")
    return manifest.layers


def write_file(path: Path, content: bytes) -> None:
    """Replace a file durably."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _ref_name(descriptor: Descriptor) -> str:
    return descriptor.annotations.get(REF_NAME, "")


def _builtins(descriptor: Descriptor) -> object:
    return msgspec.to_builtins(descriptor)
