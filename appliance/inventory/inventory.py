"""The inventory as the appliance uses it: opened, followed, asked, written to. Every method is for the loop.

Reading happens in two threads, writing in one; the loop waits for neither.
"""

import asyncio
import logging
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.protocol.documents import JSON
from appliance.discovery import Candidates
from appliance.inventory import book, people, queries, rows, table
from appliance.inventory.database import Database
from appliance.inventory.entries import (
    Conflict,
    Details,
    Entry,
    Event,
    ImportOutcome,
    Location,
    State,
)
from appliance.inventory.errors import EntryInvalid, InventoryUnavailable
from appliance.inventory.following import Following
from appliance.inventory.importing import RowsRefused, merge_rows
from appliance.inventory.observations import observe_machine
from appliance.inventory.staleness import judge, render_time
from appliance.inventory.truth import DATABASE, FOLDER, load_truth
from appliance.inventory.writer import Writer
from appliance.resources.machine_inventory import MachineInventory
from appliance.resources.meta import Document
from appliance.store.base import Store

log = logging.getLogger(__name__)

T = TypeVar("T")

READERS = 2
EXPORT_PAGE = 500
# Registrations that wait to be written; more are left to the next time their hosts register.
MAX_WAITING = 4000
MAX_WAITING_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries to list; an empty field asks for nothing. `labels` are `key=value`."""

    state: State | None = None
    place: Mapping[str, str] = field(default_factory=dict)
    labels: Sequence[str] = ()
    seen_before: str = ""


class Inventory:
    """`clock` is the appliance's: no host's time is believed."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._clock = clock
        self._writer = Writer(database.connect())
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="inventory-reader")
        self._connections: list[sqlite3.Connection] = []
        self._local = threading.local()
        self._waiting = self._waiting_bytes = self._dropped = 0

    @classmethod
    def open(cls, data: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> "Inventory":
        """Open or make the file in the data folder; what a backup brought is taken in. Raises InventoryError.

        Blocks for as long as the file's check takes.
        """
        database = Database(data / DATABASE)
        try:
            _take_in(database, data / FOLDER)
        except BaseException:
            database.close()
            raise
        return cls(database, clock=clock)

    def close(self) -> None:
        """Write what waits, then let go of the file."""
        self._readers.shutdown(wait=True, cancel_futures=True)
        for connection in self._connections:
            connection.close()
        self._writer.close()
        self._database.close()

    async def follow(self, store: Store, candidates: Candidates, *, origin: str) -> None:
        """Keep it current from the store and the network, until cancelled."""
        await Following(self._writer, store, candidates, origin=origin, clock=self._clock).run()

    def hear_registration(self, machine: MachineInventory, facts: Mapping[str, JSON]) -> None:
        """Take in what a host said while it registered. Returns at once; a flood is cut, never waited for."""
        encoded = msgspec.json.encode(facts)
        size = len(encoded)
        if self._waiting >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            self._dropped += 1
            if self._dropped.bit_count() == 1:
                log.warning("inventory: %d registrations were not noted, too many at once", self._dropped)
            return
        at = render_time(self._clock())

        def work(connection: sqlite3.Connection) -> None:
            tree = msgspec.json.decode(encoded, type=Document) if size <= rows.MAX_FACTS_BYTES else {}
            book.observe(connection, observe_machine(machine, at=at, facts=tree))

        def forget(done: "asyncio.Future[None]") -> None:
            self._waiting -= 1
            self._waiting_bytes -= size
            if not done.cancelled() and (error := done.exception()):
                log.error("inventory: the registration of %s was not noted: %s", machine.metadata.name, error)

        try:
            future = self._writer.post(work, durable=False)
        except InventoryUnavailable:
            return
        self._waiting += 1
        self._waiting_bytes += size
        future.add_done_callback(forget)

    # --- asked

    async def select(self, wanted: Wanted, *, limit: int, after: tuple[str, int] = ("", 0)) -> list[Entry]:
        """Entries by name, those after (name, id)."""
        return await self._read(lambda db: self._judged(_select(db, wanted, limit=limit, after=after)))

    async def search(self, text: str, *, limit: int) -> list[Entry]:
        """What it names exactly first. Raises EntryInvalid."""
        return await self._read(
            lambda db: self._judged(rows.read_entries(db, queries.search(db, text, limit=limit)))
        )

    async def show(self, reference: str) -> Details:
        """Raises MachineUnknown, MachineAmbiguous."""

        def read(connection: sqlite3.Connection) -> Details:
            details = rows.read_details(connection, rows.find_entry(connection, reference))
            return msgspec.structs.replace(details, entry=self._judged([details.entry])[0])

        return await self._read(read)

    async def history(self, reference: str, *, before: int = 0, limit: int = 100) -> list[Event]:
        """Newest first; of every machine when `reference` is empty."""

        def read(connection: sqlite3.Connection) -> list[Event]:
            number = rows.find_entry(connection, reference) if reference else None
            return rows.read_events(connection, number, before=before, limit=limit)

        return await self._read(read)

    async def conflicts(self) -> list[Conflict]:
        return await self._read(lambda db: rows.read_conflicts(db))

    async def export(self, *, format: str) -> AsyncIterator[bytes]:
        """The whole as CSV, or as JSON lines, in pieces."""
        if format == "csv":
            yield table.render_csv_header().encode()
        render = table.render_csv_row if format == "csv" else table.render_json_row
        place = ("", 0)

        def read(connection: sqlite3.Connection) -> tuple[list[Entry], str]:
            page = self._judged(_select(connection, Wanted(), limit=EXPORT_PAGE, after=place))
            return page, "".join(render(entry, rows.read_notes(connection, entry.id)) for entry in page)

        while True:
            page, text = await self._read(read)
            if not page:
                return
            yield text.encode()
            place = page[-1].name, page[-1].id

    # --- written by people

    async def set_location(self, reference: str, place: Location, *, by: str) -> Entry:
        return await self._change(
            reference, lambda db, number, at: people.set_location(db, number, place, by=by, at=at)
        )

    async def set_tag(self, reference: str, tag: str, *, by: str) -> Entry:
        return await self._change(
            reference, lambda db, number, at: people.set_tag(db, number, tag, by=by, at=at)
        )

    async def add_note(self, reference: str, text: str, *, by: str) -> Entry:
        return await self._change(
            reference, lambda db, number, at: people.add_note(db, number, text, by=by, at=at)
        )

    async def merge(self, reference: str, other: str, *, by: str) -> Entry:
        """Make the entry `other` part of the first: they are one machine."""

        def work(connection: sqlite3.Connection, number: int, at: str) -> None:
            people.merge_entries(connection, number, rows.find_entry(connection, other), by=by, at=at)

        return await self._change(reference, work)

    async def keep_apart(self, conflict: int, *, by: str) -> None:
        at = render_time(self._clock())
        await self._writer.post(lambda db: people.keep_apart(db, conflict, by=by, at=at), durable=True)

    async def import_rows(
        self, content: bytes, *, format: str, skip_bad: bool, dry_run: bool, by: str
    ) -> ImportOutcome:
        """Merge a file's tags, locations and notes: all, the good rows, or nothing. Raises EntryInvalid."""
        parsed = await asyncio.to_thread(lambda: [*table.parse_rows(content, format=format)])
        if not parsed:
            raise EntryInvalid("The file has no rows.")
        at = render_time(self._clock())
        try:
            outcome = await self._writer.post(
                lambda db: merge_rows(db, parsed, skip_bad=skip_bad, by=by, at=at),
                durable=True,
                dry_run=dry_run,
            )
        except RowsRefused as refused:
            return refused.outcome
        return msgspec.structs.replace(outcome, is_applied=not dry_run)

    # --- below

    async def _change(self, reference: str, work: Callable[[sqlite3.Connection, int, str], None]) -> Entry:
        at = render_time(self._clock())

        def change(connection: sqlite3.Connection) -> Entry:
            number = rows.find_entry(connection, reference)
            work(connection, number, at)
            book.refresh_index(connection, number)
            return rows.read_entries(connection, [number])[0]

        return self._judged([await self._writer.post(change, durable=True)])[0]

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def read() -> T:
            if not hasattr(self._local, "connection"):
                self._local.connection = self._database.connect(read_only=True)
                self._connections.append(self._local.connection)
            connection: sqlite3.Connection = self._local.connection
            connection.execute("BEGIN")
            try:
                return work(connection)
            except sqlite3.Error as error:
                raise InventoryUnavailable(f"The inventory cannot be read: {error}.") from error
            finally:
                connection.execute("ROLLBACK")

        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, read)
        except RuntimeError as error:
            raise InventoryUnavailable("The inventory is closed.") from error

    def _judged(self, entries: Sequence[Entry]) -> list[Entry]:
        now = self._clock()
        return [
            msgspec.structs.replace(entry, staleness=judge(entry.last_seen, now=now)) for entry in entries
        ]


