from datetime import timedelta

from agent.protocol.report import Slot
from tests.simulators.appliance import SimulatedAppliance
from tests.tui.driving import press, running, screen_text, until, until_shown
from tests.tui.factories import (
    NOW,
    V1,
    V2,
    make_history,
    make_host,
    make_pending,
    make_transaction,
)


async def test_a_rolled_back_host_explains_itself() -> None:
    appliance = SimulatedAppliance()
    slots = [
        Slot(name="a", state="good", digest=V1, version="v1.0.0"),
        Slot(name="b", state="bad", digest=V2, version="v2.0.0", reason="health check"),
    ]
    history = [make_history(), make_history("rolled-back", reason="50-demo.sh said no", minutes=5)]
    appliance.put_host(
        make_host("host-1", "Rolled back", reason="50-demo.sh said no", slots=slots, history=history)
    )
    async with running(appliance) as pilot:
        await press(pilot, "enter")

        shown = screen_text(pilot)
        assert "50-demo.sh said no. It is safe: it runs v1.0.0 again from slot A." in " ".join(shown.split())
        assert "! BAD" in shown
        assert shown.index("03:07") < shown.index("17 Nov 03:12")


async def test_progress_gets_a_range_when_it_was_watched_long_enough() -> None:
    now = NOW
    appliance = SimulatedAppliance()
    appliance.put_host(make_host("host-1", "Upgrading", transaction=make_transaction(percent=10)))
    async with running(appliance, clock=lambda: now) as pilot:
        await press(pilot, "enter")
        now = NOW + timedelta(seconds=30)
        appliance.put_host(make_host("host-1", "Upgrading", transaction=make_transaction(percent=40)))

        await until_shown(pilot, "40%  this phase: 50-85s left")


async def test_a_host_that_was_deleted_meanwhile_is_said_to_be_gone() -> None:
    appliance = SimulatedAppliance()
    appliance.put_host(make_host("host-1"))
    async with running(appliance) as pilot:
        await press(pilot, "enter")

        appliance.remove("hosts", "fleet-default/host-1")

        await until_shown(pilot, "fleet-default/host-1 is not in the inventory")


async def test_deleting_asks_for_the_tail_of_the_tpm_hash() -> None:
    appliance = SimulatedAppliance()
    host = make_host("host-1")
    appliance.put_host(host)
    async with running(appliance) as pilot:
        await press(pilot, "enter", "d", *"zzzz", "enter")
        assert "'zzzz' is not its tail; nothing was changed." in screen_text(pilot)
        assert appliance.calls == []

        await press(pilot, *["backspace"] * 4, *host.tpm_hash[-4:], "enter")
        await until(pilot, lambda: bool(appliance.calls))
        await until_shown(pilot, "$ skerry delete machineinventory host-1 -n fleet-default")

    assert appliance.calls == [("delete", "machineinventories", "host-1", "fleet-default")]


async def test_escape_deletes_nothing() -> None:
    appliance = SimulatedAppliance()
    appliance.put_host(make_host("host-1"))
    async with running(appliance) as pilot:
        await press(pilot, "enter", "d", "escape")

        assert "Delete host-1?" not in screen_text(pilot)
    assert appliance.calls == []


async def test_a_waiting_host_can_be_approved_here_too() -> None:
    appliance = SimulatedAppliance()
    appliance.put_host(make_pending("host-9"))
    async with running(appliance) as pilot:
        await press(pilot, "enter", "a")

        await until_shown(pilot, "- registered")
    assert appliance.calls == [("approve", "host-9", "fleet-default")]
