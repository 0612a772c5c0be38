"""What a host tells the appliance about itself: slots, the transaction under way, what happened before.

The agent posts a `Report` to `/skerry/v1/namespaces/NS/hosts/NAME/report` with its host token; the
appliance keeps the newest as the HostReport resource of the same name. Times are RFC 3339 text, UTC.
"""

from typing import Literal

import msgspec

SlotName = Literal["a", "b"]
SlotState = Literal["empty", "candidate", "good", "bad"]
Action = Literal["install", "upgrade", "rollback", "reset"]
Phase = Literal["pending", "pulling", "writing", "verifying", "armed", "trying", "done"]
Outcome = Literal["", "committed", "rolled-back", "failed", "refused"]
Mode = Literal["live", "active", "passive", "recovery"]


class Slot(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`snapshot` is upstream's id under `.snapshots/`; `digest` is the image's manifest digest."""

    name: SlotName
    state: SlotState = "empty"
    snapshot: int = 0
    digest: str = ""
    version: str = ""
    reason: str = ""


class Transaction(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The newest transaction. `percent` counts within the phase."""

    id: str
    action: Action
    digest: str
    slot: SlotName
    phase: Phase
    percent: int = 0
    outcome: Outcome = ""
    reason: str = ""
    correlation_id: str = ""
    started_at: str = ""
    updated_at: str = ""


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    time: str
    action: Action
    slot: SlotName
    digest: str
    version: str = ""
    outcome: Outcome = ""
    reason: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`booted_slot` is read from the boot loader's own word (the kernel command line), never remembered."""

    agent_version: str
    boot_id: str
    mode: Mode
    booted_slot: SlotName | None = None
    image: str = ""
    digest: str = ""
    version: str = ""
    slots: list[Slot] = msgspec.field(default_factory=list)
    transaction: Transaction | None = None
    history: list[HistoryEntry] = msgspec.field(default_factory=list)
    hostname: str = ""
    addresses: list[str] = msgspec.field(default_factory=list)
    uptime_seconds: int = 0
    reported_at: str = ""
