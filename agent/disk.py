"""Make a disk ours: partition it, put file systems on it, mount them. The only file that writes to a disk.

`PartitionDisk` does it with sfdisk, mkfs and mount on a block device. `DirectoryDisk` is the simulated
host's: the same table in a sparse file, and a plain directory for each volume. Before a table is written a
marker is put between it and the first partition, so that an install that was cut off is known for one.
"""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import msgspec

from agent.config import AgentConfig
from agent.devices import BlockDevice, list_devices, partition_node
from agent.errors import CommandFailed, DiskRefused
from agent.gpt import TYPES, write_table
from agent.host import VOLUMES, Host
from agent.layout import LABELS, SECTOR, Partition, plan_partitions

MARKER = b"SKERRY INSTALL UNFINISHED\n"
# Sectors 34 to 2047 belong to no GPT structure and to no partition of ours.
MARKER_AT = 1024 * SECTOR
_EDGE = 1024 * 1024
_NODE_TRIES = 100


class Disk(Protocol):
    """What install and boot need of a disk, whichever kind."""

    def format(self, device: BlockDevice) -> None:
        """Destroy what is there; afterwards the volumes exist and are empty."""

    def mount(self) -> None:
        """Make every volume of the installation readable and writable below /run/elemental."""

    def unmount(self) -> None: ...

    def node(self) -> str:
        """Return which disk holds the installation, as /dev/…"""


def open_disk(host: Host, config: AgentConfig) -> Disk:
    """Return the kind of disk that the configuration names."""
    return DirectoryDisk(host, config) if config.disk.kind == "directories" else PartitionDisk(host, config)


def check_overwrite(host: Host, device: BlockDevice, *, told: bool) -> None:
    """Raise DiskRefused if the disk holds data and nobody said that it may go."""
    if told or is_marked(host, device) or is_empty(host, device):
        return
    raise DiskRefused(
        f"{device.node} already holds data",
        hint=f"name it as device {device.node} in the MachineRegistration, or install with --overwrite",
    )


def is_empty(host: Host, device: BlockDevice) -> bool:
    """Say whether both ends of the disk are blank: no table, no file system, no RAID or LVM label."""
    with host.path(device.node).open("rb") as disk:
        if any(disk.read(_EDGE)):
            return False
        disk.seek(max(device.size - _EDGE, 0))
        return not any(disk.read(_EDGE))


def is_marked(host: Host, device: BlockDevice) -> bool:
    """Say whether an install of ours was begun here and not finished."""
    with host.path(device.node).open("rb") as disk:
        disk.seek(MARKER_AT)
        return disk.read(len(MARKER)) == MARKER


def mark(host: Host, device: BlockDevice) -> None:
    _write_at(host.path(device.node), MARKER_AT, MARKER)


def unmark(host: Host, node: str) -> None:
    """Clear the marker; only where it is, so that nothing else is ever written over."""
    path = host.path(node)
    with path.open("rb") as disk:
        disk.seek(MARKER_AT)
        if disk.read(len(MARKER)) != MARKER:
            return
    _write_at(path, MARKER_AT, b"\0" * len(MARKER))


class DirectoryDisk:
    """The simulated disk. Its volumes are there as soon as they exist; mounting them is nothing."""

    def __init__(self, host: Host, config: AgentConfig) -> None:
        self._host = host
        self._config = config

    def format(self, device: BlockDevice) -> None:
        partitions = plan_partitions(device.size, self._config.disk.sizes)
        with self._host.path(device.node).open("r+b") as disk:
            write_table(cast(BinaryIO, disk), device.size, partitions)
            disk.flush()
            os.fsync(disk.fileno())
        for partition in partitions:
            directory = self._host.volume(partition.name)
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)

    def mount(self) -> None:
        missing = [name for name in VOLUMES if not self._host.volume(name).is_dir()]
        if missing:
            raise DiskRefused(f"nothing is installed on this host: no {', '.join(missing)}")

    def unmount(self) -> None:
        """Nothing: what matters was synced when it was written."""

    def node(self) -> str:
        return next(device.node for device in list_devices(self._host))


