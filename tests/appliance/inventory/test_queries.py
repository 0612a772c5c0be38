"""What people type, and what is found by it."""

import pytest

from appliance.inventory.entries import Location
from appliance.inventory.errors import EntryInvalid
from appliance.inventory.inventory import Inventory
from appliance.inventory.queries import MAX_QUERY, MAX_TERMS, Term, parse_query
from tests.appliance.inventory.driving import settle
from tests.appliance.inventory.factories import disk, facts, machine, nic

MAC = "00:1b:21:0a:0b:0c"


@pytest.fixture
async def filled(inventory: Inventory) -> Inventory:
    inventory.hear_registration(
        machine(
            "press-17",
            labels={"line": "north"},
            annotations={"elemental.cattle.io/registration-ip": "10.1.2.3"},
        ),
        facts("SERIAL-4711", nics=[nic("eth0", MAC)], disks=[disk("sda", "DISK99", Model="Samsung PM9A3")]),
    )
    inventory.hear_registration(machine("mixer-2", labels={"line": "south"}), facts("SERIAL-4712"))
    await settle(inventory)
    await inventory.set_location("press-17", Location(site="Hall 7", cell="c3"), by="ada")
    await inventory.set_tag("press-17", "INV-0042", by="ada")
    await inventory.add_note("press-17", "Lüfter ersetzt", by="ada")
    return inventory


@pytest.mark.parametrize(
    "text",
    [
        *("press-17", "press", "ress-1", "PRESS", "SERIAL-4711", "4711", "serial:4711", "pr"),
        *(MAC, "0a:0b:0c", "0A-0B-0C", "0a0b.0c", "001b210a0b0c", "mac:0a:0b"),
        *("10.1.2.3", "ip:10.1.2", "INV-0042", "tag:0042", "line=north", "label:north", "press line=north"),
        *("site:Hall", "location:c3", "Hall", "Samsung", "DISK99", "Lüfter", "note:ersetzt", "ACME 4711"),
        *("ACME pm line=north", "4711 name:pr", "c3", "c3 pr"),
    ],
)
async def test_a_machine_is_found_by_any_part_of_anything(filled: Inventory, text: str) -> None:
    assert [entry.name for entry in await filled.search(text, limit=10)] == ["press-17"]


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "serial:press",
        "press south",
        'a" OR "b',
        "NEAR(press)",
        "pre*zz",
        "name:SERIAL",
        "% _",
        "press zz",
        "pr zz",
        "\"'",
    ],
)
async def test_what_is_not_there_is_not_found(filled: Inventory, text: str) -> None:
    assert await filled.search(text, limit=10) == []


async def test_what_is_named_exactly_stands_first(inventory: Inventory) -> None:
    for name in ("press-170", "press-17", "press-171"):
        inventory.hear_registration(machine(name), facts())
    await settle(inventory)
    await inventory.add_note("press-170", "see also mixer", by="ada")
    inventory.hear_registration(machine("mixer-1"), facts())
    await settle(inventory)

    assert [entry.name for entry in await inventory.search("press-17", limit=1)] == ["press-17"]
    assert [entry.name for entry in await inventory.search("mixer", limit=10)] == ["mixer-1", "press-170"]
    assert len(await inventory.search("press", limit=2)) == 2


@pytest.mark.parametrize("text", ["", "   ", "x" * (MAX_QUERY + 1), "a " * (MAX_TERMS + 1)])
async def test_a_bad_search_is_refused(inventory: Inventory, text: str) -> None:
    with pytest.raises(EntryInvalid):
        await inventory.search(text, limit=10)


def test_words_are_terms() -> None:
    assert parse_query("a=b serial:x other:y :z") == [
        Term("a=b", "label"),
        Term("x", "serial"),
        Term("other:y"),
        Term(":z"),
    ]


async def test_what_changed_is_found_by_what_it_is_now(filled: Inventory) -> None:
    await filled.set_tag("press-17", "NEW-1", by="ada")

    assert await filled.search("INV-0042", limit=5) == []
    assert [entry.name for entry in await filled.search("NEW-1", limit=5)] == ["press-17"]
