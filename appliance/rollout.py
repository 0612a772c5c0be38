"""Who upgrades next: waves, how many at once, what stops a rollout, and what lets it go on.

Pure policy over values and a time. It does not know how a host's phase was found out, nor how a plan
reaches a host: `appliance.controllers.rollout` reads the one and writes the other. Every question is
answered from the present state alone, so a restart in the middle changes nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from appliance.resources.meta import Document
from appliance.resources.rollout import HostPhase, Rollout, RolloutPhase

# One host first, then a twentieth, a quarter, the rest: what a rollout that names no waves gets.
CAREFUL_WAVES = ("1", "5%", "25%")

# Comma-separated hosts that a person decided to go on without: failures, and hosts that never answer.
ACCEPTED_FAILURES = "skerry.dev/accepted-failures"

FAILED_PHASES: frozenset[HostPhase] = frozenset({"RolledBack", "Failed"})
ACTIVE_PHASES: frozenset[HostPhase] = frozenset({"Planned", "Upgrading"})


class InvalidWave(ValueError):
    """A wave's size is neither a positive number nor a percentage."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the person asked for. `max_unavailable` is the number of hosts that may be upgrading at once."""

    waves: Sequence[str] = CAREFUL_WAVES
    max_unavailable: int = 1
    soak: timedelta = timedelta()
    paused: bool = False
    accepted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HostState:
    """One host as it is now. `obstacle` says why a waiting host cannot be given a plan yet."""

    name: str
    phase: HostPhase
    since: datetime
    wave: int | None = None
    reason: str = ""
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class Steps:
    """What to do now: `plan` names the hosts to upgrade, `again_in` says when time alone changes that."""

    phase: RolloutPhase
    reason: str
    wave: int = 0
    waves: Mapping[str, int] = field(default_factory=dict)
    plan: tuple[str, ...] = ()
    again_in: timedelta | None = None


def next_steps(policy: Policy, hosts: Sequence[HostState], *, now: datetime) -> Steps:
    """Decide the rollout's phase and which hosts get their plan now. Raises InvalidWave."""
    waves = assign_waves(hosts, policy.waves)
    if not hosts:
        return Steps("Pending", "no approved host matches the selector")

    ordered = sorted(hosts, key=lambda host: (waves[host.name], host.name))
    left_behind = [host for host in ordered if host.name in policy.accepted and host.phase != "Updated"]
    counted = [host for host in ordered if host.name not in policy.accepted or host.phase == "Updated"]
    unfinished = [host for host in counted if host.phase != "Updated"]
    wave = waves[unfinished[0].name] if unfinished else max(waves.values())
    progress = f"{sum(host.phase == 'Updated' for host in hosts)} of {len(hosts)} hosts updated"

    def answer(phase: RolloutPhase, reason: str, *plan: str, again_in: timedelta | None = None) -> Steps:
        return Steps(phase, reason, wave=wave, waves=waves, plan=plan, again_in=again_in)

    failures = [host for host in counted if host.phase in FAILED_PHASES]
    if failures:
        return answer("Paused", _describe_failures(failures))
    if not unfinished:
        if left_behind:
            return answer("Failed", f"{progress}; left behind: {_list_names(left_behind)}")
        return answer("Completed", progress)
    if policy.paused:
        return answer("Paused", f"paused by a person; {progress}")

    remaining = _remaining_soak(policy, counted, waves, wave, now)
    if remaining:
        text = f"wave {wave} soaks for another {math.ceil(remaining.total_seconds())} s; {progress}"
        return answer("Progressing", text, again_in=remaining)

    here = [host for host in unfinished if waves[host.name] == wave]
    active = [host for host in counted if host.phase in ACTIVE_PHASES]
    free = max(0, policy.max_unavailable - len(active))
    ready = [host.name for host in here if host.phase == "Waiting" and not host.obstacle]
    blocked = [host for host in here if host.phase == "Waiting" and host.obstacle]
    text = f"wave {wave + 1} of {max(waves.values()) + 1}; {progress}"
    if blocked:
        text += f"; {blocked[0].name} {blocked[0].obstacle}"
    return answer("Progressing", text, *ready[:free])


def assign_waves(hosts: Sequence[HostState], sizes: Sequence[str]) -> dict[str, int]:
    """Give every host its wave. One that has a wave keeps it; one that joins later goes with the last.

    Sizes that do not cover the fleet are followed by one more wave with the rest.
    """
    counts = _wave_counts(sizes or CAREFUL_WAVES, len(hosts))
    known = {host.name: host.wave for host in hosts if host.wave is not None}
    if known:
        last = max(max(known.values()), len(counts) - 1)
        return {host.name: known.get(host.name, last) for host in hosts}
    order = [wave for wave, count in enumerate(counts) for _ in range(count)]
    return dict(zip(sorted(host.name for host in hosts), order, strict=True))


def is_finished(phase: RolloutPhase) -> bool:
    """Say whether a rollout in this phase never moves a host again."""
    return phase in ("Completed", "Failed")


def parse_accepted(annotation: str) -> frozenset[str]:
    """Read the names in the `ACCEPTED_FAILURES` annotation."""
    return frozenset(name.strip() for name in annotation.split(",") if name.strip())


def render_pause() -> Document:
    """The merge patch that pauses a rollout: hosts under way finish, no other starts."""
    return {"spec": {"paused": True}}


def render_resume(rollout: Rollout) -> Document:
    """The merge patch that lets a rollout go on, without the hosts that have failed by now."""
    accepted = parse_accepted(rollout.metadata.annotations.get(ACCEPTED_FAILURES, ""))
    accepted |= {host.name for host in rollout.status.hosts if host.phase in FAILED_PHASES}
    annotations = {ACCEPTED_FAILURES: ",".join(sorted(accepted))} if accepted else {}
    return {"metadata": {"annotations": annotations}, "spec": {"paused": False}}


def _wave_counts(sizes: Sequence[str], total: int) -> list[int]:
    counts: list[int] = []
    left = total
    for size in sizes:
        count = min(left, _parse_size(size, total))
        if count:
            counts.append(count)
        left -= count
    return [*counts, left] if left else counts


def _parse_size(size: str, total: int) -> int:
    text = size.strip()
    share = text.removesuffix("%")
    if not share.isascii() or not share.isdigit() or not 0 < int(share) <= 1_000_000:
        raise InvalidWave(f"wave size {size!r} is neither a number of hosts nor a percentage")
    return math.ceil(total * int(share) / 100) if text.endswith("%") else int(share)


def _remaining_soak(
    policy: Policy, hosts: Sequence[HostState], waves: Mapping[str, int], wave: int, now: datetime
) -> timedelta | None:
    """How long the waves before `wave` must still prove themselves."""
    finished = [host.since for host in hosts if waves[host.name] < wave]
    if not finished:
        return None
    remaining = max(finished) + policy.soak - now
    return remaining if remaining > timedelta() else None


def _describe_failures(failures: Sequence[HostState]) -> str:
    first = failures[0]
    said = "rolled back" if first.phase == "RolledBack" else "failed"
    others = f" (and {len(failures) - 1} more: {_list_names(failures[1:])})" if len(failures) > 1 else ""
    return f"{first.name} {said}: {first.reason or 'the host gave no reason'}{others}"


def _list_names(hosts: Sequence[HostState]) -> str:
    names = [host.name for host in hosts[:5]]
    return ", ".join(names) + (f" and {len(hosts) - 5} more" if len(hosts) > 5 else "")
