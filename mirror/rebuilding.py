"""Rebuilding: makes the index anew from the blobs and the journal of names, when it is lost or damaged.

Blobs say what they are; the journal says what they are called (docs/adr/0007). Nobody else may have the
mirror open meanwhile. The new index is finished beside the old one before it takes its place, and a marker
refuses the mirror to everybody while the two are exchanged, so that a rebuild that was killed is run again.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mirror.blobs import BlobStore
from mirror.errors import BlobUnknown, IndexMissing, MirrorBusy, MirrorError
from mirror.index import Index
from mirror.limits import DEFAULT_LIMITS, Limits
from mirror.names import NameJournal, Names
from mirror.oci import Digest, algorithm_of, digest_of, parse_manifest
from mirror.registry import INDEX, JOURNAL, REBUILDING, needed_blobs, record_of
from mirror.staging import sync_directory

NEW_INDEX: Final = "index.new.db"


@dataclass(frozen=True, slots=True)
class Lost:
    """A manifest that the journal names and the blobs do not have whole; its tags are lost with it."""

    repository: str
    digest: Digest
    tags: tuple[str, ...]
    why: str


@dataclass(slots=True)
class Rebuilt:
    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    links: int = 0
    damaged_lines: int = 0
    lost: list[Lost] = field(default_factory=list)


def rebuild(root: Path, *, limits: Limits = DEFAULT_LIMITS) -> Rebuilt:
    """Put a new index in the place of the old one. Raises MirrorBusy, IndexMissing if there is no journal."""
    journal = NameJournal(root / JOURNAL)
    if not journal.exists():
        raise IndexMissing(
            f"{root} has no {JOURNAL}: what its blobs were called is not known",
            hint="is this a mirror's folder? A mirror writes the journal from its first start on",
        )
    with _alone(root):
        names, damaged = journal.read()
        rebuilt = Rebuilt(damaged_lines=damaged)
        blobs = BlobStore(root, floor=limits.free_space)
        _remove_index(root / NEW_INDEX)
        index = Index(root / NEW_INDEX, None)
        try:
            _fill(index, blobs, names, rebuilt)
        finally:
            index.close()
            blobs.close()
        _exchange(root)
    return rebuilt


def _fill(index: Index, blobs: BlobStore, names: Names, rebuilt: Rebuilt) -> None:
    tags_of: dict[tuple[str, Digest], list[str]] = {}
    for (repository, tag), digest in sorted(names.tags.items()):
        tags_of.setdefault((repository, digest), []).append(tag)
    for (repository, digest), media_type in names.manifests.items():
        tags = tuple(tags_of.get((repository, digest), ()))
        try:
            links = _restore(index, blobs, repository, digest, media_type=media_type, tags=tags)
        except MirrorError as error:
            rebuilt.lost.append(Lost(repository, digest, tags, str(error)))
            continue
        rebuilt.manifests += 1
        rebuilt.tags += len(tags)
        rebuilt.links += links
    rebuilt.repositories = len(index.repositories(last="", limit=-1))


def _restore(
    index: Index,
    blobs: BlobStore,
    repository: str,
    digest: Digest,
    *,
    media_type: str,
    tags: tuple[str, ...],
) -> int:
    """One manifest with its tags, and links to what it names; returns how many links."""
    file = blobs.stat(digest)
    if file is None or file.size > DEFAULT_LIMITS.manifest_bytes:
        raise BlobUnknown(f"there is no manifest {digest} among the blobs")
    content = blobs.path(digest).read_bytes()
    if digest_of(content, algorithm_of(digest)) != digest:
        raise BlobUnknown(f"the file of manifest {digest} is damaged")
    manifest = parse_manifest(content, media_type)
    needed = needed_blobs(manifest)
    for blob in needed:
        index.link_blob(repository, blob, is_there=blobs.has)
    record = record_of(manifest, digest=digest, media_type=media_type, size=len(content))
    index.put_manifest(repository, record, content=content, blobs=needed, is_there=blobs.has, tags=tags)
    return len(needed)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise MirrorBusy(
            f"the mirror {root} is in use", hint="stop its server, and the appliance, then run this again"
        ) from None
    finally:
        os.close(fd)


def _exchange(root: Path) -> None:
    """The old index's log must not be read into the new one, so it goes first; the marker covers the gap."""
    marker = root / REBUILDING
    marker.touch()
    sync_directory(root)
    _remove_index(root / INDEX)
    os.rename(root / NEW_INDEX, root / INDEX)
    sync_directory(root)
    marker.unlink()
    sync_directory(root)


def _remove_index(path: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
