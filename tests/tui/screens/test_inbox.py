import msgspec

from tests.simulators.appliance import SimulatedAppliance
from tests.tui.driving import press, running, screen_text, until, until_shown
from tests.tui.factories import make_found, make_pending, make_waiting
from tui.widgets.table import LineTable


def make_inbox(*names: str) -> SimulatedAppliance:
    appliance = SimulatedAppliance()
    for name in names:
        appliance.put_host(make_pending(name))
        appliance.put_inbox(make_waiting(name))
    return appliance


async def test_the_tail_of_the_tpm_hash_is_there_to_compare() -> None:
    async with running(make_inbox("host-9")) as pilot:
        await press(pilot, "2")
        assert "3f9a12cd" in screen_text(pilot)

        await press(pilot, "enter")
        assert "TPM tail     3f9a12cd  <== same on the machine's screen?" in screen_text(pilot)
        assert "0042-7781" in screen_text(pilot)


async def test_a_approves_once_and_shows_the_twin() -> None:
    appliance = make_inbox("host-9")
    async with running(appliance) as pilot:
        await press(pilot, "2", "a")

        await until_shown(pilot, "$ skerry approve host-9 -n fleet-default  [done]")
    assert appliance.calls == [("approve", "host-9", "fleet-default")]
    assert appliance.deciders == ["night@plant"]


async def test_a_held_key_approves_once_while_the_appliance_is_slow() -> None:
    appliance = make_inbox("host-9")
    appliance.is_slow = True
    async with running(appliance) as pilot:
        await press(pilot, "2", "a", "a", "a")

        await until_shown(pilot, "[done]")
    assert appliance.calls == [("approve", "host-9", "fleet-default")]


async def test_a_second_press_never_falls_on_the_neighbour() -> None:
    appliance = make_inbox("host-7", "host-8", "host-9")
    async with running(appliance) as pilot:
        await press(pilot, "2", "a")
        await until_shown(pilot, "[done]")
        await press(pilot, "a", "a")
        assert "+ approved host-7" in " ".join(screen_text(pilot).split())

        await press(pilot, "down", "a")
        await until(pilot, lambda: len(appliance.calls) == 2)

    assert appliance.calls == [("approve", "host-7", "fleet-default"), ("approve", "host-8", "fleet-default")]


async def test_decided_entries_go_when_the_cursor_moves_on() -> None:
    appliance = make_inbox("host-7", "host-8")
    async with running(appliance) as pilot:
        await press(pilot, "2", "a")
        await until_shown(pilot, "[done]")

        await press(pilot, "down")

        assert pilot.app.screen.query_one(LineTable).rows == ["fleet-default/host-8"]


async def test_r_asks_first_and_the_safe_answer_is_selected() -> None:
    appliance = make_inbox("host-9")
    async with running(appliance) as pilot:
        await press(pilot, "2", "r")
        assert "Reject host-9?" in screen_text(pilot)

        await press(pilot, "enter")
        assert appliance.calls == []

        await press(pilot, "r", "1")
        await until_shown(pilot, "$ skerry reject host-9 -n fleet-default  [done]")
    assert appliance.calls == [("reject", "host-9", "fleet-default")]


async def test_enter_and_a_digit_decide_too() -> None:
    appliance = make_inbox("host-9")
    async with running(appliance) as pilot:
        await press(pilot, "2", "enter", "up", "up", "enter")

        await until_shown(pilot, "[done]")
    assert appliance.calls == [("approve", "host-9", "fleet-default")]


async def test_a_machine_that_was_only_heard_cannot_be_approved() -> None:
    appliance = SimulatedAppliance()
    appliance.put_inbox(make_found("live-3f2a"))
    async with running(appliance) as pilot:
        await press(pilot, "2", "a")

        assert "live-3f2a was only heard on the network" in screen_text(pilot)
    assert appliance.calls == []


async def test_a_machine_that_shows_a_code_comes_with_the_command_that_takes_it() -> None:
    appliance = SimulatedAppliance()
    found = make_found("new-4e1a")
    appliance.put_inbox(msgspec.structs.replace(found, details={**found.details, "pair": "1"}))
    async with running(appliance) as pilot:
        await press(pilot, "2", "a")

        assert "skerry discover pair new-4e1a" in screen_text(pilot)
    assert appliance.calls == []


async def test_waiting_machines_stand_before_found_ones_and_are_counted_in_the_keys() -> None:
    appliance = make_inbox("host-9")
    appliance.put_inbox(make_found("aaa"))
    async with running(appliance) as pilot:
        await press(pilot, "2")

        assert pilot.app.screen.query_one(LineTable).rows == ["fleet-default/host-9", "mdns/aaa"]
        assert "2 inbox(1)" in screen_text(pilot)
