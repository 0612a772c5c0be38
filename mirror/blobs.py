"""Content by digest: one plain file a blob, under `blobs/<algorithm>/<hex>` as in an OCI image layout.

A file under its final name is whole, verified and durable; what is not yet so lives in `staging/`. Which
repository may see a blob is the index's affair, and nothing here deletes one.
"""

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from mirror.appending import Writers
from mirror.errors import BlobUnknown, DigestInvalid
from mirror.oci import HEX_LENGTHS, Digest, algorithm_of
from mirror.staging import Hashed, StagedFile, check_room, is_abandoned, sync_directory

COPY_BYTES = 4 * 1024 * 1024
BytesCopied = Callable[[int], None]  # how many bytes were copied since the last call; may raise to stop


def copied_nothing_to_tell(count: int) -> None:
    """The `BytesCopied` of those who do not ask."""


class BlobStore:
    """Safe for many threads and processes over one directory."""

    def __init__(self, root: Path, *, floor: int) -> None:
        self.staging = root / "staging"
        self._blobs = root / "blobs"
        self._floor = floor
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

    def check_room(self, length: int) -> None:
        check_room(self.staging, length, floor=self._floor)

    def put(self, content: bytes, digest: Digest) -> None:
        """Store what fits in memory."""
        if self._is_durable(digest):
            return
        staged = self.create_staged(f"put-{uuid.uuid4().hex}.part", algorithm_of(digest))
        try:
            staged.write(content)
            self.adopt(staged, digest)
        except BaseException:
            staged.discard()
            raise

    def copy_in(self, source: Path, digest: Digest, *, on_copied: BytesCopied) -> bool:
        """Store a copy of `source` if its content has `digest`; False if the blob was there before."""
        if self._is_durable(digest):
            return False
        self.check_room(source.stat().st_size)
        staged = self.create_staged(f"copy-{uuid.uuid4().hex}.part", algorithm_of(digest))
        try:
            with source.open("rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
                buffer = memoryview(bytearray(COPY_BYTES))
                while count := file.readinto(buffer):
                    staged.write(buffer[:count])
                    on_copied(count)
            self.adopt(staged, digest)
        except BaseException:
            staged.discard()
            raise
        return True

    def create_staged(self, name: str, algorithm: str) -> StagedFile:
        return StagedFile.create(
            self.staging / name, algorithm=algorithm, writers=self._writers, floor=self._floor
        )

    def reopen_staged(self, name: str, algorithm: str, *, known: Hashed | None) -> StagedFile:
        return StagedFile.reopen(
            self.staging / name, algorithm=algorithm, known=known, writers=self._writers, floor=self._floor
        )

    def adopt(self, staged: StagedFile, digest: Digest) -> None:
        """Check a staged file against its digest and make it a blob; on return it is durable."""
        actual = staged.digest(algorithm_of(digest))
        if actual != digest:
            raise DigestInvalid(
                f"the content has digest {actual}, not {digest}",
                hint="it was damaged on the way: send it again",
            )
        if self._is_durable(digest):
            staged.discard()
        else:
            staged.move_to(self.path(digest))

    def sweep(self, now: float) -> int:
        """Remove what writers that died have left behind; upload sessions are kept by their own rule."""
        swept = 0
        for pattern in ("put-*.part", "copy-*.part"):
            for path in self.staging.glob(pattern):
                if is_abandoned(path, now=now):
                    path.unlink(missing_ok=True)
                    swept += 1
        return swept

    def _is_durable(self, digest: Digest) -> bool:
        """There already, and its name on the disk: another writer may not have come so far yet."""
        if not self.has(digest):
            return False
        sync_directory(self.path(digest).parent)
        return True
