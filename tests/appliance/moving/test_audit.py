"""The audit log goes along with a backup, and goes on where it ended."""

import asyncio
from pathlib import Path

from appliance.audit.chain import Decision
from appliance.audit.log import Audit, read_entries, verify
from appliance.moving import folders
from appliance.moving.place import DATABASE
from appliance.store.sqlite import SqliteStore


async def make_folder(data: Path) -> None:
    data.mkdir()
    async with SqliteStore.open(data / DATABASE):
        pass


def test_a_restored_log_is_whole_and_says_that_it_was_restored(tmp_path: Path) -> None:
    data, again = tmp_path / "data", tmp_path / "again"
    asyncio.run(make_folder(data))
    audit = Audit(data, file_bytes=300)
    for number in range(5):
        audit.write([Decision("approve", f"host/{number}", "ann")])
    audit.close()

    folders.back_up(data, tmp_path / "box.backup", site="hall")
    folders.restore(tmp_path / "box.backup", again)

    assert verify(again) == (6, [])
    *before, last = read_entries(again)
    assert [entry.object for entry in before] == [f"host/{number}" for number in range(5)]
    assert (last.what, last.object) == ("restore", "backup/box.backup")
    assert "by hall" in last.why
