"""Send reports: at every change of phase, at most once a second within one, and never in anybody's way.

A report is the state of the moment, so one that could not be sent is simply replaced by the next.
"""

import logging
import time
from collections.abc import Callable

from agent.client import Appliance
from agent.connection import Connection
from agent.errors import Unreachable
from agent.installation import Installation
from agent.journal import Record
from agent.protocol.report import Phase
from agent.status import build_report

log = logging.getLogger("agent")

PROGRESS_SECONDS = 1.0
OBSERVING_TIMEOUT = 5.0


class Reporter:
    """Reports of one host. Give `observe` to the journal; call `send` for the moments in between."""

    def __init__(self, connection: Connection, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._appliance = Appliance(connection, timeout=OBSERVING_TIMEOUT)
        self._clock = clock
        self._installation: Installation | None = None
        self._last_phase: tuple[str, Phase] | None = None
        self._last_time = float("-inf")

    def attach(self, installation: Installation) -> None:
        """Say whose installation this is; before that nothing is sent."""
        self._installation = installation

    def observe(self, record: Record) -> None:
        """Hear of a change of the open transaction."""
        now = self._clock()
        if (record.id, record.phase) == self._last_phase and now - self._last_time < PROGRESS_SECONDS:
            return
        self._last_phase, self._last_time = (record.id, record.phase), now
        self.send(record)

    def send(self, record: Record | None = None) -> bool:
        """Report now; False if the appliance could not be told."""
        if self._installation is None:
            return False
        try:
            report = build_report(self._installation, record=record, towards=self._connection.url)
            self._appliance.post_report(report)
        except Unreachable as error:
            log.warning("%s: not reported: %s", self._connection.name, error)
            return False
        return True
