"""The registry itself: what may be asked of blobs, manifests and tags, without a word of HTTP.

`Registry` ties the files (`mirror.blobs`, `mirror.uploads`) to what is visible (`mirror.index`) and keeps the
order that makes a crash harmless: content durable first, then its link, tags last. Any number of processes
may have the same root open. Collecting garbage is `mirror.collection`'s affair.

    root/blobs/<algorithm>/<hex>   content, manifests too
    root/staging/                  what is on its way in
    root/index.db                  who may see what
    root/names.log                 what content cannot tell, to make the index again
"""

import fcntl
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mirror.blobs import BlobStore
from mirror.errors import (
    BlobUnknown,
    DigestInvalid,
    IndexMissing,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    MirrorBusy,
    TooLarge,
)
from mirror.index import Index, ManifestRecord, StoredManifest
from mirror.intake import Intake, sweep_intakes
from mirror.limits import DEFAULT_LIMITS, Limits
from mirror.names import NameJournal
from mirror.oci import (
    Descriptor,
    Digest,
    Manifest,
    OtherManifest,
    algorithm_of,
    check_algorithm,
    check_repository,
    check_tag,
    declared_media_type,
    digest_of,
    is_media_type,
    parse_digest,
    parse_manifest,
)
from mirror.oci import Index as ImageIndex
from mirror.uploads import Upload, Uploads

INDEX = "index.db"
JOURNAL = "names.log"
REBUILDING = "rebuilding"  # there while the index is being exchanged


@dataclass(frozen=True, slots=True)
class PutManifest:
    """What a push of a manifest came to."""

    digest: Digest
    subject: str


class RepositoryUpload:
    """A blob being written into a repository; `commit` makes it durable and visible there."""

    def __init__(self, registry: "Registry", repository: str, upload: Upload) -> None:
        self.id = upload.id
        self.repository = repository
        self._registry = registry
        self._upload = upload

    @property
    def offset(self) -> int:
        return self._upload.offset

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._upload.write(data)

    def commit(self, expected: str) -> Digest:
        digest = self._upload.commit(parse_digest(expected))
        self._registry.link_blob(self.repository, digest)
        return digest

    def pause(self) -> None:
        """Keep what has arrived; `Registry.resume_upload` goes on with it."""
        self._upload.pause()

    def abort(self) -> None:
        self._upload.abort()


