"""What is on disk of each long job: one file of JSON lines an operation, every line fsynced before it counts.

A crash can tear the last line only; reading drops a torn line and cuts it off, so that the next one starts
clean. Progress is not journaled: it is news, not history.
"""

import contextlib
import logging
import os
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from appliance.files import make_private_directory, sync_directory

log = logging.getLogger(__name__)

FinalState = Literal["succeeded", "failed", "cancelled", "interrupted"]
MAX_JOURNAL_BYTES = 16 * 1024 * 1024


class Failure(msgspec.Struct, frozen=True):
    """Why an operation ended badly: a stable word, a sentence, and what to do."""

    reason: str
    message: str
    hint: str = ""


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The first line: what was asked for."""

    id: str
    kind: str
    params: dict[str, Any]
    at: str


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """A worker took it up; the second one of a file means that a crash ended the first."""

    attempt: int
    at: str


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The last line."""

    state: FinalState
    at: str
    result: dict[str, Any] | None = None
    error: Failure | None = None


Line: TypeAlias = Accepted | Begun | Finished


class Journal:
    """The operations below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = make_private_directory(directory)

    def append(self, id: str, line: Line) -> None:
        """Write one line; it is durable when this returns."""
        path = self._path(id)
        is_new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_directory(self._directory)

    def read(self) -> list[list[Line]]:
        """Every operation's lines, oldest operation first; what is no journal is logged and left alone."""
        histories = []
        for path in sorted(self._directory.glob("*.jsonl")):
            lines = _read_lines(path)
            if lines and isinstance(lines[0], Accepted):
                histories.append(lines)
            else:
                log.warning("operation %s: its journal cannot be read and is ignored", path.stem)
        return histories

    def remove(self, id: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path(id).unlink()

    def _path(self, id: str) -> Path:
        return self._directory / f"{id}.jsonl"


def _read_lines(path: Path) -> list[Line]:
    if path.stat().st_size > MAX_JOURNAL_BYTES:
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(path, len(whole))
    try:
        return [msgspec.json.decode(line, type=Line) for line in whole.splitlines()]
    except msgspec.DecodeError:
        return []
