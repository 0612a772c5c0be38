"""The states people see, as a symbol, a word and a tone; the tone is only ever an addition to the other two.

Calm is grey (ISA-101): what is well has no colour, so that what is not stands out.
"""

from typing import Literal, NamedTuple

from appliance.api.contract import HostPhase, InboxEntry, OperationState
from appliance.resources.rollout import HostPhase as RolloutHostPhase
from appliance.resources.rollout import RolloutPhase

Tone = Literal["", "dim", "strong", "good", "busy", "warn", "bad", "title"]


class State(NamedTuple):
    """`rank` orders a list: what needs a person comes first."""

    symbol: str
    word: str
    tone: Tone
    rank: int

    def __str__(self) -> str:
        return f"{self.symbol} {self.word}"


HOST: dict[HostPhase, State] = {
    "Failed": State("!", "FAILED", "bad", 0),
    "Rolled back": State("<", "rolled back", "warn", 1),
    "Silent": State("~", "silent", "warn", 2),
    "Pending approval": State("?", "waiting", "busy", 3),
    "Upgrading": State("^", "upgrading", "busy", 4),
    "Installing": State("v", "installing", "busy", 5),
    "Registered": State("-", "registered", "", 6),
    "Ready": State("+", "ready", "dim", 7),
    "Rejected": State("x", "rejected", "dim", 8),
}

ROLLOUT: dict[RolloutPhase, State] = {
    "Failed": State("!", "FAILED", "bad", 0),
    "Paused": State("=", "PAUSED", "warn", 1),
    "Progressing": State(">", "running", "busy", 2),
    "Pending": State("-", "pending", "", 3),
    "Completed": State("+", "done", "dim", 4),
}

ROLLOUT_HOST: dict[RolloutHostPhase, State] = {
    "Failed": State("x", "FAILED", "bad", 0),
    "RolledBack": State("<", "rolled back", "warn", 1),
    "Upgrading": State(">", "upgrading", "busy", 2),
    "Planned": State("-", "planned", "", 3),
    "Waiting": State(".", "waiting", "dim", 4),
    "Updated": State("#", "updated", "dim", 5),
}

OPERATION: dict[OperationState, State] = {
    "failed": State("!", "FAILED", "bad", 1),
    "interrupted": State("!", "interrupted", "warn", 2),
    "running": State(">", "running", "busy", 0),
    "queued": State("-", "queued", "", 3),
    "cancelled": State("x", "cancelled", "dim", 4),
    "succeeded": State("+", "done", "dim", 5),
}

WAITING = State("?", "waiting", "busy", 0)
FOUND = State("*", "found", "", 1)
APPROVED = State("+", "approved", "good", 0)
REJECTED = State("x", "rejected", "warn", 0)


def state_of(entry: InboxEntry) -> State:
    return WAITING if entry.kind == "waiting" else FOUND
