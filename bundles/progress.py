"""Progress: the callback that every long step takes. It never prints; who calls it decides what to show.

Raising `Cancelled` from the callback ends the step; the step leaves its surroundings as they were.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from bundles.errors import Cancelled

__all__ = ["Cancelled", "Meter", "Phase", "Progress", "ProgressEvent", "ignore_progress"]

Phase = Literal["checking", "copying", "publishing", "building", "writing", "reading back"]


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """`done` and `total` are bytes; `what` names the file or image under work."""

    phase: Phase
    done: int
    total: int
    what: str


class Progress(Protocol):
    def __call__(self, event: ProgressEvent, /) -> None: ...


def ignore_progress(event: ProgressEvent, /) -> None:
    """For callers who do not care."""


class Meter:
    """Counts the bytes of one phase and tells `progress` after each step, so never out of order."""

    def __init__(self, progress: Progress, phase: Phase, *, total: int) -> None:
        self._progress = progress
        self._phase = phase
        self.total = total
        self.done = 0

    def advance(self, count: int, what: str) -> None:
        self.done += count
        self._progress(ProgressEvent(self._phase, self.done, self.total, what))