def _select(
    connection: sqlite3.Connection, wanted: Wanted, *, limit: int, after: tuple[str, int]
) -> list[Entry]:
    conditions, values = ["(name, id) > (?, ?)"], [*after]
    if wanted.state:
        conditions.append("state = ?")
        values.append(wanted.state)
    for part, value in wanted.place.items():
        if part not in people.PLACE:
            raise EntryInvalid(f"A location has no {part!r}.", hint="It has site, line, cell and slot.")
        conditions.append(f"{part} = ?")
        values.append(value)
    for label in wanted.labels:
        conditions.append("id IN (SELECT entry FROM keys WHERE kind = 'label' AND value = ?)")
        values.append(label)
    if wanted.seen_before:
        conditions.append("last_seen < ?")
        values.append(wanted.seen_before)
    found = connection.execute(
        f"SELECT * FROM entries WHERE {' AND '.join(conditions)} ORDER BY name, id LIMIT ?",  # noqa: S608
        (*values, limit),
    ).fetchall()
    return [rows.entry_of(row, conflicts=rows.count_conflicts(connection, row["id"])) for row in found]


def _take_in(database: Database, folder: Path) -> None:
    """What a restore or a repair left for a new file; repeated after a crash, it starts over."""
    if not folder.is_dir():
        return
    connection = database.connect()
    try:
        connection.execute("BEGIN IMMEDIATE")
        is_empty = connection.execute("SELECT count(*) FROM entries").fetchone()[0] == 0
        if is_empty:
            log.info("inventory: %d machines came back from %s", load_truth(connection, folder), folder)
        connection.execute("COMMIT")
    finally:
        connection.close()
    shutil.rmtree(folder)
