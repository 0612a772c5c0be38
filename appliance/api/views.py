"""How a host looks to people: its inventory and its newest report made into one row. Pure.

It reads nothing and is told the time; the words it chooses are the contract's `HostPhase`.
"""

from datetime import datetime

from agent.protocol.report import Report
from appliance.api.contract import HostPhase, HostView, InboxEntry
from appliance.resources.host_report import HostReport
from appliance.resources.machine_inventory import (
    APPROVALS_NEEDED,
    FIRST_APPROVED_BY,
    REJECTION_REASON,
    MachineInventory,
)
from appliance.resources.meta import find_condition

SILENT_AFTER_SECONDS = 120  # four reports missed


def host_view(inventory: MachineInventory, report: HostReport | None, *, now: datetime) -> HostView:
    """Join what we know of one host at `now`."""
    metadata = inventory.metadata
    said = report.report if report else None
    received_at = report.received_at if report and said else ""
    phase, reason = _phase(inventory, said, silent_for=_seconds_between(received_at, now))
    base = HostView(
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        approval=inventory.approval,
        phase=phase,
        reason=reason,
        tpm_hash=inventory.spec.tpm_hash,
        labels=dict(metadata.labels),
        created=metadata.creation_timestamp or "",
        last_seen=received_at,
    )
    if said is None:
        return base
    return HostView(
        **{field: getattr(base, field) for field in _FROM_INVENTORY},
        slot=said.booted_slot or "",
        version=said.version,
        digest=said.digest,
        image=said.image,
        mode=said.mode,
        hostname=said.hostname,
        address=said.addresses[0] if said.addresses else "",
        addresses=list(said.addresses),
        agent_version=said.agent_version,
        uptime_seconds=said.uptime_seconds,
        transaction=said.transaction,
        slots=list(said.slots),
        history=list(said.history),
    )


def waiting_entry(inventory: MachineInventory) -> InboxEntry:
    """The inbox line of a machine that proved its identity and waits for a person."""
    metadata = inventory.metadata
    return InboxEntry(
        kind="waiting",
        id=f"{metadata.namespace}/{metadata.name}",
        name=metadata.name,
        namespace=metadata.namespace,
        details={
            "tpm": inventory.spec.tpm_hash,
            **({"doubt": doubt} if (doubt := find_doubt(inventory)) else {}),
            **dict(sorted(metadata.labels.items())),
        },
        first_seen=metadata.creation_timestamp or "",
        last_seen=metadata.creation_timestamp or "",
    )


def find_doubt(inventory: MachineInventory) -> str:
    """Why this may not be one machine, and the only one; empty if nobody doubts it."""
    condition = find_condition(inventory.status.conditions, "IdentityUnique")
    return condition.message if condition is not None and condition.status == "False" else ""


_FROM_INVENTORY = (
    *("name", "namespace", "uid", "approval", "phase", "reason"),
    *("tpm_hash", "labels", "created", "last_seen"),
)


def _phase(inventory: MachineInventory, said: Report | None, *, silent_for: float) -> tuple[HostPhase, str]:
    """The one word for a host's state, most urgent first, and the sentence behind it."""
    if inventory.approval == "pending":
        return "Pending approval", _describe_waiting(inventory)
    if inventory.approval == "rejected":
        condition = find_condition(inventory.status.conditions, "Approved")
        said_why = inventory.metadata.annotations.get(REJECTION_REASON, "")
        return "Rejected", said_why or (condition.message if condition else "")
    if said is None:
        return "Registered", "has not reported yet"
    if silent_for > SILENT_AFTER_SECONDS:
        return "Silent", f"last heard from {round(silent_for)} s ago"
    transaction = said.transaction
    if transaction is None:
        return ("Registered", "runs from its live medium") if said.mode == "live" else ("Ready", "")
    match transaction.outcome:
        case "":
            word: HostPhase = "Installing" if transaction.action == "install" else "Upgrading"
            return word, f"{transaction.action}: {transaction.phase} {transaction.percent} %"
        case "rolled-back":
            return "Rolled back", transaction.reason
        case "failed" | "refused":
            return "Failed", transaction.reason
        case "committed":
            return "Ready", ""


def _describe_waiting(inventory: MachineInventory) -> str:
    """What is still missing: a person, or the second of two; and what that person should look at first."""
    first = inventory.metadata.annotations.get(FIRST_APPROVED_BY, "")
    needed = inventory.metadata.annotations.get(APPROVALS_NEEDED) == "2"
    if first:
        text = f"approved by {first}; another person must agree"
    else:
        text = f"proved its identity and waits for {'two people' if needed else 'a person'}"
    doubt = find_doubt(inventory)
    return f"{text}; {doubt}" if doubt else text


def _seconds_between(then: str, now: datetime) -> float:
    """0 for a time that is missing or unreadable: a host is called silent only on evidence."""
    try:
        return (now - datetime.fromisoformat(then)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
