"""One thread that writes: what has queued up is handed on together, so that writers share an fsync.

What a write is, and how a group of them becomes durable, is the owner's. The owner's function must not raise:
it tells each writer of its own failure.
"""

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

W = TypeVar("W")

MAX_GROUP = 256


class GroupCommit(Generic[W]):
    """Takes writes from any thread; `commit` is called with each group, in the writing thread alone."""

    def __init__(
        self, commit: Callable[[list[W]], None], *, name: str, closed: Callable[[], Exception]
    ) -> None:
        self._commit = commit
        self._closed = closed
        self._queue: queue.SimpleQueue[W | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, write: W) -> None:
        """Queue a write. Raises what `closed` makes when the thread is to end."""
        with self._closing:
            if self._is_closed:
                raise self._closed()
            self._queue.put(write)

    def close(self) -> bool:
        """Have what was queued committed, then end the thread. False if that was done before."""
        with self._closing:
            if self._is_closed:
                return False
            self._is_closed = True
            self._queue.put(None)
        self._thread.join()
        return True

    def _run(self) -> None:
        is_open = True
        while is_open:
            group = [self._queue.get()]
            while len(group) < MAX_GROUP and not self._queue.empty():
                group.append(self._queue.get())
            is_open = None not in group
            writes = [write for write in group if write is not None]
            if writes:
                self._commit(writes)
