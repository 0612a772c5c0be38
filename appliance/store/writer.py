"""The one thread that writes: what has queued up is committed together, so that writers share an fsync.

Each write runs inside its own savepoint: one that is refused undoes only itself. Nobody hears of a write
before the commit that holds it is on the disk.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from appliance.group_commit import GroupCommit
from appliance.resources.meta import Kind
from appliance.store.base import Limits, Unavailable
from appliance.store.tables import Change, Transaction, kind_key

T = TypeVar("T")

log = logging.getLogger("skerry.store")


@dataclass(slots=True)
class _Write:
    work: Callable[[Transaction], Any]  # each write's own result type meets in one queue
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"
    is_dry: bool


@dataclass(slots=True)
class _Outcome:
    write: _Write
    result: Any = None
    error: Exception | None = None


class Writer:
    """Owns the writing connection. `publish` is called on the loop, before writers hear of their commit."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        kinds: Sequence[Kind],
        limits: Limits,
        publish: Callable[[list[Change]], None],
    ) -> None:
        self.kinds = {kind_key(kind): kind for kind in kinds}
        self._connection = connection
        self._limits = limits
        self._publish = publish
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
        self._revision = int(row[0])
        self._history = History(connection, limits)
        self._group = GroupCommit(self._commit, name="store-writer", closed=_closed)

    async def submit(self, work: Callable[[Transaction], T], *, dry_run: bool = False) -> T:
        """Run `work` in the writer's thread; returns its result once it is durable, or undone when dry."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._group.put(_Write(work, asyncio.get_running_loop(), future, dry_run))
        return await future

    def close(self) -> None:
        """Commit what was submitted, then stop."""
        if self._group.close():
            self._connection.close()

    def _commit(self, writes: list[_Write]) -> None:
        changes: list[Change] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._attempt(write, changes) for write in writes]
            self._history.record(changes)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._abandon(writes, error)
        else:
            self._deliver(changes, outcomes)

    def _attempt(self, write: _Write, changes: list[Change]) -> _Outcome:
        transaction = Transaction(
            self._connection,
            self.kinds,
            revision=self._revision,
            max_bytes=self._limits.max_document_bytes,
        )
        self._connection.execute("SAVEPOINT write")
        outcome = _Outcome(write)
        try:
            outcome.result = write.work(transaction)
        except sqlite3.Error:
            raise  # the disk, not the write: the whole group fails
        except Exception as error:  # one operation's boundary: its writer gets it
            outcome.error = error
            self._connection.execute("ROLLBACK TO write")
        else:
            if write.is_dry:
                self._connection.execute("ROLLBACK TO write")
            else:
                changes.extend(transaction.changes)
        finally:
            # Versions that a refused write took stay unused: gaps are harmless, repetition is not.
            self._revision = transaction.revision
        self._connection.execute("RELEASE write")
        return outcome

    def _abandon(self, writes: list[_Write], error: sqlite3.Error) -> None:
        log.error("store: %d writes were not committed: %s", len(writes), error)
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._history.reload(self._connection)
        refusal = Unavailable(
            f"the store cannot write: {error}", hint="make room on the disk that holds the data folder"
        )
        self._deliver([], [_Outcome(write, error=refusal) for write in writes])

    def _deliver(self, changes: list[Change], outcomes: list[_Outcome]) -> None:
        loop = outcomes[0].write.loop
        try:
            loop.call_soon_threadsafe(self._announce, changes, outcomes)
        except RuntimeError:
            log.debug("store: the loop ended before %d writes were told", len(outcomes))

    def _announce(self, changes: list[Change], outcomes: list[_Outcome]) -> None:
        # The writers first: they would otherwise wait until the last of many watchers had been served.
        for outcome in outcomes:
            if outcome.write.future.done():
                continue
            if outcome.error is not None:
                outcome.write.future.set_exception(outcome.error)
            else:
                outcome.write.future.set_result(outcome.result)
        self._publish(changes)


def _closed() -> Unavailable:
    return Unavailable("the store is closed")


class History:
    """Keeps the changes table within its limits, and says through which revision it was pruned."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self.reload(connection)

    def reload(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT revision, length(document) FROM changes ORDER BY revision")
        self._kept: deque[tuple[int, int]] = deque(rows)
        self._bytes = sum(size for _, size in self._kept)

    def record(self, changes: Sequence[Change]) -> None:
        """Count new changes and drop the oldest beyond the limits; runs inside the group's transaction."""
        for change in changes:
            self._kept.append((change.revision, len(change.encoded)))
            self._bytes += len(change.encoded)
        # A little over before pruning, so that not every write has to delete a row.
        slack = self._limits.history // 20
        is_over = len(self._kept) > self._limits.history + slack
        if not is_over and self._bytes <= self._limits.history_bytes:
            return
        pruned = 0
        while len(self._kept) > self._limits.history or (
            self._bytes > self._limits.history_bytes and len(self._kept) > 1
        ):
            pruned, size = self._kept.popleft()
            self._bytes -= size
        if pruned:
            self._connection.execute("DELETE FROM changes WHERE revision <= ?", (pruned,))
            self._connection.execute("UPDATE facts SET value = ? WHERE name = 'pruned'", (pruned,))
