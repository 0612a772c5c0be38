"""The index: finds by key what the store holds, follows it, and never goes back in time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.hosts.index import Index
from appliance.resources.core import CONFIG_MAP
from appliance.resources.meta import Document, Kind
from appliance.store.base import EVERYTHING, Event, Gone, Selection, Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.hosts.box import NAMESPACE, until


def colour(document: Document) -> str:
    value: str = (document.get("data") or {}).get("colour", "")
    return value


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        yield store


async def put(store: Store, name: str, value: str) -> Document:
    document = {"metadata": {"name": name, "namespace": NAMESPACE}, "data": {"colour": value}}
    return await store.create(CONFIG_MAP, document)


async def paint(store: Store, name: str, value: str) -> Document:
    return await store.patch(CONFIG_MAP, name, merge({"data": {"colour": value}}), namespace=NAMESPACE)


def names(index: Index, key: str) -> list[str]:
    return [document["metadata"]["name"] for document in index.find(key)]


async def test_what_exists_is_known_before_the_first_question(store: SqliteStore) -> None:
    await put(store, "one", "red")
    await put(store, "two", "red")
    await put(store, "none", "")
    index = Index(store, CONFIG_MAP, colour)

    async with index.following():
        assert names(index, "red") == ["one", "two"]
        assert names(index, "") == []
        assert index.get(NAMESPACE, "none") is None


async def test_changes_and_deletions_are_followed(store: SqliteStore) -> None:
    index = Index(store, CONFIG_MAP, colour)
    async with index.following():
        await put(store, "one", "red")
        await until_names(index, "red", ["one"])
        await paint(store, "one", "blue")
        await until_names(index, "blue", ["one"])
        assert names(index, "red") == []
        await store.delete(CONFIG_MAP, "one", namespace=NAMESPACE)
        await until_names(index, "blue", [])


async def test_an_older_version_does_not_replace_a_newer_one(store: SqliteStore) -> None:
    index = Index(store, CONFIG_MAP, colour)
    old = await put(store, "one", "red")
    index.remember(await paint(store, "one", "blue"))
    index.remember(old)

    assert (names(index, "red"), names(index, "blue")) == ([], ["one"])


class ForgetfulStore:
    """The real store, but each watch is gone before its first event."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, since: str = ""
    ) -> AsyncIterator[Event]:
        async for event in self._store.watch(kind, selection, since=since):
            if event.type != "BOOKMARK":
                raise Gone("that version is no longer kept")
            yield event


async def test_after_a_lost_watch_everything_is_read_again(store: SqliteStore) -> None:
    await put(store, "one", "red")
    forgetful: Store = ForgetfulStore(store)  # type: ignore[assignment]  # the rest is the real store's
    index = Index(forgetful, CONFIG_MAP, colour, pause=0.001)
    async with index.following():
        await store.delete(CONFIG_MAP, "one", namespace=NAMESPACE)
        await put(store, "two", "red")
        await until_names(index, "red", ["two"])


async def until_names(index: Index, key: str, expected: list[str]) -> None:
    async def is_so() -> bool:
        return names(index, key) == expected

    await until(is_so)
