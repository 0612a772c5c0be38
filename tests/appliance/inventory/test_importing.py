"""What an import changes, refuses and skips."""

import pytest

from appliance.inventory.entries import ImportOutcome, Location
from appliance.inventory.inventory import Inventory
from tests.appliance.inventory.driving import settle
from tests.appliance.inventory.factories import facts, machine, nic

MAC_1, MAC_2 = "00:1b:21:00:00:01", "00:1b:21:00:00:02"


@pytest.fixture
async def filled(inventory: Inventory) -> Inventory:
    inventory.hear_registration(machine("one"), facts("S1", nics=[nic("eth0", MAC_1)]))
    inventory.hear_registration(machine("two"), facts("S2", nics=[nic("eth0", MAC_2)]))
    await settle(inventory)
    return inventory


async def bring(
    inventory: Inventory,
    content: str,
    *,
    skip_bad: bool = False,
    dry_run: bool = False,
    format: str = "csv",
) -> ImportOutcome:
    return await inventory.import_rows(
        content.encode(), format=format, skip_bad=skip_bad, dry_run=dry_run, by="ada"
    )


async def test_rows_find_their_machine_by_serial_mac_or_name(filled: Inventory) -> None:
    outcome = await bring(
        filled, f"serial,mac,name,site,asset_tag,note\nS1,,,North,A1,hello\n,{MAC_2.upper()},,South,A2,\n"
    )

    assert (outcome.rows, outcome.changed, outcome.is_applied) == (2, 2, True)
    one, two = (await filled.show("one")), (await filled.show("A2"))
    assert (one.entry.location.site, one.entry.asset_tag, one.notes[0].author) == ("North", "A1", "ada")
    assert (two.entry.name, two.entry.location.site) == ("two", "South")


async def test_an_empty_cell_changes_nothing(filled: Inventory) -> None:
    await filled.set_location("one", Location(site="North", line="L1"), by="ada")

    await bring(filled, "name,site,line\none,,L2\n")

    assert (await filled.show("one")).entry.location == Location(site="North", line="L2")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("S9,,", "no machine is known as 'S9'"),
        (f"S1,{MAC_2},", "it names several machines"),
        (",,", "it names no machine"),
        (",,one,T,more", "cells"),
        ("S2,,", "same machine as line 2"),
        ("S1,,", "asset tag"),
    ],
    ids=["unknown", "two machines", "nothing", "cells", "twice", "a tag that is taken"],
)
async def test_one_bad_row_refuses_the_whole_file(filled: Inventory, row: str, reason: str) -> None:
    content = f"serial,mac,name,asset_tag\nS2,,,TAG\n{row if row.count(',') > 2 else row + ',TAG'}\n"

    outcome = await bring(filled, content)

    assert (outcome.is_applied, [bad.line for bad in outcome.bad]) == (False, [3])
    assert reason in outcome.bad[0].reason
    assert (await filled.show("two")).entry.asset_tag == ""


async def test_bad_rows_can_be_skipped(filled: Inventory) -> None:
    outcome = await bring(filled, "name,site\nnobody,x\none,North\n", skip_bad=True)

    assert (outcome.changed, len(outcome.bad), outcome.is_applied) == (1, 1, True)
    assert (await filled.show("one")).entry.location.site == "North"


async def test_a_dry_run_says_what_would_change_and_changes_nothing(filled: Inventory) -> None:
    outcome = await bring(filled, "name,site\none,North\n", dry_run=True)

    assert (outcome.changed, outcome.is_applied, outcome.changes) == (1, False, ["one: location - -> North"])
    assert (await filled.show("one")).entry.location == Location()
    assert len(await filled.history("one")) == 1


@pytest.mark.parametrize("format", ["csv", "json"])
async def test_an_export_that_is_imported_changes_nothing(filled: Inventory, format: str) -> None:
    await filled.set_location("one", Location(site="=1+1", line="'-x"), by="ada")
    await filled.set_tag("one", "@T", by="ada")
    for text in ("first", "-second"):
        await filled.add_note("one", text, by="ada")
    exported = b"".join([part async for part in filled.export(format=format)]).decode()

    outcome = await bring(filled, exported, format=format)

    assert (outcome.rows, outcome.changed, outcome.bad) == (2, 0, [])


async def test_a_json_export_carries_all_notes_to_another_inventory(
    filled: Inventory, inventory: Inventory
) -> None:
    line = (
        '{"entry":{"id":7,"state":"registered","serial":"S1"},"notes":'
        '[{"time":"2020-01-01T00:00:00Z","author":"bob","text":"old"},{"time":"x","author":"","text":"new"}]}'
    )

    await bring(filled, line, format="json")

    notes = (await filled.show("one")).notes
    assert [(note.time, note.author) for note in notes] == [
        ("2020-01-01T00:00:00Z", "bob (imported by ada)"),
        ("2026-03-01T12:00:00Z", "ada"),
    ]
