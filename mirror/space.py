"""How many bytes a mirror may hold, and how many it holds.

The files are counted, blobs and what is staged, and what is written here since then is added; other
processes' writes are seen at the next count. Free space on the disk is `mirror.staging`'s affair.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mirror.errors import NoSpace

COUNT_EVERY_SECONDS = 30.0
RECOUNT_SECONDS = 1.0  # before a refusal the count is this fresh at least


class Quota:
    """For many threads. A limit of 0 is none, and costs nothing."""

    def __init__(self, *folders: Path, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folders = folders
        self._limit = limit
        self._clock = clock
        self._used = 0
        self._counted_at: float | None = None
        self._lock = threading.Lock()

    def check(self, length: int) -> None:
        """Raise NoSpace if so many bytes more would be too many."""
        self.take(length, is_written=False)

    def take(self, length: int, *, is_written: bool = True) -> None:
        """Count bytes that are about to be written. Raises NoSpace, and then counts nothing."""
        if not self._limit:
            return
        with self._lock:
            used = self._count(max_age=COUNT_EVERY_SECONDS)
            if used + length > self._limit:
                used = self._count(max_age=RECOUNT_SECONDS)
            if used + length > self._limit:
                raise NoSpace(
                    f"the mirror holds {used / 2**20:.1f} of the {self._limit / 2**20:.1f} MiB it may; "
                    f"{length} bytes more are too many",
                    hint="delete images that are no longer needed and collect: skerry mirror gc",
                )
            if is_written:
                self._used += length

    def _count(self, *, max_age: float) -> int:
        now = self._clock()
        if self._counted_at is None or now - self._counted_at > max_age:
            self._used = sum(map(bytes_below, self._folders))
            self._counted_at = now
        return self._used


def bytes_below(folder: Path) -> int:
    """The sizes of all files in a folder and its folders; what vanishes meanwhile counts nothing."""
    total = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False):
                    total += bytes_below(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total
