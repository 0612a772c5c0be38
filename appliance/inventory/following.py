"""Follows the store and the network into the inventory, resuming where it stopped.

The resource version that was reached is written in the transaction of what it brought, so after a crash the
watch goes on exactly there. What the store no longer remembers is listed again, page by page. When the
inventory cannot write, following starts over from what it did write.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from functools import partial
from typing import TypeVar

from appliance.discovery import Candidates
from appliance.inventory import book
from appliance.inventory.errors import InventoryError
from appliance.inventory.heard import hear
from appliance.inventory.observations import (
    Announced,
    observe_candidate,
    observe_machine,
    observe_report,
)
from appliance.inventory.staleness import render_time
from appliance.inventory.writer import Writer
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import Document, Kind, decode
from appliance.store.base import EVERYTHING, Event, Gone, Store, StoreError

T = TypeVar("T")

log = logging.getLogger(__name__)

PAGE = 500
MAX_OUTSTANDING = 256  # writes that may wait for the writer; then the watch waits
PAUSE_SECONDS = 1.0
LISTEN_SECONDS = 5.0  # announcements within this are written together


class Following:
    """`origin` names the store: a position in one means nothing in another."""

    def __init__(
        self,
        writer: Writer,
        store: Store,
        candidates: Candidates,
        *,
        origin: str,
        clock: Callable[[], datetime],
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._writer = writer
        self._store = store
        self._candidates = candidates
        self._origin = origin
        self._clock = clock
        self._pause = pause
        self._are_machines_known = asyncio.Event()  # a report of a machine that is not is of no use

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(MACHINE_INVENTORY), name="inventory of machines")
            group.create_task(self._follow(HOST_REPORT), name="inventory of reports")
            group.create_task(self._listen(), name="inventory of announcements")

    async def _follow(self, kind: Kind) -> None:
        while True:
            if kind == HOST_REPORT:
                await self._are_machines_known.wait()
            try:
                since = await self._post(lambda db: _position(db, kind, self._origin))
                since = since or await self._list(kind)
                if kind == MACHINE_INVENTORY:
                    self._are_machines_known.set()
                await self._watch(kind, since)
            except Gone:
                log.info("inventory: the changes of %s since the last visit are gone; listing", kind)
                with suppress(InventoryError):
                    await self._post(lambda db: _reach(db, kind, self._origin, ""))
            except (StoreError, InventoryError) as error:
                log.warning("inventory: following %s stopped (%s); going on soon", kind, error)
            await asyncio.sleep(self._pause)

    async def _list(self, kind: Kind) -> str:
        """Take in all that exists; what is not among it was removed while nobody looked."""
        if kind == MACHINE_INVENTORY:
            await self._post(_begin_listing)
        reached, token = "", ""
        while True:
            page = await self._store.list(kind, EVERYTHING, limit=PAGE, continue_token=token)
            reached = reached or page.resource_version
            await self._post(self._work_for_page(kind, page.items))
            token = page.continue_token
            if not token:
                break
        at = render_time(self._clock())

        def finish(connection: sqlite3.Connection) -> None:
            if kind == MACHINE_INVENTORY:
                _end_listing(connection, at=at)
            _reach(connection, kind, self._origin, reached)

        await self._post(finish)
        return reached

    async def _watch(self, kind: Kind, since: str) -> None:
        outstanding: set[asyncio.Future[None]] = set()
        async with aclosing(self._store.watch(kind, since=since)) as events:
            async for event in events:
                at = render_time(self._clock())
                work = self._work_for(event, at)
                outstanding.add(self._writer.post(work, durable=False))
                if len(outstanding) >= MAX_OUTSTANDING:
                    await asyncio.wait(outstanding, return_when=asyncio.FIRST_COMPLETED)
                for done in [each for each in outstanding if each.done()]:
                    outstanding.discard(done)
                    done.result()  # a write that failed starts the following over

    def _work_for_page(
        self, kind: Kind, documents: Sequence[Document]
    ) -> Callable[[sqlite3.Connection], None]:
        at = render_time(self._clock())

        def work(connection: sqlite3.Connection) -> None:
            for document in documents:
                _take(connection, kind, document, at=at)

        return work

    def _work_for(self, event: Event, at: str) -> Callable[[sqlite3.Connection], None]:
        def work(connection: sqlite3.Connection) -> None:
            version = event.document["metadata"].get("resourceVersion", "")
            if event.type == "DELETED" and event.kind == MACHINE_INVENTORY:
                _drop(connection, event.document, at=at)
            elif event.type in ("ADDED", "MODIFIED"):
                _take(connection, event.kind, event.document, at=at)
            if version:
                _reach(connection, event.kind, self._origin, version)

        return work

    async def _post(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._writer.post(work, durable=False)

    async def _listen(self) -> None:
        told: dict[str, str] = {}  # what each service said last was heard when
        with self._candidates.changes.listen() as changed:
            while True:
                changed.clear()
                for candidate in self._candidates.list():
                    if told.get(candidate.name) != candidate.last_seen:
                        said = observe_candidate(candidate)
                        try:
                            await self._post(partial(_hear, said=said))
                        except InventoryError as error:
                            log.warning("inventory: %s was not noted: %s", candidate.name, error)
                        told[candidate.name] = candidate.last_seen
                names = {candidate.name for candidate in self._candidates.list()}
                told = {name: at for name, at in told.items() if name in names}
                await changed.wait()
                await asyncio.sleep(LISTEN_SECONDS)


def _take(connection: sqlite3.Connection, kind: Kind, document: Document, *, at: str) -> None:
    if kind == MACHINE_INVENTORY:
        book.observe(connection, observe_machine(decode(MachineInventory, document), at=at))
    elif (seen := observe_report(document, at=at)) is not None:
        book.observe(connection, seen)


def _drop(connection: sqlite3.Connection, document: Document, *, at: str) -> None:
    machine = decode(MachineInventory, document)
    metadata = machine.metadata
    book.remove(connection, metadata.namespace, metadata.name, uid=machine.token_uid, at=at)


def _hear(connection: sqlite3.Connection, *, said: Announced) -> None:
    hear(connection, said)


def _begin_listing(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE entries SET is_missing = 1 WHERE state = 'registered'")


def _end_listing(connection: sqlite3.Connection, *, at: str) -> None:
    """Whoever was neither in the list nor registered meanwhile is gone from the store."""
    rows = connection.execute(
        "SELECT namespace, name, uid FROM entries WHERE state = 'registered' AND is_missing"
    ).fetchall()
    for row in rows:
        book.remove(connection, row["namespace"], row["name"], uid=row["uid"], at=at)


def _position(connection: sqlite3.Connection, kind: Kind, origin: str) -> str:
    row = connection.execute(
        "SELECT version FROM positions WHERE kind = ? AND origin = ?", (kind.kind, origin)
    ).fetchone()
    return row["version"] if row else ""


def _reach(connection: sqlite3.Connection, kind: Kind, origin: str, version: str) -> None:
    connection.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (kind.kind, origin, version))