class Registry:
    def __init__(self, root: Path, *, limits: Limits = DEFAULT_LIMITS) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.limits = limits
        self._presence = enter(root)
        self._blobs = BlobStore(
            root, floor=limits.free_space, quota=limits.quota, renewal_seconds=limits.renewal_seconds
        )
        self._uploads = Uploads(self._blobs, limits)
        try:
            self._index = Index(root / INDEX, NameJournal(root / JOURNAL))
        except BaseException:
            self._blobs.close()
            os.close(self._presence)
            raise
        self.sweep()

    def close(self) -> None:
        self._index.close()
        self._blobs.close()
        if self._presence >= 0:
            os.close(self._presence)
            self._presence = -1

    @property
    def blobs(self) -> BlobStore:
        """For the rooms beside this one: collection and verification."""
        return self._blobs

    @property
    def index(self) -> Index:
        """For the rooms beside this one: collection and verification."""
        return self._index

    def sweep(self) -> int:
        """End stale uploads and remove what dead writers left; how many were removed."""
        now = time.time()
        return self._uploads.sweep(now) + self._blobs.sweep(now) + sweep_intakes(self._blobs.staging, now=now)

    # blobs

    def has_blob(self, digest: str, repository: str | None = None) -> bool:
        """In the mirror at all, or visible in one repository. Who hears yes has a new lease on it."""
        known = parse_digest(digest)
        return self._blobs.renew(known) and (repository is None or self._index.has_blob(repository, known))

    def blob_size(self, repository: str, digest: str) -> int:
        """Pushers ask this before they leave a blob out, so it gives a lease."""
        self._blobs.renew(parse_digest(digest))
        return self._blobs.size(self._visible(repository, digest))

    def open_blob(self, repository: str, digest: str) -> int:
        """A file descriptor on the blob, the caller's to close; it stays readable if the blob is deleted."""
        return self._blobs.open(self._visible(repository, digest))

    def link_blob(self, repository: str, digest: str) -> None:
        """Make an already stored blob visible in a repository."""
        check_repository(repository)
        known = parse_digest(digest)
        if not self._blobs.renew(known):
            raise BlobUnknown(f"blob {digest} is not in this mirror")
        self._index.link_blob(repository, known, is_there=self._blobs.has)

    def open_intake(self) -> Intake:
        """Take many blobs in together; link them to repositories once they are published."""
        return Intake(self._blobs, self.limits)

    def delete_blob(self, repository: str, digest: str) -> None:
        """Take the blob out of a repository; the file stays for others, and until garbage is collected."""
        check_repository(repository)
        self._index.unlink_blob(repository, parse_digest(digest))

    # uploads

    def check_room(self, length: int) -> None:
        """Raise NoSpace if a blob of this length would not fit above the free-space floor."""
        self._blobs.check_room(length)

    def open_upload(self, repository: str, algorithm: str = "sha256") -> RepositoryUpload:
        check_repository(repository)
        check_algorithm(algorithm)
        return RepositoryUpload(self, repository, self._uploads.start(repository, algorithm))

    def resume_upload(self, repository: str, id: str) -> RepositoryUpload:
        return RepositoryUpload(self, repository, self._uploads.resume(repository, id))

    def upload_offset(self, repository: str, id: str) -> int:
        return self._uploads.offset(repository, id)

    def cancel_upload(self, repository: str, id: str) -> None:
        self._uploads.cancel(repository, id)

    # manifests

    def put_manifest(self, repository: str, content: bytes, media_type: str, *, reference: str) -> Digest:
        """Store a manifest under a tag, or under its digest."""
        if ":" in reference:
            return self.push_manifest(repository, content, media_type, digest=reference).digest
        return self.push_manifest(repository, content, media_type, tags=(reference,)).digest

    def push_manifest(
        self, repository: str, content: bytes, media_type: str, *, digest: str = "", tags: Sequence[str] = ()
    ) -> PutManifest:
        """Store a manifest and point tags to it, all at once.

        Config and layers must be in the repository, foreign layers excepted. An index may name manifests
        that are not here: a site that needs one platform carries one platform.
        """
        check_repository(repository)
        for tag in tags:
            check_tag(tag)
        if len(content) > self.limits.manifest_bytes:
            raise TooLarge(
                f"the manifest has {len(content)} bytes; this mirror takes up to {self.limits.manifest_bytes}"
            )
        media_type = media_type or declared_media_type(content)
        if not is_media_type(media_type):
            raise ManifestInvalid(
                f"{media_type[:80]!r} is not a media type", hint="push the manifest with a Content-Type"
            )
        wanted = parse_digest(digest) if digest else digest_of(content)
        if digest and digest_of(content, algorithm_of(wanted)) != wanted:
            raise DigestInvalid(f"the manifest's bytes do not have digest {digest}")
        manifest = parse_manifest(content, media_type)
        blobs = self._check_blobs(repository, manifest)
        self._blobs.put(content, wanted)
        record = record_of(manifest, digest=wanted, media_type=media_type, size=len(content))
        self._index.put_manifest(
            repository, record, content=content, blobs=blobs, is_there=self._blobs.has, tags=tags
        )
        return PutManifest(wanted, record.subject)

    def put_tags(self, repository: str, tags: Sequence[str], digest: str) -> None:
        """Point tags to a manifest that the repository has, all at once."""
        check_repository(repository)
        for tag in tags:
            check_tag(tag)
        self._index.put_tags(repository, tags, parse_digest(digest))

    def get_manifest(self, repository: str, reference: str) -> StoredManifest:
        """By tag or by digest, which gives a lease on it and all that it names. Raises ManifestUnknown.

        What could not be a tag is one that is not here: the conformance suite wants 404, not 400.
        """
        check_repository(repository)
        if ":" in reference:
            digest = parse_digest(reference)
            self._blobs.renew(digest)
            return self._index.manifest(repository, digest)
        return self._index.tagged_manifest(repository, reference)

    def has_manifest(self, repository: str, reference: str) -> bool:
        try:
            self.get_manifest(repository, reference)
        except ManifestUnknown:
            return False
        return True

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Remove a manifest and all its tags."""
        check_repository(repository)
        self._index.delete_manifest(repository, parse_digest(digest))

    def delete_tag(self, repository: str, tag: str) -> None:
        check_repository(repository)
        check_tag(tag)
        self._index.delete_tag(repository, tag)

    # lists; `last` is exclusive

    def list_tags(self, repository: str, *, last: str = "", limit: int = -1) -> list[str]:
        check_repository(repository)
        return self._index.tags(repository, last=last, limit=limit)

    def list_repositories(self, *, last: str = "", limit: int = -1) -> list[str]:
        return self._index.repositories(last=last, limit=limit)

    def list_referrers(
        self, repository: str, subject: str, *, artifact_type: str = "", last: str = "", limit: int = -1
    ) -> list[Descriptor]:
        """Descriptors of the manifests that have `subject`; an unknown subject or repository has none."""
        check_repository(repository)
        records = self._index.referrers(
            repository, parse_digest(subject), artifact_type=artifact_type, last=last, limit=limit
        )
        return [
            Descriptor(
                media_type=record.media_type,
                digest=record.digest,
                size=record.size,
                artifact_type=record.artifact_type,
                annotations=msgspec.json.decode(record.annotations, type=dict[str, str]),
            )
            for record in records
        ]

    def _visible(self, repository: str, digest: str) -> Digest:
        check_repository(repository)
        known = parse_digest(digest)
        if not self._index.has_blob(repository, known):
            raise BlobUnknown(f"{repository} has no blob {digest}")
        return known

    def _check_blobs(self, repository: str, manifest: Manifest | ImageIndex | OtherManifest) -> list[Digest]:
        """What the manifest needs of its repository, which has all of it."""
        needed = needed_blobs(manifest)
        for digest in needed:
            if not self.has_blob(digest, repository):
                raise ManifestBlobUnknown(
                    f"{repository} has no blob {digest}, which the manifest names",
                    hint="push the blob first",
                )
        return needed


def needed_blobs(manifest: Manifest | ImageIndex | OtherManifest) -> list[Digest]:
    """The blobs that must be there for a manifest to be whole: config and layers, foreign ones excepted."""
    if not isinstance(manifest, Manifest):
        return []
    parts = (manifest.config, *manifest.layers)
    return [parse_digest(part.digest) for part in parts if not part.is_foreign]


def enter(root: Path) -> int:
    """Be seen in a mirror's folder for as long as the returned descriptor is open. Raises IndexMissing."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MirrorBusy(f"the mirror {root} is being rebuilt", hint="wait until that is done") from None
        if (root / REBUILDING).exists():
            raise IndexMissing(
                f"a rebuild of the mirror {root} was interrupted", hint="run it again: skerry mirror rebuild"
            )
    except BaseException:
        os.close(fd)
        raise
    return fd


def record_of(
    manifest: Manifest | ImageIndex | OtherManifest, *, digest: Digest, media_type: str, size: int
) -> ManifestRecord:
    config_type = manifest.config.media_type if isinstance(manifest, Manifest) else ""
    return ManifestRecord(
        digest=digest,
        media_type=media_type,
        size=size,
        subject=manifest.subject.digest if manifest.subject else "",
        artifact_type=manifest.artifact_type or config_type,
        annotations=msgspec.json.encode(manifest.annotations or {}).decode(),
    )
