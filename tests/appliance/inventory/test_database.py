"""Opening, locking, refusing and repairing the inventory's file."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.inventory.database import Database
from appliance.inventory.errors import InventoryDamaged, InventoryUnavailable
from appliance.inventory.inventory import Inventory
from appliance.inventory.truth import FOLDER, read_truth, repair
from tests.appliance.inventory.conftest import Clock
from tests.appliance.inventory.driving import settle
from tests.appliance.inventory.factories import disk, facts, machine


async def fill(data: Path, clock: Clock, *, machines: int = 3) -> None:
    with closing(Inventory.open(data, clock=clock)) as inventory:
        for index in range(machines):
            inventory.hear_registration(machine(f"m{index}"), facts(f"SN{index}", disks=[disk("sda", "OLD")]))
        inventory.hear_registration(machine("m0"), facts("SN0", disks=[disk("sda", "NEW")]))
        await settle(inventory)
        await inventory.set_tag("m0", "A-1", by="ada")
        await inventory.add_note("m0", "kept", by="ada")


def test_one_program_at_a_time(tmp_path: Path) -> None:
    first = Database(tmp_path / "inventory.db")

    with pytest.raises(InventoryUnavailable, match="in use"):
        Database(tmp_path / "inventory.db")

    first.close()
    Database(tmp_path / "inventory.db").close()


def test_the_file_is_private_and_durable(tmp_path: Path) -> None:
    database = Database(tmp_path / "inventory.db")

    assert (tmp_path / "inventory.db").stat().st_mode & 0o777 == 0o600
    with closing(database.connect()) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    database.close()


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "inventory.db")) as other:
        other.execute("CREATE TABLE theirs (x)")

    with pytest.raises(InventoryDamaged, match="another program"):
        Database(tmp_path / "inventory.db")


def test_a_newer_releases_file_is_refused(tmp_path: Path) -> None:
    Database(tmp_path / "inventory.db").close()
    with closing(sqlite3.connect(tmp_path / "inventory.db")) as newer:
        newer.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('skerry-inventory', '9999-later', 'now')"
        )
        newer.commit()

    with pytest.raises(InventoryUnavailable, match="newer release"):
        Database(tmp_path / "inventory.db")


@pytest.mark.parametrize(
    "content", [b"not a database, not at all" * 500, b"\0" * 8192], ids=["text", "zeros"]
)
def test_garbage_is_damage_with_a_way_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "inventory.db").write_bytes(content)

    with pytest.raises(InventoryDamaged) as refusal:
        Database(tmp_path / "inventory.db")

    assert "skerry inventory repair" in refusal.value.hint
    assert (tmp_path / "inventory.db").read_bytes() == content


async def test_a_damaged_file_is_repaired_as_far_as_it_can_be_read(tmp_path: Path, clock: Clock) -> None:
    await fill(tmp_path, clock, machines=50)
    path = tmp_path / "inventory.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'keys_by_value'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    with pytest.raises(InventoryDamaged):
        Inventory.open(tmp_path)

    count, aside = repair(tmp_path)

    assert (count, aside.exists(), path.exists()) == (50, True, False)
    with closing(Inventory.open(tmp_path, clock=clock)) as inventory:
        details = await inventory.show("A-1")
        assert [note.text for note in details.notes] == ["kept"]
        assert ("replaced", "disk sda") in [
            (event.kind, event.what) for event in await inventory.history("m0")
        ]
        assert [entry.name for entry in await inventory.search("SN49", limit=5)] == ["m49"]
    assert not (tmp_path / FOLDER).exists()


def test_what_cannot_be_read_at_all_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "inventory.db").write_bytes(b"nothing of a database" * 1000)

    count, aside = repair(tmp_path)

    assert (count, aside.exists()) == (0, True)
    Inventory.open(tmp_path).close()


async def test_a_sound_file_is_not_repaired_nor_one_in_use(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(InventoryUnavailable, match="no inventory"):
        repair(tmp_path)
    await fill(tmp_path, clock)
    with pytest.raises(InventoryUnavailable, match="sound"):
        repair(tmp_path)
    with closing(Inventory.open(tmp_path)), pytest.raises(InventoryUnavailable, match="in use"):
        repair(tmp_path)


async def test_what_is_saved_while_it_runs_comes_back_into_a_new_folder(tmp_path: Path, clock: Clock) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    await fill(old, clock)
    with closing(Inventory.open(old, clock=clock)):
        files = read_truth(old)
    for name, content in files.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_bytes(content)

    with closing(Inventory.open(new, clock=clock)) as inventory:
        details = await inventory.show("A-1")
        assert (details.entry.id, details.entry.name, details.notes[0].author) == (1, "m0", "ada")
        inventory.hear_registration(machine("renamed", tpm="tpm-m0"), facts("SN0"))
        await settle(inventory)
        assert (await inventory.show("A-1")).entry.name == "renamed"


async def test_saved_files_that_are_damaged_are_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "00000.jsonl.gz").write_bytes(b"not gzip")

    with pytest.raises(InventoryDamaged, match="cannot be read"):
        Inventory.open(tmp_path)

    assert (tmp_path / FOLDER / "00000.jsonl.gz").exists()


async def test_nothing_to_save_is_nothing(tmp_path: Path) -> None:
    assert read_truth(tmp_path) == {}


async def test_a_damaged_file_is_not_left_out_of_a_backup_silently(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "inventory.db").write_bytes(b"nothing of a database" * 1000)

    with pytest.raises(InventoryDamaged, match="damaged"):
        read_truth(tmp_path)
