"""Put small files into a finished ISO image without moving a byte of what is in it.

New contents, new directories and new path tables go behind the end; only the volume descriptor is changed, to
point to them. So boot catalogs, partition tables and everything that names a block stay right,
whoever made the image (ECMA-119 6.8, 8.4, 9.1 and 9.4; SUSP 1.12 and RRIP 1.10 for the long names).

A Joliet tree, if there is one, does not get the files: live systems read the Rock Ridge or the plain tree.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from bundles.errors import IsoUnusable

SECTOR = 2048
FIRST_DESCRIPTOR = 16
MAX_DESCRIPTORS = 64
MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
PRIMARY, TERMINATOR = 1, 255
FILE, FOLDER = 0x00, 0x02
SELF, PARENT = b"\0", b"\1"
FILE_MODE, FOLDER_MODE = 0o100444, 0o040555
EPOCH = bytes((126, 1, 1, 0, 0, 0, 0))  # 2026-01-01, UTC: the same files give the same image


@dataclass(frozen=True, slots=True)
class Record:
    """A directory record; `extra` is its system use area, kept as it was."""

    name: bytes
    extent: int
    size: int
    flags: int = FILE
    extra: bytes = b""
    time: bytes = EPOCH

    def render(self) -> bytes:
        name = bytes((len(self.name),)) + self.name
        body = (
            _both(self.extent) + _both(self.size) + self.time + bytes((self.flags, 0, 0, 1, 0, 0, 1)) + name
        )
        content = body + b"\0" * (len(body) % 2) + self.extra
        content += b"\0" * (len(content) % 2)
        if len(content) + 2 > 255:
            raise IsoUnusable(f"the directory record of {self.name!r} would be too long")
        return bytes((len(content) + 2, 0)) + content


def stamp_iso(image: BinaryIO, files: Mapping[str, bytes]) -> None:
    """Add `files` (a path with at most one folder, to content) to an image opened for reading and writing.

    A file of the same path is replaced. Raises IsoUnusable.
    """
    at, descriptor = _read_descriptor(image)
    root = _read_directory(image, *struct.unpack_from("<I4xI", descriptor, 158))
    skip = _susp_skip(root[0])
    folders: dict[str, list[Record]] = {}
    for path in files:
        folder = path.rpartition("/")[0]
        if "/" in folder:
            raise IsoUnusable(f"{path} lies too deep to be put into a finished image")
        if folder and folder not in folders:
            present = next((each for each in root if each.flags & FOLDER and _is_named(each, folder)), None)
            old = _read_directory(image, present.extent, present.size) if present else []
            folders[folder] = old or [_folder(SELF, skip), _folder(PARENT, skip)]

    end = image.seek(0, 2)
    blocks = _Blocks(image, max(-(-end // SECTOR), struct.unpack_from("<I", descriptor, 80)[0]))
    for path, content in files.items():
        folder, _, name = path.rpartition("/")
        record = _new(name, blocks.append(content), len(content), flags=FILE, skip=skip)
        if folder:
            folders[folder] = _with(folders[folder], record, name)
        else:
            root = _with(root, record, name)
    sizes = {name: len(_render_directory(records)) for name, records in folders.items()}
    root_at = blocks.next + sum(sizes.values()) // SECTOR
    places: dict[str, int] = {}
    for name, records in folders.items():
        own = places[name] = blocks.next
        blocks.append(_render_directory(_place(records, own, sizes[name], parent=(root_at, SECTOR))))
        root = _with(root, _new(name, own, sizes[name], flags=FOLDER, skip=skip), name)
    size = len(_render_directory(root))
    blocks.append(_render_directory(_place(root, root_at, size, parent=(root_at, size))))

    moved = {_find_name(root, name): own for name, own in places.items()}
    paths = _move_paths(_read_paths(image, descriptor), root_at, moved)
    for offset, order in ((140, "<"), (148, ">")):
        table = b"".join(_render_path(path, order) for path in paths)
        descriptor[132:140] = _both(len(table))
        descriptor[offset : offset + 8] = struct.pack(f"{order}II", blocks.append(table), 0)
    descriptor[80:88] = _both(blocks.next)
    descriptor[158:174] = _both(root_at) + _both(size)
    image.seek(at)
    image.write(descriptor)


class _Blocks:
    """Whole sectors, one after the other behind the image's end."""

    def __init__(self, image: BinaryIO, first: int) -> None:
        self._image = image
        self.next = first

    def append(self, content: bytes) -> int:
        """The sector where the content begins."""
        at, count = self.next, max(1, -(-len(content) // SECTOR))
        self._image.seek(at * SECTOR)
        self._image.write(content.ljust(count * SECTOR, b"\0"))
        self.next += count
        return at


def _read_descriptor(image: BinaryIO) -> tuple[int, bytearray]:
    """The primary volume descriptor and where it is."""
    for number in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + MAX_DESCRIPTORS):
        image.seek(number * SECTOR)
        sector = image.read(SECTOR)
        if len(sector) < SECTOR or sector[1:6] != b"CD001" or sector[0] == TERMINATOR:
            break
        if sector[0] == PRIMARY:
            if struct.unpack_from("<H", sector, 128)[0] != SECTOR:
                raise IsoUnusable("the ISO image has blocks of another size than 2048 bytes")
            return number * SECTOR, bytearray(sector)
    raise IsoUnusable("the base is not an ISO 9660 image")


def _read_directory(image: BinaryIO, extent: int, size: int) -> list[Record]:
    if size > MAX_DIRECTORY_BYTES:
        raise IsoUnusable(f"a directory of the ISO image has {size} bytes")
    image.seek(extent * SECTOR)
    content = image.read(size)
    records = []
    for start in range(0, len(content), SECTOR):
        sector, at = content[start : start + SECTOR], 0
        while at < len(sector) and sector[at]:
            records.append(_parse_record(sector[at : at + sector[at]]))
            at += sector[at]
    if len(content) != size or len(records) < 2 or records[0].name != SELF or records[1].name != PARENT:
        raise IsoUnusable("a directory of the ISO image is damaged")
    return records


def _parse_record(content: bytes) -> Record:
    if len(content) < 34 or len(content) < 33 + content[32]:
        raise IsoUnusable("a directory record of the ISO image is damaged")
    extent, size = struct.unpack_from("<I4xI", content, 2)
    length = content[32]
    extra = content[33 + length + (1 - length % 2) :]
    return Record(content[33 : 33 + length], extent, size, content[25], extra, content[18:25])


def _susp_skip(own: Record) -> int | None:
    """How many bytes come before the long names' entries; None where there are no long names (SUSP 5.3)."""
    if own.extra[:2] == b"SP" and own.extra[4:6] == b"\xbe\xef":
        return own.extra[6]
    return None


def _is_named(record: Record, name: str) -> bool:
    """By its long name, or by the plain one without its version."""
    at, long = 0, b""
    while at + 4 <= len(record.extra) and record.extra[at + 2] >= 4:
        if record.extra[at : at + 2] == b"NM":
            long += record.extra[at + 5 : at + record.extra[at + 2]]
        at += record.extra[at + 2]
    plain = record.name.partition(b";")[0].rstrip(b".").decode("ascii", "replace")
    return long == name.encode() or plain == name.upper()


def _with(records: Sequence[Record], new: Record, name: str) -> list[Record]:
    """The directory with one entry added or replaced, in the order that the standard wants."""
    kept = [each for each in records[2:] if not _is_named(each, name)]
    return [*records[:2], *sorted([*kept, new], key=lambda each: each.name)]


def _new(name: str, extent: int, size: int, *, flags: int, skip: int | None) -> Record:
    plain = name.upper().encode("ascii", "replace")[:30] + (b"" if flags & FOLDER else b";1")
    return Record(plain, extent, size, flags, _rock_ridge(name, flags, skip))


def _folder(name: bytes, skip: int | None) -> Record:
    return Record(name, 0, SECTOR, FOLDER, _rock_ridge("", FOLDER, skip))


def _rock_ridge(name: str, flags: int, skip: int | None) -> bytes:
    if skip is None:
        return b""
    mode, links = (FOLDER_MODE, 2) if flags & FOLDER else (FILE_MODE, 1)
    entry = b"PX" + bytes((36, 1)) + _both(mode) + _both(links) + _both(0) + _both(0)
    if name:
        entry += b"NM" + bytes((5 + len(name.encode()), 1, 0)) + name.encode()
    return b"\0" * skip + entry


def _place(records: Sequence[Record], extent: int, size: int, *, parent: tuple[int, int]) -> list[Record]:
    """The directory with its first two entries, itself and its parent, put where they are now."""
    own = replace(records[0], extent=extent, size=size)
    above = replace(records[1], extent=parent[0], size=parent[1])
    return [own, above, *records[2:]]


def _render_directory(records: Sequence[Record]) -> bytes:
    """Whole sectors; no record lies across a boundary (ECMA-119 6.8.1.1)."""
    sectors = [b""]
    for record in records:
        content = record.render()
        if len(sectors[-1]) + len(content) > SECTOR:
            sectors.append(b"")
        sectors[-1] += content
    return b"".join(sector.ljust(SECTOR, b"\0") for sector in sectors)


@dataclass(frozen=True, slots=True)
class _Path:
    """One directory in the path table; `parent` is its parent's place in the table."""

    name: bytes
    extent: int
    parent: int


def _read_paths(image: BinaryIO, descriptor: bytes | bytearray) -> list[_Path]:
    (size,) = struct.unpack_from("<I", descriptor, 132)
    (table,) = struct.unpack_from("<I", descriptor, 140)
    if size > MAX_DIRECTORY_BYTES:
        raise IsoUnusable(f"the path table of the ISO image has {size} bytes")
    image.seek(table * SECTOR)
    content, at = image.read(size), 0
    paths: list[_Path] = []
    while at + 8 <= len(content):
        length = content[at]
        extent, parent = struct.unpack_from("<IH", content, at + 2)
        if not 0 < parent <= max(1, len(paths)):
            raise IsoUnusable("the path table of the ISO image is damaged")
        paths.append(_Path(content[at + 8 : at + 8 + length], extent, parent - 1))
        at += 8 + length + length % 2
    if not paths:
        raise IsoUnusable("the ISO image has no path table")
    return paths


def _move_paths(paths: Sequence[_Path], root_at: int, moved: Mapping[bytes, int]) -> list[_Path]:
    """The table with the root and some of its folders elsewhere, in the standard's order (ECMA-119 6.9.1)."""
    changed = [replace(paths[0], extent=root_at)]
    changed += [
        replace(path, extent=moved[path.name]) if path.parent == 0 and path.name in moved else path
        for path in paths[1:]
    ]
    known = {path.name for path in changed[1:] if path.parent == 0}
    changed += [_Path(name, extent, 0) for name, extent in moved.items() if name not in known]
    ordered, place, level = [changed[0]], {0: 0}, [0]
    while level:
        children = [
            number
            for number, path in enumerate(changed)
            if number and path.parent in level and path.parent in place
        ]
        children.sort(key=lambda number: (place[changed[number].parent], changed[number].name))
        for number in children:
            place[number] = len(ordered)
            ordered.append(replace(changed[number], parent=place[changed[number].parent]))
        level = children
    return ordered


def _render_path(path: _Path, order: str) -> bytes:
    head = struct.pack(f"{order}BBIH", len(path.name), 0, path.extent, path.parent + 1)
    return head + path.name + b"\0" * (len(path.name) % 2)


def _find_name(records: Sequence[Record], name: str) -> bytes:
    return next(record.name for record in records if _is_named(record, name))


def _both(number: int) -> bytes:
    return struct.pack("<I", number) + struct.pack(">I", number)
