"""The inventory beside a real store: what is declared, reported, deleted, also while nobody looked."""

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.inventory import following
from appliance.inventory.inventory import Inventory, Wanted
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.store.base import Limits, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.inventory.conftest import Clock
from tests.appliance.inventory.driving import create, followed, is_known, report, until
from tests.appliance.inventory.factories import AT, LATER, NOW, facts, machine

PATIENCE = 20


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "skerry.db", limits=Limits(history=20)) as opened:
        yield opened


async def test_what_exists_and_what_changes_is_taken_in(inventory: Inventory, store: SqliteStore) -> None:
    await create(store, "before")
    async with followed(inventory, store):
        await until(is_known(inventory, "before"))
        await create(store, "after", labels={"line": "L1"})
        await until(is_known(inventory, "after", labels={"line": "L1"}))
        await report(store, "after", "10.0.0.7", "fe80::1%eth0")
        await until(is_known(inventory, "after", addresses=["10.0.0.7", "fe80::1"], last_seen=LATER))


async def test_a_changed_address_is_an_event(inventory: Inventory, store: SqliteStore) -> None:
    await create(store, "press-1")
    await report(store, "press-1", "10.0.0.7", at=AT)
    async with followed(inventory, store):
        await until(is_known(inventory, "press-1", addresses=["10.0.0.7"]))
        await store.patch(
            HOST_REPORT,
            "press-1",
            merge({"report": {"addresses": ["10.0.0.8"]}, "receivedAt": LATER}),
            namespace="fleet-default",
        )
        await until(is_known(inventory, "press-1", addresses=["10.0.0.8"]))

    events = [event for event in await inventory.history("press-1") if event.what == "addresses"]
    assert [(each.before, each.after, each.source) for each in events] == [("10.0.0.7", "10.0.0.8", "report")]


async def test_a_deleted_machine_stays_as_removed_with_its_history(
    inventory: Inventory, store: SqliteStore
) -> None:
    await create(store, "press-1")
    async with followed(inventory, store):
        await until(is_known(inventory, "press-1", state="registered"))
        await store.delete(MACHINE_INVENTORY, "press-1", namespace="fleet-default")
        await until(is_known(inventory, "press-1", state="removed"))


async def test_it_goes_on_where_it_stopped(inventory: Inventory, store: SqliteStore) -> None:
    await create(store, "one")
    async with followed(inventory, store):
        await until(is_known(inventory, "one"))
    await create(store, "two")
    lists: list[str] = []

    class Watched:
        """The same store, which counts its lists."""

        async def list(self, *args: object, **more: object) -> object:
            lists.append("list")
            return await store.list(*args, **more)  # type: ignore[arg-type]

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

    async with followed(inventory, Watched()):  # type: ignore[arg-type]
        await until(is_known(inventory, "two"))

    assert lists == []


async def test_what_the_store_no_longer_remembers_is_listed_again(
    inventory: Inventory, store: SqliteStore
) -> None:
    for name in ("stays", "goes"):
        await create(store, name)
    async with followed(inventory, store):
        await until(is_known(inventory, "goes"))
        await until(is_known(inventory, "stays"))
    await store.delete(MACHINE_INVENTORY, "goes", namespace="fleet-default")
    for index in range(60):  # more than the history holds
        await create(store, f"new-{index}")

    async with followed(inventory, store):
        await until(is_known(inventory, "goes", state="removed"))
        await until(is_known(inventory, "new-59"))

    assert (await inventory.show("stays")).entry.state == "registered"
    assert len(await inventory.select(Wanted(state="registered"), limit=100)) == 61


async def test_another_store_is_listed_from_the_start(inventory: Inventory, store: SqliteStore) -> None:
    await create(store, "one")
    async with followed(inventory, store, origin="first"):
        await until(is_known(inventory, "one"))
    async with followed(inventory, store, origin="second"):
        await create(store, "two")
        await until(is_known(inventory, "two"))

    assert [event.kind for event in await inventory.history("one")] == ["appeared"]


async def test_a_machine_that_registers_during_a_listing_is_not_called_removed(
    inventory: Inventory, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PAGE", 1)
    for name in ("one", "two", "three"):
        await create(store, name)
    inventory.hear_registration(machine("new"), facts("SN-9"))
    async with followed(inventory, store):
        inventory.hear_registration(machine("new"), facts("SN-9"))
        await until(is_known(inventory, "two"))
        await create(store, "new", tpm="tpm-new")
        await until(is_known(inventory, "new", state="registered"))

    assert (await inventory.show("SN-9")).entry.name == "new"


async def test_announcements_are_heard(
    inventory: Inventory, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LISTEN_SECONDS", 0.01)
    async with followed(inventory, store) as candidates:
        candidates.hear("node._skerry-node._tcp.local.", "10.0.0.9", {"id": "abc"}, now=NOW)
        await until(is_known(inventory, "10.0.0.9", state="heard"))


async def test_after_a_kill_nothing_is_missing_and_nothing_doubled(tmp_path: Path, clock: Clock) -> None:
    """The file as a killed process leaves it: a copy made while another connection holds it open."""
    import shutil

    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        await create(store, "one")
        with closing(Inventory.open(tmp_path / "a", clock=clock)) as inventory:
            async with followed(inventory, store):
                await until(is_known(inventory, "one"))
                await inventory.add_note("one", "kept", by="ada")
                (tmp_path / "b").mkdir()
                for ending in ("", "-wal"):
                    shutil.copy(tmp_path / f"a/inventory.db{ending}", tmp_path / f"b/inventory.db{ending}")
        await create(store, "two")
        with closing(Inventory.open(tmp_path / "b", clock=clock)) as again:
            async with followed(again, store):
                await until(is_known(again, "two"))
            assert [note.text for note in (await again.show("one")).notes] == ["kept"]
            assert len(await again.history("one")) == 1
