"""When the mirror is cared for: pure first, then with operations that really run."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.mirror_schedule import SETTLE_SECONDS, MirrorSchedule, is_due, last_time
from appliance.mirror_settings import CareIntervals
from appliance.operations import OperationContext, OperationKind, Operations
from mirror.care import Care, write_care

DAY = 24 * 3600.0
NOW = 1.8e9
LONG_UP = 1e6


@pytest.mark.parametrize(
    ("times", "every", "up_seconds", "expected"),
    [
        ([], DAY, LONG_UP, True),
        ([], DAY, SETTLE_SECONDS - 1, False),
        ([], 60.0, 61.0, True),  # who wants it often need not wait for long
        ([], 0.0, LONG_UP, False),
        ([NOW - DAY], DAY, LONG_UP, True),
        ([NOW - DAY + 1], DAY, LONG_UP, False),
        ([NOW - 9 * DAY, NOW - 1, NOW - 5 * DAY], DAY, LONG_UP, False),
        ([NOW + DAY], DAY, LONG_UP, True),  # by a clock that was wrong
        ([NOW + DAY, NOW - 1], DAY, LONG_UP, False),
    ],
)
def test_it_is_due_when_the_interval_is_over(
    times: list[float], every: float, up_seconds: float, expected: bool
) -> None:
    assert is_due(last_time(times, now=NOW), every, now=NOW, up_seconds=up_seconds) is expected


class NoParams(msgspec.Struct, rename="camel"):
    dry_run: bool = False


class World:
    """Operations with a clock of their own, whose jobs end when they may."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.at = NOW
        self.ran: list[str] = []
        self.fails = False
        self.may_end = threading.Event()
        self.may_end.set()
        kinds = {
            name: OperationKind(name, NoParams, self._work(name))
            for name in ("collect-mirror", "verify-mirror")
        }
        self.operations = Operations(
            root / "operations", kinds, now=lambda: datetime.fromtimestamp(self.at, UTC), workers=1
        )

    def schedule(self, intervals: CareIntervals, **more: Any) -> MirrorSchedule:
        return MirrorSchedule(self.operations, self.root, intervals, now=lambda: self.at, **more)

    async def finish(self) -> None:
        for operation in self.operations.list():
            async for _ in self.operations.follow(operation.id):
                pass

    def _work(self, name: str) -> Callable[[NoParams, OperationContext], dict[str, Any]]:
        def work(params: NoParams, context: OperationContext) -> dict[str, Any]:
            self.ran.append(name)
            self.may_end.wait(20)
            if self.fails:
                raise OSError("no disk")
            return {}

        return work


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.operations.open()
    yield made
    await made.operations.close()


async def test_both_are_done_one_after_the_other_and_again_when_it_is_time(world: World) -> None:
    schedule = world.schedule(CareIntervals(DAY, 7 * DAY))

    for _ in range(4):
        await schedule.look(up_seconds=LONG_UP)
        await world.finish()
    assert world.ran == ["collect-mirror", "verify-mirror"]

    world.at += DAY
    for _ in range(3):
        await schedule.look(up_seconds=LONG_UP)
        await world.finish()
    assert world.ran == ["collect-mirror", "verify-mirror", "collect-mirror"]


async def test_a_failure_is_not_tried_again_at_once(world: World) -> None:
    world.fails = True
    schedule = world.schedule(CareIntervals(DAY, 0.0))

    for _ in range(3):
        await schedule.look(up_seconds=LONG_UP)
        await world.finish()

    assert world.ran == ["collect-mirror"]


async def test_what_was_done_by_hand_counts_and_a_dry_run_does_not(world: World) -> None:
    write_care(world.root, "verification", Care(at=NOW - 10, is_sound=True))
    await world.operations.start("collect-mirror", {"dryRun": True})
    await world.finish()

    await world.schedule(CareIntervals(DAY, DAY)).look(up_seconds=LONG_UP)
    await world.finish()

    assert world.ran == ["collect-mirror", "collect-mirror"]


async def test_nothing_is_started_while_one_of_them_is_under_way(world: World) -> None:
    schedule = world.schedule(CareIntervals(DAY, DAY))

    world.may_end.clear()
    await schedule.look(up_seconds=LONG_UP)
    await schedule.look(up_seconds=LONG_UP)
    assert len(world.operations.list()) == 1

    world.may_end.set()
    await world.finish()
    await schedule.look(up_seconds=LONG_UP)
    assert len(world.operations.list()) == 2


async def test_what_is_always_due_starves_nothing(world: World) -> None:
    schedule = world.schedule(CareIntervals(60.0, 120.0))

    for _ in range(6):
        await schedule.look(up_seconds=LONG_UP)
        await world.finish()
        world.at += 60.0

    assert world.ran.count("verify-mirror") >= 2


async def test_it_looks_by_itself_until_it_is_ended(world: World) -> None:
    running = asyncio.create_task(world.schedule(CareIntervals(0.01, 0.0), look_seconds=0.01).run())
    async with asyncio.timeout(20):
        while not world.ran:
            await asyncio.sleep(0.01)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_turned_off_it_does_nothing(world: World) -> None:
    await world.schedule(CareIntervals(0.0, 0.0)).look(up_seconds=LONG_UP)

    assert world.operations.list() == []
