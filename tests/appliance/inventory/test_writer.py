"""The one writing thread: groups, refusals, dry runs, a full disk, the end."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.inventory.errors import InventoryUnavailable
from appliance.inventory.writer import Writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("CREATE TABLE t (n INTEGER UNIQUE)")
    return tmp_path / "x.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    opened = Writer(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
    yield opened
    opened.close()


def insert(number: int, *, fail: bool = False) -> Callable[[sqlite3.Connection], int]:
    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        if fail:
            raise ValueError(f"no {number}")
        return number

    return work


def held(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT n FROM t ORDER BY n")]


async def test_a_refused_write_undoes_only_itself(writer: Writer, path: Path) -> None:
    results = await asyncio.gather(
        *(writer.post(insert(n, fail=n == 3), durable=n % 2 == 0) for n in range(6)),
        return_exceptions=True,
    )

    assert [isinstance(each, ValueError) for each in results] == [n == 3 for n in range(6)]
    assert held(path) == [0, 1, 2, 4, 5]


async def test_a_dry_write_answers_and_leaves_nothing(writer: Writer, path: Path) -> None:
    assert await writer.post(insert(7), durable=True, dry_run=True) == 7
    assert held(path) == []


async def test_an_error_of_the_database_is_told_and_the_writer_goes_on(writer: Writer, path: Path) -> None:
    await writer.post(insert(1), durable=True)
    with pytest.raises(InventoryUnavailable, match="cannot write"):
        await writer.post(insert(1), durable=True)

    await writer.post(insert(2), durable=True)
    assert held(path) == [1, 2]


async def test_what_was_queued_is_written_before_the_end(path: Path) -> None:
    writer = Writer(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
    futures = [writer.post(insert(n), durable=False) for n in range(300)]
    writer.close()
    await asyncio.gather(*futures)

    assert len(held(path)) == 300
    with pytest.raises(InventoryUnavailable, match="closed"):
        writer.post(insert(1), durable=True)
