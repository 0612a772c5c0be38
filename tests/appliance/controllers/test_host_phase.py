"""Where a host stands: one table of everything that can be seen of it."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from agent.protocol.report import HistoryEntry, Report
from appliance.controllers.host_phase import Observed, Target, observe_host, silence_deadline
from appliance.controllers.plans import PlanRecord, PlanState, checksum_plan
from appliance.controllers.writes import render_time
from appliance.resources.host_report import HostReport
from appliance.resources.machine_inventory import MachineInventory
from appliance.resources.meta import decode
from appliance.resources.rollout import HostPhase, RolloutHost
from tests.appliance.controllers.factories import START, V1, V2, V3, inventory, report, transaction

TARGET = Target(rollout="to-v2", digest=V2, correlation_id="to-v2-222222222222", plan=b"upgrade to v2")
SILENCE = timedelta(minutes=15)
OURS = TARGET.correlation_id


def plan(
    state: PlanState = "", *, text: bytes = TARGET.plan, rollout: str = "to-v2", reason: str = ""
) -> PlanRecord:
    return PlanRecord(text, checksum_plan(text), "upgrade", state, rollout=rollout, reason=reason)


NO_PLAN = PlanRecord(b"{}", checksum_plan(b"{}"), "empty", "Applied")


def seen(
    said: Report | None, asked: PlanRecord | None = NO_PLAN, before: HostPhase | None = None, *, ago: int = 0
) -> Observed:
    received = render_time(START - timedelta(minutes=ago))
    return Observed(
        machine=decode(MachineInventory, inventory()),
        report=HostReport(report=said, received_at=received) if said else None,
        plan=asked,
        before=RolloutHost(
            name="host-0",
            wave=0,
            phase=before,
            reason="as before",
            since=render_time(START - timedelta(hours=1)),
        )
        if before
        else None,
    )


ROLLED_BACK = transaction(phase="done", outcome="rolled-back", reason="50-demo.sh: no")
TRYING = transaction(phase="trying", correlation=OURS)
FAILED = transaction(phase="done", outcome="failed", reason="no space left", correlation=OURS)
ROLLBACK_ENTRY = HistoryEntry(time="1", action="upgrade", slot="b", digest=V2, outcome="rolled-back")
COMMIT_ENTRY = HistoryEntry(time="2", action="upgrade", slot="b", digest=V2, outcome="committed")


@pytest.mark.parametrize(
    ("observed", "phase"),
    [
        (seen(report()), "Waiting"),
        (seen(report(digest=V2)), "Updated"),
        (seen(report(digest=V2, state="candidate"), plan("Applied")), "Upgrading"),
        (seen(report(digest=V2, transaction=TRYING), plan("Applied")), "Upgrading"),
        (seen(report(digest=V2, mode="recovery"), plan("Applied")), "Upgrading"),
        (seen(report(), plan()), "Planned"),
        (seen(report(transaction=transaction(correlation=OURS)), plan()), "Upgrading"),
        (seen(report(), plan("Applied")), "Upgrading"),
        (seen(report(), plan("Failed")), "Failed"),
        (seen(report(transaction=FAILED), plan("Applied")), "Failed"),
        (seen(report(transaction=FAILED), plan()), "Planned"),
        (seen(report(transaction=ROLLED_BACK), plan("Applied")), "RolledBack"),
        (seen(report(bad=V2)), "RolledBack"),
        (seen(report(bad=V3)), "Waiting"),
        (seen(report(), NO_PLAN, "RolledBack"), "RolledBack"),
        (seen(report(), NO_PLAN, "Failed"), "Failed"),
        (seen(report(), NO_PLAN, "Planned"), "Waiting"),
        (seen(report(digest=V2), NO_PLAN, "Failed"), "Updated"),
        (seen(report(digest=V1), plan("Applied"), "Updated"), "Failed"),
        (seen(report(digest=V3), plan(text=b"to v3", rollout="to-v3"), "Updated"), "Updated"),
        (seen(None), "Waiting"),
        (seen(None, None), "Waiting"),
    ],
)
def test_a_hosts_phase_follows_from_what_is_seen(observed: Observed, phase: HostPhase) -> None:
    assert observe_host(observed, TARGET, now=START, silence=SILENCE).phase == phase


def test_a_digest_that_was_rolled_back_is_remembered_until_it_was_committed_again() -> None:
    rolled_back = msgspec.structs.replace(report(), history=[ROLLBACK_ENTRY])
    healed = msgspec.structs.replace(report(), history=[COMMIT_ENTRY, ROLLBACK_ENTRY])

    assert observe_host(seen(rolled_back), TARGET, now=START, silence=SILENCE).phase == "RolledBack"
    assert observe_host(seen(healed), TARGET, now=START, silence=SILENCE).phase == "Waiting"


def test_the_reason_is_the_hosts_own_word() -> None:
    rolled_back = observe_host(seen(report(transaction=ROLLED_BACK)), TARGET, now=START, silence=SILENCE)
    failed = observe_host(seen(report(), plan("Failed", reason="boom")), TARGET, now=START, silence=SILENCE)

    assert (rolled_back.reason, failed.reason) == ("50-demo.sh: no", "boom")


@pytest.mark.parametrize(
    ("observed", "obstacle"),
    [
        (seen(None), "has not reported yet"),
        (seen(report(), None), "has no plan Secret yet"),
        (seen(report(mode="live")), "runs in live mode"),
        (seen(report(transaction=transaction(V3))), "is busy with another upgrade"),
        (seen(report(), plan(text=b"to v3", rollout="to-v3")), "is upgrading for rollout to-v3"),
        (seen(report(), replace(NO_PLAN, type="reset")), "is being reset"),
        (seen(report(), replace(NO_PLAN, type="bootstrap", state="")), "is being bootstrapped"),
        (seen(report(), plan("Applied", text=b"to v3", rollout="to-v3")), ""),
        (seen(report()), ""),
    ],
)
def test_what_keeps_a_waiting_host_from_its_plan_is_said(observed: Observed, obstacle: str) -> None:
    assert observe_host(observed, TARGET, now=START, silence=SILENCE).obstacle == obstacle


def test_a_host_that_never_answers_its_plan_fails_after_the_silence() -> None:
    quiet = seen(report(), plan(), "Planned", ago=20)

    state = observe_host(quiet, TARGET, now=START, silence=SILENCE)

    assert state.phase == "Failed"
    assert "has not answered" in state.reason


def test_a_silent_host_stays_failed_until_it_speaks_again() -> None:
    still_quiet = seen(report(), plan(), "Failed", ago=90)
    speaks = seen(report(), plan(), "Failed", ago=0)

    assert observe_host(still_quiet, TARGET, now=START, silence=SILENCE).reason == "as before"
    assert observe_host(speaks, TARGET, now=START, silence=SILENCE).phase == "Planned"


def test_the_silence_is_counted_from_the_last_word() -> None:
    observed = seen(report(), plan(), "Planned", ago=5)
    state = observe_host(observed, TARGET, now=START, silence=SILENCE)

    assert silence_deadline(observed, state, silence=SILENCE) == START + timedelta(minutes=10)
