"""The word and the sentence for a host's state, from its inventory, its report and the time."""

from datetime import UTC, datetime, timedelta

import pytest

from agent.protocol.report import Action, Mode, Outcome, Report, Transaction
from appliance.api.contract import HostPhase
from appliance.api.views import SILENT_AFTER_SECONDS, host_view, waiting_entry
from appliance.resources.host_report import HostReport
from appliance.resources.machine_inventory import APPROVAL, MachineInventory, MachineInventorySpec
from appliance.resources.meta import ObjectMeta

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def machine(approval: str = "approved") -> MachineInventory:
    return MachineInventory(
        metadata=ObjectMeta(name="m-1", namespace="fleet-default", annotations={APPROVAL: approval}),
        spec=MachineInventorySpec(tpm_hash="abc"),
    )


def transaction(action: Action, outcome: Outcome, reason: str = "") -> Transaction:
    return Transaction(
        id="t",
        action=action,
        digest="sha256:1",
        slot="b",
        phase="writing",
        percent=40,
        outcome=outcome,
        reason=reason,
    )


def report(
    done: Transaction | None = None, *, mode: Mode = "active", ago: float = 1, at: str = ""
) -> HostReport:
    received = (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = Report(agent_version="1", boot_id="b", mode=mode, booted_slot="a", version="v1", transaction=done)
    return HostReport(report=said, received_at=at or received)


@pytest.mark.parametrize(
    ("inventory", "said", "phase", "reason"),
    [
        (machine("pending"), None, "Pending approval", "proved its identity and waits for a person"),
        (machine("pending"), report(), "Pending approval", "proved its identity and waits for a person"),
        (machine("rejected"), report(), "Rejected", ""),
        (machine(), None, "Registered", "has not reported yet"),
        (machine(), HostReport(), "Registered", "has not reported yet"),
        (machine(), report(mode="live"), "Registered", "runs from its live medium"),
        (machine(), report(), "Ready", ""),
        (machine(), report(transaction("install", "")), "Installing", "install: writing 40 %"),
        (machine(), report(transaction("upgrade", "")), "Upgrading", "upgrade: writing 40 %"),
        (machine(), report(transaction("upgrade", "committed")), "Ready", ""),
        (
            machine(),
            report(transaction("upgrade", "rolled-back", "check failed")),
            "Rolled back",
            "check failed",
        ),
        (machine(), report(transaction("upgrade", "failed", "disk full")), "Failed", "disk full"),
        (machine(), report(transaction("upgrade", "refused", "known bad")), "Failed", "known bad"),
        (machine(), report(ago=SILENT_AFTER_SECONDS), "Ready", ""),
        (machine(), report(ago=SILENT_AFTER_SECONDS + 1), "Silent", "last heard from 121 s ago"),
        (machine(), report(transaction("upgrade", ""), ago=500), "Silent", "last heard from 500 s ago"),
        (machine(), report(at="not a time"), "Ready", ""),
        (machine(), report(at="2026-01-01T11:00:00"), "Ready", ""),
    ],
)
def test_each_state_has_its_word_and_sentence(
    inventory: MachineInventory, said: HostReport | None, phase: HostPhase, reason: str
) -> None:
    view = host_view(inventory, said, now=NOW)

    assert (view.phase, view.reason) == (phase, reason)


def test_a_clock_that_runs_ahead_makes_nobody_silent() -> None:
    assert host_view(machine(), report(ago=-3600), now=NOW).phase == "Ready"


def test_a_view_joins_inventory_and_report() -> None:
    view = host_view(machine(), report(), now=NOW)

    assert (view.name, view.tpm_hash, view.slot, view.version, view.mode) == (
        "m-1",
        "abc",
        "a",
        "v1",
        "active",
    )


def test_who_waits_is_shown_with_the_whole_proof() -> None:
    entry = waiting_entry(machine("pending"))

    assert (entry.kind, entry.id, entry.details["tpm"]) == ("waiting", "fleet-default/m-1", "abc")
