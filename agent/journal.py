"""The journal: the newest transaction and what happened before, each step on disk before the next begins.

A transaction is a list of named steps that may each be repeated. After a crash the steps already recorded
are skipped and the first unrecorded one runs again. `Fault` is where tests cut the power.
"""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agent.durable import make_directories, write_durably
from agent.errors import StateInvalid
from agent.host import now_text
from agent.protocol.report import Action, HistoryEntry, Outcome, Phase, SlotName, Transaction

KILL_AT = "SKERRY_AGENT_KILL_AT"
MAX_JOURNAL_BYTES = 1024 * 1024
MAX_HISTORY = 50

# Called with `<action>.<step>.started|acted|recorded`; may end the process.
Fault = Callable[[str], None]


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """One transaction as kept on disk. `previous` is the snapshot to fall back to."""

    id: str
    action: Action
    reference: str = ""
    digest: str = ""
    version: str = ""
    snapshot: int = 0
    slot: SlotName = "a"
    previous: int | None = None
    correlation_id: str = ""
    phase: Phase = "pending"
    percent: int = 0
    outcome: Outcome = ""
    reason: str = ""
    done: list[str] = msgspec.field(default_factory=list)
    started_at: str = ""
    updated_at: str = ""

    @property
    def is_open(self) -> bool:
        return self.phase != "done"


class _Content(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    record: Record | None = None
    history: list[HistoryEntry] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """`act` may be repeated. Entering the step puts the transaction into `phase`."""

    name: str
    phase: Phase
    act: Callable[[], None]


def no_fault(point: str) -> None:
    """The world without tests."""


def kill_at(wanted: str) -> Fault:
    """Return a fault that ends this process, as a power cut would, when it reaches the point."""

    def reach(point: str) -> None:
        if point == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return reach


class Journal:
    """The journal in one directory. Reading never needs it to exist; `observe` hears every change."""

    def __init__(
        self,
        directory: Path,
        *,
        fault: Fault = no_fault,
        observe: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self._path = directory / "journal.json"
        self._fault = fault
        self._observe = observe

    def record(self) -> Record | None:
        """Return the newest transaction, open or done."""
        return self._load().record

    def open_record(self) -> Record | None:
        record = self.record()
        return record if record is not None and record.is_open else None

    def history(self) -> list[HistoryEntry]:
        """Return what was finished, oldest first."""
        return self._load().history

    def begin(self, record: Record) -> Record:
        """Start a transaction. Raises StateInvalid if another one is open."""
        if self.open_record() is not None:
            raise StateInvalid("another transaction is open on this host")
        return self.put(msgspec.structs.replace(record, started_at=now_text()))

    def put(self, record: Record) -> Record:
        """Make the record durable, then tell who listens."""
        record = msgspec.structs.replace(record, updated_at=now_text())
        self._save(_Content(record=record, history=self._load().history))
        self._observe(record)
        return record

    def note_progress(self, record: Record, percent: int) -> None:
        """Tell who listens how far the step is. Not kept: after a crash the step starts again anyway."""
        self._observe(msgspec.structs.replace(record, percent=percent, updated_at=now_text()))

    def run(self, record: Record, steps: Sequence[Step], *, name: str = "") -> Record:
        """Run the steps that are not recorded yet, in order. `name` distinguishes fault points."""
        for step in steps:
            if step.name in record.done:
                continue
            record = self.put(msgspec.structs.replace(record, phase=step.phase, percent=0))
            point = f"{name or record.action}.{step.name}"
            self._fault(f"{point}.started")
            step.act()
            self._fault(f"{point}.acted")
            record = self.put(msgspec.structs.replace(self._current(record), done=[*record.done, step.name]))
            self._fault(f"{point}.recorded")
        return record

    def finish(self, record: Record, outcome: Outcome, *, reason: str = "") -> Record:
        """Close the transaction (one that never began is fine) and add it to the history, in one write."""
        record = msgspec.structs.replace(
            record,
            started_at=record.started_at or now_text(),
            phase="done",
            percent=100,
            outcome=outcome,
            reason=reason or record.reason,
            updated_at=now_text(),
        )
        entry = HistoryEntry(
            time=record.updated_at,
            action=record.action,
            slot=record.slot,
            digest=record.digest,
            version=record.version,
            outcome=outcome,
            reason=record.reason,
        )
        self._save(_Content(record=record, history=[*self._load().history, entry][-MAX_HISTORY:]))
        self._observe(record)
        return record

    def failure_of(self, digest: str) -> str | None:
        """Return why the image is known bad by what happened last with it, or None."""
        for entry in reversed(self.history()):
            if entry.digest == digest and entry.outcome == "rolled-back":
                return entry.reason or "it failed on this host before"
            if entry.digest == digest and entry.outcome == "committed":
                return None
        return None

    def _current(self, record: Record) -> Record:
        """A step may have written facts into the record (a digest, a version): take those."""
        return self.record() or record

    def _load(self) -> _Content:
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_JOURNAL_BYTES + 1)
        except FileNotFoundError:
            return _Content()
        try:
            if len(content) > MAX_JOURNAL_BYTES:
                raise StateInvalid(f"the journal {self._path} is larger than {MAX_JOURNAL_BYTES} bytes")
            return msgspec.json.decode(content, type=_Content)
        except msgspec.MsgspecError as error:
            raise StateInvalid(
                f"the journal {self._path} cannot be read: {error}",
                hint="remove it to forget the transaction; the boot loader's state is unaffected",
            ) from error

    def _save(self, content: _Content) -> None:
        make_directories(self._path.parent)
        write_durably(self._path, msgspec.json.encode(content))


def render_transaction(record: Record) -> Transaction:
    """Return the record as the appliance sees it."""
    return Transaction(
        id=record.id,
        action=record.action,
        digest=record.digest,
        slot=record.slot,
        phase=record.phase,
        percent=record.percent,
        outcome=record.outcome,
        reason=record.reason,
        correlation_id=record.correlation_id,
        started_at=record.started_at,
        updated_at=record.updated_at,
    )
