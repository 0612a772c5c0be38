"""What a rollout remembers of a host, put together from where it is kept. Pure.

The plan Secret keeps whose plan it holds, since when, and since when the host runs what that plan asked for.
The rollout's status keeps the hosts that are moving or failed, the most telling ones by name, and where its
waves end. So 10,000 hosts need no list of 10,000 lines, and a restart loses nothing.
"""

from collections.abc import Sequence

from appliance.controllers.host_phase import Target
from appliance.controllers.plans import PlanRecord
from appliance.resources.machine_inventory import MachineInventory
from appliance.resources.meta import find_condition
from appliance.resources.rollout import RolloutHost, RolloutStatus, RolloutWave
from appliance.rollout import ACTIVE_PHASES, FAILED_PHASES


def recall_host(
    machine: MachineInventory,
    plan: PlanRecord | None,
    entry: RolloutHost | None,
    *,
    target: Target,
    status: RolloutStatus,
) -> RolloutHost | None:
    """The host as this rollout last knew it; None before there are waves. `entry` is the status's line."""
    name = machine.metadata.name
    wave = find_wave(machine, status)
    if wave is None:
        return None
    if plan and plan.plan == target.plan and plan.rollout == target.rollout:
        if plan.updated_at:
            return RolloutHost(name=name, wave=wave, phase="Updated", since=plan.updated_at)
        if entry is None or entry.phase not in ACTIVE_PHASES | FAILED_PHASES:
            return RolloutHost(name=name, wave=wave, phase="Planned", since=plan.planned_at)
    elif plan and _was_taken_over(plan, target, status):
        return RolloutHost(name=name, wave=wave, phase="Updated", since=plan.planned_at)
    if entry is not None and entry.phase in ACTIVE_PHASES | FAILED_PHASES:
        return RolloutHost(name=name, wave=wave, phase=entry.phase, reason=entry.reason, since=entry.since)
    return RolloutHost(name=name, wave=wave, phase="Waiting", since=status.started_at)


def find_wave(machine: MachineInventory, status: RolloutStatus) -> int | None:
    """The host's wave: by its name, or the last for one that was let in after the rollout began."""
    if not status.waves:
        return None
    last = len(status.waves) - 1
    if _joined_later(machine, status):
        return last
    name = machine.metadata.name
    return next((number for number, wave in enumerate(status.waves[:-1]) if name <= wave.through), last)


def render_waves(hosts: Sequence[RolloutHost], status: RolloutStatus) -> list[RolloutWave]:
    """The waves with their counts. Where one ends was decided once, by the hosts that it had then."""
    if not hosts:
        return status.waves
    total = max(len(status.waves), max(host.wave for host in hosts) + 1)
    members: list[list[RolloutHost]] = [[] for _ in range(total)]
    for host in hosts:
        members[host.wave].append(host)
    return [
        RolloutWave(
            through=status.waves[number].through
            if number < len(status.waves)
            else max((host.name for host in wave), default=""),
            hosts=len(wave),
            updated=sum(host.phase == "Updated" for host in wave),
            failed=sum(host.phase in FAILED_PHASES for host in wave),
        )
        for number, wave in enumerate(members)
    ]


def _joined_later(machine: MachineInventory, status: RolloutStatus) -> bool:
    approved = find_condition(machine.status.conditions, "Approved")
    return approved is not None and approved.last_transition_time > status.started_at


def _was_taken_over(plan: PlanRecord, target: Target, status: RolloutStatus) -> bool:
    """A rollout that planned the host after this one began moved it on: this one does not take it back."""
    if not plan.rollout or plan.rollout == target.rollout or plan.state != "Applied":
        return False
    return plan.planned_at > status.started_at
