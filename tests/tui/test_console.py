from datetime import timedelta

import pytest
from textual.pilot import Pilot

from appliance.api.client import ApplianceError
from tests.simulators.appliance import SimulatedAppliance
from tests.tui.driving import console_of, press, running, screen_text, until_shown
from tests.tui.factories import NOW, make_host, make_paused_rollout, make_pending, make_waiting
from tui.widgets.table import Cells, LineTable

FORBIDDEN = {"ctrl+a", "ctrl+q", "ctrl+s", "ctrl+z", "ctrl+right_square_bracket", "ctrl+p"}


def make_appliance() -> SimulatedAppliance:
    appliance = SimulatedAppliance()
    appliance.put_host(make_host("host-1"), make_pending("host-9"))
    appliance.put_inbox(make_waiting("host-9"))
    return appliance


async def test_digits_switch_screens_and_zero_comes_back() -> None:
    async with running(make_appliance()) as pilot:
        seen = []
        for digit in "23450":
            await press(pilot, digit)
            seen.append(type(pilot.app.screen).__name__)

    assert seen == ["InboxScreen", "RolloutsScreen", "BundlesScreen", "LogScreen", "HostsScreen"]


async def test_the_whole_console_works_with_arrows_enter_esc_and_digits() -> None:
    appliance = make_appliance()
    async with running(appliance) as pilot:
        await press(pilot, "2", "6")
        assert "What now?" in screen_text(pilot)

        await press(pilot, "1")
        await until_shown(pilot, "[done]")

    assert appliance.calls == [("approve", "host-9", "fleet-default")]


async def test_help_and_escape() -> None:
    async with running(make_appliance()) as pilot:
        await press(pilot, "question_mark")
        assert "leave; the appliance and everything on it goes on" in screen_text(pilot)

        await press(pilot, "escape")
        assert "host-1" in screen_text(pilot)


@pytest.mark.parametrize(
    "place", ["1", "2", "3", "4", "5", "9", "1 enter", "1 slash", "2 r", "1 enter d", "3 r"]
)
async def test_no_screen_uses_a_key_that_belongs_to_the_line(place: str) -> None:
    appliance = make_appliance()
    appliance.put_rollout(make_paused_rollout())
    async with running(appliance) as pilot:
        await press(pilot, *place.split())

        keys = set(pilot.app.screen.active_bindings)

    assert keys & FORBIDDEN == set()
    assert keys


async def test_q_leaves_at_once() -> None:
    async with running(make_appliance()) as pilot:
        await pilot.press("q")
        await pilot.pause()

        assert not pilot.app.is_running


async def test_q_in_a_question_does_not_leave() -> None:
    async with running(make_appliance()) as pilot:
        await press(pilot, "2", "r", "q")

        assert pilot.app.is_running
        assert "Reject host-9?" in screen_text(pilot)


async def test_when_the_appliance_goes_away_the_last_known_stays_with_its_age() -> None:
    now = NOW
    appliance = make_appliance()
    async with running(appliance, clock=lambda: now) as pilot:
        appliance.go_away("The cable is out.")
        await until_shown(pilot, "AWAY")
        now = NOW + timedelta(seconds=47)
        console_of(pilot).paint_header()
        await pilot.pause()

        shown = screen_text(pilot)
        assert "AWAY, data 45s old" in shown
        assert "host-1" in shown
        assert "The cable is out. Trying again." in shown


async def test_it_comes_back_and_shows_what_changed_meanwhile() -> None:
    appliance = make_appliance()
    async with running(appliance) as pilot:
        appliance.go_away()
        await until_shown(pilot, "AWAY")
        appliance.remove("hosts", "fleet-default/host-1")
        appliance.put_host(make_host("host-2", "Failed", reason="disk is full"))
        appliance.come_back()

        await until_shown(pilot, "host-2")
        shown = screen_text(pilot)
        assert "+ live" in shown
        assert "host-1" not in shown


async def test_it_starts_without_an_appliance_and_waits_for_it() -> None:
    appliance = make_appliance()
    appliance.go_away("There is no appliance at unix:/run/skerry/skerry.sock.")
    async with running(appliance) as pilot:
        assert "no answer yet" in screen_text(pilot)

        appliance.come_back()
        await until_shown(pilot, "host-1")


async def test_a_refusal_is_shown_with_its_twin_and_logged() -> None:
    appliance = make_appliance()
    appliance.refusal = ApplianceError("Conflict", "host-9 is gone.", hint="Let it register again.")
    async with running(appliance) as pilot:
        await press(pilot, "2", "a")
        await until_shown(pilot, "[REFUSED]")
        assert "host-9 is gone. Let it register again." in screen_text(pilot)

        await press(pilot, "5")
        shown = screen_text(pilot)
        assert "$ skerry approve host-9 -n fleet-default" in shown
        assert "! host-9 is gone." in shown


async def test_the_log_tells_of_hosts_that_change_their_state() -> None:
    appliance = make_appliance()
    async with running(appliance) as pilot:
        await press(pilot, "5")

        appliance.put_host(make_host("host-1", "Rolled back", reason="check failed"))

        await until_shown(pilot, "host-1: ready -> rolled back: check failed")


async def test_basic_mode_sends_ascii_only() -> None:
    appliance = make_appliance()
    appliance.put_host(make_host("工場-7", "Upgrading"))
    async with running(appliance, basic=True) as pilot:
        texts = []
        for keys in (["1"], ["enter"], ["escape", "slash"], ["escape", "2"], ["r"], ["escape", "9"]):
            await press(pilot, *keys)
            texts.append(filtered_text(pilot))

    assert all(text.isascii() for text in texts)
    assert "????-7" in texts[0]


async def test_ten_thousand_hosts_are_painted_by_asking_for_one_window() -> None:
    appliance = SimulatedAppliance()
    appliance.put_host(*(make_host(f"host-{number:05}") for number in range(10_000)))
    async with running(appliance) as pilot:
        table = pilot.app.screen.query_one(LineTable)
        asked: list[str] = []
        cells_of = table.cells_of

        def count(row: str) -> Cells:
            asked.append(row)
            return cells_of(row)

        table.cells_of = count

        appliance.put_host(make_host("host-00003", version="v9"))
        await until_shown(pilot, "v9")

        assert "hosts 10000" in screen_text(pilot)
        assert len(set(asked)) <= 24


async def test_names_from_the_network_cannot_draw() -> None:
    appliance = make_appliance()
    appliance.put_host(make_host("evil", reason="\x1b[2J\x1b[Howned\u202e", labels={"a\x07": "\x9b31m"}))
    async with running(appliance) as pilot:
        await press(pilot, "slash", *"evil", "enter", "enter")

        shown = screen_text(pilot)
        assert "[2J[Howned" in shown
        assert not {"\x1b", "\u202e", "\x07", "\x9b"} & set(shown)


def filtered_text(pilot: Pilot[None]) -> str:
    """What leaves for the terminal, after the line filters."""
    return "".join(strip.text for strip in pilot.app.screen._compositor.render_strips(pilot.app.size))
