"""The one thread that writes the inventory: what has queued up is committed together.

Each write runs inside its own savepoint: one that is refused undoes only itself. A group that holds a durable
write is fsynced, with everything before it, before anybody hears of it; what the store can tell again is not.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from appliance.group_commit import GroupCommit
from appliance.inventory.errors import InventoryUnavailable

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Write:
    work: Callable[[sqlite3.Connection], Any]  # each write's own result type meets in one queue
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"
    is_durable: bool
    is_dry: bool
    result: Any = None
    error: Exception | None = None


class Writer:
    """Owns the writing connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._group = GroupCommit(self._commit, name="inventory-writer", closed=_closed)

    def post(
        self, work: Callable[[sqlite3.Connection], T], *, durable: bool, dry_run: bool = False
    ) -> "asyncio.Future[T]":
        """Queue `work`; the future has its result once it is committed, or undone when dry."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._group.put(_Write(work, loop, future, durable, dry_run))
        return future

    def close(self) -> None:
        """Commit what was queued, then stop."""
        if self._group.close():
            self._connection.close()

    def _commit(self, writes: list[_Write]) -> None:
        level = "FULL" if any(write.is_durable for write in writes) else "NORMAL"
        try:
            self._connection.execute(f"PRAGMA synchronous = {level}")
            self._connection.execute("BEGIN IMMEDIATE")
            for write in writes:
                self._attempt(write)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            log.error("inventory: %d writes were not committed: %s", len(writes), error)
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            refusal = InventoryUnavailable(
                f"The inventory cannot write: {error}.", hint="Is the disk of the data folder full?"
            )
            for write in writes:
                write.error = refusal
        try:
            writes[0].loop.call_soon_threadsafe(_tell, writes)
        except RuntimeError:
            log.debug("inventory: the loop ended before %d writes were told", len(writes))

    def _attempt(self, write: _Write) -> None:
        self._connection.execute("SAVEPOINT write")
        try:
            write.result = write.work(self._connection)
        except sqlite3.Error:
            raise  # the disk, not the write: the whole group fails
        except Exception as error:  # one operation's boundary: its writer gets it
            write.error = error
            self._connection.execute("ROLLBACK TO write")
        else:
            if write.is_dry:
                self._connection.execute("ROLLBACK TO write")
        self._connection.execute("RELEASE write")


def _closed() -> InventoryUnavailable:
    return InventoryUnavailable("The inventory is closed.")


def _tell(writes: list[_Write]) -> None:
    for write in writes:
        if write.future.done():
            continue
        if write.error is not None:
            write.future.set_exception(write.error)
        else:
            write.future.set_result(write.result)
