"""The demo's proof that waves keep their order: it must fail when they do not, or when nobody watched."""

from collections.abc import Iterator, Sequence

import msgspec
import pytest

from appliance.api.client import Unreachable
from appliance.api.contract import WatchEvent
from appliance.demo import DemoFailed, WaveWatch
from appliance.resources.rollout import HostPhase, RolloutHost, RolloutPhase, RolloutStatus


def status(phase: RolloutPhase, first: HostPhase, second: HostPhase, *, wave: int = 1) -> RolloutStatus:
    hosts = [RolloutHost(name="a", wave=0, phase=first), RolloutHost(name="b", wave=wave, phase=second)]
    return RolloutStatus(phase=phase, total=2, hosts=hosts)


class Line:
    """A watch that tells what it is given, and breaks where that ends."""

    def __init__(self, *told: RolloutStatus) -> None:
        self._told = told

    def watch(self, kinds: Sequence[str]) -> Iterator[WatchEvent]:
        yield WatchEvent(type="SYNCED", kind="rollouts")
        for each in self._told:
            document = {"metadata": {"name": "spring"}, "status": msgspec.to_builtins(each)}
            yield WatchEvent(type="MODIFIED", kind="rollouts", object=document)
        raise Unreachable("the line broke")


DONE = status("Completed", "Updated", "Updated")


def test_waves_in_order_pass() -> None:
    line = Line(
        status("Progressing", "Upgrading", "Waiting"), status("Progressing", "Updated", "Planned"), DONE
    )

    WaveWatch(line, "spring").check_order(DONE)


def test_a_host_that_moved_before_its_wave_is_named() -> None:
    line = Line(status("Progressing", "Upgrading", "Planned"), DONE)

    with pytest.raises(DemoFailed, match="before their wave: b"):
        WaveWatch(line, "spring").check_order(DONE)


def test_a_watch_that_broke_proves_nothing() -> None:
    with pytest.raises(DemoFailed, match="broke before its end"):
        WaveWatch(Line(status("Progressing", "Upgrading", "Waiting")), "spring").check_order(DONE)


def test_one_wave_for_all_is_not_two() -> None:
    at_once = status("Completed", "Updated", "Updated", wave=0)

    with pytest.raises(DemoFailed, match="two waves"):
        WaveWatch(Line(at_once), "spring").check_order(at_once)
