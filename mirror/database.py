"""The SQLite file under the index: a connection per thread, one writer at a time, the schema's version.

It knows SQL's mechanics, not the tables. Several processes may have the file open; SQLite makes them wait.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mirror.errors import IndexTooNew, MirrorError, NoSpace

BUSY_SECONDS = 30.0
Value = str | int | bytes
Row = tuple[Any, ...]  # what a query returns is typed where it is unpacked


class Database:
    """WAL with synchronous=FULL: a commit is on the disk before it is acknowledged.

    NORMAL would be faster, and could lose the newest commits with the power.
    """

    def __init__(self, path: Path, *, schema: str, version: int) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._connections_lock = threading.Lock()
        self._writing = threading.Lock()
        self._migrate(schema, version)

    def close(self) -> None:
        with self._connections_lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def one(self, query: str, *values: Value) -> Row | None:
        row: Row | None = self.connection().execute(query, values).fetchone()
        return row

    def all(self, query: str, *values: Value) -> list[Row]:
        return self.connection().execute(query, values).fetchall()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is asked inside it is of one moment."""
        connection = self.connection()
        if connection.in_transaction:
            yield
            return
        connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, durable at the end; `one` and `all` inside it see what it has done so far."""
        with self._writing:
            try:
                connection = self.connection()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.DatabaseError as error:
                raise self._explain(error) from error

    def connection(self) -> sqlite3.Connection:
        """This thread's own."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            with self._connections_lock:
                self._connections.append(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._local.connection = connection
        return connection

    def _explain(self, error: sqlite3.DatabaseError) -> MirrorError:
        if error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE):
            return NoSpace(
                f"the mirror's index {self._path} cannot grow: {error}",
                hint="delete images that are no longer needed, or give the mirror a larger disk",
            )
        if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return MirrorError(
                f"the mirror's index {self._path} is damaged: {error}",
                hint="make it again from the blobs: skerry mirror rebuild",
            )
        return MirrorError(f"the mirror's index {self._path} cannot be used: {error}")

    def _migrate(self, schema: str, version: int) -> None:
        with self.transaction() as connection:
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found > version:
                raise IndexTooNew(
                    f"the mirror's index {self._path} has schema {found}; this program knows {version}",
                    hint="run the mirror version that wrote it, or a newer one",
                )
            if found == 0:
                for statement in filter(str.strip, schema.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version}")
