"""The inventory's SQLite file: opened by one program at a time, checked, migrated.

Besides the store's, the only importer of sqlite_utils, and only for the schema. What can be derived again is
written without waiting for the disk; the writer asks for more where people wrote.
"""

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path

import sqlite_utils

from appliance.files import PRIVATE, sync_directory
from appliance.inventory.errors import InventoryDamaged, InventoryUnavailable

APPLICATION_ID = 0x534B4956  # "SKIV", so that another program's database is told apart

migrations = sqlite_utils.Migrations("skerry-inventory")
MIGRATION_NAMES = ("0001-entries",)


@migrations(name=MIGRATION_NAMES[0])
def _create_entries(database: sqlite_utils.Database) -> None:
    """`keys` finds an entry by one exact thing; `search` by any part of anything (trigrams)."""
    for statement in (
        """CREATE TABLE entries (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             state TEXT NOT NULL, namespace TEXT NOT NULL DEFAULT '', name TEXT NOT NULL DEFAULT '',
             uid TEXT NOT NULL DEFAULT '', approval TEXT NOT NULL DEFAULT '',
             tpm_hash TEXT NOT NULL DEFAULT '', machine_hash TEXT NOT NULL DEFAULT '',
             serial TEXT NOT NULL DEFAULT '', manufacturer TEXT NOT NULL DEFAULT '',
             product TEXT NOT NULL DEFAULT '', asset_tag TEXT NOT NULL DEFAULT '',
             site TEXT NOT NULL DEFAULT '', line TEXT NOT NULL DEFAULT '',
             cell TEXT NOT NULL DEFAULT '', slot TEXT NOT NULL DEFAULT '',
             macs TEXT NOT NULL DEFAULT '[]', addresses TEXT NOT NULL DEFAULT '[]',
             labels TEXT NOT NULL DEFAULT '{}', first_seen TEXT NOT NULL, last_seen TEXT NOT NULL DEFAULT '',
             last_source TEXT NOT NULL DEFAULT '', is_missing INTEGER NOT NULL DEFAULT 0)""",
        "CREATE INDEX entries_by_name ON entries (name, id)",
        "CREATE INDEX entries_by_location ON entries (site, line, cell, slot)",
        "CREATE INDEX entries_by_last_seen ON entries (last_seen)",
        "CREATE TABLE facts (entry INTEGER PRIMARY KEY, document BLOB NOT NULL)",
        """CREATE TABLE keys (
             kind TEXT NOT NULL, value TEXT NOT NULL, entry INTEGER NOT NULL,
             PRIMARY KEY (kind, value, entry)) WITHOUT ROWID""",
        "CREATE INDEX keys_by_entry ON keys (entry)",
        "CREATE INDEX keys_by_value ON keys (value, entry)",
        """CREATE TABLE sightings (
             entry INTEGER NOT NULL, source TEXT NOT NULL, address TEXT NOT NULL, interface TEXT NOT NULL,
             first_seen TEXT NOT NULL, last_seen TEXT NOT NULL, times INTEGER NOT NULL,
             PRIMARY KEY (entry, source, address, interface)) WITHOUT ROWID""",
        """CREATE TABLE events (
             id INTEGER PRIMARY KEY AUTOINCREMENT, entry INTEGER NOT NULL, time TEXT NOT NULL,
             kind TEXT NOT NULL, what TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL,
             source TEXT NOT NULL)""",
        "CREATE INDEX events_by_entry ON events (entry, id)",
        """CREATE TABLE notes (
             id INTEGER PRIMARY KEY AUTOINCREMENT, entry INTEGER NOT NULL, time TEXT NOT NULL,
             author TEXT NOT NULL, text TEXT NOT NULL)""",
        "CREATE INDEX notes_by_entry ON notes (entry, id)",
        """CREATE TRIGGER notes_stay BEFORE DELETE ON notes
             BEGIN SELECT RAISE(ABORT, 'notes are never deleted'); END""",
        """CREATE TRIGGER notes_are_final BEFORE UPDATE OF time, author, text ON notes
             BEGIN SELECT RAISE(ABORT, 'notes are never changed'); END""",
        """CREATE TABLE conflicts (
             id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, value TEXT NOT NULL,
             one INTEGER NOT NULL, other INTEGER NOT NULL, since TEXT NOT NULL,
             is_open INTEGER NOT NULL DEFAULT 1, UNIQUE (kind, value, one, other))""",
        "CREATE INDEX conflicts_by_other ON conflicts (other)",
        "CREATE INDEX conflicts_by_one ON conflicts (one)",
        """CREATE TABLE positions (
             kind TEXT PRIMARY KEY, origin TEXT NOT NULL, version TEXT NOT NULL) WITHOUT ROWID""",
        """CREATE VIRTUAL TABLE search USING fts5 (
             name, serial, mac, ip, tag, location, label, more, tokenize = 'trigram')""",
    ):
        database.execute(statement)


class Database:
    """An open, sound, migrated file that no other program has open. Raises InventoryError's children."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _lock(path)
        try:
            _prepare(path)
        except BaseException:
            os.close(self._lock)
            raise

    def connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        """A connection for one thread at a time; transactions are begun by hand."""
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -8192")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        return connection

    def close(self) -> None:
        """Let the next program in. Its connections must be closed before."""
        os.close(self._lock)


def _lock(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise InventoryUnavailable(f"The inventory {path} cannot be opened: {error.strerror}.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise InventoryUnavailable(
            f"The inventory {path} is in use by another program.", hint="Stop the appliance first."
        ) from error
    return lock


def _prepare(path: Path) -> None:
    is_new = not path.exists()
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            _check_sound(connection, path)
            _migrate(connection, path)
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from error
    except OSError as error:
        raise InventoryUnavailable(f"The inventory {path} cannot be opened: {error.strerror}.") from error
    if is_new:
        sync_directory(path.parent)


def _check_sound(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    has_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
    if application != APPLICATION_ID and has_tables:
        raise InventoryDamaged(f"{path} is a database of another program.", hint="Move it away.")
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise damaged(path, problem)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database = sqlite_utils.Database(connection, execute_plugins=False)
    newer = {migration.name for migration in migrations.applied(database)} - set(MIGRATION_NAMES)
    if newer:
        raise InventoryUnavailable(
            f"The inventory {path} was written by a newer release ({', '.join(sorted(newer))})."
        )
    migrations.apply(database)
    connection.commit()


def damaged(path: Path, problem: str) -> InventoryDamaged:
    """What to say of a file that is not sound, and the way out."""
    return InventoryDamaged(
        f"The inventory {path} is damaged: {problem.strip()}.",
        hint=f"Stop the appliance, then: skerry inventory repair --data {path.parent}",
    )
