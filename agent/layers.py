"""Flatten an image's layers into a directory, without ever touching anything outside of it.

A layer is somebody else's tar: names may climb, links may point away, sizes may lie. Every name is resolved
inside the tree as a chroot would; devices are made only by root; whiteouts delete (OCI image layer
specification, "Whiteouts"). Each layer's uncompressed bytes are checked against the image's diff id.
"""

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from agent.errors import DigestMismatch, ImageInvalid
from agent.image import CHUNK, Layer, describe_write_error

MAX_ENTRIES = 2_000_000
MAX_LINKS = 40
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
XATTR = "SCHILY.xattr."

Progress = Callable[[int], None]


@dataclass(slots=True)
class TreeLimits:
    """What a tree may grow to; counted down across layers."""

    bytes: int
    entries: int = MAX_ENTRIES


@dataclass(slots=True)
class _Tree:
    """The tree being built. `fresh` holds what the current layer made: its own whiteouts spare that."""

    root: Path
    privileged: bool
    limits: TreeLimits
    fresh: set[Path] = field(default_factory=set)
    times: list[tuple[Path, float]] = field(default_factory=list)


def flatten(
    layers: Sequence[Layer],
    destination: Path,
    *,
    limits: TreeLimits,
    privileged: bool | None = None,
    progress: Progress = lambda percent: None,
) -> None:
    """Unpack the layers in order into `destination`, which is emptied first. Raises ImageInvalid.

    Owners, devices and extended attributes are set only if `privileged`, by default when we are root.
    """
    remove_tree(destination)
    destination.mkdir(parents=True)
    tree = _Tree(destination, os.geteuid() == 0 if privileged is None else privileged, limits)
    for number, layer in enumerate(layers):
        tree.fresh.clear()
        _unpack(layer, tree)
        progress(100 * (number + 1) // len(layers))
    for path, time in reversed(tree.times):
        if path.is_dir() and not path.is_symlink():
            os.utime(path, (time, time))


def unpack_archive(archive: Path, destination: Path, *, limits: TreeLimits) -> None:
    """Unpack a plain tar over what `destination` holds, by the same rules as a layer."""
    tree = _Tree(destination, privileged=os.geteuid() == 0, limits=limits)
    with archive.open("rb") as blob:
        _read_archive(_HashedStream(blob, limits), tree, name=archive.name)


def remove_tree(path: Path) -> None:
    """Remove a tree, also one whose directories forbid it to their owner."""
    if not path.exists():
        return
    if os.geteuid() != 0:
        path.chmod(0o700)
        for directory, names, _ in os.walk(path):
            # Before the walk enters them: it passes over what it may not read.
            for child in (Path(directory, name) for name in names):
                if not child.is_symlink():
                    child.chmod(0o700)
    shutil.rmtree(path)


def estimate_unpacked(layers: Sequence[Layer]) -> int:
    """Guess the tree's size from what gzip says at each blob's end (RFC 1952: size modulo 2^32)."""
    return sum(_estimate(layer) for layer in layers)


def _estimate(layer: Layer) -> int:
    if not layer.media_type.endswith("gzip") or layer.size < 18:
        return layer.size
    with layer.path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return max(int.from_bytes(file.read(4), "little"), layer.size)


class _HashedStream:
    """The uncompressed bytes on their way into tarfile, hashed."""

    def __init__(self, stream: BinaryIO, limits: TreeLimits) -> None:
        self._stream = stream
        self._hasher = hashlib.sha256()
        # tar's own framing on top of what the tree may hold
        self._left = limits.bytes + 1024 * limits.entries + 1024 * 1024

    def read(self, size: int = CHUNK) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ImageInvalid("a layer unpacks to more than this host allows")
        self._hasher.update(data)
        return data

    def finish(self) -> str:
        while self.read():
            pass
        return f"sha256:{self._hasher.hexdigest()}"


def _unpack(layer: Layer, tree: _Tree) -> None:
    with layer.path.open("rb") as blob, _open_plain(blob, layer.media_type) as plain:
        found = _read_archive(_HashedStream(plain, tree.limits), tree, name=f"layer {layer.path.name[:12]}")
    if layer.diff_id != found:
        raise DigestMismatch(f"layer {layer.path.name[:12]} unpacks to {found}, not to {layer.diff_id}")


def _read_archive(stream: _HashedStream, tree: _Tree, *, name: str) -> str:
    """Apply every member; return the digest of the whole stream."""
    try:
        with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|") as archive:
            for member in archive:
                _apply(member, archive, tree)
        return stream.finish()
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise ImageInvalid(f"{name} is damaged: {error}") from error
    except OSError as error:
        raise describe_write_error(error, str(tree.root)) from error


def _open_plain(blob: BinaryIO, media_type: str) -> BinaryIO:
    if media_type.endswith(("gzip", ".gzip")):
        return cast(BinaryIO, gzip.GzipFile(fileobj=blob))
    if media_type.endswith("tar"):
        return blob
    raise ImageInvalid(
        f"layers of type {media_type[:80]!r} cannot be unpacked", hint="build the image with gzip layers"
    )


def _apply(member: tarfile.TarInfo, archive: tarfile.TarFile, tree: _Tree) -> None:
    tree.limits.entries -= 1
    tree.limits.bytes -= member.size
    if tree.limits.entries < 0 or tree.limits.bytes < 0:
        raise ImageInvalid("the image holds more than this host allows")
    parts = _split(member.name)
    if not parts:
        if member.isdir():
            _set_mode(tree.root, member, tree)
        return
    parent = _resolve(tree.root, parts[:-1], member.name)
    name = parts[-1]
    if name == OPAQUE:
        _clear(parent, tree)
    elif name.startswith(WHITEOUT):
        _white_out(parent, name.removeprefix(WHITEOUT), member.name)
    else:
        _write(parent, name, member, archive, tree)


def _split(name: str) -> list[str]:
    """Return the path's parts; raise for names that climb or cannot exist."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name or any(len(os.fsencode(part)) > 255 for part in parts):
        raise ImageInvalid(f"a layer holds the unsafe name {name[:200]!r}")
    return parts


def find_inside(root: Path, name: str) -> Path:
    """Return where `name` is in an unpacked tree, following links as a chroot would. It may not exist."""
    parts = _split(name)
    return _resolve(root, parts, name, make=False) if parts else root


def _resolve(root: Path, parts: Sequence[str], name: str, *, make: bool = True) -> Path:
    """Follow `parts` inside `root` as a chroot would, making missing directories."""
    current = root
    pending = list(reversed(parts))
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            current = current if current == root else current.parent
            continue
        step = current / part
        if step.is_symlink():
            links += 1
            if links > MAX_LINKS:
                raise ImageInvalid(f"a layer's links lead in circles at {name[:200]!r}")
            target = os.readlink(step)
            if target.startswith("/"):
                current = root
            pending += [piece for piece in reversed(target.split("/")) if piece not in ("", ".")]
            continue
        if make and not step.exists():
            step.mkdir(mode=0o755)
        elif make and not step.is_dir():
            raise ImageInvalid(f"a layer puts {name[:200]!r} below something that is not a directory")
        current = step
    return current


def _clear(directory: Path, tree: _Tree) -> None:
    """An opaque directory hides what lower layers had in it, not what this layer put there."""
    for entry in list(directory.iterdir()):
        if entry not in tree.fresh:
            _remove(entry)


def _white_out(parent: Path, name: str, member: str) -> None:
    if name in ("", ".", ".."):
        raise ImageInvalid(f"a layer holds the unsafe whiteout {member[:200]!r}")
    _remove(parent / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _write(parent: Path, name: str, member: tarfile.TarInfo, archive: tarfile.TarFile, tree: _Tree) -> None:
    path = parent / name
    for ancestor in (path, *path.parents):
        if ancestor == tree.root or ancestor in tree.fresh:
            break
        tree.fresh.add(ancestor)
    if not (member.isdir() and path.is_dir() and not path.is_symlink()):
        if not member.islnk():
            _remove(path)
        _make(path, member, archive, tree)
    _set_mode(path, member, tree)


def _make(path: Path, member: tarfile.TarInfo, archive: tarfile.TarFile, tree: _Tree) -> None:
    if member.isdir():
        path.mkdir()
    elif member.isreg():
        _write_file(path, member, archive)
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        _link(path, member, tree)
    elif member.ischr() or member.isblk() or member.isfifo():
        _make_node(path, member, privileged=tree.privileged)
    else:
        raise ImageInvalid(f"a layer holds {member.name[:200]!r}, which is of no known type")


def _write_file(path: Path, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
    source = archive.extractfile(member)
    if source is None:
        raise ImageInvalid(f"a layer's {member.name[:200]!r} has no content")
    with path.open("xb") as file:
        shutil.copyfileobj(source, file, CHUNK)


def _link(path: Path, member: tarfile.TarInfo, tree: _Tree) -> None:
    """A hard link's target is a name inside the tree; its last part is never followed."""
    parts = _split(member.linkname)
    if not parts:
        raise ImageInvalid(f"a layer's link {member.name[:200]!r} points nowhere")
    target = _resolve(tree.root, parts[:-1], member.name) / parts[-1]
    if target == path:
        return
    if not target.is_symlink() and not target.is_file():
        raise ImageInvalid(f"a layer's link {member.name[:200]!r} points at {member.linkname[:200]!r}")
    _remove(path)
    os.link(target, path, follow_symlinks=False)


def _make_node(path: Path, member: tarfile.TarInfo, *, privileged: bool) -> None:
    if member.isfifo():
        os.mkfifo(path)
    elif privileged:
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
    else:
        raise ImageInvalid(f"a layer holds the device {member.name[:200]!r}; only root can unpack that")


def _set_mode(path: Path, member: tarfile.TarInfo, tree: _Tree) -> None:
    """Owner, mode, extended attributes, time. Without root everything is ours and readable by us.

    Not for hard links: their inode has all that already, and may be a link that `chmod` would follow.
    """
    if member.islnk():
        return
    if tree.privileged:
        os.lchown(path, member.uid, member.gid)
    if not member.issym():
        mode = stat.S_IMODE(member.mode)
        os.chmod(path, mode if tree.privileged else mode | (0o700 if member.isdir() else 0o600))
    if tree.privileged:
        for key, value in member.pax_headers.items():
            if key.startswith(XATTR):
                data = value.encode("utf-8", "surrogateescape")
                os.setxattr(path, key.removeprefix(XATTR), data, follow_symlinks=False)
    if member.isdir():
        tree.times.append((path, member.mtime))
    else:
        os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)
