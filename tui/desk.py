"""What every screen works with: what is known, how to act on it, the time, and the kind of terminal."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tui.known import Known
from tui.session import Command

_LOG_LENGTH = 2000

EntryKind = Literal["command", "done", "refused", "event"]


@dataclass(frozen=True, slots=True)
class LogEntry:
    at: datetime
    kind: EntryKind
    text: str


@dataclass(slots=True)
class Desk:
    """`run` carries out a command in the background, `search` asks the inventory there.

    `operator` goes down as who decided.

    `twin`, `outcome` and `notice` are what the lines at the bottom show; they belong to `place`, the screen
    where the action was taken.
    """

    known: Known
    clock: Callable[[], datetime]
    run: Callable[[Command], None]
    search: Callable[[str], None]
    basic: bool = False
    server: str = ""
    operator: str = ""
    log: deque[LogEntry] = field(default_factory=lambda: deque(maxlen=_LOG_LENGTH))
    twin: str = ""
    outcome: str = ""
    notice: str = ""
    place: object = None

    def enter(self, place: object) -> None:
        """Another screen is in front: what was done on the one before is in the log."""
        if place is not self.place:
            self.place, self.twin, self.outcome, self.notice = place, "", "", ""

    def act(self, command: Command) -> None:
        """Show and log the twin, then carry the command out."""
        self.twin, self.outcome, self.notice = command.twin, "…", ""
        self.write("command", command.twin)
        self.run(command)

    def finish(self, twin: str, sentence: str, *, succeeded: bool) -> None:
        """Take down how a command ended."""
        self.write("done" if succeeded else "refused", sentence)
        if twin == self.twin:
            self.outcome = "done" if succeeded else "REFUSED"
        self.notice = "" if succeeded else sentence

    def write(self, kind: EntryKind, text: str) -> None:
        self.log.append(LogEntry(self.clock(), kind, text))
