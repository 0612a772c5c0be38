"""Machines that announce themselves: sightings of known ones, entries of unknown ones, never facts."""

import pytest

from appliance.discovery import Candidate
from appliance.inventory import heard
from appliance.inventory.heard import hear
from appliance.inventory.inventory import Inventory, Wanted
from appliance.inventory.observations import observe_candidate
from tests.appliance.inventory.driving import settle
from tests.appliance.inventory.factories import AT, LATER, facts, machine

IP = {"elemental.cattle.io/registration-ip": "10.0.0.7"}


async def announce(
    inventory: Inventory, id: str, *, address: str = "10.0.0.7", tail: str = "0001", at: str = AT
) -> None:
    said = observe_candidate(Candidate(id, f"node-{id}", address, {"sn4": tail}, AT, at))
    await inventory._writer.post(lambda db: hear(db, said), durable=False)


async def test_an_unknown_machine_is_heard_and_nothing_more(inventory: Inventory) -> None:
    await announce(inventory, "abc")
    await announce(inventory, "abc", at=LATER)

    (entry,) = await inventory.select(Wanted(), limit=10)
    assert (entry.state, entry.name, entry.last_source) == ("heard", "node-abc", "mdns")
    assert [(each.address, each.times) for each in (await inventory.show("id:1")).sightings] == [
        ("10.0.0.7", 2)
    ]


async def test_a_machine_that_is_heard_and_registers_is_one_entry(inventory: Inventory) -> None:
    await announce(inventory, "abc")
    await inventory.add_note("id:1", "the one by the door", by="ada")
    inventory.hear_registration(machine("press-1", annotations=IP), facts("SN0001"))
    await settle(inventory)
    await announce(inventory, "abc", at=LATER)

    (entry,) = await inventory.select(Wanted(), limit=10)
    assert (entry.state, entry.name, entry.last_source) == ("registered", "press-1", "registration")
    details = await inventory.show("press-1")
    assert {each.source for each in details.sightings} == {"mdns", "registration"}
    assert details.notes[0].text == "the one by the door"


async def test_an_announcement_with_another_serial_is_another_machine(inventory: Inventory) -> None:
    inventory.hear_registration(machine("press-1", annotations=IP), facts("SN0001"))
    await settle(inventory)
    await announce(inventory, "abc", tail="9999")

    assert {entry.state for entry in await inventory.select(Wanted(), limit=10)} == {"registered", "heard"}


async def test_an_announcement_is_no_sign_of_life_and_changes_no_fact(inventory: Inventory) -> None:
    inventory.hear_registration(machine("press-1", annotations=IP), facts("SN0001"))
    await settle(inventory)
    before = (await inventory.show("press-1")).entry
    await announce(inventory, "abc", at=LATER)

    assert (await inventory.show("press-1")).entry == before


async def test_a_flood_of_names_pushes_out_only_what_nobody_wrote_about(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heard, "MAX_HEARD", 3)
    await announce(inventory, "kept")
    await inventory.add_note("id:1", "mine", by="ada")
    for index in range(10):
        await announce(inventory, f"flood-{index}", address=f"10.9.9.{index}")

    names = [entry.name for entry in await inventory.select(Wanted(), limit=20)]
    assert "node-kept" in names
    assert len(names) == 3
