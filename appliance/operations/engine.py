"""Runs long jobs: a bounded number of worker threads, a bounded queue, a journal, and news for followers.

Worker threads are daemons: an appliance that is told to stop does not wait for a device's last write, it
leaves the job unfinished in the journal, exactly as a power cut would, and the next start takes it up.
"""

import asyncio
import logging
import queue
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance.changes import Changes
from appliance.errors import (
    InvalidParameters,
    TooManyOperations,
    UnknownOperation,
    UnknownOperationKind,
)
from appliance.operations.journal import Accepted, Begun, Failure, Finished, Journal, Line
from appliance.operations.kinds import Operation, OperationKind, State
from bundles.progress import Cancelled, ProgressEvent

log = logging.getLogger(__name__)

WORKERS = 4
MAX_WAITING = 64
KEPT = 200  # finished operations that are remembered
MAX_ATTEMPTS = 3  # a job that ended the appliance three times is not tried a fourth time
NEWS_EVERY_SECONDS = 0.1

T = TypeVar("T")


class Operations:
    """Belongs to the event loop that `open` ran on."""

    def __init__(
        self,
        directory: Path,
        kinds: Mapping[str, OperationKind[Any]],
        *,
        workers: int = WORKERS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._journal = Journal(directory)
        self._kinds = dict(kinds)
        self._operations: dict[str, Operation] = {}
        self._cancelled: set[str] = set()
        self._stopping = threading.Event()
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._workers = workers
        self._now = now
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []
        self.changes = Changes()

    async def open(self) -> None:
        """Read the journal, take up what a crash left unfinished, start the workers."""
        self._loop = asyncio.get_running_loop()
        for lines in await asyncio.to_thread(self._journal.read):
            operation = replay(lines)
            self._operations[operation.id] = operation
            if not operation.is_final:
                await asyncio.to_thread(self._take_up, operation)
        for number in range(self._workers):
            thread = threading.Thread(target=self._work, name=f"operation-worker-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    async def close(self, *, patience: float = 5) -> None:
        """Tell the running jobs to end, and wait for them for a while."""
        self._stopping.set()
        for _ in self._threads:
            self._waiting.put(None)
        deadline = time.monotonic() + patience
        for thread in self._threads:
            await asyncio.to_thread(thread.join, max(0.0, deadline - time.monotonic()))
        self._threads.clear()

    async def start(self, kind: str, params: Mapping[str, Any]) -> Operation:
        """Accept a job: it is in the journal when this returns. Raises OperationError's children."""
        if kind not in self._kinds:
            raise UnknownOperationKind(
                f"There is no operation of kind {kind!r}.", hint=f"Kinds: {', '.join(sorted(self._kinds))}."
            )
        try:
            msgspec.convert(dict(params), self._kinds[kind].params)
        except msgspec.ValidationError as error:
            raise InvalidParameters(f"The parameters of {kind} are wrong: {error}.") from error
        if sum(not operation.is_final for operation in self._operations.values()) >= MAX_WAITING:
            raise TooManyOperations(
                f"{MAX_WAITING} operations are already waiting or running.", hint="Cancel one, or wait."
            )
        at = self._time()
        # The id sorts by time, so the journal's file names do too.
        new = f"{at[:19].replace('-', '').replace(':', '').replace('T', '-')}-{secrets.token_hex(3)}"
        operation = Operation(new, kind, dict(params), "queued", at)
        await asyncio.to_thread(self._journal.append, new, Accepted(new, kind, operation.params, at))
        self._put(operation)
        self._waiting.put(new)
        await asyncio.to_thread(self._forget_oldest)
        return operation

    def list(self) -> list[Operation]:
        """Newest first."""
        with self._lock:
            return sorted(self._operations.values(), key=lambda operation: operation.id, reverse=True)

    def get(self, id: str) -> Operation:
        try:
            return self._operations[id]
        except KeyError:
            raise UnknownOperation(
                f"There is no operation {id}.", hint="List them: skerry operation list."
            ) from None

    async def cancel(self, id: str) -> Operation:
        """Ask a job to end; it does at its next progress event. One that waits ends at once."""
        operation = self.get(id)
        if operation.is_final:
            return operation
        self._cancelled.add(id)
        if self._claim(id, "cancelled"):
            await asyncio.to_thread(self._finish, id, Finished("cancelled", self._time()))
        return self.get(id)

    async def follow(self, id: str) -> AsyncIterator[Operation]:
        """Yield the job now and whenever it changed, ten times a second at most, until its final state."""
        with self.changes.listen() as changed:
            seen = None
            while True:
                changed.clear()
                operation = self.get(id)
                if operation != seen:
                    seen = operation
                    yield operation
                    if operation.is_final:
                        return
                    await asyncio.sleep(NEWS_EVERY_SECONDS)
                await changed.wait()

    # --- the workers' side

    def _work(self) -> None:
        while (next_id := self._waiting.get()) is not None:
            if not self._stopping.is_set() and self._claim(next_id, "running"):
                self._run(next_id)

    def _run(self, id: str) -> None:
        """One attempt at one job, from the journal's Begun to its Finished."""
        operation = self.get(id)
        kind = self._kinds[operation.kind]
        begun = Begun(operation.attempts + 1, self._time())
        self._journal.append(id, begun)
        self._put(replace(operation, state="running", started_at=begun.at, attempts=begun.attempt))
        try:
            result = kind.work(msgspec.convert(operation.params, kind.params), _Context(self, id))
            finished = Finished("succeeded", self._time(), result=result)
        except Cancelled:
            if self._stopping.is_set() and id not in self._cancelled:
                return
            finished = Finished("cancelled", self._time())
        except (
            Exception
        ) as error:  # the one broad handler of operations: whatever a job raises, it only failed
            log.warning("operation %s: %s failed", id, operation.kind, exc_info=error)
            finished = Finished("failed", self._time(), error=describe_failure(error))
        self._finish(id, finished)

    def _claim(self, id: str, state: State) -> bool:
        """Take a queued job out of the queue's hands; only one of a worker and a canceller gets it."""
        with self._lock:
            operation = self._operations.get(id)
            if operation is None or operation.state != "queued":
                return False
            self._operations[id] = replace(operation, state=state)
            return True

    def _check_wanted(self, id: str) -> None:
        if self._stopping.is_set() or id in self._cancelled:
            raise Cancelled(f"Operation {id} was told to end.")

    def _advance(self, id: str, event: ProgressEvent) -> None:
        self._check_wanted(id)
        self._put(replace(self.get(id), progress=event))

    def _finish(self, id: str, finished: Finished) -> None:
        self._journal.append(id, finished)
        self._put(_finish(self.get(id), finished))
        self._cancelled.discard(id)

    def _take_up(self, operation: Operation) -> None:
        """A job that a crash ended: queue it again if that is safe, else say that it was interrupted."""
        kind = self._kinds.get(operation.kind)
        if kind and kind.is_resumable and operation.attempts < MAX_ATTEMPTS:
            log.warning("operation %s: %s was interrupted and is started again", operation.id, operation.kind)
            self._put(replace(operation, state="queued"))
            self._waiting.put(operation.id)
            return
        failure = Failure("Interrupted", "The appliance stopped while this was running.", "Start it again.")
        self._finish(operation.id, Finished("interrupted", self._time(), error=failure))

    def _put(self, operation: Operation) -> None:
        with self._lock:
            self._operations[operation.id] = operation
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.changes.tell)

    def _forget_oldest(self) -> None:
        finished = [operation.id for operation in self.list() if operation.is_final]
        for old in finished[KEPT:]:
            self._journal.remove(old)
            with self._lock:
                self._operations.pop(old, None)

    def _time(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")


class _Context:
    """`OperationContext` of one running job."""

    def __init__(self, operations: Operations, id: str) -> None:
        self._operations = operations
        self._id = id

    def progress(self, event: ProgressEvent, /) -> None:
        self._operations._advance(self._id, event)

    def on_loop(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        loop = self._operations._loop
        assert loop is not None, "jobs run only after open()"
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


def replay(lines: list[Line]) -> Operation:
    """The operation that a journal's lines tell of. Pure. The first line is an Accepted."""
    first = lines[0]
    assert isinstance(first, Accepted), "Journal.read returns nothing else"
    operation = Operation(first.id, first.kind, first.params, "queued", first.at)
    for line in lines[1:]:
        match line:
            case Begun(attempt, at):
                operation = replace(operation, state="running", started_at=at, attempts=attempt)
            case Finished():
                operation = _finish(operation, line)
    return operation


def describe_failure(error: Exception) -> Failure:
    """Our packages' errors are sentences with a hint; anything else is a defect and says so."""
    if type(error).__module__.partition(".")[0] in ("appliance", "bundles", "mirror"):
        return Failure(type(error).__name__, str(error), str(getattr(error, "hint", "")))
    if isinstance(error, OSError):
        return Failure("InputOutput", f"{error.strerror or error}: {error.filename or 'the device'}.")
    return Failure("Internal", f"{type(error).__name__}: {error}", "The appliance's log has the details.")


def _finish(operation: Operation, finished: Finished) -> Operation:
    return replace(
        operation,
        state=finished.state,
        finished_at=finished.at,
        result=finished.result,
        error=finished.error,
    )
