"""What a watcher of a view was last told, and what it must be told next. No store, no clock, no sockets.

A board is fed with store events (or fresh lists) and answers with the `WatchEvent`s that follow from them.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from agent.protocol.discovery import TXT_ID, TXT_PAIRING, render_link_id
from appliance.api.contract import HOSTS, HostView, InboxEntry, Reply, WatchEvent
from appliance.api.views import host_view, waiting_entry
from appliance.resources.host_report import HOST_REPORT, HostReport
from appliance.resources.machine_inventory import MACHINE_INVENTORY, SYSTEM_UUID, MachineInventory
from appliance.resources.meta import Document, Kind, decode
from appliance.store.base import Event

Key = tuple[str, str]


class HostBoard:
    """Joins inventories and reports into host views, and knows which of them changed."""

    def __init__(self) -> None:
        self._inventories: dict[Key, MachineInventory] = {}
        self._reports: dict[Key, HostReport] = {}
        self._told: dict[Key, HostView] = {}

    def take(self, kind: Kind, documents: Iterable[Document]) -> None:
        """Take in objects without saying anything yet."""
        for document in documents:
            self._keep(kind, document)

    def views(self, now: datetime) -> list[HostView]:
        """All hosts, by name, and counted as told."""
        self._told = {key: self._view(key, now) for key in sorted(self._inventories)}
        return list(self._told.values())

    def feed(self, event: Event, now: datetime) -> Iterator[WatchEvent]:
        """What one store event means for the view."""
        key = _key(event.document)
        if event.type == "DELETED":
            (self._inventories if event.kind == MACHINE_INVENTORY else self._reports).pop(key, None)
        elif event.type in ("ADDED", "MODIFIED"):
            self._keep(event.kind, event.document)
        yield from self._tell(key, now)

    def tick(self, now: datetime) -> Iterator[WatchEvent]:
        """What the mere passing of time means: hosts that have gone silent."""
        for key, told in list(self._told.items()):
            if self._view(key, now).phase != told.phase:
                yield from self._tell(key, now)

    def _keep(self, kind: Kind, document: Document) -> None:
        if kind == MACHINE_INVENTORY:
            self._inventories[_key(document)] = decode(MachineInventory, document)
        elif kind == HOST_REPORT:
            self._reports[_key(document)] = decode(HostReport, document)

    def _tell(self, key: Key, now: datetime) -> Iterator[WatchEvent]:
        told = self._told.get(key)
        if key not in self._inventories:
            if told is not None:
                del self._told[key]
                yield render_event("DELETED", HOSTS, told)
            return
        view = self._view(key, now)
        if view != told:
            self._told[key] = view
            yield render_event("MODIFIED" if told else "ADDED", HOSTS, view)

    def _view(self, key: Key, now: datetime) -> HostView:
        return host_view(self._inventories[key], self._reports.get(key), now=now)


class InboxBoard:
    """Machines that wait, from the store, beside machines that were merely heard, from discovery."""

    def __init__(self) -> None:
        self._waiting: dict[str, InboxEntry] = {}
        self._found: dict[str, InboxEntry] = {}
        self._registered: dict[Key, str] = {}  # the id that a registered machine is heard by

    def feed(self, document: Document, *, is_deleted: bool = False) -> None:
        """Take in one MachineInventory."""
        inventory = decode(MachineInventory, document)
        entry = waiting_entry(inventory)
        uuid = inventory.metadata.annotations.get(SYSTEM_UUID, "")
        self._registered.pop(_key(document), None)
        if uuid and not is_deleted:
            self._registered[_key(document)] = render_link_id(uuid)
        if is_deleted or inventory.approval != "pending":
            self._waiting.pop(entry.id, None)
        else:
            self._waiting[entry.id] = entry

    def hear(self, found: Iterable[InboxEntry]) -> None:
        """Replace what discovery has heard."""
        self._found = {entry.id: entry for entry in found}

    def entries(self) -> dict[str, InboxEntry]:
        """Who waits for a person comes first. One machine is one entry: what registered is not found as well,

        unless it waits to be paired, as one does whose disk was emptied.
        """
        registered = set(self._registered.values())
        found = {
            key: entry
            for key, entry in self._found.items()
            if entry.details.get(TXT_PAIRING) == "1" or entry.details.get(TXT_ID) not in registered
        }
        return {**dict(sorted(self._waiting.items())), **found}


def next_events(kind: str, told: Mapping[str, Reply], now: Mapping[str, Reply]) -> Iterator[WatchEvent]:
    """The difference between what a watcher was told and what is so now."""
    for key, reply in now.items():
        if key not in told:
            yield render_event("ADDED", kind, reply)
        elif told[key] != reply:
            yield render_event("MODIFIED", kind, reply)
    for key, reply in told.items():
        if key not in now:
            yield render_event("DELETED", kind, reply)


def render_event(type: Literal["ADDED", "MODIFIED", "DELETED"], kind: str, reply: Reply) -> WatchEvent:
    return WatchEvent(type=type, kind=kind, object=msgspec.to_builtins(reply))


def _key(document: Document) -> Key:
    metadata = document.get("metadata", {})
    return metadata.get("namespace", ""), metadata.get("name", "")
