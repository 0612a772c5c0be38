"""What registrations, reports and people make of the inventory, through its face."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from appliance.inventory import inventory as module
from appliance.inventory.entries import Location, Note
from appliance.inventory.errors import EntryInvalid, InventoryUnavailable, MachineAmbiguous
from appliance.inventory.inventory import Inventory, Wanted
from appliance.inventory.rows import MAX_FACTS_BYTES
from tests.appliance.inventory.conftest import Clock
from tests.appliance.inventory.driving import settle
from tests.appliance.inventory.factories import disk, facts, machine, nic

MAC = "00:1b:21:0a:0b:0c"


async def register(inventory: Inventory, name: str, *, tpm: str = "", uid: str = "", **said: object) -> None:
    """One registration, written when this returns."""
    tree = facts(**said)  # type: ignore[arg-type]
    inventory.hear_registration(machine(name, tpm=tpm, uid=uid), tree)
    await settle(inventory)


async def kinds(inventory: Inventory, name: str) -> list[tuple[str, str]]:
    return [(event.kind, event.what) for event in await inventory.history(name)]


async def test_a_registered_machine_is_known_by_its_parts(inventory: Inventory) -> None:
    await register(inventory, "press-1", serial="SN-1", nics=[nic("eth0", MAC)])

    for reference in ("press-1", "sn-1", MAC.upper(), MAC.replace(":", "-"), "tpm-press-1", "id:1", "1"):
        details = await inventory.show(reference)
        assert (details.entry.name, details.entry.serial) == ("press-1", "SN-1")
    assert (await inventory.show("press-1")).facts["System Information"]["Manufacturer"] == "ACME"


async def test_a_replaced_disk_is_in_the_history_with_before_and_after(
    inventory: Inventory, clock: Clock
) -> None:
    await register(inventory, "press-1", disks=[disk("sda", "OLD")])
    clock.advance(3600)
    await register(inventory, "press-1", disks=[disk("sda", "NEW")])

    event = (await inventory.history("press-1"))[0]
    assert (event.kind, event.what, event.before, event.after) == (
        "replaced",
        "disk sda",
        "OLD 500 GB",
        "NEW 500 GB",
    )
    assert (event.time, event.source) == ("2026-03-01T13:00:00Z", "registration")


async def test_the_same_registration_again_changes_nothing(inventory: Inventory) -> None:
    for _ in range(3):
        await register(inventory, "press-1", serial="SN-1", nics=[nic("eth0", MAC)], disks=[disk("sda", "D")])

    assert await kinds(inventory, "press-1") == [("appeared", "machine")]


async def test_a_machine_that_registers_under_another_name_keeps_its_history(inventory: Inventory) -> None:
    await register(inventory, "old-name", tpm="T", serial="SN-1")
    await inventory.add_note("old-name", "has a squeaking fan", by="ada")
    await register(inventory, "new-name", tpm="T", uid="another", serial="SN-1")

    details = await inventory.show("old-name")
    assert (details.entry.name, len(details.notes)) == ("new-name", 1)
    assert ("changed", "name") in await kinds(inventory, "new-name")
    assert len(await inventory.select(Wanted(), limit=10)) == 1


async def test_another_tpm_with_the_same_serial_is_shown_as_a_conflict_and_not_merged(
    inventory: Inventory,
) -> None:
    await register(inventory, "one", serial="SN-1")
    await register(inventory, "two", serial="SN-1")

    assert [entry.conflicts for entry in await inventory.select(Wanted(), limit=10)] == [1, 1]
    assert [(each.kind, each.value) for each in await inventory.conflicts()] == [("serial", "sn-1")]
    with pytest.raises(MachineAmbiguous, match=r"one \(id:1\), two \(id:2\)"):
        await inventory.show("SN-1")


async def test_a_person_says_that_two_are_two(inventory: Inventory) -> None:
    await register(inventory, "one", serial="SN-1")
    await register(inventory, "two", serial="SN-1")
    (conflict,) = await inventory.conflicts()

    await inventory.keep_apart(conflict.id, by="ada")
    await register(inventory, "two", serial="SN-1")

    assert await inventory.conflicts() == []
    with pytest.raises(EntryInvalid):
        await inventory.keep_apart(conflict.id, by="ada")


async def test_registered_machines_are_not_merged(inventory: Inventory) -> None:
    await register(inventory, "one", serial="SN-1")
    await register(inventory, "two", serial="SN-1")

    with pytest.raises(EntryInvalid, match="both registered"):
        await inventory.merge("one", "two", by="ada")
    with pytest.raises(EntryInvalid, match="with itself"):
        await inventory.merge("one", "one", by="ada")


async def test_what_people_say_is_kept_with_who_and_when(inventory: Inventory) -> None:
    await register(inventory, "press-1")

    await inventory.set_location("press-1", Location(site="North", line="L2"), by="ada")
    await inventory.set_tag("press-1", "A-1", by="bob")
    await inventory.add_note("press-1", "  first\nsecond ", by="eve")

    details = await inventory.show("a-1")
    assert details.entry.location == Location(site="North", line="L2")
    assert details.notes == [Note(time="2026-03-01T12:00:00Z", author="eve", text="first\nsecond")]
    sources = {event.what: event.source for event in await inventory.history("press-1")}
    assert (sources["location"], sources["asset tag"]) == ("ada", "bob")


async def test_a_tag_is_one_machines(inventory: Inventory) -> None:
    await register(inventory, "one")
    await register(inventory, "two")
    await inventory.set_tag("one", "A-1", by="ada")

    with pytest.raises(EntryInvalid, match="already that of one"):
        await inventory.set_tag("two", "a-1", by="ada")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("x" * 5000, id="long"),
        pytest.param("a\x1b[31m", id="terminal"),
        pytest.param("\u202eabc", id="turned around"),
    ],
)
async def test_a_bad_note_is_refused(inventory: Inventory, text: str) -> None:
    await register(inventory, "press-1")

    with pytest.raises(EntryInvalid):
        await inventory.add_note("press-1", text, by="ada")
    with pytest.raises(EntryInvalid):
        await inventory.set_location("press-1", Location(site=text or " x"), by="ada")


async def test_notes_are_never_changed_nor_deleted(inventory: Inventory, tmp_path: Path) -> None:
    import sqlite3

    await register(inventory, "press-1")
    await inventory.add_note("press-1", "it was I", by="ada")

    with closing(sqlite3.connect(tmp_path / "inventory.db")) as intruder:
        for statement in ("DELETE FROM notes", "UPDATE notes SET author = 'eve'"):
            with pytest.raises(sqlite3.IntegrityError, match="notes are never"):
                intruder.execute(statement)


async def test_a_machine_goes_from_fresh_to_late_to_silent(inventory: Inventory, clock: Clock) -> None:
    await register(inventory, "press-1")
    seen = []
    for seconds in (0, 61, 60):
        clock.advance(seconds)
        seen.append((await inventory.show("press-1")).entry.staleness)

    assert seen == ["fresh", "late", "silent"]


async def test_facts_that_are_too_large_are_not_kept_and_the_machine_is(inventory: Inventory) -> None:
    await register(inventory, "press-1", serial="SN-1", Big="x" * MAX_FACTS_BYTES)

    details = await inventory.show("press-1")
    assert (details.entry.name, details.facts) == ("press-1", {})


async def test_a_flood_of_registrations_is_cut_and_the_loop_never_waits(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 5)
    for index in range(20):
        inventory.hear_registration(machine(f"m{index}"), facts())
    await settle(inventory)

    assert len(await inventory.select(Wanted(), limit=100)) == 5
    inventory.hear_registration(machine("late"), facts())
    await settle(inventory)
    assert (await inventory.show("late")).entry.name == "late"


async def test_pages_of_a_list_hold_every_machine_once(inventory: Inventory) -> None:
    for index in range(7):
        await register(inventory, f"m{index}")
    names, after = [], ("", 0)
    while page := await inventory.select(Wanted(), limit=3, after=after):
        names += [entry.name for entry in page]
        after = page[-1].name, page[-1].id

    assert names == [f"m{index}" for index in range(7)]


async def test_a_list_is_narrowed(inventory: Inventory, clock: Clock) -> None:
    inventory.hear_registration(machine("one", labels={"line": "a"}), facts())
    inventory.hear_registration(machine("two", labels={"line": "b"}), facts())
    await settle(inventory)
    await inventory.set_location("two", Location(site="North"), by="ada")
    clock.advance(10)
    inventory.hear_registration(machine("two", labels={"line": "b"}), facts())
    await settle(inventory)

    async def names(wanted: Wanted) -> list[str]:
        return [entry.name for entry in await inventory.select(wanted, limit=10)]

    assert await names(Wanted(labels=("line=a",))) == ["one"]
    assert await names(Wanted(place={"site": "North"})) == ["two"]
    assert await names(Wanted(seen_before="2026-03-01T12:00:05Z")) == ["one"]
    assert await names(Wanted(state="removed")) == []


async def test_what_was_written_is_there_after_it_was_opened_again(tmp_path: Path, clock: Clock) -> None:
    with closing(Inventory.open(tmp_path, clock=clock)) as first:
        await register(first, "press-1")
        await first.set_tag("press-1", "A-1", by="ada")

    with closing(Inventory.open(tmp_path, clock=clock)) as second:
        assert (await second.show("A-1")).entry.name == "press-1"


async def test_a_closed_inventory_says_so(tmp_path: Path) -> None:
    inventory = Inventory.open(tmp_path)
    inventory.close()

    with pytest.raises(InventoryUnavailable):
        await inventory.show("x")
    with pytest.raises(InventoryUnavailable):
        await inventory.set_tag("x", "y", by="ada")
    inventory.hear_registration(machine("late"), facts())


async def test_readers_and_the_writer_work_at_the_same_time(inventory: Inventory) -> None:
    await register(inventory, "press-1", serial="SN-1")

    await asyncio.gather(
        *(inventory.add_note("press-1", f"note {index}", by="ada") for index in range(20)),
        *(inventory.search("press", limit=5) for _ in range(20)),
    )

    assert len((await inventory.show("press-1")).notes) == 20
