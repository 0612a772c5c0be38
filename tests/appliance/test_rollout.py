"""The rollout policy: tables for what people expect, and properties that no fleet may break."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.resources.meta import ObjectMeta
from appliance.resources.rollout import HostPhase, Rollout, RolloutHost, RolloutStatus
from appliance.rollout import (
    ACCEPTED_FAILURES,
    ACTIVE_PHASES,
    FAILED_PHASES,
    HostState,
    InvalidWave,
    Policy,
    assign_waves,
    is_finished,
    next_steps,
    parse_accepted,
    render_pause,
    render_resume,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def fleet(*phases: HostPhase, waves: Sequence[int] | None = None, since: datetime = NOW) -> list[HostState]:
    return [
        HostState(f"host-{number}", phase, since, wave=waves[number] if waves else None)
        for number, phase in enumerate(phases)
    ]


def waiting(count: int) -> list[HostState]:
    return [HostState(f"host-{number}", "Waiting", NOW) for number in range(count)]


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        (["1", "100%"], 5, [1, 4]),
        (["2"], 5, [2, 3]),
        (["2", "2"], 5, [2, 2, 1]),
        (["25%"], 8, [2, 6]),
        (["1%", "50%"], 5, [1, 3, 1]),
        (["100%"], 3, [3]),
        (["10", "3"], 4, [4]),
        ([], 100, [1, 5, 25, 69]),
        ([], 1, [1]),
    ],
)
def test_waves_have_the_sizes_asked_for_and_one_more_for_the_rest(
    sizes: list[str], total: int, expected: list[int]
) -> None:
    waves = assign_waves(waiting(total), sizes)

    assert [list(waves.values()).count(wave) for wave in range(len(expected))] == expected
    assert len(waves) == total


@pytest.mark.parametrize("size", ["", "0", "-1", "0%", "abc", "5 %%", "1.5", "½", "99999999"])
def test_a_wave_that_is_no_number_is_refused_by_name(size: str) -> None:
    with pytest.raises(InvalidWave, match="wave size"):
        assign_waves(fleet("Waiting"), [size])


def test_a_host_that_joins_later_goes_with_the_last_wave() -> None:
    hosts = [*fleet("Updated", "Waiting", waves=[0, 1]), HostState("a-new-one", "Waiting", NOW)]

    assert assign_waves(hosts, ["1", "100%"]) == {"host-0": 0, "host-1": 1, "a-new-one": 1}


def test_a_rollout_over_nothing_waits_for_hosts() -> None:
    steps = next_steps(Policy(), [], now=NOW)

    assert (steps.phase, steps.plan) == ("Pending", ())


def test_the_first_wave_goes_first() -> None:
    steps = next_steps(Policy(waves=["2"], max_unavailable=9), waiting(5), now=NOW)

    assert (steps.phase, steps.wave, steps.plan) == ("Progressing", 0, ("host-0", "host-1"))


def test_no_more_hosts_start_than_may_be_unavailable() -> None:
    policy = Policy(waves=["100%"], max_unavailable=2)

    assert next_steps(policy, fleet("Upgrading", "Waiting", "Waiting"), now=NOW).plan == ("host-1",)
    assert next_steps(policy, fleet("Upgrading", "Planned", "Waiting"), now=NOW).plan == ()


def test_the_second_wave_starts_when_the_whole_first_is_updated() -> None:
    policy = Policy(max_unavailable=5)

    early = next_steps(policy, fleet("Updated", "Upgrading", "Waiting", waves=[0, 0, 1]), now=NOW)
    late = next_steps(policy, fleet("Updated", "Updated", "Waiting", waves=[0, 0, 1]), now=NOW)

    assert (early.wave, early.plan) == (0, ())
    assert (late.wave, late.plan) == (1, ("host-2",))


@pytest.mark.parametrize("phase", sorted(FAILED_PHASES))
def test_the_first_failure_pauses_with_its_reason(phase: HostPhase) -> None:
    hosts = fleet("Updated", phase, "Waiting", waves=[0, 0, 0])
    hosts[1] = replace(hosts[1], reason="50-demo.sh: disk is on fire")

    steps = next_steps(Policy(max_unavailable=5), hosts, now=NOW)

    assert (steps.phase, steps.plan) == ("Paused", ())
    assert "host-1" in steps.reason
    assert "disk is on fire" in steps.reason


def test_an_accepted_failure_lets_the_others_go_on_and_is_never_retried() -> None:
    hosts = fleet("RolledBack", "Waiting", waves=[0, 1])

    steps = next_steps(Policy(accepted=frozenset({"host-0"})), hosts, now=NOW)

    assert (steps.phase, steps.wave, steps.plan) == ("Progressing", 1, ("host-1",))


def test_a_rollout_that_left_a_host_behind_ends_as_failed() -> None:
    hosts = fleet("RolledBack", "Updated", waves=[0, 1])

    steps = next_steps(Policy(accepted=frozenset({"host-0"})), hosts, now=NOW)

    assert (steps.phase, is_finished(steps.phase)) == ("Failed", True)
    assert "host-0" in steps.reason


def test_an_accepted_host_that_did_update_counts_as_updated() -> None:
    steps = next_steps(Policy(accepted=frozenset({"host-0"})), fleet("Updated", "Updated"), now=NOW)

    assert steps.phase == "Completed"


def test_a_silent_host_that_was_accepted_no_longer_takes_a_place() -> None:
    hosts = fleet("Planned", "Waiting", waves=[0, 0])

    assert next_steps(Policy(accepted=frozenset({"host-0"})), hosts, now=NOW).plan == ("host-1",)


def test_soaking_holds_the_next_wave_and_says_when_to_look_again() -> None:
    policy = Policy(soak=timedelta(seconds=60))
    hosts = fleet("Updated", "Waiting", waves=[0, 1])

    soaking = next_steps(policy, hosts, now=NOW + timedelta(seconds=20))
    soaked = next_steps(policy, hosts, now=NOW + timedelta(seconds=60))

    assert (soaking.plan, soaking.again_in) == ((), timedelta(seconds=40))
    assert (soaked.plan, soaked.again_in) == (("host-1",), None)


def test_a_host_that_is_already_updated_in_a_later_wave_does_not_cut_the_soak_short() -> None:
    hosts = fleet("Updated", "Updated", "Waiting", waves=[0, 1, 1])

    assert next_steps(Policy(soak=timedelta(seconds=60)), hosts, now=NOW).plan == ()


def test_a_host_with_an_obstacle_is_passed_over_and_named() -> None:
    hosts = fleet("Waiting", "Waiting", waves=[0, 0])
    hosts[0] = replace(hosts[0], obstacle="has not reported yet")

    steps = next_steps(Policy(), hosts, now=NOW)

    assert steps.plan == ("host-1",)
    assert "host-0 has not reported yet" in steps.reason


def test_a_pause_by_a_person_starts_no_host_but_completion_is_still_seen() -> None:
    paused = Policy(paused=True)

    assert next_steps(paused, fleet("Upgrading", "Waiting"), now=NOW).phase == "Paused"
    assert next_steps(paused, fleet("Upgrading", "Waiting"), now=NOW).plan == ()
    assert next_steps(paused, fleet("Updated", "Updated"), now=NOW).phase == "Completed"


def test_pause_and_resume_are_patches_of_the_rollout() -> None:
    rollout = Rollout(
        metadata=ObjectMeta(annotations={ACCEPTED_FAILURES: "old-one"}),
        status=RolloutStatus(
            hosts=[
                RolloutHost(name="host-0", wave=0, phase="RolledBack"),
                RolloutHost(name="host-1", wave=0, phase="Updated"),
            ]
        ),
    )

    resume = render_resume(rollout)

    assert render_pause() == {"spec": {"paused": True}}
    assert resume["spec"] == {"paused": False}
    assert parse_accepted(resume["metadata"]["annotations"][ACCEPTED_FAILURES]) == {"old-one", "host-0"}


PHASES: list[HostPhase] = ["Waiting", "Planned", "Upgrading", "Updated", "RolledBack", "Failed"]


@given(
    phases=st.lists(st.sampled_from(PHASES), max_size=30),
    sizes=st.lists(st.one_of(st.integers(1, 40).map(str), st.integers(1, 100).map("{}%".format)), max_size=4),
    max_unavailable=st.integers(0, 10),
    accepted=st.sets(st.integers(0, 29).map("host-{}".format)),
    paused=st.booleans(),
)
def test_no_step_breaks_a_brake(
    phases: list[HostPhase], sizes: list[str], max_unavailable: int, accepted: set[str], paused: bool
) -> None:
    hosts = fleet(*phases)
    policy = Policy(sizes, max_unavailable, paused=paused, accepted=frozenset(accepted))

    steps = next_steps(policy, hosts, now=NOW)

    by_name = {host.name: host for host in hosts}
    active = [h for h in hosts if h.phase in ACTIVE_PHASES and h.name not in accepted]
    assert all(by_name[name].phase == "Waiting" and name not in accepted for name in steps.plan)
    assert not steps.plan or len(active) + len(steps.plan) <= max_unavailable
    assert not steps.plan or not paused
    assert not steps.plan or not any(h.phase in FAILED_PHASES for h in hosts if h.name not in accepted)
    for name in steps.plan:
        before = [h for h in hosts if steps.waves[h.name] < steps.waves[name] and h.name not in accepted]
        assert all(h.phase == "Updated" for h in before)


@given(
    count=st.integers(1, 25),
    sizes=st.lists(st.integers(1, 9).map(str), max_size=4),
    max_unavailable=st.integers(1, 6),
    bad=st.sets(st.integers(0, 24)),
)
def test_a_rollout_always_ends_updated_or_paused_at_its_first_bad_host(
    count: int, sizes: list[str], max_unavailable: int, bad: set[int]
) -> None:
    policy = Policy(sizes, max_unavailable)
    hosts = waiting(count)

    for _ in range(3 * count + 2):
        steps = next_steps(policy, hosts, now=NOW)
        hosts = [replace(host, wave=steps.waves[host.name]) for host in hosts]
        if steps.phase != "Progressing":
            break
        hosts = [_advance(host, host.name in steps.plan, bad) for host in hosts]

    broken = {f"host-{number}" for number in bad if number < count}
    assert steps.phase == ("Paused" if broken else "Completed")
    assert sum(host.phase in FAILED_PHASES for host in hosts) <= max_unavailable


def _advance(host: HostState, planned: bool, bad: set[int]) -> HostState:
    if host.phase == "Planned":
        failed = int(host.name.removeprefix("host-")) in bad
        return replace(host, phase="RolledBack" if failed else "Updated")
    return replace(host, phase="Planned") if planned else host
