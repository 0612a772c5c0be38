"""An SQLite file of ours: opened by one program at a time, checked, migrated.

The only importer of sqlite_utils, and only for the schema: hot paths use the plain connections from here.
What is in the tables, and in whose words a file is refused, is each owner's (`FileKind`).
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlite_utils

from appliance.files import PRIVATE, sync_directory

BUSY_MILLISECONDS = 5000
CACHE_KIB = 8192


@dataclass(frozen=True, slots=True)
class Migration:
    """SQL statements that bring a file from the state before to the next; never changed once released."""

    name: str
    statements: Sequence[str]


@dataclass(frozen=True, slots=True)
class FileKind:
    """One kind of file: its application id, its schema, and the errors of whoever opens it.

    `unavailable` is given a sentence about the file; `busy` and `foreign` the path; `damaged` the path and
    what SQLite found.
    """

    application_id: int
    name: str
    migrations: Sequence[Migration]
    unavailable: Callable[[str], Exception]
    busy: Callable[[Path], Exception]
    foreign: Callable[[Path], Exception]
    damaged: Callable[[Path, str], Exception]


class SqliteFile:
    """An open, sound, migrated file that no other program has open. Raises its kind's errors."""

    def __init__(self, path: Path, kind: FileKind) -> None:
        self.path = path
        self._lock = _lock(path, kind)
        try:
            _prepare(path, kind)
        except BaseException:
            os.close(self._lock)
            raise

    def connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        """A connection for one thread at a time; transactions are begun by hand."""
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        return connection

    def close(self) -> None:
        """Let the next program in. Its connections must be closed before."""
        os.close(self._lock)


def _lock(path: Path, kind: FileKind) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise kind.unavailable(f"{path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise kind.busy(path) from error
    return lock


def _prepare(path: Path, kind: FileKind) -> None:
    is_new = not path.exists()
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            _check_sound(connection, path, kind)
            _migrate(connection, path, kind)
    except sqlite3.DatabaseError as error:
        raise kind.damaged(path, str(error)) from error
    except OSError as error:
        raise kind.unavailable(f"{path} cannot be opened: {error.strerror}") from error
    if is_new:
        sync_directory(path.parent)


def _check_sound(connection: sqlite3.Connection, path: Path, kind: FileKind) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    has_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
    if application != kind.application_id and has_tables:
        raise kind.foreign(path)
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise kind.damaged(path, problem)


def _migrate(connection: sqlite3.Connection, path: Path, kind: FileKind) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA application_id = {kind.application_id}")
    database = sqlite_utils.Database(connection, execute_plugins=False)
    migrations = _migrations_of(kind)
    known = {migration.name for migration in kind.migrations}
    newer = {migration.name for migration in migrations.applied(database)} - known
    if newer:
        raise kind.unavailable(f"{path} was written by a newer release ({', '.join(sorted(newer))})")
    migrations.apply(database)
    connection.commit()


def _migrations_of(kind: FileKind) -> sqlite_utils.Migrations:
    migrations = sqlite_utils.Migrations(kind.name)
    for migration in kind.migrations:
        migrations(name=migration.name)(_executing(migration.statements))
    return migrations


def _executing(statements: Sequence[str]) -> Callable[[sqlite_utils.Database], None]:
    def apply(database: sqlite_utils.Database) -> None:
        for statement in statements:
            database.execute(statement)

    return apply
