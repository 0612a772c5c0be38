"""The writing thread: writes that wait together are committed together, and fail alone."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.resources.core import CONFIG_MAP
from appliance.resources.kinds import KINDS
from appliance.resources.meta import Document
from appliance.store.base import Limits, Unavailable
from appliance.store.database import Database
from appliance.store.tables import Change, Transaction
from appliance.store.writer import Writer


class Bench:
    """A writer, and what it told the watchers: one list a commit."""

    def __init__(self, database: Database) -> None:
        self.published: list[list[Change]] = []
        self.commits = 0
        connection = database.connect()
        connection.set_trace_callback(self._trace)
        self.writer = Writer(connection, kinds=KINDS, limits=Limits(), publish=self.published.append)

    def _trace(self, statement: str) -> None:
        self.commits += statement == "COMMIT"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = Database(tmp_path / "skerry.db")
    bench = Bench(database)
    yield bench
    bench.writer.close()
    database.close()


def insert(tables: Transaction, name: str) -> Document:
    return tables.insert(CONFIG_MAP, {"metadata": {"name": name, "namespace": "n", "uid": name}})


async def test_writers_that_wait_together_share_a_commit(bench: Bench) -> None:
    def write(name: str) -> "asyncio.Task[Document]":
        return asyncio.ensure_future(bench.writer.submit(lambda tables: insert(tables, name)))

    await asyncio.gather(*(write(f"c{index}") for index in range(200)))

    assert len(bench.published) == bench.commits < 100
    revisions = [change.revision for changes in bench.published for change in changes]
    assert revisions == sorted(set(revisions))
    assert len(revisions) == 200


async def test_watchers_hear_of_a_write_before_its_writer(bench: Bench) -> None:
    created = await bench.writer.submit(lambda tables: insert(tables, "c"))

    assert [change.document for changes in bench.published for change in changes] == [created]


async def test_a_write_that_fails_half_way_leaves_nothing(bench: Bench) -> None:
    def fail(tables: Transaction) -> None:
        insert(tables, "half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bench.writer.submit(fail)

    assert await bench.writer.submit(lambda tables: tables.find(CONFIG_MAP, "n", "half")) is None
    assert not any(bench.published)


async def test_what_was_submitted_before_the_close_is_written(bench: Bench, tmp_path: Path) -> None:
    written = asyncio.ensure_future(bench.writer.submit(lambda tables: insert(tables, "last")))
    await asyncio.sleep(0)

    bench.writer.close()

    assert (await written)["metadata"]["name"] == "last"
    with pytest.raises(Unavailable, match="closed"):
        await bench.writer.submit(lambda tables: insert(tables, "late"))


async def test_a_caller_that_no_longer_waits_does_not_undo_its_write(bench: Bench) -> None:
    impatient = asyncio.ensure_future(bench.writer.submit(lambda tables: insert(tables, "c")))
    await asyncio.sleep(0)
    impatient.cancel()

    assert await bench.writer.submit(lambda tables: tables.find(CONFIG_MAP, "n", "c")) is not None
