"""An OCI image layout folder, as a source or target of copies (image-spec 1.1, image-layout).

Blobs go through the same staging as the mirror's own. Only the folder form is read, not archives of it.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mirror.blobs import BlobStore
from mirror.errors import ManifestInvalid, ManifestUnknown
from mirror.index import StoredManifest
from mirror.limits import DEFAULT_LIMITS
from mirror.oci import (
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Digest,
    Index,
    algorithm_of,
    declared_media_type,
    parse_digest,
    parse_manifest,
)
from mirror.staging import sync_directory

REFERENCE_NAME = "org.opencontainers.image.ref.name"
LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}'
READ_BYTES = 1024 * 1024


class Layout:
    """A layout folder, made if it is not there. `close` it when done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._blobs = BlobStore(path, floor=DEFAULT_LIMITS.free_space)
        if not (path / "oci-layout").exists():
            _write(path / "oci-layout", LAYOUT_FILE)

    def close(self) -> None:
        self._blobs.close()
        with contextlib.suppress(OSError):  # another writer may still stage something
            self._blobs.staging.rmdir()

    def entries(self) -> list[Descriptor]:
        """What `index.json` lists."""
        try:
            content = _read_limited(self.path / "index.json")
        except FileNotFoundError:
            return []
        index = parse_manifest(content, OCI_INDEX)
        return index.manifests if isinstance(index, Index) else []

    def read_manifest(self, reference: str) -> StoredManifest:
        """By digest, by the name annotation in `index.json`, or the only one there is for an empty name."""
        entries = self.entries()
        for entry in entries:
            if reference in (entry.digest, entry.annotations.get(REFERENCE_NAME)):
                return self._stored(entry.digest, entry.media_type)
        if not reference and len(entries) == 1:
            return self._stored(entries[0].digest, entries[0].media_type)
        if ":" in reference:
            return self._stored(reference, "")
        raise ManifestUnknown(
            f"{self.path} has no image {reference!r}",
            hint="its names are: " + (", ".join(sorted(map(_name, entries))) or "none"),
        )

    def read_blob(self, blob: Descriptor) -> Iterator[bytes]:
        with open(self._blobs.open(parse_digest(blob.digest)), "rb", buffering=0) as file:
            while chunk := file.read(READ_BYTES):
                yield chunk

    def has_blob(self, digest: Digest) -> bool:
        return self._blobs.has(digest)

    def put_blob(self, blob: Descriptor, chunks: Iterator[bytes]) -> None:
        digest = parse_digest(blob.digest)
        staged = self._blobs.create_staged(f"put-{os.urandom(8).hex()}.part", algorithm_of(digest))
        try:
            for chunk in chunks:
                staged.write(chunk)
            self._blobs.adopt(staged, digest)
        except BaseException:
            staged.discard()
            raise

    def put_manifest(self, manifest: StoredManifest) -> None:
        self._blobs.put(manifest.content, manifest.digest)

    def put_tag(self, tag: str, manifest: StoredManifest) -> None:
        """List the manifest in `index.json` under a name, which it takes from any other."""
        entry = Descriptor(
            media_type=manifest.media_type,
            digest=manifest.digest,
            size=len(manifest.content),
            annotations={REFERENCE_NAME: tag},
        )
        others = [other for other in self.entries() if _name(other) != tag]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*others, entry]}
        _write(self.path / "index.json", msgspec.json.encode(index))

    def _stored(self, digest: str, media_type: str) -> StoredManifest:
        known = parse_digest(digest)
        content = _read_limited(self._blobs.path(known)) if self._blobs.has(known) else None
        if content is None:
            raise ManifestUnknown(f"{self.path} has no manifest {digest}")
        return StoredManifest(content, media_type or _declared(content), known)


def _declared(content: bytes) -> str:
    """A child of an index is read by digest alone; image-spec lets an OCI manifest leave its type out."""
    return declared_media_type(content) or OCI_MANIFEST


def _name(entry: Descriptor) -> str:
    return entry.annotations.get(REFERENCE_NAME, entry.digest)


def _read_limited(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(DEFAULT_LIMITS.manifest_bytes + 1)
    if len(content) > DEFAULT_LIMITS.manifest_bytes:
        raise ManifestInvalid(
            f"{path} is larger than {DEFAULT_LIMITS.manifest_bytes} bytes: it is no manifest"
        )
    return content


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
