"""A queue of keys in which each key is at most once, and never in two hands at the same time.

A key that is added while somebody holds it comes back when they are done: level-triggered work needs to
be done once more, not as many times as it was asked for.
"""

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One object of a controller's kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class KeyedQueue:
    """`get` takes the longest waiting key, `done` gives it back."""

    def __init__(self) -> None:
        # Wakes one of many who wait for each key; an Event would wake them all.
        self._waiting: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._held: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def add(self, key: Key) -> None:
        """Ask for a key to be looked at, as soon as nobody holds it."""
        if key in self._held:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._waiting.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for a key after some time; of several such wishes the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= when:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._expire, key)

    async def get(self) -> Key:
        """Wait for a key and hold it."""
        key = await self._waiting.get()
        self._queued.discard(key)
        self._held.add(key)
        return key

    def done(self, key: Key) -> None:
        """Let a key go; it queues again if it was asked for meanwhile."""
        self._held.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Forget every timer."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing is held; timers may still be running."""
        return self._waiting.empty() and not self._held

    def _expire(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)
