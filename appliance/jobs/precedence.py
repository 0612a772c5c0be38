"""What may use the mirror's folder at once: loads go first, and its care gives way to them.

Loading beside collecting would do no harm (`mirror.collection` says why), but both would be slow, and
somebody waits for a load. Care is done one at a time, and stands still at its next step while anything
is loaded.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

LOOK_SECONDS = 0.5  # how soon somebody who waits hears that they were told to end
NICENESS = 15

T = TypeVar("T")


class Precedence:
    """For the jobs' threads. Every `check` may raise, which ends the waiting."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._loads = 0
        self._is_caring = False

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Never waits."""
        with self._changed:
            self._loads += 1
        try:
            yield
        finally:
            with self._changed:
                self._loads -= 1
                self._changed.notify_all()

    @contextmanager
    def caring(self, check: Callable[[], None]) -> Iterator[None]:
        """Begins when nothing is loaded and nobody else cares."""
        self._wait(lambda: self._loads > 0 or self._is_caring, check, then=self._begin)
        try:
            yield
        finally:
            with self._changed:
                self._is_caring = False
                self._changed.notify_all()

    def give_way(self, check: Callable[[], None]) -> None:
        """Between two steps of care: wait until nothing is loaded."""
        if self._loads:
            self._wait(lambda: self._loads > 0, check, then=lambda: None)

    def _wait(
        self, is_in_the_way: Callable[[], bool], check: Callable[[], None], *, then: Callable[[], None]
    ) -> None:
        while True:
            with self._changed:
                if not is_in_the_way():
                    then()
                    return
                self._changed.wait(LOOK_SECONDS)
            check()

    def _begin(self) -> None:
        self._is_caring = True


def run_gently(work: Callable[[], T]) -> T:
    """Run it after everything else that wants the processor and the disk.

    In a thread of its own, since a thread without privileges cannot take its niceness back; threads that it
    starts have the same, and so has its reading and writing where the disk's scheduler looks at it.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="gently", initializer=_be_nice) as pool:
        return pool.submit(work).result()


def _be_nice() -> None:
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
