"""Progress of work that runs in the command itself: a line on a terminal, JSON lines elsewhere. On stderr."""

import json
import sys
import threading
import time
from collections.abc import Callable

from appliance.cli.following import NEWS_EVERY_SECONDS, render_bar, render_left
from appliance.cli.output import talk

PAINT_EVERY_SECONDS = 0.1


class Telling:
    """`advance` counts on, `show` says where it is; from any thread. `end` leaves the line behind."""

    def __init__(
        self,
        phase: str,
        *,
        total: int = 0,
        unit: str = "B",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._phase = phase
        self._total = total
        self._unit = unit
        self._done = 0
        self._is_terminal = sys.stderr.isatty()
        self._clock = clock
        self._began = clock()
        self._told = self._began
        self._width = 0
        self._lock = threading.Lock()

    def __enter__(self) -> "Telling":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._tell()

    def show(self, phase: str, done: int, total: int) -> None:
        with self._lock:
            if phase != self._phase:
                self._phase, self._began = phase, self._clock()
            self._done, self._total = done, total
            self._tell()

    def end(self) -> None:
        if self._is_terminal and self._width:
            sys.stderr.write("\n")
            self._width = 0

    def _tell(self) -> None:
        now = self._clock()
        if now - self._told < (PAINT_EVERY_SECONDS if self._is_terminal else NEWS_EVERY_SECONDS):
            return
        self._told = now
        if not self._is_terminal:
            talk(json.dumps({"phase": self._phase, "done": self._done, "total": self._total}))
            return
        text = render_line(self._phase, self._done, self._total, unit=self._unit, seconds=now - self._began)
        sys.stderr.write(f"\r{text.ljust(self._width)}")
        sys.stderr.flush()
        self._width = len(text)


def render_line(phase: str, done: int, total: int, *, unit: str, seconds: float) -> str:
    """`[########............] verifying 41 %  380 MB/s, 12 s left`, or without a total how much is done."""
    speed = done / seconds if seconds >= 1 else 0.0
    rate = f"  {speed / 1e6:.0f} MB/s" if unit == "B" and speed else ""
    if not total:
        return phase + (f" {done / 1e6:.0f} MB{rate}" if unit == "B" and done else "")
    left = f", {render_left((total - done) / speed)} left" if speed else ""
    return f"{render_bar(done, total)}{phase} {100 * done // total} %{rate}{left}"
