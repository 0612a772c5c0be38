from appliance.rollout import ACCEPTED_FAILURES
from tests.simulators.appliance import SimulatedAppliance
from tests.tui.driving import press, running, screen_text, until, until_shown
from tests.tui.factories import make_host, make_paused_rollout, make_rollout, make_transaction


def make_appliance(rollout: dict[str, object]) -> SimulatedAppliance:
    appliance = SimulatedAppliance()
    appliance.put_host(make_host("host-2", "Upgrading", transaction=make_transaction("pulling", percent=62)))
    appliance.put_rollout(rollout)
    return appliance


async def test_a_running_rollout_shows_its_waves_and_who_moves() -> None:
    async with running(make_appliance(make_rollout())) as pilot:
        await press(pilot, "3", "enter")

        shown = screen_text(pilot)
        assert "canary     [##############################] 1/1" in shown
        assert "rest       [>>>>>>>>>>>>>>>...............] 0/2  <== here" in shown
        assert "pulling 62%" in shown


async def test_a_paused_rollout_says_why() -> None:
    async with running(make_appliance(make_paused_rollout())) as pilot:
        await press(pilot, "3", "enter")

        shown = screen_text(pilot)
        assert "why host-2 rolled back: 50-demo.sh: the line controller does not answer" in shown
        assert "1 failed" in shown
        assert "to-v2 = PAUSED" in shown.splitlines()[1]


async def test_p_pauses_and_shows_the_twin() -> None:
    appliance = make_appliance(make_rollout())
    async with running(appliance) as pilot:
        await press(pilot, "3", "enter", "p")

        await until_shown(pilot, "$ skerry rollout pause to-v2 -n fleet-default  [done]")
    assert appliance.patches == [{"spec": {"paused": True}}]


async def test_resuming_after_a_failure_asks_because_it_leaves_hosts_behind() -> None:
    appliance = make_appliance(make_paused_rollout())
    async with running(appliance) as pilot:
        await press(pilot, "3", "enter", "r")
        assert "Without: host-2" in screen_text(pilot)
        assert appliance.patches == []

        await press(pilot, "1")
        await until(pilot, lambda: bool(appliance.patches))

    annotations = {ACCEPTED_FAILURES: "host-2"}
    assert appliance.patches == [{"metadata": {"annotations": annotations}, "spec": {"paused": False}}]


async def test_resuming_what_a_person_paused_needs_no_question() -> None:
    appliance = make_appliance(make_rollout(phase="Paused", reason="paused by a person"))
    async with running(appliance) as pilot:
        await press(pilot, "3", "r")

        await until_shown(pilot, "$ skerry rollout resume to-v2 -n fleet-default  [done]")
    assert appliance.patches == [{"metadata": {"annotations": {}}, "spec": {"paused": False}}]


async def test_a_finished_rollout_offers_neither() -> None:
    appliance = make_appliance(make_rollout(phase="Completed"))
    async with running(appliance) as pilot:
        await press(pilot, "3", "enter", "p", "r")

        assert appliance.patches == []
        await press(pilot, "6")
        assert "nothing to do here" in screen_text(pilot)


async def test_what_a_person_paused_before_it_moved_can_be_resumed() -> None:
    rollout = make_rollout(phase="Pending")
    rollout["spec"]["paused"] = True
    async with running(make_appliance(rollout)) as pilot:
        await press(pilot, "3", "p")

        assert "r resume" in screen_text(pilot)


async def test_enter_on_a_host_opens_it() -> None:
    async with running(make_appliance(make_rollout())) as pilot:
        await press(pilot, "3", "enter", "enter")

        assert "┌─ slot A booted" in screen_text(pilot)


async def test_a_rollout_of_many_waves_shows_those_around_the_current_one() -> None:
    members: list[dict[str, object]] = [
        {"name": f"host-{number}", "wave": number, "phase": "Updated" if number < 9 else "Waiting"}
        for number in range(12)
    ]
    rollout = make_rollout(hosts=members)
    rollout["status"]["currentWave"] = 9
    async with running(make_appliance(rollout)) as pilot:
        await press(pilot, "3", "enter")

        shown = screen_text(pilot)
        assert "wave 10" in shown
        assert "wave 1 " not in shown
