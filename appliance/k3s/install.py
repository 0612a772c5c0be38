"""Put an air-gapped k3s with Skerry in it onto this node, or say what that would do.

`plan` looks and lists the steps, `carry_out` does them; both can be repeated, and a second run finds nothing
left to do. What an install wrote it remembers in a list on the node, so that it never takes another's file
for its own. Starting, waiting and moving the store are the caller's: see `appliance.cli.k3s`.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.files import PRIVATE, sync_directory, write_durably
from appliance.k3s.contents import (
    Content,
    Copied,
    K3sRelease,
    holds,
    image_digest,
    write_content,
    write_image_archive,
)
from appliance.k3s.files import BINARY, IMAGES, PROGRAM, PUBLIC, Node, NodeFile, node_files
from mirror.registry import Registry

RECORD = "etc/rancher/k3s/.skerry-installed.json"
CACHE = f"{IMAGES}/.cache.json"  # its being there makes k3s import an archive only when it changed
APPLIANCE_ARCHIVE = "skerry-appliance.tar"
SAVED = ".before-skerry"
MAX_RECORD_BYTES = 1024 * 1024

Doing = Literal["write", "keep", "replace"]


@dataclass(frozen=True, slots=True)
class Step:
    """One file, and what becomes of it. `what` is for people."""

    doing: Doing
    path: str
    what: str


@dataclass(frozen=True, slots=True)
class Installation:
    """All that goes onto a node. `image` is the appliance's own, repository:tag of the mirror."""

    root: Path
    release: K3sRelease
    node: Node
    image: str

    def contents(self) -> Iterator[tuple[str, Content, int]]:
        yield BINARY, self.release.binary, PROGRAM
        for content in self.release.images:
            yield f"{IMAGES}/{content.title}", content, PUBLIC

    @property
    def archive(self) -> str:
        return f"{IMAGES}/{APPLIANCE_ARCHIVE}"


def plan(installation: Installation, registry: Registry) -> list[Step]:
    """What an install would do to each file; opens files and writes none."""
    root = installation.root
    steps = []
    for path, content, _ in installation.contents():
        what = f"{content.title} {content.size / 1e6:.0f} MB, {content.digest[:19]}"
        steps.append(Step(_doing(root / path, is_same=holds(root / path, content)), path, what))
    is_same = _recorded(root).get(installation.archive) == image_digest(registry, installation.image)
    is_same = is_same and (root / installation.archive).exists()
    steps.append(
        Step(_doing(root / installation.archive, is_same=is_same), installation.archive, installation.image)
    )
    for file in node_files(installation.node):
        steps.append(Step(_doing(root / file.path, is_same=_is_written(root, file)), file.path, _about(file)))
    return steps


def carry_out(installation: Installation, registry: Registry, steps: Sequence[Step], copied: Copied) -> None:
    """Do what `plan` said. The unit comes last, so a node cut off in the middle never starts half a k3s."""
    root = installation.root
    changing = {step.path for step in steps if step.doing != "keep"}
    record = _recorded(root)
    for path, content, mode in installation.contents():
        if path in changing:
            _make_way(root, path, record)
            write_content(
                registry, installation.release.repository, content, root / path, mode=mode, copied=copied
            )
        record[path] = content.digest
        _write_record(root, record)
    if installation.archive in changing:
        _make_way(root, installation.archive, record)
        known_as = image_name(installation.image)
        write_image_archive(
            registry, installation.image, root / installation.archive, known_as=known_as, copied=copied
        )
    record[installation.archive] = image_digest(registry, installation.image)
    _write_record(root, record)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(root / CACHE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PUBLIC))
    for file in node_files(installation.node):
        if file.path in changing:
            _make_way(root, file.path, record)
            write_node_file(root, file)
        record[file.path] = ""
        _write_record(root, record)


def image_name(image: str) -> str:
    """How containerd calls an image of ours: with a host, as a pod's image is read."""
    return f"docker.io/{image}"


def write_node_file(root: Path, file: NodeFile) -> None:
    path = root / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if not file.is_link:
        write_durably(path, file.content, mode=file.mode)
        return
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    temporary.symlink_to(file.content.decode())
    temporary.replace(path)
    sync_directory(path.parent)


def written_before(root: Path) -> frozenset[str]:
    """The paths that are ours on this node."""
    return frozenset(_recorded(root))


def _doing(path: Path, *, is_same: bool) -> Doing:
    if is_same:
        return "keep"
    return "replace" if os.path.lexists(path) else "write"


def _is_written(root: Path, file: NodeFile) -> bool:
    path = root / file.path
    if file.is_link:
        return path.is_symlink() and os.readlink(path) == file.content.decode()
    try:
        if path.is_symlink() or path.stat().st_mode & 0o777 != file.mode:
            return False
        return path.stat().st_size == len(file.content) and path.read_bytes() == file.content
    except FileNotFoundError:
        return False


def _make_way(root: Path, path: str, record: dict[str, str]) -> None:
    """Another's file is kept beside; our own older one is simply replaced."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if path not in record and os.path.lexists(target):
        target.replace(target.with_name(target.name + SAVED))


def _recorded(root: Path) -> dict[str, str]:
    """Path to digest of what we wrote; a list that cannot be read is as none, and nothing is lost by it."""
    try:
        with (root / RECORD).open("rb") as file:
            known = json.loads(file.read(MAX_RECORD_BYTES))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(path): str(digest) for path, digest in known.items()} if isinstance(known, dict) else {}


def _write_record(root: Path, record: dict[str, str]) -> None:
    path = root / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, json.dumps(record, indent=1, sort_keys=True).encode(), mode=PRIVATE)


def _about(file: NodeFile) -> str:
    if file.is_link:
        return f"link to {file.content.decode()}"
    return f"{len(file.content)} bytes, mode {file.mode:04o}"
