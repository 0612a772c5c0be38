"""Wake whoever waits for something to change. It carries no data: who wakes reads the newest state.

That is what keeps a slow reader cheap: a hundred changes while it was busy are one wake-up.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Changes:
    """Belongs to one event loop; other threads go through `loop.call_soon_threadsafe(changes.tell)`."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Event] = set()

    def tell(self) -> None:
        for listener in self._listeners:
            listener.set()

    @contextmanager
    def listen(self) -> Iterator[asyncio.Event]:
        """An event of one's own, set at every change; clear it, then read, and no change is missed."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
