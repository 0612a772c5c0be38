"""What only the inventory knows comes through a backup and a restore."""

from contextlib import closing
from pathlib import Path

from appliance.inventory.inventory import Inventory
from appliance.moving import folders
from tests.appliance.inventory.driving import settle
from tests.appliance.inventory.factories import disk, facts, machine
from tests.appliance.moving.filling import fill


async def test_history_notes_and_tags_are_in_the_backup(tmp_path: Path) -> None:
    import asyncio

    data, copy = tmp_path / "data", tmp_path / "copy"
    data.mkdir()
    await fill(data)
    with closing(Inventory.open(data)) as inventory:
        for serial in ("OLD", "NEW"):
            inventory.hear_registration(machine("press-1"), facts("SN", disks=[disk("sda", serial)]))
        await settle(inventory)
        await inventory.set_tag("press-1", "A-1", by="ada")
        await inventory.add_note("press-1", "kept", by="ada")
        # While it is open, as the appliance has it.
        await asyncio.to_thread(folders.back_up, data, tmp_path / "backup", site="here")

    await asyncio.to_thread(folders.restore, tmp_path / "backup", copy)

    with closing(Inventory.open(copy)) as inventory:
        assert [note.text for note in (await inventory.show("A-1")).notes] == ["kept"]
        assert "disk sda" in [event.what for event in await inventory.history("press-1")]
