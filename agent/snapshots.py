"""Snapshots on the state volume: `.snapshots/<id>/snapshot.img` and the `active` link (host-os.md 2.5).

A snapshot is built from a tree beside it, under a temporary name, and renamed when it is whole. `ext2` and
`ext4` images are made by mke2fs; `tar` is the simulated host's format. Which snapshot to make or
remove is decided elsewhere (`agent.slots`).
"""

import os
import re
import tarfile
from pathlib import Path

from agent.config import MIB, SnapshotConfig, SnapshotFormat
from agent.durable import make_directories, replace_link, sync_directory, sync_file
from agent.errors import CommandFailed, ImageInvalid
from agent.host import Host, check_space
from agent.image import describe_write_error
from agent.layers import remove_tree

BLOCK = 4096
INODE = 256
_TARGET = re.compile(r"(\d+)/snapshot\.img")


class Snapshots:
    """The snapshots of one host; its volume `state` must be mounted."""

    def __init__(self, host: Host, config: SnapshotConfig) -> None:
        self._host = host
        self._config = config
        self._directory = host.volume("state") / ".snapshots"

    def image(self, number: int) -> Path:
        return self._directory / str(number) / "snapshot.img"

    def tree(self, number: int) -> Path:
        """Return where the snapshot's tree is unpacked before the image is built from it."""
        return self._directory / str(number) / "snapshot.workDir"

    def list_numbers(self) -> list[int]:
        """Return every snapshot that has a directory, also half-built ones."""
        if not self._directory.is_dir():
            return []
        return sorted(int(path.name) for path in self._directory.iterdir() if path.name.isdigit())

    def prepare(self, number: int) -> None:
        make_directories(self.tree(number).parent)

    def check_space(self, number: int, unpacked: int) -> None:
        """Raise NoSpace unless the tree and its image fit side by side."""
        self.prepare(number)
        needed = 2 * unpacked + self._config.headroom_mib * MIB
        check_space(self._directory, needed, what=f"unpacking {unpacked // MIB} MiB for snapshot {number}")

    def build(self, number: int) -> None:
        """Build the image from the tree and remove the tree. May be repeated."""
        image = self.image(number)
        if not image.exists():
            build_image(
                self._host,
                self.tree(number),
                image,
                label=f"EL_SNAP{number}",
                config=self._config,
            )
        remove_tree(self.tree(number))
        sync_directory(image.parent)

    def check(self, number: int) -> None:
        """Read the image back. Raises ImageInvalid."""
        check_image(self._host, self.image(number), format=self._config.format)

    def remove(self, number: int) -> None:
        """Remove a snapshot, whole or half-built."""
        remove_tree(self._directory / str(number))
        if self._directory.is_dir():
            sync_directory(self._directory)

    def is_in_use(self, number: int) -> bool:
        """Say whether a loop device is backed by the image (it is mounted, whatever anybody records)."""
        image = self.image(number)
        devices = self._host.path("/sys/block")
        backing = devices.glob("loop*/loop/backing_file") if devices.is_dir() else ()
        return any(_reads_as(path, image) for path in backing)

    def link_active(self, number: int | None) -> None:
        """Point the active link at the snapshot by a rename; remove it for None."""
        link = self._directory / "active"
        if number is None:
            link.unlink(missing_ok=True)
            sync_directory(self._directory)
        else:
            replace_link(link, f"{number}/snapshot.img")

    def read_active(self) -> int | None:
        """Return where the active link points."""
        try:
            match = _TARGET.fullmatch(os.readlink(self._directory / "active"))
        except OSError:
            return None
        return int(match.group(1)) if match else None


def build_image(host: Host, tree: Path, image: Path, *, label: str, config: SnapshotConfig) -> None:
    """Make a file system image of the tree: whole under its final name, or not there at all."""
    temporary = image.with_name(f".{image.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        if config.format == "tar":
            _build_tar(tree, temporary)
        else:
            _build_ext(host, tree, temporary, label=label, config=config)
        sync_file(temporary)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise describe_write_error(error, str(image)) from error
    os.replace(temporary, image)
    sync_directory(image.parent)


def check_image(host: Host, image: Path, *, format: SnapshotFormat) -> None:
    """Read an image back as its reader would. Raises ImageInvalid."""
    if format == "tar":
        _check_tar(image)
        return
    done = host.run(["e2fsck", "-f", "-n", str(image)])
    if done.status != 0:
        raise ImageInvalid(f"{image} is not a sound file system: {done.last_words}")


def _build_tar(tree: Path, image: Path) -> None:
    with tarfile.open(image, "w") as archive:
        for path in sorted(tree.rglob("*")):
            archive.add(path, arcname=str(path.relative_to(tree)), recursive=False)


def _check_tar(image: Path) -> None:
    try:
        with tarfile.open(image) as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isreg() else None
                while source is not None and source.read(MIB):
                    pass
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ImageInvalid(f"{image} cannot be read back: {error}") from error


def _build_ext(host: Host, tree: Path, image: Path, *, label: str, config: SnapshotConfig) -> None:
    used, files = measure_tree(tree)
    size = (used + files * INODE + config.headroom_mib * MIB) // BLOCK * BLOCK + BLOCK
    command = ["mke2fs", "-q", "-F", "-t", config.format, "-b", str(BLOCK), "-m", "0", "-I", str(INODE)]
    command += ["-N", str(files + files // 10 + 1024), "-L", label, "-d", str(tree)]
    try:
        host.require([*command, str(image), str(size // 1024) + "k"], timeout=3600.0)
    except CommandFailed:
        image.unlink(missing_ok=True)
        raise


def measure_tree(tree: Path) -> tuple[int, int]:
    """Return the bytes the tree needs in whole blocks, hard links once, and how many entries it has."""
    used = files = 0
    seen: set[tuple[int, int]] = set()
    for directory, names, leaves in os.walk(tree):
        files += len(names) + len(leaves)
        used += BLOCK
        for leaf in leaves:
            status = os.lstat(os.path.join(directory, leaf))
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                used += -(-status.st_size // BLOCK) * BLOCK
    return used + used // 50, files


def _reads_as(path: Path, image: Path) -> bool:
    try:
        return path.read_text().strip() == str(image)
    except OSError:
        return False
