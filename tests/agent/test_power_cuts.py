"""Cut the power at every journal point of every transaction: a complete version always boots.

Each cut is a real SIGKILL of a child process that runs the real agent; then the firmware starts the machine
again and the agent may finish or roll back, whichever, but the host comes to rest on one whole version.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from agent.slots import BootChoice
from tests.agent.registries import RunningRegistry
from tests.agent.worlds import World


@pytest.fixture
def registry() -> Iterator[RunningRegistry]:
    running = RunningRegistry()
    yield running
    running.close()


def installed(directory: Path, registry: RunningRegistry) -> World:
    """A world that runs v1, committed."""
    world = World(directory, registry)
    world.live_through(registry.content.put_os("v1"))
    return world


def check_sound(world: World) -> None:
    """What must hold of any host at rest."""
    installation = world.installation()
    state = installation.state()
    booted = installation.booted().snapshot
    assert installation.journal.open_record() is None
    assert installation.boot.choice() == BootChoice(good=booted)
    assert booted is not None
    assert state.snapshots[booted].status == "good"
    assert state.active() == booted
    assert installation.snapshots.read_active() == booted
    assert installation.snapshots.list_numbers() == sorted(state.snapshots)
    assert not installation.pull_directory.exists() or not list(installation.pull_directory.glob("*.partial"))


def test_install_survives_a_power_cut_at_every_step(tmp_path: Path, registry: RunningRegistry) -> None:
    digest = registry.content.put_os("v1")
    probe = World(tmp_path / "probe", registry)
    probe.power_on()
    points = probe.list_points(partial(probe.install, digest))
    assert len(points) > 30

    for number, point in enumerate(points):
        world = World(tmp_path / str(number), registry)
        assert world.power_on().mode == "live"
        assert world.is_cut_off_at(point, partial(world.install, digest))
        world.live_through(digest)
        assert world.version() == "v1", point
        check_sound(world)


def test_upgrade_survives_a_power_cut_at_every_step(tmp_path: Path, registry: RunningRegistry) -> None:
    probe = installed(tmp_path / "probe", registry)
    v1, v2 = registry.content.put_os("v1"), registry.content.put_os("v2")
    points = probe.list_points(partial(probe.upgrade, v2))
    assert len(points) == 27

    for number, point in enumerate(points):
        world = installed(tmp_path / str(number), registry)
        assert world.is_cut_off_at(point, partial(world.upgrade, v2))
        world.live_through(v1)
        assert world.version() in ("v1", "v2"), point
        check_sound(world)
        if world.version() == "v1":
            world.upgrade(v2)
            world.live_through(v1)
        assert world.version() == "v2", point
        check_sound(world)


def test_commit_survives_a_power_cut_at_every_step(tmp_path: Path, registry: RunningRegistry) -> None:
    v1, v2 = registry.content.put_os("v1"), registry.content.put_os("v2")

    def arm(directory: Path) -> World:
        world = installed(directory, registry)
        world.upgrade(v2)
        world.power_on()
        return world

    probe = arm(tmp_path / "probe")
    points = probe.list_points(probe.settle)
    assert len(points) == 9

    for number, point in enumerate(points):
        world = arm(tmp_path / str(number))
        assert world.is_cut_off_at(point, world.settle)
        world.live_through(v1)
        assert world.version() == "v2", point
        check_sound(world)


def test_rollback_survives_a_power_cut_at_every_step(tmp_path: Path, registry: RunningRegistry) -> None:
    v1, v3 = registry.content.put_os("v1"), registry.content.put_os("v3", healthy=False)

    def arm(directory: Path) -> World:
        world = installed(directory, registry)
        world.upgrade(v3)
        world.power_on()
        return world

    probe = arm(tmp_path / "probe")
    points = probe.list_points(probe.settle)
    assert len(points) == 12

    for number, point in enumerate(points):
        world = arm(tmp_path / str(number))
        assert world.is_cut_off_at(point, world.settle)
        world.live_through(v1)
        assert world.version() == "v1", point
        check_sound(world)
        last = world.installation().journal.record()
        assert last is not None
        assert (last.outcome, last.reason) == ("rolled-back", "50-demo.sh failed: the plug is out"), point


def test_a_switch_back_survives_a_power_cut_at_every_step(tmp_path: Path, registry: RunningRegistry) -> None:
    v1, v2 = registry.content.put_os("v1"), registry.content.put_os("v2")

    def upgraded(directory: Path) -> World:
        world = installed(directory, registry)
        world.upgrade(v2)
        world.live_through(v1)
        return world

    probe = upgraded(tmp_path / "probe")
    points = probe.list_points(probe.roll_back)
    assert len(points) == 12

    for number, point in enumerate(points):
        world = upgraded(tmp_path / str(number))
        assert world.is_cut_off_at(point, world.roll_back)
        world.live_through(v1)
        assert world.version() in ("v1", "v2"), point
        check_sound(world)


def test_a_candidate_that_never_finishes_starting_is_left_after_three_tries(
    tmp_path: Path, registry: RunningRegistry
) -> None:
    world = installed(tmp_path, registry)
    world.upgrade(registry.content.put_os("v2"))

    versions = []
    for _ in range(4):
        world.power_on()
        versions.append(world.version())
    settled = world.settle()

    assert versions == ["v2", "v2", "v2", "v1"]
    assert settled.record is not None
    assert settled.record.reason == "it did not finish starting in 3 attempts"
    check_sound(world)
