"""Every screen at 80x24 (and two at 120x40) as text, compared with `tests/golden`.

Write them again with SKERRY_WRITE_GOLDEN=1 and read the difference before committing it.
"""

import os
from pathlib import Path

import pytest

from agent.protocol.report import Slot
from tests.simulators.appliance import SimulatedAppliance
from tests.tui.driving import press, running, screen_text
from tests.tui.factories import (
    V1,
    V2,
    make_bundle,
    make_found,
    make_history,
    make_host,
    make_operation,
    make_paused_rollout,
    make_pending,
    make_transaction,
    make_waiting,
)

GOLDEN = Path(__file__).parents[1] / "golden"

PLACES = {
    "hosts": ["1"],
    "hosts-filter": ["1", "slash", *"host"],
    "host-rolled-back": ["1", "enter"],
    "host-upgrading": ["1", "down", "down", "down", "enter"],
    "host-delete": ["1", "enter", "d"],
    "inbox": ["2"],
    "inbox-entry": ["2", "enter"],
    "inbox-reject": ["2", "r"],
    "rollouts": ["3"],
    "rollout-paused": ["3", "enter"],
    "rollout-resume": ["3", "enter", "r"],
    "bundles": ["4"],
    "log": ["5"],
    "help": ["9"],
    "actions": ["2", "6"],
}


def make_fleet() -> SimulatedAppliance:
    appliance = SimulatedAppliance()
    fallen = [
        Slot(name="a", state="good", snapshot=1, digest=V1, version="v1.0.0"),
        Slot(name="b", state="bad", snapshot=2, digest=V2, version="v2.0.0", reason="50-demo.sh: no answer"),
    ]
    candidate = [Slot(name="a", state="good", digest=V1, version="v1.0.0"), Slot(name="b", state="candidate")]
    said = "50-demo.sh: the line controller does not answer"
    appliance.put_host(
        make_host("host-1", version="v2.0.0", slot="b", digest=V2),
        make_host(
            "host-2",
            "Rolled back",
            reason=said,
            slots=fallen,
            history=[make_history(), make_history("rolled-back", reason=said, minutes=5)],
            transaction=make_transaction("done", percent=100, outcome="rolled-back", reason=said),
        ),
        make_host("host-3"),
        make_host("host-4", "Upgrading", slots=candidate, transaction=make_transaction(percent=62)),
        make_host("host-5", "Silent", reason="last heard from 1560 s ago", last_seen=""),
        make_host("host-6", "Rejected", approval="rejected"),
        make_pending("host-9"),
    )
    appliance.put_inbox(make_waiting("host-9"), make_found())
    appliance.put_rollout(make_paused_rollout())
    appliance.put_operation(make_operation(), make_operation("op-3", "succeeded"))
    appliance.loaded.append(make_bundle())
    return appliance


@pytest.mark.parametrize("name", PLACES)
async def test_the_screen_looks_as_approved(name: str) -> None:
    async with running(make_fleet()) as pilot:
        await press(pilot, *PLACES[name])

        check_golden(f"{name}.txt", screen_text(pilot))


@pytest.mark.parametrize("name", ["hosts", "host-rolled-back"])
async def test_the_wide_screen_looks_as_approved(name: str) -> None:
    async with running(make_fleet(), size=(120, 40)) as pilot:
        await press(pilot, *PLACES[name])

        check_golden(f"{name}-wide.txt", screen_text(pilot))


@pytest.mark.parametrize("name", ["hosts", "host-rolled-back", "rollout-paused"])
async def test_the_basic_screen_looks_as_approved(name: str) -> None:
    async with running(make_fleet(), basic=True) as pilot:
        await press(pilot, *PLACES[name])

        check_golden(f"{name}-basic.txt", screen_text(pilot))


async def test_without_an_appliance_it_looks_as_approved() -> None:
    appliance = SimulatedAppliance()
    appliance.go_away()
    async with running(appliance) as pilot:
        check_golden("away.txt", screen_text(pilot))


def check_golden(name: str, shown: str) -> None:
    path = GOLDEN / name
    if os.environ.get("SKERRY_WRITE_GOLDEN"):
        path.write_text(shown)
    assert shown == path.read_text()
