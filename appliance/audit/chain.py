"""The audit log's lines and what holds them together. Pure: bytes in, entries or findings out.

A line is one decision as JSON. `hash` is SHA-256 over the line as it reads with an empty hash, `prev` the
hash of the line before it, so nothing can be changed, taken out or moved without a break that shows. The
end is held by the head, a note of the newest line under a key of the appliance (`appliance.audit.head`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

START = "0" * 64  # what the first line follows
MAX_TEXT = 1024
MAX_DETAILS = 16
MAX_LINE_BYTES = 64 * 1024


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One decision: `who` did `what` to `object` at `at` (RFC 3339, UTC), and why."""

    n: int
    at: str
    who: str
    what: str
    object: str
    why: str = ""
    details: dict[str, str] = msgspec.field(default_factory=dict)
    prev: str
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a caller says; the log adds the number, the time and the chain."""

    what: str
    object: str
    who: str
    why: str = ""
    details: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """The end of a chain: the newest line's number and hash."""

    n: int = 0
    hash: str = START


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and where: `line` counts from 1 in `file`; 0 is the file as a whole."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


def seal(decision: Decision, after: Place, *, at: datetime) -> Entry:
    """The entry that follows `after`; texts are cut to what a line may hold."""
    details = list((decision.details or {}).items())[:MAX_DETAILS]
    entry = Entry(
        n=after.n + 1,
        at=at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        who=_cut(decision.who),
        what=_cut(decision.what),
        object=_cut(decision.object),
        why=_cut(decision.why),
        details={_cut(key): _cut(value) for key, value in details},
        prev=after.hash,
    )
    return msgspec.structs.replace(entry, hash=_hash(entry))


def render_line(entry: Entry) -> bytes:
    return msgspec.json.encode(entry) + b"\n"


def parse_line(line: bytes) -> Entry | None:
    """The entry of a line that reads exactly as it was written; None if it does not."""
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        entry = msgspec.json.decode(line, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if render_line(entry) != line or entry.hash != _hash(entry):
        return None
    return entry


def check_lines(files: Iterable[tuple[str, Iterable[bytes]]], head: Place) -> Iterator[Finding]:
    """Walk the whole log, oldest file first; each break is told once, and the walk goes on behind it."""
    at, last_file = Place(), "the log"
    held: str | None = START if head.n == 0 else None  # the hash of the line that the head remembers
    for file, lines in files:
        last_file = file
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                yield Finding(file, number, "the line is cut off; a power cut can leave that at the very end")
                continue
            entry = parse_line(line)
            if entry is None:
                yield Finding(file, number, f"the line is not as it was written (after entry {at.n})")
                at = Place(at.n + 1, "")
                continue
            yield from _check_follows(entry, at, file, number)
            at = Place(max(entry.n, at.n), entry.hash)
            if entry.n == head.n:
                held = entry.hash
    if at.n < head.n:
        yield Finding(last_file, 0, f"the end is missing: entries {at.n + 1} to {head.n} were written once")
    elif held is None:
        yield Finding(last_file, 0, f"entry {head.n}, which the head remembers, is missing")
    elif held != head.hash:
        yield Finding(last_file, 0, f"entry {head.n} is not the one that the head remembers")


def _check_follows(entry: Entry, at: Place, file: str, number: int) -> Iterator[Finding]:
    if entry.n <= at.n:
        yield Finding(file, number, f"entry {entry.n} stands after entry {at.n}: out of order, or twice")
    elif entry.n > at.n + 1:
        missing = f"entry {at.n + 1}" if entry.n == at.n + 2 else f"entries {at.n + 1} to {entry.n - 1}"
        yield Finding(file, number, f"{missing} missing before entry {entry.n}")
    elif at.hash and entry.prev != at.hash:
        yield Finding(file, number, f"entry {entry.n} does not follow the line before it")


def _hash(entry: Entry) -> str:
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(entry, hash=""))).hexdigest()


def _cut(text: str) -> str:
    """At most MAX_TEXT characters, and none that UTF-8 cannot carry."""
    return text[:MAX_TEXT].encode(errors="replace").decode()
