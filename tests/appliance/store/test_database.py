"""The database file: sound, ours, one program's at a time; and what is said when it is not."""

import asyncio
import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.resources.core import CONFIG_MAP, NAMESPACE
from appliance.resources.meta import Document
from appliance.store.base import Damaged, Limits, StoreError, Unavailable
from appliance.store.sqlite import SqliteStore


def config(name: str, value: str = "v") -> Document:
    return {"metadata": {"name": name, "namespace": "n"}, "data": {"k": value}}


@pytest.fixture
async def written(tmp_path: Path) -> Path:
    path = tmp_path / "skerry.db"
    async with SqliteStore.open(path) as store:
        await asyncio.gather(
            *(store.create(CONFIG_MAP, config(f"c{index}", "v" * 2000)) for index in range(50))
        )
    return path


async def test_versions_go_on_where_they_ended_even_if_everything_was_deleted(tmp_path: Path) -> None:
    path, limits = tmp_path / "skerry.db", Limits(history=1)
    async with SqliteStore.open(path, limits=limits) as store:
        await store.create(CONFIG_MAP, config("c"))
        last = await store.delete(CONFIG_MAP, "c", namespace="n")
        await store.delete(NAMESPACE, "n")

    async with SqliteStore.open(path, limits=limits) as store:
        created = await store.create(CONFIG_MAP, config("c"))
    assert int(created["metadata"]["resourceVersion"]) > int(last["metadata"]["resourceVersion"])


async def test_a_watch_resumes_in_the_next_process(written: Path) -> None:
    async with SqliteStore.open(written) as store:
        since = (await store.get(CONFIG_MAP, "c48", namespace="n"))["metadata"]["resourceVersion"]
        events = store.watch(CONFIG_MAP, since=since)
        assert (await anext(events)).document["metadata"]["name"] == "c49"
        await events.aclose()


def test_only_its_owner_may_read_the_file(written: Path) -> None:
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_second_program_is_refused_while_the_first_has_it_open(tmp_path: Path) -> None:
    path = tmp_path / "skerry.db"
    store = SqliteStore.open(path)

    with pytest.raises(Unavailable, match="in use by another program"):
        SqliteStore.open(path)
    store.close()
    SqliteStore.open(path).close()


@pytest.mark.parametrize("place", [0, 100, 5000, 20_000])
def test_a_damaged_file_is_refused_with_what_to_do(written: Path, place: int) -> None:
    with written.open("r+b") as file:
        file.seek(place)
        file.write(os.urandom(16_000))

    with pytest.raises(Damaged, match=r"skerry\.db") as refused:
        SqliteStore.open(written)
    assert refused.value.hint


def test_a_file_cut_short_is_refused(written: Path) -> None:
    os.truncate(written, written.stat().st_size // 2)

    with pytest.raises(Damaged, match="damaged"):
        SqliteStore.open(written)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "skerry.db"
    path.write_text("my holiday pictures\n" * 500)

    with pytest.raises(Damaged, match="not a database"):
        SqliteStore.open(path)
    assert path.read_text().startswith("my holiday pictures")


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "skerry.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE pictures (id INTEGER)")
    connection.close()

    with pytest.raises(Damaged, match="another program"):
        SqliteStore.open(path)


def test_a_newer_releases_database_is_refused(written: Path) -> None:
    connection = sqlite3.connect(written)
    connection.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('skerry', '9999-later', '')"
    )
    connection.commit()
    connection.close()

    with pytest.raises(Unavailable, match=r"newer release \(9999-later\)"):
        SqliteStore.open(written)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable, match="cannot be opened"):
        SqliteStore.open(tmp_path / "file" / "skerry.db")


async def test_a_closed_store_says_so_and_ends_its_watches(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "skerry.db")
    events = store.watch(CONFIG_MAP)
    await anext(events)
    rest = asyncio.create_task(anext(events, None))
    await asyncio.sleep(0)

    store.close()
    store.close()

    assert await rest is None
    with pytest.raises(Unavailable, match="closed"):
        await store.get(CONFIG_MAP, "c", namespace="n")
    with pytest.raises(Unavailable, match="closed"):
        await store.create(CONFIG_MAP, config("c"))


async def test_a_full_disk_refuses_the_write_and_the_store_goes_on(written: Path) -> None:
    async with SqliteStore.open(written) as store:
        before = await names(store)
        with limited_files(1024), pytest.raises(Unavailable, match="cannot write") as refused:
            await store.create(CONFIG_MAP, config("too-much", "v" * 100_000))
        assert "room" in refused.value.hint

        after = await store.create(CONFIG_MAP, config("later"))
        assert int(after["metadata"]["resourceVersion"]) > 50
        assert await names(store) == sorted([*before, "later"])


async def test_history_is_bounded_by_bytes_too(tmp_path: Path) -> None:
    limits = Limits(history_bytes=100_000)
    async with SqliteStore.open(tmp_path / "skerry.db", limits=limits) as store:
        first = await store.create(CONFIG_MAP, config("c0", "v" * 30_000))
        for index in range(1, 8):
            await store.create(CONFIG_MAP, config(f"c{index}", "v" * 30_000))

        with pytest.raises(StoreError, match="too old"):
            await anext(store.watch(CONFIG_MAP, since=first["metadata"]["resourceVersion"]))


async def names(store: SqliteStore) -> list[str]:
    return [item["metadata"]["name"] for item in (await store.list(CONFIG_MAP)).items]


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size`: the nearest thing to a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
