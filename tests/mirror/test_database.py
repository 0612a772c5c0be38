"""The SQLite file: durable settings, one writer at a time, versions, a full disk."""

import threading
from pathlib import Path

import pytest

from mirror.database import Database
from mirror.errors import IndexTooNew, MirrorError, NoSpace

SCHEMA = "CREATE TABLE things (name TEXT PRIMARY KEY); CREATE TABLE others (name TEXT);"


def open_database(path: Path, version: int = 1) -> Database:
    return Database(path / "index.db", schema=SCHEMA, version=version)


def insert_and_fail(database: Database) -> None:
    database.connection().execute("INSERT INTO things VALUES ('a')")
    raise KeyError("a")


def test_a_commit_is_on_the_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    database = open_database(tmp_path)

    assert database.one("PRAGMA journal_mode") == ("wal",)
    assert database.one("PRAGMA synchronous") == (2,)
    database.close()


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    database = open_database(tmp_path)

    with pytest.raises(KeyError), database.transaction():
        insert_and_fail(database)

    assert database.all("SELECT * FROM things") == []
    database.close()


def test_threads_and_other_openers_write_one_after_the_other(tmp_path: Path) -> None:
    databases = [open_database(tmp_path), open_database(tmp_path)]

    def write(database: Database, prefix: str) -> None:
        for number in range(20):
            with database.transaction() as connection:
                connection.execute("INSERT INTO things VALUES (?)", (f"{prefix}{number}",))

    threads = [
        threading.Thread(target=write, args=(database, f"{number}-"))
        for number, database in enumerate(databases * 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert databases[0].one("SELECT count(*) FROM things") == (80,)
    for database in databases:
        database.close()


def test_a_file_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    open_database(tmp_path, version=7).close()

    with pytest.raises(IndexTooNew, match="schema 7"):
        open_database(tmp_path, version=6)


def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    database = open_database(tmp_path)
    database.connection().execute("PRAGMA max_page_count = 1")

    with pytest.raises(NoSpace, match="cannot grow"), database.transaction() as connection:
        connection.execute("INSERT INTO others VALUES (?)", ("x" * 100_000,))

    assert database.one("SELECT count(*) FROM others") == (0,)
    database.close()


def test_a_file_that_is_no_database_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"something else entirely" * 100)

    with pytest.raises(MirrorError, match="is damaged: file is not a database"):
        open_database(tmp_path)

    assert (tmp_path / "index.db").read_bytes().startswith(b"something else")
