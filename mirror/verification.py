"""Verification: proves what the mirror holds, byte by byte, while it serves. It changes nothing.

Every file is read and hashed; every manifest is compared with what the index says of it; whatever a
manifest names must be there, linked, and as long as it says. Findings are values: whoever asked decides what
they mean.
"""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Literal

from mirror.blobs import BlobFile, BytesCopied, copied_nothing_to_tell
from mirror.errors import BlobUnknown, MirrorError
from mirror.index import Holdings, ManifestRecord
from mirror.marking import References, mark
from mirror.oci import Digest, Manifest, algorithm_of, digest_of, parse_digest, parse_manifest
from mirror.registry import Registry

THREADS: Final = 2
READ_BYTES: Final = 1024 * 1024

Problem = Literal["missing", "damaged", "wrong size", "contradiction", "dangling tag", "stray"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `repository` is empty for what is wrong for all of them."""

    problem: Problem
    what: str  # a digest, a tag or a path
    detail: str
    repository: str = ""


@dataclass(slots=True)
class Verified:
    """`findings` tell what is wrong; `collectable` is unreachable, and collection will take it in time."""

    blobs: int = 0
    bytes: int = 0
    manifests: int = 0
    tags: int = 0
    collectable: int = 0
    collectable_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not self.findings


def verify(
    registry: Registry, *, threads: int = THREADS, progress: BytesCopied = copied_nothing_to_tell
) -> Verified:
    """Check everything. `progress` is told of bytes read, by any thread; what it raises ends the check."""
    verified = Verified()
    holdings = registry.index.holdings()
    reached = mark(holdings, References(registry.index.content)).contents
    files = sorted(registry.blobs.files(), key=lambda file: file.digest)
    for file in files:
        if file.digest not in reached:
            verified.collectable += 1
            verified.collectable_bytes += file.size
    verified.blobs, verified.bytes = len(files), sum(file.size for file in files)
    verified.manifests, verified.tags = len(holdings.manifests), len(holdings.tags)
    verified.findings.extend(_damaged(registry, files, threads=threads, progress=progress))
    for node, record in holdings.manifests.items():
        verified.findings.extend(_check_manifest(registry, holdings.repositories[node[0]], record))
    verified.findings.extend(_dangling_tags(registry, holdings))
    verified.findings.extend(_missing_links(registry, holdings))
    verified.findings.extend(
        Finding("stray", str(path), "lies among the blobs and is none; nothing of the mirror's put it there")
        for path in registry.blobs.strays()
    )
    return verified


def _damaged(
    registry: Registry, files: Iterable[BlobFile], *, threads: int, progress: BytesCopied
) -> list[Finding]:
    stopping = threading.Event()

    def check(file: BlobFile) -> Finding | None:
        try:
            return None if stopping.is_set() else _check_file(registry, file, progress)
        except BaseException:
            stopping.set()
            raise

    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="mirror-verify") as pool:
        return [finding for finding in pool.map(check, files) if finding is not None]


def _check_file(registry: Registry, file: BlobFile, progress: BytesCopied) -> Finding | None:
    try:
        fd = registry.blobs.open(file.digest)
    except BlobUnknown:
        return None  # collected meanwhile; if it should not have been, it is missing below
    state = hashlib.new(algorithm_of(file.digest))
    try:
        with open(fd, "rb", buffering=0) as content:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while chunk := content.read(READ_BYTES):
                state.update(chunk)
                progress(len(chunk))
    except OSError as error:
        return Finding("damaged", file.digest, f"cannot be read: {os.strerror(error.errno or 0)}")
    actual = f"{algorithm_of(file.digest)}:{state.hexdigest()}"
    if actual == file.digest:
        return None
    return Finding("damaged", file.digest, f"the content has digest {actual}")


def _check_manifest(registry: Registry, repository: str, record: ManifestRecord) -> Iterator[Finding]:
    """A manifest that was deleted since the names were read is no finding."""
    digest = record.digest
    content = registry.index.content(digest)
    if content is None:
        if _is_still_there(registry, repository, digest):
            yield Finding("contradiction", digest, "the index has no content for this manifest", repository)
        return
    if digest_of(content, algorithm_of(digest)) != digest:
        yield Finding("contradiction", digest, "the index has other content for this manifest", repository)
        return
    if len(content) != record.size:
        detail = f"the index says {record.size} bytes; the manifest has {len(content)}"
        yield Finding("contradiction", digest, detail, repository)
    try:
        manifest = parse_manifest(content, record.media_type)
    except MirrorError as error:
        yield Finding("contradiction", digest, str(error), repository)
        return
    subject = manifest.subject.digest if manifest.subject else ""
    if subject != record.subject:
        yield Finding("contradiction", digest, "the index knows another subject of this manifest", repository)
    if not registry.blobs.has(digest):
        yield from _missing(registry, repository, digest, digest, "the manifest's own file is not there")
    if not isinstance(manifest, Manifest):
        return
    for part in (manifest.config, *manifest.layers):
        if part.is_foreign:
            continue
        blob = registry.blobs.stat(parse_digest(part.digest))
        if blob is None:
            detail = f"named by manifest {digest}, and not there"
            yield from _missing(registry, repository, digest, part.digest, detail)
        elif blob.size != part.size:
            detail = f"manifest {digest} says {part.size} bytes; it has {blob.size}"
            yield Finding("wrong size", part.digest, detail, repository)
        elif not registry.index.has_blob(repository, blob.digest):
            detail = f"named by manifest {digest}, and not linked into its repository"
            yield from _missing(registry, repository, digest, part.digest, detail)


def _missing(
    registry: Registry, repository: str, manifest: Digest, what: str, detail: str
) -> Iterator[Finding]:
    if _is_still_there(registry, repository, manifest):
        yield Finding("missing", what, detail, repository)


def _is_still_there(registry: Registry, repository: str, manifest: Digest) -> bool:
    return registry.index.has_manifest(repository, manifest)


def _dangling_tags(registry: Registry, holdings: Holdings) -> Iterator[Finding]:
    for number, tag, digest in holdings.tags:
        if (number, digest) not in holdings.manifests:
            detail = f"points to {digest}, which its repository has not"
            yield Finding("dangling tag", tag, detail, holdings.repositories[number])


def _missing_links(registry: Registry, holdings: Holdings) -> Iterator[Finding]:
    for number, digest in holdings.blobs:
        repository = holdings.repositories[number]
        if registry.blobs.has(digest) or not registry.index.has_blob(repository, digest):
            continue
        yield Finding("missing", digest, "linked into the repository, and not there", repository)
