"""The structs of the inventory, as they are stored, answered and exported. Times are RFC 3339 text, UTC."""

from typing import Literal

import msgspec

from appliance.resources.meta import Document

State = Literal["registered", "heard", "removed"]
Source = Literal["registration", "inventory", "report", "mdns"]
Staleness = Literal["fresh", "late", "silent"]


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the structs below have in common."""


class Location(Shape, frozen=True, kw_only=True):
    site: str = ""
    line: str = ""
    cell: str = ""
    slot: str = ""

    def __str__(self) -> str:
        return "/".join(part or "-" for part in (self.site, self.line, self.cell, self.slot)).rstrip("/-")


class Entry(Shape, frozen=True, kw_only=True):
    """One machine. `state`: registered; only heard on the network, so nothing is proved; removed since.

    `id` never changes and is never used again; `conflicts` counts the open ones. `staleness` is computed
    when it is read.
    """

    id: int
    state: State
    namespace: str = ""
    name: str = ""
    uid: str = ""
    approval: str = ""
    tpm_hash: str = ""
    machine_hash: str = ""
    serial: str = ""
    manufacturer: str = ""
    product: str = ""
    asset_tag: str = ""
    location: Location = Location()
    macs: list[str] = msgspec.field(default_factory=list)
    addresses: list[str] = msgspec.field(default_factory=list)
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    first_seen: str = ""
    last_seen: str = ""
    last_source: str = ""
    staleness: Staleness = "silent"
    conflicts: int = 0


class Sighting(Shape, frozen=True, kw_only=True):
    """Where a machine was met. `mdns` is what it says of itself, unproved."""

    source: Source
    address: str = ""
    interface: str = ""
    first_seen: str = ""
    last_seen: str = ""
    times: int = 1


class Note(Shape, frozen=True, kw_only=True):
    """What a person wrote; never changed, never deleted."""

    time: str
    author: str
    text: str


class Event(Shape, frozen=True, kw_only=True):
    """Something changed: `what` names the thing (`disk nvme0n1`), `source` who said so."""

    id: int
    entry: int
    time: str
    kind: str
    what: str
    before: str = ""
    after: str = ""
    source: str = ""


class Conflict(Shape, frozen=True, kw_only=True):
    """Two entries that claim the same serial or MAC. A person says whether they are one machine."""

    id: int
    kind: str
    value: str
    one: int
    other: int
    since: str
    one_name: str = ""
    other_name: str = ""


class Details(Shape, frozen=True, kw_only=True):
    """Everything about one machine but its history, which can be long."""

    entry: Entry
    facts: Document = msgspec.field(default_factory=dict)
    sightings: list[Sighting] = msgspec.field(default_factory=list)
    notes: list[Note] = msgspec.field(default_factory=list)
    conflicts: list[Conflict] = msgspec.field(default_factory=list)


class BadRow(Shape, frozen=True, kw_only=True):
    line: int
    reason: str


class ImportOutcome(Shape, frozen=True, kw_only=True):
    """What an import did, or would do. With bad rows and no leave to skip them nothing was done."""

    rows: int
    changed: int
    unchanged: int
    is_applied: bool
    changes: list[str] = msgspec.field(default_factory=list)
    bad: list[BadRow] = msgspec.field(default_factory=list)
