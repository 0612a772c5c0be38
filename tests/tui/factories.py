"""Hosts, rollouts and the rest, as the appliance would show them at `NOW`."""

from datetime import UTC, datetime, timedelta
from typing import Any

from agent.protocol.report import Action, HistoryEntry, Outcome, Phase, Slot, SlotName, Transaction
from appliance.api.contract import (
    BundleImage,
    BundleView,
    HostPhase,
    HostView,
    InboxEntry,
    OperationProgress,
    OperationState,
    OperationView,
)
from appliance.resources.meta import Document

NOW = datetime(2026, 11, 20, 3, 12, tzinfo=UTC)
V1 = "sha256:" + "1a" * 32
V2 = "sha256:" + "2b" * 32


def ago(**parts: float) -> str:
    return (NOW - timedelta(**parts)).isoformat()


def make_host(name: str = "host-1", phase: HostPhase = "Ready", **fields: Any) -> HostView:
    """A host that runs v1 from slot A, unless `fields` say otherwise."""
    known: dict[str, Any] = {
        "approval": "approved",
        "tpm_hash": "d1" * 28 + f"{abs(hash_of(name)):08x}",
        "slot": "a",
        "version": "v1.0.0",
        "digest": V1,
        "address": "192.168.7.11",
        "addresses": ["192.168.7.11"],
        "mode": "active",
        "created": ago(days=3),
        "last_seen": ago(seconds=12),
        "slots": [Slot(name="a", state="good", snapshot=1, digest=V1, version="v1.0.0"), Slot(name="b")],
    }
    return HostView(name=name, namespace="fleet-default", phase=phase, **{**known, **fields})


def make_pending(name: str = "host-9") -> HostView:
    fields = dict.fromkeys(("slot", "version", "digest", "mode", "last_seen", "address"), "")
    return make_host(name, "Pending approval", approval="pending", addresses=[], slots=[], **fields)


def make_transaction(
    phase: Phase = "writing",
    *,
    percent: int = 40,
    action: Action = "upgrade",
    slot: SlotName = "b",
    outcome: Outcome = "",
    reason: str = "",
) -> Transaction:
    return Transaction(
        id="t1",
        action=action,
        digest=V2,
        slot=slot,
        phase=phase,
        percent=percent,
        outcome=outcome,
        reason=reason,
        started_at=ago(minutes=3),
        updated_at=ago(seconds=1),
    )


def make_history(outcome: Outcome = "committed", *, reason: str = "", **when: float) -> HistoryEntry:
    time = ago(**(when or {"days": 3}))
    return HistoryEntry(
        time=time, action="install", slot="a", digest=V1, version="v1.0.0", outcome=outcome, reason=reason
    )


def make_waiting(name: str = "host-9", *, tpm: str = "0f" * 28 + "3f9a12cd") -> InboxEntry:
    return InboxEntry(
        kind="waiting",
        id=f"fleet-default/{name}",
        name=name,
        namespace="fleet-default",
        address="192.168.7.19",
        details={"tpm": tpm, "manufacturer": "Beckhoff", "serial": "0042-7781"},
        first_seen=ago(minutes=4),
        last_seen=ago(seconds=5),
    )


def make_found(name: str = "live-3f2a") -> InboxEntry:
    return InboxEntry(
        kind="found",
        id=f"mdns/{name}",
        name=name,
        address="192.168.7.23",
        details={"version": "v1.0.0"},
        first_seen=ago(minutes=1),
        last_seen=ago(seconds=5),
    )


def make_rollout(
    name: str = "to-v2",
    phase: str = "Progressing",
    *,
    hosts: list[dict[str, Any]] | None = None,
    reason: str = "",
) -> Document:
    """Two waves: `canary` with the first host, `rest` with the others."""
    members: list[dict[str, Any]] = (
        hosts
        if hosts is not None
        else [
            {"name": "host-1", "wave": 0, "phase": "Updated", "since": ago(minutes=9)},
            {"name": "host-2", "wave": 1, "phase": "Upgrading", "since": ago(minutes=2)},
            {"name": "host-3", "wave": 1, "phase": "Waiting"},
        ]
    )
    return {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": "fleet-default", "creationTimestamp": ago(minutes=12)},
        "spec": {
            "managedOSVersionName": "v2.0.0",
            "waves": [{"size": "1", "name": "canary"}, {"size": "100%", "name": "rest"}],
        },
        "status": {
            "phase": phase,
            "reason": reason or "wave 2 of 2; 1 of 3 hosts updated",
            "image": "10.0.0.1:5000/os:v2.0.0",
            "digest": V2,
            "currentWave": 1,
            "total": len(members),
            "updated": sum(member["phase"] == "Updated" for member in members),
            "failed": sum(member["phase"] in ("RolledBack", "Failed") for member in members),
            "startedAt": ago(minutes=11),
            "waves": [make_wave(members, number) for number in sorted({each["wave"] for each in members})],
            "hosts": members,
        },
    }


def make_wave(members: list[dict[str, Any]], number: int) -> dict[str, Any]:
    phases = [member["phase"] for member in members if member["wave"] == number]
    failed = sum(phase in ("RolledBack", "Failed") for phase in phases)
    return {"hosts": len(phases), "updated": phases.count("Updated"), "failed": failed}


def make_paused_rollout() -> Document:
    members = [
        {"name": "host-1", "wave": 0, "phase": "Updated", "since": ago(minutes=9)},
        {
            "name": "host-2",
            "wave": 1,
            "phase": "RolledBack",
            "since": ago(minutes=2),
            "reason": "50-demo.sh: the line controller does not answer",
        },
        {"name": "host-3", "wave": 1, "phase": "Waiting"},
    ]
    reason = "host-2 rolled back: 50-demo.sh: the line controller does not answer"
    return make_rollout(phase="Paused", hosts=members, reason=reason)


def make_bundle(name: str = "plant-2026-11") -> BundleView:
    image = BundleImage(reference="os:v2.0.0", digest=V2, version="v2.0.0", display_name="Line OS 2")
    return BundleView(name=name, loaded_at=ago(hours=5), sequence=4, created=ago(days=1), images=[image])


def make_operation(
    id: str = "op-7",
    state: OperationState = "running",
    *,
    done: int = 300_000_000,
    total: int = 1_000_000_000,
) -> OperationView:
    return OperationView(
        id=id,
        kind="load-bundle",
        state=state,
        progress=OperationProgress(phase="verifying", done=done, total=total, what="os:v2.0.0"),
        created_at=ago(minutes=2),
        started_at=ago(minutes=2),
    )


def hash_of(name: str) -> int:
    """A small number from a name, the same in every run."""
    return sum(ord(character) * 2654435761 * (index + 1) for index, character in enumerate(name)) & 0xFFFFFFFF
