"""The SQLite file under the embedded store: opened by one program at a time, checked, migrated.

The only importer of sqlite_utils, and only for the schema: the hot paths use plain connections from here.
Nothing here knows what a resource is.
"""

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path

import sqlite_utils

from appliance.store.base import Damaged, Unavailable

APPLICATION_ID = 0x534B5259  # "SKRY", so that another program's database is told apart

migrations = sqlite_utils.Migrations("skerry")
MIGRATION_NAMES = ("0001-objects-and-changes", "0002-labels")


@migrations(name=MIGRATION_NAMES[0])
def _create_objects_and_changes(database: sqlite_utils.Database) -> None:
    """AUTOINCREMENT is what keeps a resource version from ever being used twice."""
    for statement in (
        """CREATE TABLE objects (
             id INTEGER PRIMARY KEY,
             kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
             uid TEXT NOT NULL, labels BLOB NOT NULL, document BLOB NOT NULL)""",
        "CREATE UNIQUE INDEX objects_by_name ON objects (kind, namespace, name)",
        "CREATE UNIQUE INDEX objects_by_uid ON objects (uid)",
        "CREATE INDEX objects_by_namespace ON objects (namespace)",
        """CREATE TABLE owners (
             owner TEXT NOT NULL, object INTEGER NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
             PRIMARY KEY (owner, object)) WITHOUT ROWID""",
        "CREATE INDEX owners_by_object ON owners (object)",
        """CREATE TABLE changes (
             revision INTEGER PRIMARY KEY AUTOINCREMENT,
             kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
             type TEXT NOT NULL, document BLOB NOT NULL, before BLOB)""",
        "CREATE INDEX changes_by_kind ON changes (kind, revision)",
        "CREATE INDEX changes_by_name ON changes (kind, namespace, name, revision)",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO facts VALUES ('pruned', 0)",
        # Version 0 means "any" on the wire, so an empty store is at version 1.
        "INSERT INTO sqlite_sequence (name, seq) VALUES ('changes', 1)",
    ):
        database.execute(statement)


@migrations(name=MIGRATION_NAMES[1])
def _create_labels(database: sqlite_utils.Database) -> None:
    """Which objects carry a label, in the order of a list. Its rows come and go with the objects' own."""
    for statement in (
        """CREATE TABLE labels (
             kind TEXT NOT NULL, label TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
             object INTEGER NOT NULL, PRIMARY KEY (kind, label, namespace, name)) WITHOUT ROWID""",
        """INSERT INTO labels
             SELECT kind, each.key || '=' || each.value, namespace, name, objects.id
             FROM objects, json_each(CAST(labels AS TEXT)) AS each""",
    ):
        database.execute(statement)


class Database:
    """An open, sound, migrated file that no other program has open."""

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
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
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
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"the store {path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise Unavailable(
            f"the store {path} is in use by another program",
            hint="only one appliance may serve a data folder",
        ) from error
    return lock


def _prepare(path: Path) -> None:
    is_new = not path.exists()
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            _check_sound(connection, path)
            _migrate(connection, path)
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise Unavailable(f"the store {path} cannot be opened: {error.strerror}") from error
    if is_new:
        _sync_folder(path.parent)


def _check_sound(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    has_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
    if application != APPLICATION_ID and has_tables:
        raise Damaged(f"{path} is a database of another program", hint="give another data folder")
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise _damaged(path, problem)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database = sqlite_utils.Database(connection, execute_plugins=False)
    newer = {migration.name for migration in migrations.applied(database)} - set(MIGRATION_NAMES)
    if newer:
        raise Unavailable(f"the store {path} was written by a newer release ({', '.join(sorted(newer))})")
    migrations.apply(database)
    connection.commit()


def _damaged(path: Path, problem: str) -> Damaged:
    return Damaged(
        f"the store {path} is damaged: {problem.strip()}",
        hint="restore the file from a backup, or move it and its -wal file away to start empty",
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
