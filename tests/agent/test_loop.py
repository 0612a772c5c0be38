"""The run loop: settle first, then plans and reports, through an appliance that comes and goes."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from agent.client import Appliance
from agent.config import LoopConfig
from agent.installation import Installation, open_installation
from agent.journal import Record
from agent.loop import Ended, run
from agent.reporter import Reporter
from agent.upgrade import resume
from tests.agent.appliances import RunningAppliance
from tests.agent.registries import RunningRegistry
from tests.agent.worlds import World

QUICK = LoopConfig(plan_seconds=0.02, report_seconds=0.05, cool_down_seconds=0.05, retry_seconds=0.01)


@pytest.fixture
def registry() -> Iterator[RunningRegistry]:
    running = RunningRegistry()
    yield running
    running.close()


@pytest.fixture
def appliance() -> Iterator[RunningAppliance]:
    running = RunningAppliance()
    yield running
    running.close()


@pytest.fixture
def world(tmp_path: Path, registry: RunningRegistry) -> World:
    world = World(tmp_path, registry)
    world.live_through(registry.content.put_os("v1"))
    return world


class Loop:
    """The loop in a thread, so that a test can watch and stop it."""

    def __init__(self, world: World, appliance: RunningAppliance) -> None:
        self.stop = threading.Event()
        self.ended: Ended | None = None
        self.resumed: list[Record] = []
        self._world = world
        self._appliance = appliance
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self) -> Ended | None:
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()
        return self.ended

    def until(self, is_so: Callable[[], object]) -> None:
        """Wait until it is so, then stop the loop."""
        deadline = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < deadline, "never seen"
            time.sleep(0.01)
        self.stop.set()
        assert self.wait() == "stopped"

    def _run(self) -> None:
        connection = self._appliance.connection
        reporter = Reporter(connection)
        config = msgspec.structs.replace(self._world.config, loop=QUICK)
        installation: Installation = open_installation(self._world.host, config, observe=reporter.observe)
        reporter.attach(installation)

        def finish(record: Record) -> Record:
            self.resumed.append(record)
            return resume(installation, record, registry=self._world.registry_client())

        self.ended = run(
            installation,
            Appliance(connection, timeout=2),
            reporter=reporter,
            resume=finish,
            stop=self.stop,
        )


def upgrade_plan(reference: str) -> dict[str, object]:
    """The plan of the contract; `skerry-agent` is the one that the machine's firmware put there."""
    arguments = ["upgrade", "--image", reference, "--correlation-id", "r-1"]
    return {"instructions": [{"name": "upgrade", "command": "skerry-agent", "args": arguments}]}


def test_a_plan_is_applied_acknowledged_and_reported(world: World, appliance: RunningAppliance) -> None:
    appliance.content.set_plan({"files": [{"path": "/etc/done", "content": "eA=="}]})

    Loop(world, appliance).until(lambda: appliance.content.read("success-count") == "1")

    assert world.host.path("/etc/done").read_text() == "x"
    assert appliance.content.reports[0]["bootedSlot"] == "a"


def test_an_upgrade_plan_is_acknowledged_before_the_reboot(
    world: World, appliance: RunningAppliance, registry: RunningRegistry
) -> None:
    digest = registry.content.put_os("v2")
    appliance.content.set_plan(upgrade_plan(registry.reference(digest)))

    assert Loop(world, appliance).wait() == "reboot"

    assert appliance.content.read("applied-checksum") != ""
    assert world.installation().boot.choice().next == 2
    assert world.power_on().snapshot == 2
    Loop(world, appliance).until(
        lambda: any(report["version"] == "v2" for report in appliance.content.reports)
    )
    transaction = appliance.content.reports[-1]["transaction"]
    assert isinstance(transaction, dict)
    assert (transaction["outcome"], transaction["correlationId"]) == ("committed", "r-1")


def test_an_appliance_that_is_away_is_waited_for(world: World, appliance: RunningAppliance) -> None:
    appliance.content.statuses += [503] * 6
    appliance.content.set_plan({})

    Loop(world, appliance).until(lambda: appliance.content.read("applied-checksum"))

    assert appliance.content.statuses == []


def test_settling_needs_no_appliance(
    world: World, appliance: RunningAppliance, registry: RunningRegistry
) -> None:
    world.upgrade(registry.content.put_os("v2"))
    world.power_on()
    appliance.content.statuses += [503] * 1000

    Loop(world, appliance).until(lambda: world.installation().boot.choice().good == 2)

    assert world.installation().boot.choice().next is None


def test_an_unhealthy_system_asks_for_its_reboot_at_once(
    world: World, appliance: RunningAppliance, registry: RunningRegistry
) -> None:
    world.upgrade(registry.content.put_os("v3", healthy=False))
    world.power_on()

    assert Loop(world, appliance).wait() == "reboot"

    assert world.power_on().snapshot == 1


def test_a_transaction_that_was_cut_off_is_finished(
    world: World, appliance: RunningAppliance, registry: RunningRegistry
) -> None:
    digest = registry.content.put_os("v2")
    point = "upgrade.build.started"
    assert world.is_cut_off_at(point, lambda *, fault: world.upgrade(digest, fault=fault))
    world.power_on()

    loop = Loop(world, appliance)

    assert loop.wait() == "reboot"
    assert [record.done[-1] for record in loop.resumed] == ["unpack"]
    assert world.live_through("").snapshot == 2


def test_a_host_with_a_damaged_journal_still_takes_plans(world: World, appliance: RunningAppliance) -> None:
    (world.host.volume("state") / ".skerry/journal.json").write_bytes(b"{")
    fix = [{"command": "rm", "args": [str(world.host.volume("state") / ".skerry/journal.json")]}]
    appliance.content.set_plan({"instructions": fix})

    Loop(world, appliance).until(lambda: appliance.content.read("applied-checksum"))

    assert not (world.host.volume("state") / ".skerry/journal.json").exists()
