from msgspec.structs import replace

from appliance.api.contract import OperationError
from tests.simulators.appliance import SimulatedAppliance
from tests.tui.driving import press, running, screen_text, until_shown
from tests.tui.factories import make_bundle, make_operation


async def test_running_operations_stand_above_what_is_loaded() -> None:
    appliance = SimulatedAppliance()
    appliance.loaded.append(make_bundle())
    appliance.put_operation(make_operation("op-1", "succeeded"), make_operation("op-2"))
    async with running(appliance) as pilot:
        await press(pilot, "4")

        shown = screen_text(pilot)
        assert shown.index("> running") < shown.index("plant-2026-11") < shown.index("+ done")
        assert "30% 300 MB" in shown


async def test_c_cancels_the_operation_under_the_cursor() -> None:
    appliance = SimulatedAppliance()
    appliance.put_operation(make_operation("op-2"))
    async with running(appliance) as pilot:
        await press(pilot, "4", "c")

        await until_shown(pilot, "x cancelled")
        assert "$ skerry operation cancel op-2" in screen_text(pilot)
    assert appliance.calls == [("cancel", "op-2")]


async def test_a_failed_operation_says_why_and_what_to_do() -> None:
    appliance = SimulatedAppliance()
    error = OperationError(
        reason="UntrustedSigner", message="signed by nobody we know", hint="skerry trust add"
    )
    appliance.put_operation(replace(make_operation(state="failed"), error=error))
    async with running(appliance) as pilot:
        await press(pilot, "4", "enter")

        shown = screen_text(pilot)
        assert "signed by nobody we know" in shown
        assert "skerry trust add" in shown


async def test_enter_on_a_bundle_lists_its_images() -> None:
    appliance = SimulatedAppliance()
    appliance.loaded.append(make_bundle())
    async with running(appliance) as pilot:
        await press(pilot, "4", "enter")

        assert "os:v2.0.0" in screen_text(pilot)
        assert "2b2b2b2b2b2b" in screen_text(pilot)
