"""Kill -9 while writers write, again and again: nothing acknowledged is lost, no version comes twice."""

import subprocess
import sys
from pathlib import Path

from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.store.base import Limits
from tests.conformance.store_engines import sqlite

ROUNDS = 5
WRITES_A_ROUND = 120


def write_until_killed(folder: Path, turn: int) -> list[tuple[str, int]]:
    """Acknowledged writes of a writing process that is killed in the middle of its work."""
    command = [sys.executable, "-m", "tests.conformance.store_writer", str(folder), str(turn)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(WRITES_A_ROUND + turn * 7)]
        process.kill()
        lines += process.stdout.readlines()
    complete = [line.split() for line in lines if line.endswith("\n")]
    return [(name, int(version)) for name, version in complete]


async def test_a_killed_store_keeps_every_acknowledged_write_and_repeats_no_version(tmp_path: Path) -> None:
    acknowledged: dict[int, str] = {}
    newest: dict[str, int] = {}
    for turn in range(ROUNDS):
        for name, version in write_until_killed(tmp_path, turn):
            assert version not in acknowledged, f"version {version} was given twice"
            acknowledged[version] = name
            newest[name] = max(version, newest.get(name, 0))

        async with sqlite(tmp_path, Limits(history=200)) as store:
            page = await store.list(MACHINE_INVENTORY)
            kept = {item["metadata"]["name"]: int(item["metadata"]["resourceVersion"]) for item in page.items}
        assert set(newest) <= set(kept)
        assert all(kept[name] >= version for name, version in newest.items())
        assert int(page.resource_version) >= max(acknowledged)
    assert len(acknowledged) >= ROUNDS * WRITES_A_ROUND