class PartitionDisk:
    """A block device; partitions are found on `[disk] device`, or else by PARTLABEL or LABEL."""

    def __init__(self, host: Host, config: AgentConfig) -> None:
        self._host = host
        self._config = config

    def format(self, device: BlockDevice) -> None:
        partitions = plan_partitions(device.size, self._config.disk.sizes)
        node = str(self._host.path(device.node))
        self._host.require(["wipefs", "--all", "--force", node])
        mark(self._host, device)
        self._host.require(
            ["sfdisk", "--wipe", "always", "--wipe-partitions", "always", node],
            text=render_sfdisk_script(partitions),
        )
        if not Path(partition_node(node, len(partitions))).exists():
            # A kernel built without GPT takes its partitions from partx; others are told nothing new.
            self._host.require(["partx", "--update", node])
        for partition in partitions:
            self._wait_for(partition_node(node, partition.number))
            self._host.require(_mkfs_command(partition, partition_node(node, partition.number)))
        self._config = msgspec.structs.replace(
            self._config, disk=msgspec.structs.replace(self._config.disk, device=device.node)
        )

    def mount(self) -> None:
        for name in VOLUMES:
            target = self._host.volume(name)
            if not os.path.ismount(target):
                target.mkdir(parents=True, exist_ok=True)
                self._host.require(["mount", "-o", "rw", self._find(name), str(target)])

    def unmount(self) -> None:
        for name in reversed(VOLUMES):
            target = self._host.volume(name)
            if os.path.ismount(target):
                self._host.require(["umount", str(target)])

    def node(self) -> str:
        if self._config.disk.device:
            return self._config.disk.device
        partition = Path(self._find("state")).resolve().name
        # In sysfs a partition's directory lies in its disk's.
        return f"/dev/{self._host.path(f'/sys/class/block/{partition}').resolve().parent.name}"

    def _find(self, name: str) -> str:
        if self._config.disk.device:
            disk = str(self._host.path(self._config.disk.device))
            return partition_node(disk, VOLUMES.index(name) + 1)
        link = self._host.path(f"/dev/disk/by-partlabel/{name}")
        if link.exists():
            return str(link)
        for token in (f"PARTLABEL={name}", f"LABEL={LABELS[name]}"):
            found = self._host.run(["blkid", "-t", token, "-o", "device"]).output.decode().split()
            if len(found) == 1:
                return found[0]
            if found:
                raise DiskRefused(
                    f"several partitions are called {name}: {', '.join(found)}",
                    hint="name the installation's disk as `device` under [disk] in the agent configuration",
                )
        raise DiskRefused(f"this host has no {name} partition (PARTLABEL {name}, LABEL {LABELS[name]})")

    def _wait_for(self, node: str) -> None:
        """The kernel makes partition nodes a moment after the table is written."""
        for _ in range(_NODE_TRIES):
            if Path(node).exists():
                return
            time.sleep(0.1)
        raise CommandFailed(f"the kernel made no {node} after the disk was partitioned")


def render_sfdisk_script(partitions: Sequence[Partition]) -> str:
    """The table in sfdisk's own words: sectors, type and PARTLABEL of each partition."""
    lines = ["label: gpt", "unit: sectors", ""]
    for partition in partitions:
        start, size = partition.start // SECTOR, partition.size // SECTOR
        kind = str(TYPES[partition.file_system]).upper()
        lines.append(f'start={start}, size={size}, type={kind}, name="{partition.name}"')
    return "\n".join(lines) + "\n"


def _mkfs_command(partition: Partition, node: str) -> list[str]:
    match partition.file_system:
        case "vfat":
            return ["mkfs.vfat", "-n", partition.label, node]
        case "ext4":
            return ["mkfs.ext4", "-q", "-F", "-L", partition.label, node]


def _write_at(path: Path, position: int, content: bytes) -> None:
    with path.open("r+b") as disk:
        disk.seek(position)
        disk.write(content)
        disk.flush()
        os.fsync(disk.fileno())
