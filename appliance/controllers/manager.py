"""Watches become keys in a queue, keys become reconciles; a reconcile that fails comes back later.

Level-triggered: an event only says that an object deserves a look, and the look reads everything
again. So a missed event, a repeated one and a restart are the same harmless thing. One reconcile's failure
is logged and retried here, in the one broad handler that controllers have.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from appliance.controllers.queue import Key, KeyedQueue
from appliance.resources.meta import Document, Kind
from appliance.store.base import Conflict, Event, Gone, Store, StoreError

log = logging.getLogger(__name__)

# A reconcile that watches of other kinds wake takes at most a fifth of the time, however busy they are.
REST_FACTOR = 4.0
NOTICEABLE_SECONDS = 0.01
WORKERS = 16  # a controller; reconciles that write at the same time share the fsync
UNSERVED_SECONDS = 60.0  # until a kind that nobody serves is asked for again


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconcile leaves: `again_in` seconds if time alone will change the answer."""

    again_in: float | None = None


DONE = Result()


class Observer(Protocol):
    """Sees a whole watch: each beginning, and every event of it, bookmarks too."""

    def restart(self) -> None: ...

    def take(self, event: Event) -> None: ...


@dataclass(frozen=True, slots=True)
class Watch:
    """Another kind that a controller cares about: which of its keys does one changed object concern?

    `settle` seconds are waited for more changes before the reconcile, and longer if the last one was slow.
    """

    kind: Kind
    keys: Callable[[Document], Iterable[Key]]
    settle: float = 0.0
    observer: Observer | None = None


class Controller(Protocol):
    """`reconcile` brings one object where it should be, however often it is called."""

    @property
    def kind(self) -> Kind: ...

    @property
    def watches(self) -> Sequence[Watch]: ...

    async def reconcile(self, key: Key) -> Result: ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failing key waits: doubling, capped, never all at the same moment."""

    first: float = 0.05
    longest: float = 60.0
    jitter: Callable[[], float] = field(default=random.random)

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        full = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return full * (0.5 + self.jitter() / 2)


class Manager:
    """Runs controllers until it is cancelled."""

    def __init__(
        self,
        store: Store,
        controllers: Sequence[Controller],
        *,
        workers: int = WORKERS,
        backoff: Backoff | None = None,
        unserved: float = UNSERVED_SECONDS,
    ) -> None:
        self._store = store
        self._workers = workers
        self._backoff = backoff or Backoff()
        self._unserved = unserved
        self._queues = [(controller, KeyedQueue()) for controller in controllers]
        # Who listens to a kind, looked up once: every write of every host asks.
        self._owners: dict[str, list[KeyedQueue]] = {}
        self._listeners: dict[str, list[tuple[Controller, Watch, KeyedQueue]]] = {}
        for controller, queue in self._queues:
            self._owners.setdefault(controller.kind.plural, []).append(queue)
            for watch in controller.watches:
                self._listeners.setdefault(watch.kind.plural, []).append((controller, watch, queue))
        self._failures: dict[tuple[str, Key], int] = {}
        self._durations: dict[tuple[str, Key], float] = {}

    async def run(self) -> None:
        """Watch and reconcile for ever; cancelling it stops everything."""
        try:
            async with asyncio.TaskGroup() as group:
                for kind in self._watched_kinds():
                    group.create_task(self._follow(kind), name=f"watch {kind}")
                for controller, queue in self._queues:
                    for number in range(self._workers):
                        group.create_task(
                            self._work(controller, queue), name=f"{controller.kind} worker {number}"
                        )
        finally:
            for _, queue in self._queues:
                queue.close()

    @property
    def is_idle(self) -> bool:
        """No key waits and no reconcile runs at this moment."""
        return all(queue.is_idle for _, queue in self._queues)

    def _watched_kinds(self) -> list[Kind]:
        kinds: dict[str, Kind] = {}
        for controller, _ in self._queues:
            for kind in (controller.kind, *(watch.kind for watch in controller.watches)):
                kinds.setdefault(kind.plural, kind)
        return list(kinds.values())

    async def _follow(self, kind: Kind) -> None:
        """One watch a kind, shared by all controllers; a broken one starts over with what exists."""
        failures = 0
        watches = [watch for controller, _ in self._queues for watch in controller.watches]
        observers = [watch.observer for watch in watches if watch.kind == kind and watch.observer]
        while True:
            try:
                if not await self._store.has_kind(kind):
                    await asyncio.sleep(self._unserved)
                    continue
                if failures:
                    await self._revisit(kind)
                for observer in observers:
                    observer.restart()
                async for event in self._store.watch(kind):
                    failures = 0
                    for observer in observers:
                        observer.take(event)
                    if event.type != "BOOKMARK":
                        self._enqueue(event)
            except Gone as error:
                log.info("%s: the watch fell behind (%s); reading everything again", kind, error)
            except StoreError as error:
                log.warning("%s: the watch ended: %s", kind, error)
            failures += 1
            await asyncio.sleep(self._backoff.delay(failures))

    async def _revisit(self, kind: Kind) -> None:
        """Look at everything that depends on this kind: what was deleted unseen will not be told again."""
        for controller, queue in self._queues:
            if kind in (watch.kind for watch in controller.watches):
                for document in (await self._store.list(controller.kind)).items:
                    queue.add(identify(document))

    def _enqueue(self, event: Event) -> None:
        for queue in self._owners.get(event.kind.plural, ()):
            queue.add(identify(event.document))
        for controller, watch, queue in self._listeners.get(event.kind.plural, ()):
            for key in watch.keys(event.document):
                rest = REST_FACTOR * self._durations.get((controller.kind.plural, key), 0.0)
                queue.add_after(key, max(watch.settle, rest) if watch.settle else 0.0)

    async def _work(self, controller: Controller, queue: KeyedQueue) -> None:
        while True:
            key = await queue.get()
            try:
                again_in = await self._reconcile(controller, key)
            finally:
                queue.done(key)
            if again_in is not None:
                queue.add_after(key, again_in)

    async def _reconcile(self, controller: Controller, key: Key) -> float | None:
        """Reconcile once; answer after how many seconds to look again, if at all."""
        counted = (controller.kind.plural, key)
        started = time.monotonic()
        try:
            result = await controller.reconcile(key)
        except Conflict as error:
            log.debug("%s %s: somebody wrote first: %s", controller.kind, key, error)
        except Exception:
            log.exception("%s %s: the reconcile failed", controller.kind, key)
        else:
            self._failures.pop(counted, None)
            return result.again_in
        finally:
            self._remember_slow(counted, time.monotonic() - started)
        failures = self._failures[counted] = self._failures.get(counted, 0) + 1
        return self._backoff.delay(failures)

    def _remember_slow(self, counted: tuple[str, Key], seconds: float) -> None:
        if seconds > NOTICEABLE_SECONDS:
            self._durations[counted] = seconds
        else:
            self._durations.pop(counted, None)


def identify(document: Document) -> Key:
    """The key of a stored object."""
    metadata = document["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


def owner_keys(kind: Kind) -> Callable[[Document], Iterable[Key]]:
    """For a Watch on children: the keys of the owners of one kind."""

    def keys(document: Document) -> Iterable[Key]:
        metadata = document["metadata"]
        for owner in metadata.get("ownerReferences") or ():
            if owner.get("kind") == kind.kind and owner.get("apiVersion") == kind.api_version:
                yield Key(metadata.get("namespace", ""), owner["name"])

    return keys
