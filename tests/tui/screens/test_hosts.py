from appliance.api.inventory_contract import Entry
from tests.simulators.appliance import SimulatedAppliance
from tests.tui.driving import press, running, screen_text, until_shown
from tests.tui.factories import make_host, make_transaction
from tui.screens.host import HostScreen
from tui.widgets.table import LineTable


def make_fleet() -> SimulatedAppliance:
    appliance = SimulatedAppliance()
    appliance.put_host(
        make_host("host-1"),
        make_host("host-2", "Upgrading", transaction=make_transaction(percent=40)),
        make_host("host-3", "Failed", reason="disk is full"),
    )
    return appliance


def rows(text: str) -> list[str]:
    return [word for line in text.splitlines() for word in line.split() if word.startswith("host-")]


async def test_what_needs_a_person_comes_first() -> None:
    async with running(make_fleet()) as pilot:
        assert rows(screen_text(pilot)) == ["host-3", "host-2", "host-1"]


async def test_s_sorts_by_the_next_column() -> None:
    async with running(make_fleet()) as pilot:
        await press(pilot, "s")

        assert rows(screen_text(pilot)) == ["host-1", "host-2", "host-3"]
        assert "NAME ^" in screen_text(pilot)


async def test_slash_filters_while_typing_enter_keeps_it_and_escape_clears_it() -> None:
    async with running(make_fleet()) as pilot:
        await press(pilot, "slash", *"host-2")
        assert pilot.app.screen.query_one(LineTable).rows == ["fleet-default/host-2"]

        await press(pilot, "enter")
        assert "find [host-2]" in screen_text(pilot)
        assert pilot.app.screen.query_one(LineTable).rows == ["fleet-default/host-2"]

        await press(pilot, "escape")
        assert len(pilot.app.screen.query_one(LineTable).rows) == 3


async def test_what_the_inventory_knows_of_a_host_finds_it_too() -> None:
    appliance = make_fleet()
    appliance.machines["SN-4711"] = [
        Entry(id=1, state="registered", namespace="fleet-default", name="host-2"),
        Entry(id=2, state="removed", namespace="fleet-default", name="long-gone"),
    ]
    async with running(appliance) as pilot:
        await press(pilot, "slash", *"SN-4711")
        await until_shown(pilot, "host-2")

        assert pilot.app.screen.query_one(LineTable).rows == ["fleet-default/host-2"]
        await press(pilot, "x")
        assert pilot.app.screen.query_one(LineTable).rows == []


async def test_digits_and_letters_are_text_while_the_filter_is_open() -> None:
    async with running(make_fleet()) as pilot:
        await press(pilot, "slash", "2", "q", "s")

        assert pilot.app.is_running
        assert "No host matches '2qs'" in screen_text(pilot)


async def test_progress_moves_in_place() -> None:
    appliance = make_fleet()
    async with running(appliance) as pilot:
        assert "[███·····] 40%" in screen_text(pilot)

        appliance.put_host(make_host("host-2", "Upgrading", transaction=make_transaction(percent=75)))

        await until_shown(pilot, "[██████··] 75%")


async def test_the_cursor_stays_on_its_host_when_the_order_changes() -> None:
    appliance = make_fleet()
    async with running(appliance) as pilot:
        table = pilot.app.screen.query_one(LineTable)
        await press(pilot, "end")
        assert table.row == "fleet-default/host-1"

        appliance.put_host(make_host("host-1", "Failed", reason="no power"), make_host("host-3"))
        await until_shown(pilot, "+ ready       host-3")
        await press(pilot, "enter")

        assert isinstance(pilot.app.screen, HostScreen)
        assert pilot.app.screen.key == "fleet-default/host-1"


async def test_an_empty_fleet_says_what_to_do() -> None:
    async with running(SimulatedAppliance()) as pilot:
        assert "No hosts yet." in screen_text(pilot)


async def test_wide_screens_show_addresses() -> None:
    async with running(make_fleet(), size=(120, 40)) as pilot:
        assert "ADDRESS" in screen_text(pilot)
        assert "192.168.7.11" in screen_text(pilot)
