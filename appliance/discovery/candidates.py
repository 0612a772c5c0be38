"""What was heard on the network, bounded and cleaned; none of it is proved."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agent.protocol.discovery import NODE_SERVICE, TXT_ID
from appliance.changes import Changes

MAX_CANDIDATES = 1000
MAX_CANDIDATES_AN_ADDRESS = 64
MAX_TEXT = 80
MAX_DETAILS = 16
MAX_ADDRESSES = 8  # of one machine
MISSES_BEFORE_SILENT = 3
MISSES_BEFORE_FORGOTTEN = 200


@dataclass(frozen=True, slots=True)
class Candidate:
    """A machine that says it is there. Nothing of this is proved."""

    id: str
    name: str
    address: str
    details: Mapping[str, str]
    first_seen: str
    last_seen: str
    port: int = 0  # where it can be asked, if its details say that it can be paired
    addresses: tuple[str, ...] = ()  # all that it announced; `address` is the one that answered


class Candidates:
    """What was heard, bounded. A full set refuses newcomers: a flood must not push out the real ones."""

    def __init__(
        self, *, limit: int = MAX_CANDIDATES, limit_an_address: int = MAX_CANDIDATES_AN_ADDRESS
    ) -> None:
        self._heard: dict[str, Candidate] = {}
        self._misses: dict[str, int] = {}  # how often in a row each did not answer us
        self._limit = limit
        self._limit_an_address = limit_an_address
        self.changes = Changes()

    def list(self) -> list[Candidate]:
        """Who was heard and is there, by name; who has stopped answering is kept, but not shown."""
        there = [
            candidate
            for service, candidate in self._heard.items()
            if self._misses.get(service, 0) < MISSES_BEFORE_SILENT
        ]
        return sorted(there, key=lambda candidate: (candidate.name, candidate.id))

    def targets(self) -> Mapping[str, Candidate]:
        """Everyone to ask whether they are there, by service name; the silent too, for they may come back."""
        return dict(self._heard)

    def find(self, name: str) -> Sequence[Candidate]:
        """Everyone with that id or name."""
        return [candidate for candidate in self.list() if name in (candidate.id, candidate.name)]

    def hear(
        self,
        service: str,
        address: str,
        texts: Mapping[str, str],
        *,
        now: datetime,
        port: int = 0,
        addresses: Sequence[str] = (),
    ) -> bool:
        """Take in one announcement; False when there is no room for it."""
        at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        known = self._heard.get(service)
        if known is None and not self._has_room(address):
            return False
        details = {clean(key): clean(value) for key, value in list(texts.items())[:MAX_DETAILS]}
        places = tuple(clean(each) for each in addresses[:MAX_ADDRESSES])
        name = clean(service.removesuffix(f".{NODE_SERVICE}"))
        candidate = Candidate(
            details.get(TXT_ID) or name, name, clean(address), details, at, at, port, places
        )
        for other, older in list(self._heard.items()):
            if other != service and (older.id, older.address) == (candidate.id, candidate.address):
                self.forget(other)  # the same machine before it was started again
        self._heard[service] = replace(candidate, first_seen=known.first_seen) if known else candidate
        self._misses.pop(service, None)
        self.changes.tell()
        return True

    def note_answer(self, service: str, address: str, *, now: datetime) -> None:
        """It answered us there; an empty address says that it did not."""
        known = self._heard.get(service)
        if known is None:
            return
        misses = self._misses.get(service, 0)
        if address:
            at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
            self._heard[service] = replace(known, address=address, last_seen=at)
            self._misses.pop(service, None)
            if misses >= MISSES_BEFORE_SILENT or address != known.address:
                self.changes.tell()
        elif misses + 1 >= MISSES_BEFORE_FORGOTTEN:
            self.forget(service)
        else:
            self._misses[service] = misses + 1
            if misses + 1 == MISSES_BEFORE_SILENT:
                self.changes.tell()

    def forget(self, service: str) -> None:
        self._misses.pop(service, None)
        if self._heard.pop(service, None) is not None:
            self.changes.tell()

    def _has_room(self, address: str) -> bool:
        same = sum(candidate.address == address for candidate in self._heard.values())
        return len(self._heard) < self._limit and same < self._limit_an_address


def clean(text: str) -> str:
    """Take out what could drive a terminal or turn its text around, and cap the length."""
    kept = "".join(letter for letter in text[: 4 * MAX_TEXT] if unicodedata.category(letter)[0] != "C")
    return kept[:MAX_TEXT]
