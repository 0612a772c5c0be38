"""Rollouts over the real store: five hosts in two waves, a rollback that pauses, and power cuts anywhere."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.controllers.manager import identify
from appliance.controllers.plans import PLANNED_AT, UPDATED_AT
from appliance.controllers.rollout import RolloutController
from appliance.resources.core import SECRET
from appliance.resources.machine_inventory import APPROVAL, MACHINE_INVENTORY
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.meta import Document, decode
from appliance.resources.rollout import ROLLOUT, Rollout
from appliance.rollout import render_pause, render_resume
from appliance.store.base import merge
from tests.appliance.controllers.factories import (
    MIRROR,
    NAMESPACE,
    V1,
    V2,
    V3,
    Clock,
    failure_output,
    inventory,
    report,
    rollout,
    settings,
    transaction,
)
from tests.appliance.controllers.plant import Plant, open_plant

HOSTS = [f"host-{number}" for number in range(5)]
TWO_WAVES = [{"size": "2"}, {"size": "100%"}]


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    async with open_plant(tmp_path) as plant:
        for name in HOSTS:
            await plant.add_host(name)
        await plant.settle()
        for name in HOSTS:
            await plant.answer(name)
        await plant.settle()
        yield plant


async def start(plant: Plant, name: str = "to-v2", *, image: str = "demo:v2", **spec: object) -> None:
    await plant.store.create(ROLLOUT, rollout(name, image=image, **spec))
    await plant.settle()


async def change(plant: Plant, body: Document, name: str = "to-v2") -> None:
    await plant.store.patch(ROLLOUT, name, merge(body), namespace=NAMESPACE)
    await plant.settle()


async def test_five_hosts_go_in_two_waves(plant: Plant) -> None:
    await start(plant, waves=TWO_WAVES, maxUnavailable=5)
    first = await plant.planned()
    await plant.finish_upgrade("host-0", V2)
    await plant.settle()
    meanwhile = await plant.planned()
    await plant.finish_upgrade("host-1", V2)
    await plant.settle()
    second = await plant.planned()
    for name in second:
        await plant.finish_upgrade(name, V2)
    await plant.settle()

    status = await plant.rollout()
    assert (first, meanwhile, second) == (["host-0", "host-1"], ["host-1"], ["host-2", "host-3", "host-4"])
    assert (status.phase, status.updated, status.total, status.failed) == ("Completed", 5, 5, 0)
    assert [host.wave for host in status.hosts] == [0, 0, 1, 1, 1]
    assert status.finished_at
    assert await plant.events("Completed") == ["5 of 5 hosts updated"]


async def test_the_plan_names_the_frozen_digest_and_clears_old_results(plant: Plant) -> None:
    await start(plant)

    secret = await plant.store.get(SECRET, "host-0", namespace=NAMESPACE)
    plan = await plant.plan("host-0")
    assert f"{MIRROR}/demo@{V2}".encode() in plan.plan
    assert b'"--correlation-id","to-v2-222222222222"' in plan.plan
    assert (plan.type, plan.rollout, plan.state) == ("upgrade", "to-v2", "")
    assert secret["data"]["applied-checksum"] == ""
    assert secret["metadata"]["labels"] == {"elemental.cattle.io/managed": "true"}


async def test_the_phases_are_told_as_they_pass(plant: Plant) -> None:
    await start(plant, waves=[{"size": "1"}])
    planned = await plant.phases()
    await plant.say("host-0", report(transaction=transaction(correlation="to-v2-222222222222")))
    await plant.settle()
    pulling = await plant.phases()
    await plant.finish_upgrade("host-0", V2)
    await plant.settle()

    assert planned["host-0"] == "Planned"
    assert pulling["host-0"] == "Upgrading"
    assert (await plant.phases())["host-0"] == "Updated"


async def test_a_rollback_pauses_with_the_hosts_reason_and_withdraws_the_plan(plant: Plant) -> None:
    await start(plant, waves=TWO_WAVES, maxUnavailable=5)
    await plant.roll_back("host-0", V2)
    await plant.finish_upgrade("host-1", V2)
    await plant.settle()

    status = await plant.rollout()
    assert (status.phase, status.failed, status.updated) == ("Paused", 1, 1)
    assert "host-0 rolled back: 50-demo.sh" in status.reason
    assert await plant.planned() == []
    assert (await plant.plan("host-0")).plan == b"{}"
    assert (await plant.phases())["host-0"] == "RolledBack"
    assert await plant.events("Paused") == [status.reason]


async def test_resuming_goes_on_without_the_host_that_failed(plant: Plant) -> None:
    await start(plant, waves=TWO_WAVES, maxUnavailable=5)
    await plant.roll_back("host-0", V2)
    await plant.finish_upgrade("host-1", V2)
    await plant.settle()
    document = await plant.store.get(ROLLOUT, "to-v2", namespace=NAMESPACE)

    await change(plant, render_resume(decode(Rollout, document)))
    resumed = await plant.planned()
    for name in resumed:
        await plant.finish_upgrade(name, V2)
    await plant.settle()

    status = await plant.rollout()
    assert resumed == ["host-2", "host-3", "host-4"]
    assert (status.phase, status.updated) == ("Failed", 4)
    assert "left behind: host-0" in status.reason


async def test_a_digest_that_a_host_remembers_as_bad_is_not_sent_to_it_again(plant: Plant) -> None:
    await plant.say("host-0", report(bad=V3))
    await start(plant, "to-v3", image="demo:v3", waves=[{"size": "100%"}])

    assert (await plant.rollout("to-v3")).phase == "Paused"
    assert (await plant.phases("to-v3"))["host-0"] == "RolledBack"
    assert await plant.planned() == []


async def test_a_failed_plan_pauses_with_the_last_line_it_printed(plant: Plant) -> None:
    await start(plant)
    await plant.answer("host-0", failed=True, **{"failed-output": failure_output("pulling\nno space left")})
    await plant.settle()

    status = await plant.rollout()
    assert (status.phase, status.reason) == ("Paused", "host-0 failed: no space left")
    assert (await plant.phases())["host-0"] == "Failed"
    assert (await plant.plan("host-0")).plan == b"{}"


async def test_hosts_that_have_the_image_already_are_left_alone(plant: Plant) -> None:
    for name in HOSTS:
        await plant.say(name, report(digest=V2))
    await start(plant)

    assert (await plant.rollout()).phase == "Completed"
    assert all([(await plant.plan(name)).plan == b"{}" for name in HOSTS])


async def test_a_host_that_never_answers_pauses_the_rollout_until_it_speaks(plant: Plant) -> None:
    await start(plant)
    plant.clock.advance(minutes=16)
    await plant.settle()
    silent = await plant.rollout()
    plant.clock.advance(seconds=30)
    await plant.say("host-0", report())
    await plant.settle()

    assert silent.phase == "Paused"
    assert "host-0 failed: the host has not answered" in silent.reason
    assert ((await plant.rollout()).phase, (await plant.phases())["host-0"]) == ("Progressing", "Planned")


async def test_soaking_holds_the_second_wave(plant: Plant) -> None:
    await start(plant, waves=[{"size": "1"}], soakSeconds=60)
    await plant.finish_upgrade("host-0", V2)
    await plant.settle()
    soaking = await plant.planned()
    plant.clock.advance(seconds=61)
    await plant.settle()

    assert soaking == []
    assert await plant.planned() == ["host-1"]


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "soon"])
async def test_what_a_host_writes_about_its_times_holds_nobody_up(plant: Plant, time: str) -> None:
    await start(plant, waves=TWO_WAVES, maxUnavailable=5, soakSeconds=600)
    lie = merge({"metadata": {"annotations": {PLANNED_AT: time, UPDATED_AT: time}}})
    await plant.store.patch(SECRET, "host-0", lie, namespace=NAMESPACE)
    await plant.settle()
    for name in ("host-0", "host-1"):
        await plant.finish_upgrade(name, V2)
    await plant.settle()
    plant.clock.advance(seconds=601)
    await plant.settle()

    assert await plant.planned() == ["host-2", "host-3", "host-4"]


async def test_a_rollout_says_when_it_wants_to_be_looked_at_again(plant: Plant) -> None:
    clock = Clock()
    controller = RolloutController(plant.store, settings(clock))
    await plant.store.create(ROLLOUT, rollout(soakSeconds=60))
    key = identify(await plant.store.get(ROLLOUT, "to-v2", namespace=NAMESPACE))

    result = await controller.reconcile(key)

    assert result.again_in == timedelta(minutes=15).total_seconds()


async def test_a_person_can_pause_and_go_on(plant: Plant) -> None:
    await start(plant)
    await change(plant, render_pause())
    await plant.finish_upgrade("host-0", V2)
    await plant.settle()
    paused, planned = await plant.rollout(), await plant.planned()
    document = await plant.store.get(ROLLOUT, "to-v2", namespace=NAMESPACE)
    await change(plant, render_resume(decode(Rollout, document)))

    assert (paused.phase, paused.updated, planned) == ("Paused", 1, [])
    assert await plant.planned() == ["host-1"]


async def test_a_tag_that_moves_does_not_move_a_rollout(plant: Plant) -> None:
    await start(plant)
    frozen = (await plant.rollout()).digest
    moved = RolloutController(plant.store, settings(plant.clock))
    moved._settings = type(moved._settings)(
        server_url="x", resolve=lambda reference: f"{MIRROR}/demo@{V3}", clock=plant.clock
    )
    await plant.finish_upgrade("host-0", V2)
    await moved.reconcile(identify(await plant.store.get(ROLLOUT, "to-v2", namespace=NAMESPACE)))

    assert (frozen, (await plant.rollout()).digest) == (V2, V2)
    assert V2.encode() in (await plant.plan("host-1")).plan


async def test_another_image_in_the_spec_starts_over(plant: Plant) -> None:
    await start(plant)
    await plant.finish_upgrade("host-0", V2)
    await plant.settle()

    await change(plant, {"spec": {"image": "demo:v3"}})

    status = await plant.rollout()
    assert (status.digest, status.updated, status.current_wave) == (V3, 0, 0)
    assert V3.encode() in (await plant.plan("host-0")).plan


async def test_an_image_that_the_mirror_lacks_is_waited_for_by_name(plant: Plant) -> None:
    await start(plant, image="demo:v9")

    status = await plant.rollout()
    assert (status.phase, status.reason) == ("Pending", "the mirror has no image demo:v9")
    assert await plant.planned() == []


@pytest.mark.parametrize("spec", [{"image": ""}, {"image": "demo:v2", "managedOSVersionName": "v2"}])
async def test_a_rollout_names_exactly_one_thing(plant: Plant, spec: dict[str, str]) -> None:
    document = rollout()
    document["spec"].update(spec)
    await plant.store.create(ROLLOUT, document)
    await plant.settle()

    status = await plant.rollout()
    assert status.phase == "Pending"
    assert "exactly one" in status.reason


async def test_a_version_is_resolved_through_its_upgrade_image(plant: Plant) -> None:
    version: Document = {
        "metadata": {"name": "v2", "namespace": NAMESPACE},
        "spec": {"version": "v2", "type": "container", "metadata": {"upgradeImage": "demo:v2"}},
    }
    document = rollout(managedOSVersionName="v2")
    del document["spec"]["image"]
    await plant.store.create(ROLLOUT, document)
    await plant.settle()
    waiting = await plant.rollout()
    await plant.store.create(MANAGED_OS_VERSION, version)
    await plant.settle()

    assert waiting.reason == "there is no ManagedOSVersion v2"
    assert (await plant.rollout()).digest == V2
    assert await plant.planned() == ["host-0"]


async def test_a_wave_that_is_no_number_is_said_in_the_status(plant: Plant) -> None:
    await start(plant, waves=[{"size": "some"}])

    status = await plant.rollout()
    assert (status.phase, await plant.planned()) == ("Pending", [])
    assert "'some'" in status.reason


async def test_only_approved_hosts_of_the_selector_take_part(plant: Plant) -> None:
    stranger = inventory("stranger")
    stranger["metadata"]["labels"] = {"line": "other"}
    await plant.store.create(MACHINE_INVENTORY, stranger)
    await plant.store.create(MACHINE_INVENTORY, inventory("waiting", approval="pending"))
    await start(plant, waves=[{"size": "100%"}], maxUnavailable=9)

    assert sorted(await plant.phases()) == HOSTS
    await plant.store.patch(
        MACHINE_INVENTORY,
        "waiting",
        merge({"metadata": {"annotations": {APPROVAL: "approved"}}}),
        namespace=NAMESPACE,
    )
    await plant.settle()
    assert (await plant.phases())["waiting"] == "Waiting"
    assert "waiting has not reported yet" in (await plant.rollout()).reason


async def test_two_rollouts_do_not_fight_over_a_host(plant: Plant) -> None:
    await start(plant, waves=[{"size": "100%"}], maxUnavailable=9)
    await start(plant, "to-v3", image="demo:v3", waves=[{"size": "100%"}], maxUnavailable=9)
    held = await plant.plan("host-0")
    for name in HOSTS:
        await plant.finish_upgrade(name, V2)
    await plant.settle()

    assert held.rollout == "to-v2"
    assert (await plant.rollout()).phase == "Completed"
    assert (await plant.plan("host-0")).rollout == "to-v3"
    assert "is upgrading for rollout to-v2" not in (await plant.rollout("to-v3")).reason


async def test_a_host_that_leaves_its_update_during_the_rollout_stops_it(plant: Plant) -> None:
    await start(plant, waves=[{"size": "1"}], soakSeconds=60)
    await plant.finish_upgrade("host-0", V2)
    await plant.settle()
    await plant.say("host-0", report(digest=V1))
    await plant.settle()

    status = await plant.rollout()
    assert status.phase == "Paused"
    assert "went back to v1" in status.reason


async def test_a_deleted_rollout_takes_back_the_plans_that_no_host_has_answered(plant: Plant) -> None:
    await start(plant, waves=[{"size": "100%"}], maxUnavailable=2)
    await plant.answer("host-0")
    await plant.store.delete(ROLLOUT, "to-v2", namespace=NAMESPACE)
    await plant.settle()

    assert await plant.planned() == []
    assert (await plant.plan("host-0")).rollout == "to-v2"
    assert (await plant.plan("host-1")).plan == b"{}"
    assert (await plant.store.list(ROLLOUT)).items == []


async def test_a_host_that_is_let_in_later_goes_with_the_last_wave(plant: Plant) -> None:
    await start(plant, waves=TWO_WAVES, maxUnavailable=5)
    plant.clock.advance(minutes=1)
    await plant.add_host("host-00")
    await plant.settle()

    status = await plant.rollout()
    assert [(wave.hosts, wave.through) for wave in status.waves] == [(2, "host-1"), (4, "host-4")]
    assert {host.name: host.wave for host in status.hosts}["host-00"] == 1
    assert await plant.planned() == ["host-0", "host-1"]


async def test_the_next_rollouts_plan_remembers_nothing_of_the_one_before(plant: Plant) -> None:
    await start(plant, waves=[{"size": "100%"}], maxUnavailable=5)
    for name in HOSTS:
        await plant.finish_upgrade(name, V2)
    await plant.settle()
    assert (await plant.rollout()).phase == "Completed"

    await start(plant, "to-v3", image="demo:v3", waves=[{"size": "100%"}], maxUnavailable=5)

    status = await plant.rollout("to-v3")
    assert (status.phase, {host.phase for host in status.hosts}) == ("Progressing", {"Planned"})
    assert (await plant.plan("host-0")).updated_at == ""


async def test_a_host_that_another_rollout_moved_on_is_not_taken_back(plant: Plant) -> None:
    await start(plant, waves=[{"size": "1"}])
    await plant.finish_upgrade("host-0", V2)
    await plant.settle()
    plant.clock.advance(minutes=1)
    await start(plant, "to-v3", image="demo:v3", waves=[{"size": "1"}])
    await plant.finish_upgrade("host-0", V3)
    await plant.settle()

    mine = {host.name: host for host in (await plant.rollout()).hosts}
    assert (mine["host-0"].phase, mine["host-0"].reason) == (
        "Updated",
        "since then upgraded by rollout to-v3",
    )
    assert (await plant.rollout()).phase == "Progressing"


async def test_configuration_that_comes_with_an_image_reaches_a_host_that_runs_the_image(
    plant: Plant,
) -> None:
    for name in HOSTS:
        await plant.say(name, report(digest=V2))
    await start(plant, cloudConfig={"write_files": [{"path": "/etc/motd"}]})
    asked = await plant.planned()
    text = json.loads((await plant.plan("host-0")).plan)
    await plant.answer("host-0")
    await plant.settle()

    assert asked == ["host-0"]
    assert text["files"][0]["path"] == "/oem/90_operator.yaml"
    assert (
        base64.b64decode(text["files"][0]["content"]) == b"#cloud-config\nwrite_files:\n- path: /etc/motd\n"
    )
    assert ((await plant.phases())["host-0"], await plant.planned()) == ("Updated", ["host-1"])


async def test_the_status_of_a_large_rollout_names_its_failures_and_those_under_way(plant: Plant) -> None:
    for number in range(5, 230):
        await plant.store.create(MACHINE_INVENTORY, inventory(f"host-{number}"))
    await plant.settle()
    await start(plant, waves=[{"size": "3"}], maxUnavailable=2)
    await plant.finish_upgrade("host-0", V2)
    await plant.roll_back("host-1", V2)
    await plant.settle()

    status = await plant.rollout()
    assert (len(status.hosts), status.total, status.updated, status.failed) == (200, 230, 1, 1)
    assert {host.name: host.phase for host in status.hosts}["host-1"] == "RolledBack"
    assert "host-0" not in {host.name for host in status.hosts}
    assert [(wave.hosts, wave.updated, wave.failed) for wave in status.waves] == [(3, 1, 1), (227, 0, 0)]


async def test_a_second_look_writes_nothing(plant: Plant) -> None:
    await start(plant)
    await plant.roll_back("host-0", V2)
    await plant.settle()
    before = (await plant.store.list(ROLLOUT)).resource_version
    await plant.settle()

    assert (await plant.store.list(ROLLOUT)).resource_version == before


async def play(plant: Plant, writes: int | None) -> int:
    """A whole rollout with a rollback at its end, the appliance dying after every so many writes."""
    deaths = 0

    async def settle() -> None:
        nonlocal deaths
        if writes is None:
            await plant.settle()
        else:
            deaths += await plant.settle_with_power_cuts(writes)

    for name in HOSTS[:3]:
        await plant.add_host(name)
    await settle()
    for name in HOSTS[:3]:
        await plant.answer(name)
    await plant.store.create(ROLLOUT, rollout(waves=[{"size": "1"}], maxUnavailable=2))
    await settle()
    assert await plant.planned() == ["host-0"]
    await plant.finish_upgrade("host-0", V2)
    await settle()
    assert await plant.planned() == ["host-1", "host-2"]
    await plant.roll_back("host-1", V2)
    await plant.finish_upgrade("host-2", V2)
    await settle()
    return deaths


@pytest.mark.parametrize("writes", range(1, 8))
async def test_an_appliance_that_dies_after_every_few_writes_gets_to_the_same_end(
    tmp_path: Path, writes: int
) -> None:
    async with open_plant(tmp_path / "calm") as calm, open_plant(tmp_path / "storm") as storm:
        await play(calm, None)
        deaths = await play(storm, writes)

        assert deaths > 0
        assert await storm.snapshot() == await calm.snapshot()
        assert (await storm.rollout()).phase == "Paused"


@pytest.mark.parametrize("writes", range(40))
async def test_an_appliance_that_dies_once_before_any_one_write_gets_to_the_same_end(
    tmp_path: Path, writes: int
) -> None:
    async with open_plant(tmp_path / "calm") as calm, open_plant(tmp_path / "storm") as storm:
        for plant in (calm, storm):
            for name in HOSTS[:3]:
                await plant.add_host(name)
            await plant.store.create(ROLLOUT, rollout(waves=[{"size": "100%"}], maxUnavailable=2))
        await calm.settle()
        await storm.die_once(writes)
        await storm.settle()

        assert await storm.snapshot() == await calm.snapshot()
