"""Which devices are safe to overwrite: judged by lineage, because the removable flag lies for card readers.

A stick or a card is offered only if it hangs on USB or in an SD slot, holds a medium, can be written, and
nothing on this machine uses it or a part of it. Reads sysfs and the mount table; writes nothing. All that
it reads is named in a `Machine`, so that a test can show it another one.
"""

import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bundles.errors import DeviceRefused

SECTOR_BYTES = 512  # sysfs counts sizes in these, whatever the device's own are
MAX_ATTRIBUTE_BYTES = 4096
MAX_TEXT = 64
Bus = Literal["usb", "sd", "other"]

_USB_ROOT = re.compile(r"usb\d+")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the kernel tells about devices and mounts."""

    sysfs: Path = Path("/sys")
    mountinfo: Path = Path("/proc/self/mountinfo")
    swaps: Path = Path("/proc/swaps")
    dev: Path = Path("/dev")


THIS_MACHINE = Machine()


@dataclass(frozen=True, slots=True)
class Device:
    """A whole disk. `port` is where it is plugged in; `refusals` say why it must not be overwritten."""

    name: str
    path: Path
    bus: Bus
    vendor: str
    model: str
    serial: str
    port: str
    size: int
    refusals: tuple[str, ...]

    @property
    def is_safe(self) -> bool:
        return not self.refusals

    @property
    def identity(self) -> tuple[str, str, str, int, str]:
        """What must not change between choosing a device and writing to it."""
        return self.vendor, self.model, self.serial, self.size, self.port


def list_devices(machine: Machine = THIS_MACHINE) -> list[Device]:
    """Every whole disk, the unsafe ones with the reasons; devices that are made of others are left out."""
    usage = _usage(machine)
    names = sorted(entry.name for entry in (machine.sysfs / "block").glob("*"))
    return [
        read_device(name, machine, usage)
        for name in names
        if (machine.sysfs / "block" / name / "device").exists()
    ]


def check_target(path: Path, machine: Machine = THIS_MACHINE) -> Device:
    """The safe device at `path` (which may be a link, as those in /dev/disk/by-id), or DeviceRefused."""
    name = path.resolve().name
    if not (machine.sysfs / "block" / name).exists():
        parent = _parent_of_partition(name, machine)
        if parent:
            raise DeviceRefused(
                f"{path} is a partition of {parent}", hint=f"name the whole device: {path.with_name(parent)}"
            )
        raise DeviceRefused(f"{path} is not a disk of this machine")
    _check_number(path, machine.sysfs / "block" / name)
    device = read_device(name, machine, _usage(machine))
    if not device.is_safe:
        raise DeviceRefused(f"{path} must not be overwritten: {'; '.join(device.refusals)}")
    return device


def read_device(name: str, machine: Machine, usage: dict[str, str]) -> Device:
    """Describe one disk; `usage` tells, by kernel name, what uses a device."""
    place = (machine.sysfs / "block" / name).resolve()
    bus = _bus(place)
    port = _usb_device(place) if bus == "usb" else None
    size = int(_attribute(place / "size") or "0") * SECTOR_BYTES
    return Device(
        name=name,
        path=machine.dev / name.replace("!", "/"),
        bus=bus,
        vendor=_attribute(place / "device/vendor"),
        model=_attribute(place / "device/model") or _attribute(place / "device/name"),
        serial=_attribute(port / "serial") if port else _attribute(place / "device/serial"),
        port=port.name if port else "",
        size=size,
        refusals=tuple(_refusals(place, bus=bus, size=size, usage=usage)),
    )


def _refusals(place: Path, *, bus: Bus, size: int, usage: dict[str, str]) -> Iterator[str]:
    if bus == "other":
        yield "it is built in: neither on USB nor an SD card"
    if size == 0:
        yield "there is no medium in it"
    if _attribute(place / "ro") == "1":
        yield "it is write-protected"
    for part in [place, *sorted(child.parent for child in place.glob("*/partition"))]:
        if part.name in usage:
            yield f"{part.name} is in use: {usage[part.name]}"
        for holder in sorted((part / "holders").glob("*")):
            yield f"{part.name} is in use: it is part of {holder.name}"


def _bus(place: Path) -> Bus:
    if any(_USB_ROOT.fullmatch(part) for part in place.parts):
        return "usb"
    if "mmc_host" in place.parts and _attribute(place / "device/type") == "SD":
        return "sd"  # the other type, MMC, is flash that is soldered in
    return "other"


def _usb_device(place: Path) -> Path | None:
    """The plugged-in thing itself: the nearest ancestor that has a USB product id."""
    return next((parent for parent in place.parents if (parent / "idProduct").exists()), None)


def _parent_of_partition(name: str, machine: Machine) -> str:
    for place in (machine.sysfs / "block").glob(f"*/{name}/partition"):
        return place.parent.parent.name
    return ""


def _check_number(path: Path, place: Path) -> None:
    """The node must be the device that sysfs describes, not something else of the same name."""
    status = path.stat()
    if stat.S_ISBLK(status.st_mode):
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        if number != _attribute(place / "dev"):
            raise DeviceRefused(f"{path} is not the device that the kernel calls {place.name}")


def _usage(machine: Machine) -> dict[str, str]:
    """What uses a device, by its kernel name: mounts by number and by source, and swap."""
    names_by_number = {
        _attribute(dev): dev.parent.name
        for pattern in ("block/*/dev", "block/*/*/dev")
        for dev in machine.sysfs.glob(pattern)
    }
    usage: dict[str, str] = {}
    for number, source, where in _mounts(machine.mountinfo):
        for name in (names_by_number.get(number), _kernel_name(source, machine)):
            if name:
                usage.setdefault(name, f"mounted on {where}")
    for line in _lines(machine.swaps)[1:]:
        name = _kernel_name(_unescape(line.split()[0]), machine) if line.split() else None
        if name:
            usage.setdefault(name, "swap space")
    return usage


def _mounts(mountinfo: Path) -> Iterator[tuple[str, str, str]]:
    """Device number, source and mount point (proc_pid_mountinfo(5)); optional fields end at a dash."""
    for line in _lines(mountinfo):
        fields = line.split()
        if len(fields) > 6 and "-" in fields[6:-2]:
            source = fields[fields.index("-", 6) + 2]
            yield fields[2], _unescape(source), _unescape(fields[4])


def _kernel_name(source: str, machine: Machine) -> str | None:
    """`/dev/disk/by-label/X` and `/dev/mapper/x` are links to the node that bears the kernel's name."""
    if not source.startswith("/dev/"):
        return None
    return (machine.dev / source.removeprefix("/dev/")).resolve().name


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _attribute(path: Path) -> str:
    """A line of sysfs, without what a hostile device could put there to confuse a screen."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_ATTRIBUTE_BYTES).decode(errors="replace")
    except OSError:
        return ""
    shown = "".join(each for each in text if each.isprintable() and unicodedata.category(each) != "Cf")
    return " ".join(shown.split())[:MAX_TEXT]
