"""What only the inventory knows, as files: history, notes, places, tags, and by what each machine is known.

For the backup, which reads a running appliance's file; for the repair of a damaged one, from which it takes
what can still be read; and back into a new file. All else comes again from the store.
"""

import gzip
import logging
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from appliance.files import PRIVATE, make_private_directory, sync_directory, write_durably
from appliance.inventory.book import refresh_index
from appliance.inventory.database import Database, damaged
from appliance.inventory.entries import Entry, Event, Note, Shape
from appliance.inventory.errors import InventoryDamaged, InventoryUnavailable
from appliance.inventory.rows import entry_of, read_events, read_facts, read_notes
from appliance.resources.meta import Document

log = logging.getLogger(__name__)

DATABASE = "inventory.db"
FOLDER = "inventory"  # where a restored or repaired appliance finds the files below
MAX_FILE_BYTES = 900 * 1024  # under what a backup takes as one file
LINES_AT_ONCE = 500
MAX_LINE_BYTES = 16 * 1024 * 1024


class Kept(Shape, frozen=True, kw_only=True):
    """One machine. `keys` are those that last: TPM hashes, former names, ids that it announced."""

    entry: Entry
    facts: Document = msgspec.field(default_factory=dict)
    keys: list[tuple[str, str]] = msgspec.field(default_factory=list)
    notes: list[Note] = msgspec.field(default_factory=list)
    events: list[Event] = msgspec.field(default_factory=list)


def read_truth(data: Path) -> dict[str, bytes]:
    """The files to back up, by path in the data folder; none where there is no inventory yet.

    From one moment, also while the appliance runs. Raises InventoryDamaged.
    """
    path = data / DATABASE
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            return render_files(_each_kept(connection))
    except (sqlite3.Error, zlib.error, msgspec.DecodeError) as error:
        raise damaged(path, str(error)) from error


def render_files(lines: Iterator[bytes]) -> dict[str, bytes]:
    """Lines as compressed files, each small enough for a backup."""
    files: dict[str, bytes] = {}
    parts: list[bytes] = []
    size = 0
    for line in lines:
        part = gzip.compress(line, compresslevel=5, mtime=0)
        if parts and size + len(part) > MAX_FILE_BYTES:
            files[f"{FOLDER}/{len(files):05}.jsonl.gz"] = b"".join(parts)
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    if parts:
        files[f"{FOLDER}/{len(files):05}.jsonl.gz"] = b"".join(parts)
    return files


def load_truth(connection: sqlite3.Connection, folder: Path) -> int:
    """Put the files into an empty inventory; how many machines they had. Raises InventoryDamaged."""
    count = 0
    for path in sorted(folder.glob("*.jsonl.gz")):
        try:
            with gzip.open(path) as file:
                while line := file.readline(MAX_LINE_BYTES):
                    _load(connection, msgspec.json.decode(line, type=Kept))
                    count += 1
        except (OSError, EOFError, msgspec.DecodeError) as error:
            raise InventoryDamaged(
                f"{path} cannot be read: {error}.", hint="Move it away, or restore another backup."
            ) from error
    return count


def repair(data: Path) -> tuple[int, Path]:
    """Save what can be read of the file for the next start, and set it aside; how many machines, and where.

    The appliance must not run meanwhile. Raises InventoryUnavailable when it does.
    """
    path = data / DATABASE
    if not path.exists():
        raise InventoryUnavailable(f"{data} holds no inventory.", hint="Name the appliance's folder: --data")
    with suppress(InventoryDamaged):
        Database(path).close()  # refuses while an appliance has it
        raise InventoryUnavailable(f"{path} is sound; there is nothing to repair.")
    lines = list(_each_readable(path))
    files = render_files(iter(lines))
    make_private_directory(data / FOLDER)
    for name, content in files.items():
        write_durably(data / name, content, mode=PRIVATE)
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    path.rename(aside)
    for ending in ("-wal", "-shm"):
        side = path.with_name(path.name + ending)
        if side.exists():
            side.rename(aside.with_name(aside.name + ending))
    sync_directory(data)
    return len(lines), aside


def _each_kept(connection: sqlite3.Connection) -> Iterator[bytes]:
    for row in connection.execute("SELECT * FROM entries ORDER BY id"):
        yield _render(connection, row)


def _each_readable(path: Path) -> Iterator[bytes]:
    """Machine by machine: a page that cannot be read costs those that are on it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        try:
            highest = connection.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()[0] or 0
        except sqlite3.DatabaseError as error:
            log.warning("inventory: nothing of %s can be read: %s", path, error)
            return
        for number in range(1, highest + 1):
            try:
                row = connection.execute("SELECT * FROM entries WHERE id = ?", (number,)).fetchone()
                if row is not None:
                    yield _render(connection, row)
            except (sqlite3.DatabaseError, msgspec.DecodeError, ValueError) as error:
                log.warning("inventory: entry %d of %s is lost: %s", number, path, error)


def _render(connection: sqlite3.Connection, row: sqlite3.Row) -> bytes:
    number = row["id"]
    keys = connection.execute(
        "SELECT kind, value FROM keys WHERE entry = ? AND kind IN ('tpm', 'machine', 'alias', 'announced')",
        (number,),
    )
    kept = Kept(
        entry=entry_of(row),
        facts=read_facts(connection, number),
        keys=[(key["kind"], key["value"]) for key in keys],
        notes=read_notes(connection, number),
        events=read_events(connection, number, limit=-1)[::-1],
    )
    return msgspec.json.encode(kept) + b"\n"


def _load(connection: sqlite3.Connection, kept: Kept) -> None:
    entry, place = kept.entry, kept.entry.location
    connection.execute(
        "INSERT INTO entries (id, state, namespace, name, uid, approval, tpm_hash, machine_hash, serial,"
        " manufacturer, product, asset_tag, site, line, cell, slot, macs, addresses, labels, first_seen,"
        " last_seen, last_source) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(entry.id, entry.state, entry.namespace, entry.name, entry.uid, entry.approval),
            *(entry.tpm_hash, entry.machine_hash, entry.serial, entry.manufacturer, entry.product),
            *(entry.asset_tag, place.site, place.line, place.cell, place.slot),
            *(msgspec.json.encode(each).decode() for each in (entry.macs, entry.addresses, entry.labels)),
            *(entry.first_seen, entry.last_seen, entry.last_source),
        ),
    )
    if kept.facts:
        document = zlib.compress(msgspec.json.encode(kept.facts, order="sorted"), level=1)
        connection.execute("INSERT INTO facts VALUES (?, ?)", (entry.id, document))
    connection.executemany(
        "INSERT OR IGNORE INTO keys VALUES (?, ?, ?)", [(*key, entry.id) for key in kept.keys]
    )
    connection.executemany(
        "INSERT INTO notes (entry, time, author, text) VALUES (?, ?, ?, ?)",
        [(entry.id, note.time, note.author, note.text) for note in kept.notes],
    )
    connection.executemany(
        "INSERT INTO events (entry, time, kind, what, before, after, source) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (entry.id, each.time, each.kind, each.what, each.before, each.after, each.source)
            for each in kept.events
        ],
    )
    refresh_index(connection, entry.id)
