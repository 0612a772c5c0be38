"""The simulated firmware: it follows the ladder, forgets what was in memory, boots nothing broken."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import StateInvalid
from agent.simulation.firmware import Boot
from tests.agent.registries import RunningRegistry
from tests.agent.worlds import World


@pytest.fixture
def registry() -> Iterator[RunningRegistry]:
    running = RunningRegistry()
    yield running
    running.close()


@pytest.fixture
def world(tmp_path: Path, registry: RunningRegistry) -> World:
    world = World(tmp_path, registry)
    world.live_through(registry.content.put_os("v1"))
    return world


def test_a_blank_disk_boots_the_medium(tmp_path: Path, registry: RunningRegistry) -> None:
    world = World(tmp_path, registry)

    assert world.power_on() == Boot("live")
    assert world.host.os_release()["ID"] == "skerry-live"
    assert world.host.path("/dev/vda").stat().st_size == world.hardware.disk_bytes
    assert world.host.path("/dev/vda").stat().st_blocks < 1000, "the disk is sparse"


def test_each_boot_has_its_own_id_and_the_same_serial(world: World) -> None:
    serial = world.host.read_text("/sys/class/dmi/id/product_serial")
    first = world.host.boot_id()

    world.power_on()

    assert world.host.boot_id() != first
    assert world.host.read_text("/sys/class/dmi/id/product_serial") == serial


def test_memory_is_lost_and_volumes_are_kept(world: World) -> None:
    world.host.request_reboot()
    world.host.path("/etc/scribble").write_text("x")
    (world.host.volume("persistent") / "kept").write_text("x")

    world.power_on()

    assert not world.host.is_reboot_requested()
    assert not world.host.path("/etc/scribble").exists()
    assert (world.host.volume("persistent") / "kept").exists()


def test_the_candidate_is_tried_three_times_then_the_good_one_boots(
    world: World, registry: RunningRegistry
) -> None:
    world.upgrade(registry.content.put_os("v2"))

    boots = [world.power_on() for _ in range(4)]

    assert [boot.snapshot for boot in boots] == [2, 2, 2, 1]
    assert [boot.mode for boot in boots] == ["active", "active", "active", "passive"]


def test_a_cut_off_image_does_not_boot(world: World) -> None:
    image = world.installation().snapshots.image(1)
    os.truncate(image, image.stat().st_size // 2)

    with pytest.raises(StateInvalid, match="does not boot"):
        world.power_on()


def test_a_candidate_whose_image_is_broken_uses_up_its_tries_and_is_left(
    world: World, registry: RunningRegistry
) -> None:
    world.upgrade(registry.content.put_os("v2"))
    world.installation().snapshots.image(2).write_bytes(b"junk")
    for _ in range(3):
        with pytest.raises(StateInvalid):
            world.power_on()

    assert world.power_on().snapshot == 1
    settled = world.settle()

    assert settled.record is not None
    assert settled.record.outcome == "rolled-back"
