"""Reports: the boot loader's word on what runs, both slots, and never more often than agreed."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent.booted import Booted, read_booted
from agent.host import Host
from agent.journal import Record
from agent.protocol.report import Slot
from agent.reporter import Reporter
from agent.state import State
from agent.status import build_report, list_slots
from tests.agent.appliances import RunningAppliance
from tests.agent.registries import RunningRegistry
from tests.agent.worlds import World


@pytest.fixture
def registry() -> Iterator[RunningRegistry]:
    running = RunningRegistry()
    yield running
    running.close()


@pytest.mark.parametrize(
    ("command_line", "expected"),
    [
        ("elemental.mode=active skerry.snapshot=3", Booted("active", 3)),
        ("elemental.mode=passive elemental.image=/.snapshots/12/snapshot.img", Booted("passive", 12)),
        ("elemental.mode=active root=LABEL=COS_STATE", Booted("active", 7)),
        ("elemental.mode=recovery elemental.image=/boot/recovery.img", Booted("recovery", None)),
        ("cos.mode=passive skerry.snapshot=2", Booted("passive", 2)),
        ("root=live:CDLABEL=COS_LIVE", Booted("live", None)),
        ("", Booted("live", None)),
    ],
)
def test_what_runs_is_read_from_the_kernel_command_line(
    tmp_path: Path, command_line: str, expected: Booted
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text(command_line + "\n")

    assert read_booted(Host(tmp_path), active=7) == expected


def test_a_report_tells_the_whole_story(tmp_path: Path, registry: RunningRegistry) -> None:
    world = World(tmp_path, registry)
    world.live_through(registry.content.put_os("v1"))
    bad = registry.content.put_os("v2", healthy=False)
    world.upgrade(bad, correlation_id="c")
    world.live_through("")

    report = build_report(world.installation(), towards="http://127.0.0.1:9")

    assert (report.mode, report.booted_slot, report.version) == ("active", "a", "v1")
    assert report.slots == [
        Slot(name="a", state="good", snapshot=1, digest=report.digest, version="v1"),
        Slot(
            name="b",
            state="bad",
            snapshot=2,
            digest=bad,
            version="v2",
            reason="50-demo.sh failed: the plug is out",
        ),
    ]
    assert report.transaction is not None
    assert (report.transaction.outcome, report.transaction.correlation_id) == ("rolled-back", "c")
    assert [entry.outcome for entry in report.history] == ["committed", "rolled-back"]
    assert report.addresses == ["127.0.0.1"]
    assert (report.hostname, report.boot_id) == ("m1", world.host.boot_id())


def test_a_live_medium_reports_two_empty_slots(tmp_path: Path, registry: RunningRegistry) -> None:
    world = World(tmp_path, registry)
    world.power_on()

    report = build_report(world.installation())

    assert (report.mode, report.booted_slot, report.transaction) == ("live", None, None)
    assert report.slots == [Slot(name="a"), Slot(name="b")]
    assert list_slots(State()) == report.slots


def test_phases_are_reported_at_once_and_progress_once_a_second(
    tmp_path: Path, registry: RunningRegistry
) -> None:
    appliance = RunningAppliance()
    clock = iter([0.0, 0.2, 0.4, 1.3, 1.4])
    reporter = Reporter(appliance.connection, clock=lambda: next(clock))
    world = World(tmp_path, registry)
    world.power_on()
    reporter.attach(world.installation())
    pulling = Record(id="t", action="upgrade", phase="pulling")

    for percent in (0, 10, 20, 60):
        reporter.observe(msgspec.structs.replace(pulling, percent=percent))
    reporter.observe(msgspec.structs.replace(pulling, phase="writing"))
    appliance.close()

    heard = [report["transaction"] for report in appliance.content.reports]
    assert [(one["phase"], one["percent"]) for one in heard if isinstance(one, dict)] == [
        ("pulling", 0),
        ("pulling", 60),
        ("writing", 0),
    ]


def test_an_appliance_that_is_away_never_stops_the_work(tmp_path: Path, registry: RunningRegistry) -> None:
    appliance = RunningAppliance()
    connection = appliance.connection
    appliance.close()
    reporter = Reporter(connection)
    world = World(tmp_path, registry)
    world.power_on()
    reporter.attach(world.installation())

    assert reporter.send() is False
