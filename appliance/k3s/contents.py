"""Out of the mirror's folder onto the node: k3s' own files, and the appliance's image for k3s to import.

Every byte is hashed while it is copied; a file takes its name only when its digest is right. Nothing here
knows where a node keeps its files: `appliance.k3s.files` does.
"""

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from appliance.errors import ApplianceFault
from appliance.files import sync_directory
from bundles.artifact import TITLE, check_title
from mirror.copying import LocalRepository, copy_image
from mirror.index import StoredManifest
from mirror.oci import OCI_INDEX, Descriptor, Digest, Manifest, parse_manifest, parse_reference
from mirror.registry import Registry

K3S_TYPE = "application/vnd.skerry.k3s.v1"
BINARY_TITLE = "k3s"
VERSION_LABEL = "org.opencontainers.image.version"
READ_BYTES = 1024 * 1024
CONTAINERD_NAME = "io.containerd.image.name"  # by this name containerd knows what it imported
REF_NAME = "org.opencontainers.image.ref.name"

Copied = Callable[[int], None]


class ContentUnusable(ApplianceFault):
    """What the mirror holds under that name cannot be put on a node."""


@dataclass(frozen=True, slots=True)
class Content:
    """One file of an artifact."""

    title: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class K3sRelease:
    """An artifact with k3s' binary and its image archives."""

    repository: str
    version: str
    binary: Content
    images: tuple[Content, ...]

    @property
    def size(self) -> int:
        return self.binary.size + sum(each.size for each in self.images)


def find_release(registry: Registry, reference: str) -> K3sRelease:
    """By repository:tag. Raises MirrorError when it is not there, ContentUnusable when it is no such."""
    named = parse_reference(reference)
    stored = registry.get_manifest(named.repository, named.tag or named.digest)
    manifest = parse_manifest(stored.content, stored.media_type)
    if not isinstance(manifest, Manifest):
        raise ContentUnusable(f"{reference} is no artifact with files in it", hint=_HOW_TO_PACK)
    contents = {}
    for layer in manifest.layers:
        title = layer.annotations.get(TITLE, "")
        check_title(title)
        contents[title] = Content(title, layer.digest, layer.size)
    binary = contents.pop(BINARY_TITLE, None)
    if binary is None:
        held = ", ".join(sorted(contents)) or "nothing"
        raise ContentUnusable(
            f"{reference} has no file called {BINARY_TITLE}, only {held}", hint=_HOW_TO_PACK
        )
    version = (manifest.annotations or {}).get(VERSION_LABEL, named.tag)
    return K3sRelease(named.repository, version, binary, tuple(contents.values()))


def holds(path: Path, content: Content) -> bool:
    """Whether the file is there whole already, by its digest."""
    try:
        if path.stat().st_size != content.size:
            return False
        with path.open("rb") as file:
            return _digest_of(file, content.digest) == content.digest
    except FileNotFoundError:
        return False


def write_content(
    registry: Registry, repository: str, content: Content, path: Path, *, mode: int, copied: Copied
) -> None:
    """Copy a blob to `path`, durably. Raises ContentUnusable when the mirror's own copy is damaged."""
    with (
        open(registry.open_blob(repository, content.digest), "rb", buffering=0) as source,
        _Replacing(path, mode) as target,
    ):
        hasher = hashlib.new(content.digest.partition(":")[0])
        while chunk := source.read(READ_BYTES):
            hasher.update(chunk)
            target.write(chunk)
            copied(len(chunk))
        if hasher.hexdigest() != content.digest.partition(":")[2]:
            raise ContentUnusable(
                f"{content.title} ({content.digest}) is damaged in the mirror",
                hint="skerry mirror verify, then load the bundle again",
            )


def image_digest(registry: Registry, image: str) -> str:
    named = parse_reference(image)
    return registry.get_manifest(named.repository, named.tag or named.digest).digest


def write_image_archive(registry: Registry, image: str, path: Path, *, known_as: str, copied: Copied) -> None:
    """`image` (repository:tag) as a tar of an OCI layout, which containerd imports under `known_as`."""
    named = parse_reference(image)
    with _Replacing(path, 0o644) as file:
        archive = _ArchiveTarget(file, known_as)
        source = LocalRepository(registry, named.repository)
        copy_image(source, archive, named.tag or named.digest, tag=known_as, progress=copied)
        archive.finish()


class _ArchiveTarget:
    """A tar file as the target of a copy: blobs as they come, the index when the name is known."""

    def __init__(self, file: BinaryIO, known_as: str) -> None:
        self._tar = tarfile.TarFile(None, "w", file, tarfile.PAX_FORMAT, copybufsize=READ_BYTES)
        self._known_as = known_as
        self._written: set[str] = set()
        self._add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def has_blob(self, digest: Digest) -> bool:
        return digest in self._written

    def put_blob(self, blob: Descriptor, chunks: Iterator[bytes]) -> None:
        """The copy hands over exactly `blob.size` bytes or raises, which ends the archive too."""
        entry = tarfile.TarInfo(_blob_name(blob.digest))
        entry.size = blob.size
        self._tar.addfile(entry, _Chunks(chunks))
        self._written.add(blob.digest)

    def put_manifest(self, manifest: StoredManifest) -> None:
        self._add(_blob_name(manifest.digest), manifest.content)

    def put_tag(self, tag: str, manifest: StoredManifest) -> None:
        entry = {
            "mediaType": manifest.media_type,
            "digest": manifest.digest,
            "size": len(manifest.content),
            "annotations": {CONTAINERD_NAME: tag, REF_NAME: tag.rpartition(":")[2]},
        }
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        self._add("index.json", msgspec.json.encode(index))

    def finish(self) -> None:
        self._tar.close()

    def _add(self, name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        self._tar.addfile(entry, BytesIO(content))


class _Chunks:
    """An iterator of bytes as the readable that tarfile asks for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, count: int = -1, /) -> bytes:
        while count < 0 or len(self._rest) < count:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._rest += chunk
        taken, self._rest = (self._rest, b"") if count < 0 else (self._rest[:count], self._rest[count:])
        return taken


class _Replacing:
    """A file that appears under its name whole and durable, or not at all."""

    def __init__(self, path: Path, mode: int) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        self._mode = mode

    def __enter__(self) -> BinaryIO:
        self._file = open(self._temporary, "xb")
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.flush()
                os.fchmod(self._file.fileno(), self._mode)
                os.fsync(self._file.fileno())
        if kind is not None:
            self._temporary.unlink(missing_ok=True)
            return
        self._temporary.replace(self._path)
        sync_directory(self._path.parent)


def _digest_of(file: BinaryIO, like: str) -> str:
    algorithm = like.partition(":")[0]
    hasher = hashlib.new(algorithm)
    while chunk := file.read(READ_BYTES):
        hasher.update(chunk)
    return f"{algorithm}:{hasher.hexdigest()}"


def _blob_name(digest: str) -> str:
    algorithm, _, encoded = digest.partition(":")
    return f"blobs/{algorithm}/{encoded}"


_HOW_TO_PACK = "make one on the connected side with: skerry k3s pack"
