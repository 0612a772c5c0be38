"""Where one host stands in one rollout, from its report, its plan Secret and what was last written down.

Pure. The report's word on the booted digest comes first; a plan in the Secret says that we asked; what
the rollout's status remembers counts only once the plan is withdrawn from a host that failed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.protocol.report import Report
from appliance.controllers.plans import PlanRecord
from appliance.controllers.writes import parse_time
from appliance.resources.host_report import HostReport
from appliance.resources.machine_inventory import MachineInventory
from appliance.resources.rollout import HostPhase, RolloutHost
from appliance.rollout import ACTIVE_PHASES, FAILED_PHASES, HostState

# A host that runs from its disk, and so has another slot to upgrade into.
UPGRADABLE_MODES = ("active", "passive")


@dataclass(frozen=True, slots=True)
class Target:
    """What the rollout brings: `plan` is the exact text of its upgrade plan.

    With `configures` it brings files besides the image, so running the image alone is not enough.
    """

    rollout: str
    digest: str
    correlation_id: str
    plan: bytes
    configures: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """One host and everything we know of it; None for what does not exist yet."""

    machine: MachineInventory
    report: HostReport | None
    plan: PlanRecord | None
    before: RolloutHost | None


def observe_host(seen: Observed, target: Target, *, now: datetime, silence: timedelta) -> HostState:
    """Derive the host's phase. A phase begins when it is first seen, by the appliance's clock."""
    phase, reason = _choose_phase(seen, target)
    before = seen.before
    since = parse_time(before.since, default=now) if before and before.phase == phase else now
    since = min(since, now)  # it may come from the host's Secret, where the host can write what it likes
    if phase in ACTIVE_PHASES:
        answered = _last_answer(seen, default=since)
        if before and before.phase == "Failed" and answered <= parse_time(before.since, default=now):
            phase, reason, since = "Failed", before.reason, parse_time(before.since, default=now)
        elif now - max(since, answered) >= silence:
            minutes = int(silence.total_seconds() // 60)
            was = "to its upgrade plan" if phase == "Planned" else "since its upgrade began"
            phase, reason, since = "Failed", f"the host has not answered {was} for {minutes} min", now
    return HostState(
        name=seen.machine.metadata.name,
        phase=phase,
        since=since,
        wave=before.wave if before else None,
        reason=reason,
        obstacle=_find_obstacle(seen, target) if phase == "Waiting" else "",
    )


def silence_deadline(seen: Observed, state: HostState, *, silence: timedelta) -> datetime | None:
    """When an upgrading host that says nothing more will count as failed."""
    if state.phase not in ACTIVE_PHASES:
        return None
    return max(state.since, _last_answer(seen, default=state.since)) + silence


def has_our_plan(seen: Observed, target: Target) -> bool:
    """Say whether the host is asked for exactly this upgrade at this moment."""
    plan = seen.plan
    return plan is not None and plan.plan == target.plan and plan.rollout == target.rollout


def _choose_phase(seen: Observed, target: Target) -> tuple[HostPhase, str]:
    report = seen.report.report if seen.report else None
    ours = has_our_plan(seen, target)
    if report and _runs_well(report, target) and (not target.configures or _is_configured(seen, target)):
        return "Updated", ""
    bad = _find_bad(report, target) if report else None
    if bad is not None:
        return "RolledBack", bad
    if seen.before and seen.before.phase == "Updated":
        return _judge_departure(seen, target)
    if report and ours and (failure := _find_failure(report, seen.plan, target)):
        return "Failed", failure
    if seen.plan and ours and seen.plan.state == "Failed":
        return "Failed", seen.plan.reason or "the host could not carry out its upgrade plan"
    if ours:
        underway = report is not None and _is_underway(report, target)
        applied = seen.plan is not None and seen.plan.state == "Applied"
        return ("Upgrading", "") if underway or applied else ("Planned", "")
    if seen.before and seen.before.phase in FAILED_PHASES:
        return seen.before.phase, seen.before.reason
    return "Waiting", ""


def _is_configured(seen: Observed, target: Target) -> bool:
    """The host carried out this very plan, or did before another rollout's took its place."""
    if has_our_plan(seen, target):
        return seen.plan is not None and seen.plan.state == "Applied"
    return seen.before is not None and seen.before.phase == "Updated"


def _judge_departure(seen: Observed, target: Target) -> tuple[HostPhase, str]:
    """A host that was updated no longer runs the image: another rollout's doing, or a fault."""
    other = seen.plan.rollout if seen.plan else ""
    if other and other != target.rollout:
        return "Updated", f"since then upgraded by rollout {other}"
    version = seen.report.report.version if seen.report and seen.report.report else ""
    return "Failed", f"the host went back to {version or 'another image'} after it was updated"


def _runs_well(report: Report, target: Target) -> bool:
    """The host booted the image and committed it: not merely on trial."""
    if report.digest != target.digest or report.mode not in UPGRADABLE_MODES:
        return False
    transaction = report.transaction
    if transaction and transaction.digest == target.digest and transaction.phase != "done":
        return False
    return all(slot.state == "good" for slot in report.slots if slot.name == report.booted_slot)


def _find_bad(report: Report, target: Target) -> str | None:
    """Why the host remembers the image as bad, if it does: a slot says so, or the newest word on it."""
    for slot in report.slots:
        if slot.state == "bad" and slot.digest == target.digest:
            return slot.reason or "the host remembers this image as bad"
    transaction = report.transaction
    if transaction and transaction.digest == target.digest:
        rolled_back = transaction.phase == "done" and transaction.outcome == "rolled-back"
        return (transaction.reason or "the new image failed its health check") if rolled_back else None
    entries = [entry for entry in report.history if entry.digest == target.digest]
    newest = max(entries, key=lambda entry: entry.time, default=None)
    if newest is not None and newest.outcome == "rolled-back":
        return newest.reason or "the host rolled this image back before"
    return None


def _find_failure(report: Report, plan: PlanRecord | None, target: Target) -> str:
    """Why this very plan's transaction failed. An older one of the same name does not count."""
    transaction = report.transaction
    if transaction is None or transaction.correlation_id != target.correlation_id:
        return ""
    answered = plan is not None and plan.state != ""
    if transaction.phase == "done" and transaction.outcome in ("failed", "refused") and answered:
        return transaction.reason or f"the host's upgrade was {transaction.outcome}"
    return ""


def _is_underway(report: Report, target: Target) -> bool:
    transaction = report.transaction
    return (
        transaction is not None
        and transaction.correlation_id == target.correlation_id
        and transaction.phase != "done"
    )


def _last_answer(seen: Observed, *, default: datetime) -> datetime:
    return parse_time(seen.report.received_at, default=default) if seen.report else default


def _find_obstacle(seen: Observed, target: Target) -> str:
    """Why a waiting host cannot be given its plan yet; empty if it can."""
    report = seen.report.report if seen.report else None
    if report is None:
        return "has not reported yet"
    if seen.plan is None:
        return "has no plan Secret yet"
    if report.mode not in UPGRADABLE_MODES:
        return f"runs in {report.mode} mode"
    transaction = report.transaction
    if transaction is not None and transaction.phase != "done":
        return f"is busy with another {transaction.action}"
    other = seen.plan.rollout
    if other and other != target.rollout and seen.plan.state == "":
        return f"is upgrading for rollout {other}"
    if seen.plan.type == "reset":
        return "is being reset"
    if seen.plan.type == "bootstrap" and seen.plan.state == "":
        return "is being bootstrapped"
    return ""
