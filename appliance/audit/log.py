"""The audit log on disk: appended, synced before anybody is told, cut into files that a backup takes.

Decisions that come together share one write and one sync. It only ever appends: what is found damaged at
the start is left for `skerry audit verify` to tell, and a log that is shorter than its head remembers goes
on behind the gap, so that the gap stays.

AuditUnavailable   (an ApplianceFault) the decision could not be written, so it must not be acknowledged
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from appliance.audit.chain import (
    MAX_LINE_BYTES,
    Decision,
    Entry,
    Finding,
    Place,
    check_lines,
    parse_line,
    render_line,
    seal,
)
from appliance.audit.head import Head
from appliance.errors import ApplianceFault
from appliance.files import PRIVATE, make_private_directory, sync_directory

log = logging.getLogger(__name__)

FOLDER, KEYS = "audit", "pki"
FILE_BYTES = 768 * 1024  # a file of a backup has at most 1 MiB


class AuditUnavailable(ApplianceFault):
    pass


def utc_now() -> datetime:
    return datetime.now(UTC)


class Audit:
    """The one writer of a data folder's log. `record` belongs to an event loop, `write` to any thread."""

    def __init__(
        self, data: Path, *, clock: Callable[[], datetime] = utc_now, file_bytes: int = FILE_BYTES
    ) -> None:
        self._folder = make_private_directory(data / FOLDER)
        self._head = Head(data / KEYS)
        self._clock = clock
        self._file_bytes = file_bytes
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._waiting: list[tuple[Decision, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._at = self._find_end()

    async def record(
        self, what: str, object: str, *, who: str, why: str = "", details: dict[str, str] | None = None
    ) -> None:
        """Write a decision; when this returns it is on the disk. Raises AuditUnavailable."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((Decision(what, object, who, why, details), done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await done

    def write(self, decisions: Sequence[Decision]) -> None:
        """The same at once, for who has no event loop. Raises AuditUnavailable."""
        self._writer.submit(self._append, decisions).result()

    def close(self) -> None:
        self._writer.shutdown()

    async def _flush(self) -> None:
        """One write at a time; whoever comes meanwhile shares the next."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                fault: Exception | None = None
                try:
                    await loop.run_in_executor(self._writer, self._append, [each for each, _ in batch])
                except Exception as error:  # each of them is told
                    fault = error
                for _, done in batch:
                    if done.cancelled():
                        continue
                    if fault is None:
                        done.set_result(None)
                    else:
                        done.set_exception(fault)
        finally:
            self._flushing = None

    def _append(self, decisions: Sequence[Decision]) -> None:
        place, lines = self._at, []
        for decision in decisions:
            entry = seal(decision, place, at=self._clock())
            lines.append(render_line(entry))
            place = Place(entry.n, entry.hash)
        try:
            self._write(b"".join(lines))
            self._at = place
            self._head.write(place)
        except OSError as error:
            raise AuditUnavailable(
                f"the audit log cannot be written: {error.strerror}", hint="nothing is decided without it"
            ) from error

    def _write(self, content: bytes) -> None:
        path, is_new = self._choose_file()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE)
        try:
            size = os.fstat(descriptor).st_size
            try:
                written = os.write(descriptor, content)
                if written < len(content):
                    raise OSError(28, "No space left on device")
                os.fdatasync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)  # the same entries are written again, or never
                raise
        finally:
            os.close(descriptor)
        if is_new:
            sync_directory(self._folder)

    def _choose_file(self) -> tuple[Path, bool]:
        files = list_files(self._folder)
        if files and files[-1].stat().st_size < self._file_bytes:
            return files[-1], False
        return self._folder / f"{self._at.n + 1:012}.jsonl", True

    def _find_end(self) -> Place:
        """Where to go on: behind the last line, or behind the head where that is further."""
        last = Place()
        if files := list_files(self._folder):
            _drop_torn_line(files[-1])
            for path in reversed(files):
                entries = [entry for entry in map(parse_line, read_lines(path)) if entry]
                if entries:
                    last = Place(entries[-1].n, entries[-1].hash)
                    break
        head = self._head.read()
        if head is not None and head.n > last.n:
            log.error("the audit log ends at entry %d of %d: skerry audit verify", last.n, head.n)
            return head
        return last


def list_files(folder: Path) -> list[Path]:
    """The files of the log, oldest first."""
    return sorted(folder.glob("*.jsonl"))


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of one file, each with its end; one without an end, or too long, comes as what it is."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            yield line


def read_entries(data: Path, *, since: str = "", about: str = "") -> Iterator[Entry]:
    """The entries that can be read, oldest first: since an RFC 3339 time, of objects that hold `about`."""
    since = since.removesuffix("Z")
    for path in list_files(data / FOLDER):
        for line in read_lines(path):
            entry = parse_line(line)
            if entry is not None and entry.at >= since and about in entry.object:
                yield entry


def verify(data: Path) -> tuple[int, list[Finding]]:
    """Check the whole log of a data folder: how many lines it has, and everything that is wrong."""
    files = list_files(data / FOLDER)
    count = 0

    def counted(path: Path) -> Iterator[bytes]:
        nonlocal count
        for line in read_lines(path):
            count += 1
            yield line

    if not (data / KEYS / "audit.key").exists():
        return 0, [] if not files else [Finding(FOLDER, 0, "there is a log, but not the key of its head")]
    # The head first: what is appended while we read lies behind it.
    head = Head(data / KEYS).read()
    findings = list(check_lines([(path.name, counted(path)) for path in files], head or Place()))
    if head is None and files:
        findings.append(Finding("audit.head", 0, "the head is missing, or not under the appliance's key"))
    return count, findings


def _drop_torn_line(path: Path) -> None:
    """What a power cut left of a line that nobody was told of."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        os.truncate(path, end)
