"""Many blobs that come in together or not at all: all are copied and checked before `publish` shows one.

An intake is one folder in staging, locked for as long as its writer lives, so what a dead writer left can be
told from what is being written. It knows nothing of repositories, nor of where the content comes from.
"""

import fcntl
import os
import shutil
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from mirror.blobs import COPY_BYTES, BlobStore, BytesCopied, copied_nothing_to_tell
from mirror.errors import DigestInvalid, TooLarge
from mirror.limits import Limits
from mirror.oci import Digest, algorithm_of
from mirror.staging import YOUNG_SECONDS, is_abandoned, no_room, sync_directory

PREFIX = "intake-"
LOCK = "lock"
ReadInto = Callable[[memoryview], int]  # fills the start of the buffer; 0 at the end
UNSEALED = 16  # files that may wait for their last sync at once


class Intake:
    """Leave it by `publish`, or everything that was added is dropped. Not for several threads at once."""

    def __init__(self, blobs: BlobStore, limits: Limits) -> None:
        self._blobs = blobs
        self._limits = limits
        self._folder = blobs.staging / f"{PREFIX}{uuid.uuid4().hex}"
        self._folder.mkdir()
        self._lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._sealer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mirror-seal")
        self._unsealed: deque[Future[None]] = deque()
        self._added: dict[Digest, Path] = {}
        self._buffer = memoryview(bytearray(COPY_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(
        self, read_into: ReadInto, digest: Digest, on_copied: BytesCopied = copied_nothing_to_tell
    ) -> None:
        """Copy all that `read_into` gives; raise DigestInvalid if its content is not `digest`.

        Whatever `read_into` and `on_copied` raise drops this blob and goes through.
        """
        if digest in self._added:
            return
        staged = self._blobs.create_staged(
            f"{self._folder.name}/{digest.replace(':', '-')}.part", algorithm_of(digest)
        )
        try:
            while count := read_into(self._buffer):
                if staged.offset + count > self._limits.blob_bytes:
                    raise TooLarge(
                        f"blob {digest} is larger than the {self._limits.blob_bytes} bytes this mirror takes"
                    )
                staged.write(self._buffer[:count])
                on_copied(count)
            actual = staged.digest(algorithm_of(digest))
            if actual != digest:
                raise DigestInvalid(
                    f"the content has digest {actual}, not {digest}",
                    hint="it was damaged on the way: send it again",
                )
        except BaseException:
            staged.discard()
            raise
        sealed = staged.path.with_suffix("")
        self._unsealed.append(self._sealer.submit(staged.move_to, sealed))
        self._added[digest] = sealed
        while len(self._unsealed) > UNSEALED:
            self._unsealed.popleft().result()

    def publish(self) -> None:
        """Make everything that was added a blob; on return all of it is durable."""
        while self._unsealed:
            self._unsealed.popleft().result()
        finals = {
            self._blobs.path(digest): sealed
            for digest, sealed in self._added.items()
            if not self._blobs.is_durable(digest)
        }
        try:
            for final, sealed in finals.items():
                os.utime(sealed)
                os.rename(sealed, final)
            for directory in {final.parent for final in finals}:
                sync_directory(directory)
        except OSError as error:
            raise no_room(error, self._blobs.staging) from error
        self._added.clear()

    def close(self) -> None:
        """Drop what was not published."""
        self._sealer.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep_intakes(staging: Path, *, now: float) -> int:
    """Remove the intakes of writers that died."""
    swept = 0
    for folder in staging.glob(f"{PREFIX}*"):
        lock = folder / LOCK
        if _is_dead(folder, lock, now=now):
            shutil.rmtree(folder, ignore_errors=True)
            swept += 1
    return swept


def _is_dead(folder: Path, lock: Path, *, now: float) -> bool:
    """Its lock is free, or it never got so far as to have one."""
    if lock.exists():
        return is_abandoned(lock, now=now)
    try:
        return now - folder.stat().st_mtime > YOUNG_SECONDS
    except FileNotFoundError:
        return False
