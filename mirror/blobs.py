"""Content by digest: one plain file a blob, under `blobs/<algorithm>/<hex>` as in an OCI image layout.

A file under its final name is whole, verified and durable; what is not yet so lives in `staging/`. Which
repository may see a blob is the index's affair, and only `mirror.collection` deletes one.

A file's modification time is its lease: whoever relies on a blob that no manifest names yet renews it, and
collection leaves alone what was renewed within its grace. A lock on the folder orders renewing and deleting.
"""

import contextlib
import errno
import fcntl
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mirror.appending import Writers
from mirror.errors import BlobUnknown, DigestInvalid
from mirror.limits import DEFAULT_LIMITS
from mirror.oci import HEX_LENGTHS, Digest, algorithm_of
from mirror.space import Quota
from mirror.staging import Hashed, StagedFile, check_room, is_abandoned, sync_directory

COPY_BYTES = 4 * 1024 * 1024
HEX = re.compile(r"[0-9a-f]+")
BytesCopied = Callable[[int], None]  # how many bytes were copied since the last call; may raise to stop


def copied_nothing_to_tell(count: int) -> None:
    """The `BytesCopied` of those who do not ask."""


@dataclass(frozen=True, slots=True)
class BlobFile:
    """One file under `blobs/`; `renewed_at` is when its lease was last renewed."""

    digest: Digest
    size: int
    renewed_at: float


class BlobStore:
    """Safe for many threads and processes over one directory."""

    def __init__(
        self,
        root: Path,
        *,
        floor: int,
        quota: int = 0,
        renewal_seconds: float = DEFAULT_LIMITS.renewal_seconds,
    ) -> None:
        self.staging = root / "staging"
        self._blobs = root / "blobs"
        self._floor = floor
        self._renewal_seconds = renewal_seconds
        self._quota = Quota(self._blobs, self.staging, limit=quota)
        self._writers = Writers()
        for directory in (self.staging, *(self._blobs / algorithm for algorithm in HEX_LENGTHS)):
            directory.mkdir(parents=True, exist_ok=True)
        sync_directory(self._blobs)
        sync_directory(root)

    def close(self) -> None:
        self._writers.close()

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be. `digest` has been through `parse_digest`."""
        algorithm, _, encoded = digest.partition(":")
        return self._blobs / algorithm / encoded

    def has(self, digest: Digest) -> bool:
        return self.path(digest).is_file()

    def size(self, digest: Digest) -> int:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError as error:
            raise BlobUnknown(f"blob {digest} is not in this mirror") from error

    def open(self, digest: Digest) -> int:
        """A file descriptor to read from, the caller's to close."""
        try:
            return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise BlobUnknown(f"blob {digest} is not in this mirror") from error

    def renew(self, digest: Digest) -> bool:
        """Whether the blob is there; if so, collection leaves it alone for its whole grace from now on."""
        path = self.path(digest)
        try:
            if 0 <= time.time() - path.stat().st_mtime < self._renewal_seconds:
                return True
            with self.locked(fcntl.LOCK_SH):
                os.utime(path)
        except FileNotFoundError:
            return False
        except OSError as error:  # on a disk that nobody can write to nothing is collected either
            if error.errno not in (errno.EROFS, errno.EPERM, errno.EACCES):
                raise
        return True

    @contextlib.contextmanager
    def locked(self, mode: int) -> Iterator[None]:
        """Hold the lock between renewing (shared) and deleting (exclusive), in all threads and processes."""
        fd = os.open(self._blobs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, mode)
            yield
        finally:
            os.close(fd)

    def files(self) -> Iterator[BlobFile]:
        """Every blob, in no order; blobs that come or go meanwhile may be left out."""
        for digest, entry in self._entries():
            if digest:
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    yield BlobFile(digest, found.st_size, found.st_mtime)

    def strays(self) -> list[Path]:
        """What lies under `blobs/` and is no blob by its name; nothing of ours puts it there."""
        return sorted(Path(entry.path) for digest, entry in self._entries() if not digest)

    def stat(self, digest: Digest) -> BlobFile | None:
        try:
            found = self.path(digest).stat()
        except FileNotFoundError:
            return None
        return BlobFile(digest, found.st_size, found.st_mtime)

    def delete(self, digest: Digest) -> None:
        """For collection, which holds the exclusive lock."""
        self.path(digest).unlink(missing_ok=True)

    def sync(self) -> None:
        """Make it durable that files are gone."""
        for algorithm in HEX_LENGTHS:
            sync_directory(self._blobs / algorithm)

    def _entries(self) -> Iterator[tuple[Digest | None, os.DirEntry[str]]]:
        for algorithm, length in HEX_LENGTHS.items():
            with os.scandir(self._blobs / algorithm) as entries:
                for entry in entries:
                    is_blob = len(entry.name) == length and HEX.fullmatch(entry.name) is not None
                    is_blob = is_blob and entry.is_file(follow_symlinks=False)
                    yield Digest(f"{algorithm}:{entry.name}") if is_blob else None, entry

    def check_room(self, length: int) -> None:
        """Raise NoSpace if so much more would break the quota, or the floor of free space."""
        self._quota.check(length)
        check_room(self.staging, length, floor=self._floor)

    def put(self, content: bytes, digest: Digest) -> None:
        """Store what fits in memory."""
        if self.is_durable(digest):
            return
        staged = self.create_staged(f"put-{uuid.uuid4().hex}.part", algorithm_of(digest))
        try:
            staged.write(content)
            self.adopt(staged, digest)
        except BaseException:
            staged.discard()
            raise

    def create_staged(self, name: str, algorithm: str) -> StagedFile:
        self._quota.check(0)
        return StagedFile.create(
            self.staging / name,
            algorithm=algorithm,
            writers=self._writers,
            floor=self._floor,
            quota=self._quota,
        )

    def reopen_staged(self, name: str, algorithm: str, *, known: Hashed | None) -> StagedFile:
        return StagedFile.reopen(
            self.staging / name,
            algorithm=algorithm,
            known=known,
            writers=self._writers,
            floor=self._floor,
            quota=self._quota,
        )

    def adopt(self, staged: StagedFile, digest: Digest) -> None:
        """Check a staged file against its digest and make it a blob; on return it is durable."""
        actual = staged.digest(algorithm_of(digest))
        if actual != digest:
            raise DigestInvalid(
                f"the content has digest {actual}, not {digest}",
                hint="it was damaged on the way: send it again",
            )
        if self.is_durable(digest):
            staged.discard()
        else:
            staged.move_to(self.path(digest))

    def sweep(self, now: float) -> int:
        """Remove what writers that died have left behind; upload sessions are kept by their own rule."""
        swept = 0
        for path in self.staging.glob("put-*.part"):
            if is_abandoned(path, now=now):
                path.unlink(missing_ok=True)
                swept += 1
        return swept

    def is_durable(self, digest: Digest) -> bool:
        """There already, and its name on the disk: another writer may not have come so far yet.

        Where this says no, whatever appears under the name afterwards is fresh, so that collection cannot
        take it for the old file that it has looked at.
        """
        if not self.renew(digest):
            return False
        sync_directory(self.path(digest).parent)
        return True
