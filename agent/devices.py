"""Which disk to install on: what this host has, and a choice that is the same every time.

Upstream takes a random disk among those that match (operator.md 2.1); here the smallest wins, then the
first by name. Removable media, read-only disks and whatever is mounted are never candidates.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import DiskRefused
from agent.host import Host
from agent.layout import SECTOR
from agent.protocol.client_config import DeviceSelector

_VIRTUAL = re.compile(r"(ram|zram|sr|fd|dm-|md|nbd)\d*")
_LOOP = re.compile(r"loop\d+")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(|[kKMGTPE]i?|[mun])")
_SUFFIXES = {"": 1, **{letter: 1000 ** (power + 1) for power, letter in enumerate("kMGTPE")}}
_BINARY_SUFFIXES = {f"{letter}i": 1024 ** (power + 1) for power, letter in enumerate("KMGTPE")}


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A whole disk. `name` is the kernel's, without /dev/."""

    name: str
    size: int
    removable: bool = False
    read_only: bool = False
    mounted: bool = False

    @property
    def node(self) -> str:
        return f"/dev/{self.name}"


def list_devices(host: Host, *, allow_loop: bool = False) -> list[BlockDevice]:
    """Return the host's disks, by name."""
    directory = host.path("/sys/block")
    names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    mounted = _mounted_nodes(host)
    devices = []
    for name in names:
        if _VIRTUAL.fullmatch(name) or (_LOOP.fullmatch(name) and not allow_loop):
            continue
        size = int(host.read_text(f"/sys/block/{name}/size") or 0) * SECTOR
        devices.append(
            BlockDevice(
                name,
                size,
                removable=host.read_text(f"/sys/block/{name}/removable") == "1",
                read_only=host.read_text(f"/sys/block/{name}/ro") == "1",
                mounted=any(is_part_of(node, f"/dev/{name}") for node in mounted),
            )
        )
    return devices


def choose_device(
    devices: Sequence[BlockDevice], *, device: str = "", selector: Sequence[DeviceSelector] = ()
) -> BlockDevice:
    """Return the disk to install on. Raises DiskRefused, saying why each disk is not it."""
    if device:
        named = next((one for one in devices if one.node == device or one.name == device), None)
        if named is None:
            raise DiskRefused(f"this host has no disk {device}", hint=_list_names(devices))
        if (reason := _unfit(named)) and not named.removable:
            raise DiskRefused(f"{device} cannot be installed on: {reason}")
        return named
    refusals = {one.name: _unfit(one) or _mismatch(one, selector) for one in devices}
    fitting = sorted((one.size, one.name, one) for one in devices if not refusals[one.name])
    if not fitting:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refusals.items()) or "it has none at all"
        raise DiskRefused(
            f"no disk of this host fits the registration ({reasons})",
            hint="change device or device-selector in the MachineRegistration",
        )
    return fitting[0][2]


def parse_quantity(text: str) -> int:
    """Read a Kubernetes quantity of bytes: 20Gi, 1.5T, 1000000. Raises DiskRefused."""
    match = _QUANTITY.fullmatch(text.strip())
    factor = {**_SUFFIXES, **_BINARY_SUFFIXES}.get(match.group(2)) if match else None
    if match is None or factor is None:
        raise DiskRefused(f"{text!r} is not a size", hint="write 20Gi, 500G or a number of bytes")
    return int(float(match.group(1)) * factor)


def partition_node(device: str, number: int) -> str:
    """Return the kernel's name of a disk's partition: sda1, nvme0n1p1, loop0p1."""
    return f"{device}{'p' if device[-1].isdigit() else ''}{number}"


def is_part_of(node: str, device: str) -> bool:
    """Say whether `node` is the disk or one of its partitions."""
    return node == device or re.fullmatch(rf"{re.escape(device)}p?\d+", node) is not None


def _unfit(device: BlockDevice) -> str:
    if device.size == 0:
        return "it has no medium"
    if device.mounted:
        return "it is mounted, so this system runs from it or uses it"
    if device.read_only:
        return "it is read-only"
    if device.removable:
        return "it is removable"
    return ""


def _mismatch(device: BlockDevice, selector: Sequence[DeviceSelector]) -> str:
    for rule in selector:
        if not _matches(device, rule):
            return f"its {rule.key.lower()} is not {rule.operator} {', '.join(rule.values)}"
    return ""


def _matches(device: BlockDevice, rule: DeviceSelector) -> bool:
    if rule.key == "Name" and rule.operator in ("In", "NotIn"):
        return (device.name in rule.values or device.node in rule.values) == (rule.operator == "In")
    if rule.key == "Size" and rule.operator in ("Gt", "Lt") and rule.values:
        limit = parse_quantity(rule.values[0])
        return device.size > limit if rule.operator == "Gt" else device.size < limit
    raise DiskRefused(
        f"the device selector {rule.key} {rule.operator} means nothing",
        hint="Name takes In and NotIn with names; Size takes Gt and Lt with one size",
    )


def _mounted_nodes(host: Host) -> list[str]:
    nodes = []
    for line in host.read_text("/proc/mounts", limit=1024 * 1024).splitlines():
        source = line.partition(" ")[0]
        if source.startswith("/dev/"):
            nodes.append(str(Path(source)))
    return nodes


def _list_names(devices: Sequence[BlockDevice]) -> str:
    return f"it has {', '.join(one.node for one in devices) or 'none'}"
