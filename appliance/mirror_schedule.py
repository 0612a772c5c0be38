"""Collects and verifies the mirror now and then: ordinary operations, started when their time has come.

When it was last done is read from the mirror and from the list of operations, never remembered, so a box that
is switched off every night is cared for as often as one that is not. What it starts gives way to loads.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from appliance.errors import OperationError
from appliance.mirror_settings import CareIntervals
from appliance.operations import Operation, Operations
from mirror.care import Chore, read_care

log = logging.getLogger(__name__)

SETTLE_SECONDS = 600.0  # a box that was just switched on is needed for something else
LOOK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of operation that the schedule starts, and what the mirror calls it."""

    kind: str
    chore: Chore
    every: float


class MirrorSchedule:
    """`run` until cancelled. An interval of 0 is never."""

    def __init__(
        self,
        operations: Operations,
        root: Path,
        intervals: CareIntervals,
        *,
        now: Callable[[], float] = time.time,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._operations = operations
        self._root = root
        self._now = now
        self._look_seconds = look_seconds
        self._tasks = (
            Task("collect-mirror", "collection", intervals.collection),
            Task("verify-mirror", "verification", intervals.verification),
        )

    async def run(self) -> None:
        began = time.monotonic()
        while True:
            shortest = min((task.every for task in self._tasks if task.every), default=0.0)
            await asyncio.sleep(min(self._look_seconds, shortest) or self._look_seconds)
            await self.look(up_seconds=time.monotonic() - began)

    async def look(self, *, up_seconds: float) -> None:
        """Start what is due, one thing at a time."""
        listed = self._operations.list()
        if any(not operation.is_final and self._is_ours(operation) for operation in listed):
            return
        due = []
        for task in self._tasks:
            last = last_time(self._times(task, listed), now=self._now())
            if is_due(last, task.every, now=self._now(), up_seconds=up_seconds):
                due.append((last, task))
        if due:
            _, chosen = min(due, key=lambda each: each[0])  # so that what is often due starves nothing
            try:
                await self._operations.start(chosen.kind, {})
            except OperationError as error:
                log.warning("mirror schedule: %s is not started: %s", chosen.kind, error)

    def _is_ours(self, operation: Operation) -> bool:
        return operation.kind in {task.kind for task in self._tasks}

    def _times(self, task: Task, listed: Sequence[Operation]) -> list[float]:
        """When it was done or tried, by whomever; a dry run is neither."""
        care = read_care(self._root, task.chore)
        tried = [each for each in listed if each.kind == task.kind and not each.params.get("dryRun")]
        times = [datetime.fromisoformat(each.created_at).timestamp() for each in tried]
        return [*times, *([care.at] if care else [])]


def last_time(times: Iterable[float], *, now: float) -> float:
    """The last of the times, 0 for never. Those still to come were told by a clock that was wrong."""
    return max((at for at in times if at <= now), default=0.0)


def is_due(last: float, every: float, *, now: float, up_seconds: float) -> bool:
    """Pure. `last` is 0 for what was never done."""
    if not every or up_seconds < min(SETTLE_SECONDS, every):
        return False
    return not last or now - last >= every
