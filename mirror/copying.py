"""Copy an image, or a whole index of them: blobs first, manifests after, the name last.

Places are a repository of this mirror, an OCI layout folder (`mirror.layout`) and another registry
(`mirror.transfer`). Every digest is checked here or by the place that stores, whatever the source claims.
"""

import hashlib
from collections.abc import Iterator
from typing import Protocol

from mirror.blobs import BytesCopied, copied_nothing_to_tell
from mirror.errors import DigestInvalid, SizeInvalid
from mirror.index import StoredManifest
from mirror.oci import (
    Descriptor,
    Digest,
    Index,
    Manifest,
    algorithm_of,
    digest_of,
    parse_digest,
    parse_manifest,
)
from mirror.registry import Registry

READ_BYTES = 1024 * 1024
MAX_INDEX_DEPTH = 8


class Source(Protocol):
    def read_manifest(self, reference: str) -> StoredManifest:
        """By tag or digest."""
        ...

    def read_blob(self, blob: Descriptor) -> Iterator[bytes]:
        """The blob's bytes; the caller checks them."""
        ...


class Target(Protocol):
    def has_blob(self, digest: Digest) -> bool: ...

    def put_blob(self, blob: Descriptor, chunks: Iterator[bytes]) -> None:
        """Store; if `chunks` raises, nothing may stay visible."""
        ...

    def put_manifest(self, manifest: StoredManifest) -> None: ...

    def put_tag(self, tag: str, manifest: StoredManifest) -> None: ...


def copy_image(
    source: Source,
    target: Target,
    reference: str,
    *,
    tag: str = "",
    progress: BytesCopied = copied_nothing_to_tell,
) -> Descriptor:
    """Copy what `reference` (a tag or digest) names, with all it needs; returns its descriptor.

    Blobs that the target has are not sent again. Foreign layers are left where their owner keeps them.
    """
    for manifest in _walk(source, reference, seen=set()):
        for blob in _blobs_of(manifest):
            _copy_blob(source, target, blob, progress=progress)
        target.put_manifest(manifest)
    if tag:
        target.put_tag(tag, manifest)
    return Descriptor(media_type=manifest.media_type, digest=manifest.digest, size=len(manifest.content))


def missing_bytes(source: Source, target: Target, reference: str) -> int:
    """What `copy_image` would send of blobs. Reads every manifest once for it."""
    manifests = _walk(source, reference, seen=set())
    blobs = {blob.digest: blob for manifest in manifests for blob in _blobs_of(manifest)}
    missing = (blob for blob in blobs.values() if not _is_there(target, blob))
    return sum(blob.size for blob in missing)


class LocalRepository:
    """One repository of a mirror in this process, as source or target."""

    def __init__(self, registry: Registry, repository: str) -> None:
        self._registry = registry
        self._repository = repository

    def read_manifest(self, reference: str) -> StoredManifest:
        return self._registry.get_manifest(self._repository, reference)

    def read_blob(self, blob: Descriptor) -> Iterator[bytes]:
        fd = self._registry.open_blob(self._repository, blob.digest)
        with open(fd, "rb", buffering=0) as file:
            while chunk := file.read(READ_BYTES):
                yield chunk

    def has_blob(self, digest: Digest) -> bool:
        """A blob that another repository brought is linked rather than copied."""
        if not self._registry.has_blob(digest):
            return False
        self._registry.link_blob(self._repository, digest)
        return True

    def put_blob(self, blob: Descriptor, chunks: Iterator[bytes]) -> None:
        upload = self._registry.open_upload(self._repository, algorithm_of(parse_digest(blob.digest)))
        try:
            for chunk in chunks:
                upload.write(chunk)
            upload.commit(blob.digest)
        except BaseException:
            upload.abort()
            raise

    def put_manifest(self, manifest: StoredManifest) -> None:
        self._registry.put_manifest(
            self._repository, manifest.content, manifest.media_type, reference=manifest.digest
        )

    def put_tag(self, tag: str, manifest: StoredManifest) -> None:
        self._registry.put_tags(self._repository, (tag,), manifest.digest)


def _walk(source: Source, reference: str, *, seen: set[str], depth: int = 0) -> Iterator[StoredManifest]:
    """Each manifest that a reference leads to once, what an index lists before it, the named one last."""
    manifest = _read_verified(source, reference)
    if depth > MAX_INDEX_DEPTH:
        raise SizeInvalid(f"manifest {manifest.digest} lies more than {MAX_INDEX_DEPTH} indexes deep")
    seen.add(manifest.digest)
    parsed = parse_manifest(manifest.content, manifest.media_type)
    if isinstance(parsed, Index):
        for child in parsed.manifests:
            if child.digest not in seen:
                yield from _walk(source, child.digest, seen=seen, depth=depth + 1)
    yield manifest


def _read_verified(source: Source, reference: str) -> StoredManifest:
    manifest = source.read_manifest(reference)
    wanted = parse_digest(reference if ":" in reference else manifest.digest)
    if digest_of(manifest.content, algorithm_of(wanted)) != wanted:
        raise DigestInvalid(f"the source sent another manifest than {wanted}")
    return manifest


def _blobs_of(manifest: StoredManifest) -> list[Descriptor]:
    parsed = parse_manifest(manifest.content, manifest.media_type)
    return [parsed.config, *parsed.layers] if isinstance(parsed, Manifest) else []


def _copy_blob(source: Source, target: Target, blob: Descriptor, *, progress: BytesCopied) -> None:
    if not _is_there(target, blob):
        digest = parse_digest(blob.digest)
        target.put_blob(blob, _verified(source.read_blob(blob), blob, digest, progress=progress))


def _is_there(target: Target, blob: Descriptor) -> bool:
    """Or need not be: foreign layers stay where their owner keeps them."""
    return blob.is_foreign or target.has_blob(parse_digest(blob.digest))


def _verified(
    chunks: Iterator[bytes], blob: Descriptor, digest: Digest, *, progress: BytesCopied
) -> Iterator[bytes]:
    """Pass chunks on; raise before the last byte is passed if the whole is not what was asked for.

    The last chunk is held back until the digest is known, so no target ever completes a wrong blob.
    """
    state = hashlib.new(algorithm_of(digest))
    count = 0
    held = b""
    for chunk in chunks:
        if held:
            yield held
        state.update(chunk)
        count += len(chunk)
        progress(len(chunk))
        held = chunk
        if count > blob.size:
            break
    if count != blob.size:
        raise SizeInvalid(f"the source sent another length than {blob.size} bytes for {digest}")
    actual = f"{algorithm_of(digest)}:{state.hexdigest()}"
    if actual != digest:
        raise DigestInvalid(f"the source sent content with digest {actual}, not {digest}")
    yield held
