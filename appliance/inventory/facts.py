"""What a machine is made of, read from the trees that hosts send, and what changed between two of them.

Pure. A tree is kept whole, so a field that a newer agent sends needs nothing here to be stored; this file
says which fields mean a part. What was unknown before and is known now was learned, not changed; what is not
in a later tree was not said, not removed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agent.protocol.documents import JSON

Tree = Mapping[str, JSON]

# Firmware writes these where it knows nothing.
PLACEHOLDERS = frozenset(
    (
        *("", "unknown", "none", "n/a", "na", "null", "0", "not specified", "not applicable", "default"),
        *("default string", "to be filled by o.e.m.", "system serial number", "serial number", "oem"),
        *("chassis serial number", "base board serial number", "not available", "123456789", "0123456789"),
    )
)
# What kernels and firmware keep of the memory for themselves differs between their versions.
MEMORY_SLACK, MEMORY_SLACK_SHARE = 512 * 1024 * 1024, 0.03

# Where each fact may stand: dmidecode's names first, then SystemDataV2's, then the old clients'.
FACTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "serial": (("System Information", "Serial Number"), ("Product", "SerialNumber")),
    "manufacturer": (("System Information", "Manufacturer"), ("Product", "Vendor")),
    "product": (("System Information", "Product Name"), ("Product", "Name")),
    "system uuid": (("System Information", "UUID"), ("Product", "UUID")),
    "bios vendor": (("BIOS Information", "Vendor"), ("BIOS", "Vendor")),
    "bios version": (("BIOS Information", "Version"), ("BIOS", "Version")),
    "bios date": (("BIOS Information", "Release Date"), ("BIOS", "Date")),
    "board": (("Base Board Information", "Product Name"), ("BaseBoard", "Product")),
    "board serial": (("Base Board Information", "Serial Number"), ("BaseBoard", "SerialNumber")),
    "chassis serial": (("Chassis Information", "Serial Number"), ("Chassis", "SerialNumber")),
    "cpu": (("CPU", "Processor", "Model"), ("System Data", "CPU", "Model")),
    "cpu cores": (("CPU", "TotalCores"), ("System Data", "CPU", "Total Cores")),
    "memory": (("Memory", "TotalPhysicalBytes"), ("System Data", "Memory", "Total Physical Bytes")),
}
NIC_PLACES = (("Network", "NICs"), ("System Data", "Network"))
DISK_PLACES = (("Storage", "Disks"), ("System Data", "Block Devices"))
MODULES = ("Memory", "Modules")

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Part:
    """A NIC, disk or memory module. `serial` is what it can be told by; `traits` what else is known of it."""

    type: str
    slot: str
    serial: str = ""
    traits: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.traits.get("model"), self.serial, _size(self.traits.get("size")))))


@dataclass(frozen=True, slots=True)
class Hardware:
    """None for parts of which nothing was said."""

    facts: Mapping[str, str]
    nics: tuple[Part, ...] | None
    disks: tuple[Part, ...] | None
    modules: tuple[Part, ...] | None

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*(self.nics or ()), *(self.disks or ()), *(self.modules or ()))

    @property
    def macs(self) -> list[str]:
        """Burned-in addresses; those that software chose tell nothing of the machine."""
        found = [part.serial for part in self.nics or () if _MAC.fullmatch(part.serial)]
        return sorted({mac for mac in found if not int(mac[:2], 16) & 0b11 and mac != "00:00:00:00:00:00"})


@dataclass(frozen=True, slots=True)
class Change:
    kind: str  # changed, added, removed, replaced
    what: str
    before: str = ""
    after: str = ""


def read_hardware(tree: Tree) -> Hardware:
    """What is known of the parts; a value that means nothing is left out."""
    facts = {
        name: value for name, places in FACTS.items() if (value := _first(tree, places)) and _is_said(value)
    }
    nics, disks = _entries(tree, NIC_PLACES), _entries(tree, DISK_PLACES)
    modules = _branch(tree, MODULES)
    return Hardware(
        facts,
        None if nics is None else tuple(_read_nic(nic) for nic in nics if _text(nic, "IsVirtual") != "true"),
        None if disks is None else tuple(_read_disk(disk) for disk in disks if _is_fixed(disk)),
        None if modules is None else tuple(_read_modules(modules)),
    )


def merge_trees(before: Tree, after: Tree) -> dict[str, JSON]:
    """The newer tree, with those whole branches of the older one that it does not say anything of."""
    return {**before, **after}


def compare(before: Hardware, after: Hardware) -> list[Change]:
    """What happened to the machine in between."""
    return [
        *_compare_facts(before.facts, after.facts),
        *_compare_parts(before.nics, after.nics),
        *_compare_parts(before.disks, after.disks),
        *_compare_parts(before.modules, after.modules),
    ]


def _compare_facts(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in FACTS:
        old, new = before.get(name, ""), after.get(name, "")
        if not old or not new or old == new:
            continue
        if name == "memory":
            slack = max(MEMORY_SLACK, MEMORY_SLACK_SHARE * _number(old))
            if abs(_number(old) - _number(new)) > slack:
                yield Change("changed", name, _size(old), _size(new))
        else:
            yield Change("changed", name, old, new)


def _compare_parts(before: tuple[Part, ...] | None, after: tuple[Part, ...] | None) -> Iterator[Change]:
    """Parts are told by their serial first, so that a part which only got another name is the same one."""
    if before is None or after is None:
        return
    known = {part.serial for part in after if part.serial}
    gone = {part.slot: part for part in before if not part.serial or part.serial not in known}
    held = {part.serial for part in before if part.serial}
    for part in after:
        if part.serial and part.serial in held:
            continue
        old = gone.pop(part.slot, None)
        if old is None:
            yield Change("added", f"{part.type} {part.slot}", "", str(part))
        elif _differ(old, part):
            yield Change("replaced", f"{part.type} {part.slot}", str(old), str(part))
    for old in gone.values():
        yield Change("removed", f"{old.type} {old.slot}", str(old), "")


def _differ(old: Part, new: Part) -> bool:
    """Whether two parts in one place are surely two: only what both say counts."""
    if old.traits.get("wwn") and old.traits.get("wwn") == new.traits.get("wwn"):
        return False
    if old.serial and new.serial:
        return old.serial != new.serial
    return any(old.traits[key] != new.traits[key] for key in old.traits.keys() & new.traits.keys())


def _read_nic(nic: Tree) -> Part:
    mac = _text(nic, "MacAddress").lower().replace("-", ":")
    return Part("nic", _text(nic, "Name"), mac if _MAC.fullmatch(mac) else "", _traits(nic, model="Model"))


def _read_disk(disk: Tree) -> Part:
    serial = next(
        (value for key in ("SerialNumber", "Serial", "WWN") if _is_said(value := _text(disk, key))), ""
    )
    return Part("disk", _text(disk, "Name"), serial, _traits(disk, model="Model", size="Size", wwn="WWN"))


def _read_modules(modules: Tree) -> Iterator[Part]:
    """Memory modules, told by the slot that they are in where firmware does not know their serials."""
    for number, module in modules.items():
        if isinstance(module, dict):
            serial = _text(module, "SerialNumber")
            slot = next(
                (name for key in ("Location", "Label") if _is_said(name := _text(module, key))), number
            )
            traits = _traits(module, model="Vendor", size="SizeBytes")
            yield Part("memory module", slot, serial if _is_said(serial) else "", traits)


def _is_fixed(disk: Tree) -> bool:
    """The stick that a host was installed from is no part of it."""
    return _text(disk, "Removable") != "true" and not _text(disk, "Name").startswith("sr")


def _traits(part: Tree, **names: str) -> dict[str, str]:
    return {ours: value for ours, key in names.items() if _is_said(value := _text(part, key))}


def _entries(tree: Tree, places: tuple[tuple[str, ...], ...]) -> list[Tree] | None:
    """The parts below the first place that exists; trees name each twice, by number and by name."""
    for place in places:
        branch = _branch(tree, place)
        if branch is not None:
            found = {_text(item, "Name"): item for item in branch.values() if isinstance(item, dict)}
            return [item for name, item in found.items() if name]
    return None


def _first(tree: Tree, places: tuple[tuple[str, ...], ...]) -> str:
    for *path, leaf in places:
        branch = _branch(tree, tuple(path))
        if branch is not None and _is_said(value := _text(branch, leaf)):
            return value
    return ""


def _branch(tree: Tree, path: tuple[str, ...]) -> Tree | None:
    found: JSON = dict(tree)
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _text(branch: Tree, key: str) -> str:
    value = branch.get(key)
    return str(value).strip()[:256] if isinstance(value, str | int) else ""


def _is_said(value: str) -> bool:
    return value.lower() not in PLACEHOLDERS


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _size(text: str | None) -> str:
    if not text or not text.isdecimal():
        return text or ""
    return f"{int(text) / 1e9:.0f} GB"
