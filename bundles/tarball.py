"""Tar archives whose bytes depend on their entries alone: no clock, no user, no order of a directory."""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Literal

EntryKind = Literal["file", "directory", "link"]


@dataclass(frozen=True, slots=True)
class Entry:
    """`content` is a file's bytes or a symbolic link's target; the owner is root."""

    path: str
    content: bytes = b""
    kind: EntryKind = "file"
    mode: int = 0o644


def file(path: str, content: bytes | str, *, mode: int = 0o644) -> Entry:
    return Entry(path, content.encode() if isinstance(content, str) else content, mode=mode)


def directory(path: str, *, mode: int = 0o755) -> Entry:
    return Entry(path, kind="directory", mode=mode)


def link(path: str, target: str) -> Entry:
    return Entry(path, target.encode(), kind="link", mode=0o777)


def with_parents(entries: Iterable[Entry]) -> list[Entry]:
    """The entries sorted by path, with the directories above them where they are missing."""
    by_path = {entry.path: entry for entry in entries}
    for path in list(by_path):
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            parent = "/".join(parts[:depth])
            by_path.setdefault(parent, directory(parent))
    return [by_path[path] for path in sorted(by_path)]


def write_tar(entries: Iterable[Entry], output: BinaryIO, *, time: int = 0) -> None:
    """Write the entries in the order given; `time` is their modification time, seconds since 1970."""
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.path)
            info.mode = entry.mode
            info.mtime = time
            match entry.kind:
                case "directory":
                    info.type = tarfile.DIRTYPE
                    archive.addfile(info)
                case "link":
                    info.type = tarfile.SYMTYPE
                    info.linkname = entry.content.decode()
                    archive.addfile(info)
                case "file":
                    info.size = len(entry.content)
                    archive.addfile(info, io.BytesIO(entry.content))


def render_tar(entries: Iterable[Entry], *, time: int = 0) -> bytes:
    output = io.BytesIO()
    write_tar(entries, output, time=time)
    return output.getvalue()
