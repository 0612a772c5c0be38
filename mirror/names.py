"""The journal of names: what the index holds that content cannot tell, so that the index can be made again.

Blobs say what they are, not what they are called: repositories, media types and tags are only in the index.
Each change of them is one checksummed line here, synced before the index commits it, in the order of the
commits (docs/adr/0007). Reading tolerates damage and counts it; nothing here knows SQL.
"""

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from mirror.errors import MirrorError
from mirror.oci import Digest, check_repository, check_tag, parse_digest
from mirror.staging import no_room, sync_directory

MAX_LINE_BYTES = 64 * 1024
CHECKSUM_LENGTH = 8


class Put(msgspec.Struct, frozen=True, tag="put", rename="camel"):
    """A manifest came into a repository, perhaps with tags."""

    repository: str
    digest: str
    media_type: str
    tags: tuple[str, ...] = ()


class Tagged(msgspec.Struct, frozen=True, tag="tag"):
    repository: str
    digest: str
    tags: tuple[str, ...]


class Untagged(msgspec.Struct, frozen=True, tag="untag"):
    repository: str
    tag: str


class Deleted(msgspec.Struct, frozen=True, tag="delete"):
    """A manifest left a repository, and all its tags with it."""

    repository: str
    digest: str


Event = Put | Tagged | Untagged | Deleted


@dataclass(slots=True)
class Names:
    """What the journal's events come to: the media type of every manifest, and what every tag points to."""

    manifests: dict[tuple[str, Digest], str] = field(default_factory=dict)
    tags: dict[tuple[str, str], Digest] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        match event:
            case Put(repository, digest, media_type, tags):
                self.manifests[repository, parse_digest(digest)] = media_type
                self._tag(repository, digest, tags)
            case Tagged(repository, digest, tags):
                self._tag(repository, digest, tags)
            case Untagged(repository, tag):
                self.tags.pop((repository, tag), None)
            case Deleted(repository, digest):
                self.manifests.pop((repository, parse_digest(digest)), None)
                pointing = [key for key, to in self.tags.items() if key[0] == repository and to == digest]
                for key in pointing:
                    del self.tags[key]

    def _tag(self, repository: str, digest: str, tags: Sequence[str]) -> None:
        for tag in tags:
            self.tags[repository, tag] = parse_digest(digest)


class NameJournal:
    """One file. Who appends or rewrites holds the index's write lock, which orders the lines."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        return self.path.exists()

    def append(self, event: Event) -> None:
        """Durable on return. A line that a crash tore is closed first, so it takes no other with it."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            self.rewrite([event])
            return
        try:
            size = os.fstat(fd).st_size
            is_torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            _write_all(fd, (b"\n" if is_torn else b"") + render_line(event))
            os.fdatasync(fd)
        except OSError as error:
            raise no_room(error, self.path.parent) from error
        finally:
            os.close(fd)

    def rewrite(self, events: Iterable[Event]) -> None:
        """Put these lines in the place of all others, or leave the file as it was."""
        temporary = self.path.with_suffix(".new")
        try:
            with temporary.open("wb") as file:
                for event in events:
                    file.write(render_line(event))
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise no_room(error, self.path.parent) from error

    def read(self) -> tuple[Names, int]:
        """What all the lines come to, and how many of them could not be read."""
        names, damaged = Names(), 0
        with self.path.open("rb") as file:
            for line in _lines(file):
                event = parse_line(line)
                if event is None:
                    damaged += 1
                else:
                    names.apply(event)
        return names, damaged


def events_of(names: Names) -> Iterator[Event]:
    """The shortest journal that comes to `names`."""
    tags: dict[tuple[str, Digest], list[str]] = {}
    for (repository, tag), digest in names.tags.items():
        tags.setdefault((repository, digest), []).append(tag)
    for (repository, digest), media_type in names.manifests.items():
        of_this = sorted(tags.get((repository, digest), ()))
        yield Put(repository, digest, media_type, tuple(of_this[:100]))
        for start in range(100, len(of_this), 100):
            yield Tagged(repository, digest, tuple(of_this[start : start + 100]))


def render_line(event: Event) -> bytes:
    text = msgspec.json.encode(event)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def parse_line(line: bytes) -> Event | None:
    """The event, or None for what is torn, damaged or not ours."""
    checksum, space, text = line.rstrip(b"\n").partition(b" ")
    if not space or checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        event: Event = msgspec.json.decode(text, type=Event)
        _check(event)
    except (msgspec.MsgspecError, UnicodeDecodeError, MirrorError):
        return None
    return event


def _check(event: Event) -> None:
    check_repository(event.repository)
    match event:
        case Put(digest=digest, tags=tags) | Tagged(digest=digest, tags=tags):
            parse_digest(digest)
        case Untagged(tag=tag):
            tags = (tag,)
        case Deleted(digest=digest):
            parse_digest(digest)
            tags = ()
    for tag in tags:
        check_tag(tag)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of any length, of which no more than the limit is read; a longer one is cut, hence damaged."""
    while line := file.readline(MAX_LINE_BYTES):
        while not line.endswith(b"\n") and (rest := file.readline(MAX_LINE_BYTES)):
            line = line[:1] + rest[-1:]
        yield line


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
