"""One file on its way into the store: hashed while it is written, then synced and given its final name.

A staged file is locked for as long as its writer lives, across processes too, so an abandoned one can be
told from one that is being written. It knows nothing of repositories, sessions or what is stored already.
"""

import errno
import fcntl
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mirror.appending import BLOCK_BYTES, Appender, Writers
from mirror.errors import NoSpace, UploadBusy, UploadUnknown
from mirror.oci import Digest
from mirror.space import Quota

if TYPE_CHECKING:
    from hashlib import _Hash

READ_BYTES = 1024 * 1024
YOUNG_SECONDS = 60.0  # a new file is unlocked for a moment
LOCK_PATIENCE_SECONDS = 2.0
UNBOUNDED = Quota(limit=0)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Hashed:
    """How far a file has been hashed; kept between the requests of one upload."""

    offset: int
    state: "_Hash"


class StagedFile:
    """Use one writer at a time; `write` may be called from any thread."""

    def __init__(
        self,
        path: Path,
        fd: int,
        *,
        hashed: Hashed,
        writers: Writers,
        floor: int,
        quota: Quota = UNBOUNDED,
    ) -> None:
        self.path = path
        self.offset = hashed.offset
        self._fd = fd
        self._hash = hashed.state
        self._floor = floor
        self._quota = quota
        self._appender = Appender(fd, offset=hashed.offset, writers=writers)

    @classmethod
    def create(
        cls, path: Path, *, algorithm: str, writers: Writers, floor: int, quota: Quota = UNBOUNDED
    ) -> Self:
        check_room(path.parent, 0, floor=floor)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise no_room(error, path.parent) from error
        fcntl.flock(fd, fcntl.LOCK_EX)
        hashed = Hashed(0, hashlib.new(algorithm))
        return cls(path, fd, hashed=hashed, writers=writers, floor=floor, quota=quota)

    @classmethod
    def reopen(
        cls,
        path: Path,
        *,
        algorithm: str,
        known: Hashed | None,
        writers: Writers,
        floor: int,
        quota: Quota = UNBOUNDED,
        patience_seconds: float = LOCK_PATIENCE_SECONDS,
    ) -> Self:
        """Go on with a file that another request, or another process before a restart, has begun.

        `known` saves hashing the file again; it is believed only if it ends where the file ends.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise UploadUnknown(f"upload {path.stem} is finished, cancelled or expired") from error
        try:
            _lock(fd, path.stem, patience_seconds=patience_seconds)
            size = os.fstat(fd).st_size
            if known is None or known.offset != size or known.state.name != algorithm:
                known = Hashed(size, _hash_file(fd, algorithm))
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd, hashed=known, writers=writers, floor=floor, quota=quota)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. After NoSpace the file holds a beginning of what was written."""
        check_room(self.path.parent, len(data), floor=self._floor)
        self._quota.take(len(data))
        view = memoryview(data)
        for start in range(0, len(view), BLOCK_BYTES):
            self._write_piece(view[start : start + BLOCK_BYTES])

    def digest(self, algorithm: str) -> Digest:
        """The digest of all that was written; another algorithm than the one begun with costs a read."""
        state = self._hash
        if state.name != algorithm:
            self._flush()
            state = _hash_file(self._fd, algorithm)
        return Digest(f"{algorithm}:{state.hexdigest()}")

    def move_to(self, final: Path) -> None:
        """Make the content durable, then give it its name, then make the name durable."""
        try:
            self._flush()
            os.fchmod(self._fd, 0o444)
            os.utime(self._fd)  # a blob's lease begins when it becomes one (mirror.blobs)
            os.fsync(self._fd)
            os.rename(self.path, final)
            sync_directory(final.parent)
        except OSError as error:
            raise no_room(error, final.parent) from error
        finally:
            self.close()

    def pause(self) -> Hashed:
        """Leave the file for later, with all that was written in it."""
        try:
            self._flush()
        finally:
            self.close()
        return Hashed(self.offset, self._hash)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file as it is."""
        self._appender.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write_piece(self, piece: memoryview) -> None:
        """One block at most, which is on its way to the disk while it is hashed."""
        try:
            self._appender.append(piece)
        except OSError as error:
            raise no_room(error, self.path.parent) from error
        self._hash.update(piece)
        self.offset += len(piece)

    def _flush(self) -> None:
        try:
            self._appender.flush()
        except OSError as error:
            raise no_room(error, self.path.parent) from error


def check_room(directory: Path, length: int, *, floor: int) -> None:
    """Refuse what would bring the disk below the floor, before a byte is written."""
    disk = os.statvfs(directory)
    free = disk.f_bavail * disk.f_frsize
    if free - length < floor:
        raise NoSpace(
            f"the mirror's disk has {free // 2**20} MiB free; {length} bytes more would leave less than the "
            f"{floor // 2**20} MiB it keeps back",
            hint="delete images that are no longer needed, or give the mirror a larger disk",
        )


def no_room(error: OSError, directory: Path) -> Exception:
    """NoSpace if the system says there is no room, else the error itself."""
    if error.errno not in NO_ROOM:
        return error
    return NoSpace(
        f"the mirror cannot write to {directory}: {os.strerror(error.errno or 0)}",
        hint="delete images that are no longer needed, or give the mirror a larger disk",
    )


def is_abandoned(path: Path, *, now: float, idle_seconds: float = YOUNG_SECONDS) -> bool:
    """A staged file that no living writer has locked and that nobody has written to for a while."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if now - os.fstat(fd).st_mtime < idle_seconds:
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(fd)


def sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(fd: int, name: str, *, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UploadBusy(
                    f"upload {name} is being written by another request",
                    hint="ask for its offset with GET and go on from there",
                ) from None
            time.sleep(0.02)
            continue
        if os.fstat(fd).st_nlink == 0:
            raise UploadUnknown(f"upload {name} is finished, cancelled or expired")
        return


def _hash_file(fd: int, algorithm: str) -> "_Hash":
    state = hashlib.new(algorithm)
    offset = 0
    while data := os.pread(fd, READ_BYTES, offset):
        state.update(data)
        offset += len(data)
    return state
