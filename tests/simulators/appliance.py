"""An appliance in memory, with the methods of `appliance.api.client.Client` that the console uses.

It keeps the conversation's rules: a watch first sends what exists, a SYNCED a kind, then every change; when
it goes away, every call and every open watch fails as the real client's do. It decides nothing.
"""

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from appliance.api.client import ApplianceError, Unreachable
from appliance.api.contract import (
    HOSTS,
    INBOX,
    OPERATIONS,
    BundleView,
    HostView,
    InboxEntry,
    OperationView,
    VersionInfo,
    WatchEvent,
)
from appliance.api.inventory_contract import Entry, EntryList
from appliance.resources.meta import Document, Kind

_Line = WatchEvent | Exception


class SimulatedAppliance:
    """`calls` holds every action that arrived, in order."""

    def __init__(self, *, site: str = "Plant-3", url: str = "https://10.0.0.1:8443") -> None:
        self.calls: list[tuple[str, ...]] = []
        self.patches: list[Document] = []
        self.deciders: list[str] = []
        self.loaded: list[BundleView] = []
        self.refusal: ApplianceError | None = None
        self.machines: dict[str, list[Entry]] = {}  # what the inventory finds by a text
        self.is_slow = False  # decided machines stay in the inbox for now
        self.site = site
        self.url = url
        self._shelves: dict[str, dict[str, dict[str, Any]]] = {
            HOSTS: {},
            INBOX: {},
            OPERATIONS: {},
            "rollouts": {},
        }
        self._watchers: list[queue.Queue[_Line]] = []
        self._lock = threading.Lock()
        self._away: Unreachable | None = None

    # --- what a test makes happen

    def put_host(self, *hosts: HostView) -> None:
        for host in hosts:
            self._put(HOSTS, f"{host.namespace}/{host.name}", msgspec.to_builtins(host))

    def put_inbox(self, *entries: InboxEntry) -> None:
        for entry in entries:
            self._put(INBOX, entry.id, msgspec.to_builtins(entry))

    def put_operation(self, *operations: OperationView) -> None:
        for operation in operations:
            self._put(OPERATIONS, operation.id, msgspec.to_builtins(operation))

    def put_rollout(self, *rollouts: Document) -> None:
        for rollout in rollouts:
            metadata = rollout["metadata"]
            self._put("rollouts", f"{metadata['namespace']}/{metadata['name']}", rollout)

    def put_raw(self, kind: str, key: str, document: Document) -> None:
        self._put(kind, key, document)

    def remove(self, kind: str, key: str) -> None:
        with self._lock:
            document = self._shelves[kind].pop(key)
            self._tell(WatchEvent(type="DELETED", kind=kind, object=document))

    def go_away(self, message: str = "There is no appliance at unix:/run/skerry/skerry.sock.") -> None:
        with self._lock:
            self._away = Unreachable(message)
            for watcher in self._watchers:
                watcher.put(self._away)
            self._watchers.clear()

    def come_back(self) -> None:
        with self._lock:
            self._away = None

    # --- what the console calls

    def version(self) -> VersionInfo:
        self._answer()
        return VersionInfo(
            version="0.1.0",
            site=self.site,
            url=self.url,
            mirror="10.0.0.1:5000",
            namespace="fleet-default",
            started_at="",
        )

    def watch(self, kinds: Sequence[str]) -> Iterator[WatchEvent]:
        self._answer()
        lines: queue.Queue[_Line] = queue.Queue()
        with self._lock:
            for kind in kinds:
                for document in self._shelves[kind].values():
                    lines.put(WatchEvent(type="ADDED", kind=kind, object=document))
                lines.put(WatchEvent(type="SYNCED", kind=kind))
            self._watchers.append(lines)
        while True:
            line = lines.get()
            if isinstance(line, Exception):
                raise line
            yield line

    def bundles(self) -> list[BundleView]:
        self._answer()
        return list(self.loaded)

    def search_machines(self, text: str, *, limit: int) -> EntryList:
        return EntryList(items=self.machines.get(text, [])[:limit])

    def approve(self, name: str, namespace: str, *, by: str = "") -> HostView:
        return self._decide("approve", name, namespace, by=by)

    def reject(self, name: str, namespace: str, *, by: str = "") -> HostView:
        return self._decide("reject", name, namespace, by=by)

    def cancel_operation(self, id: str) -> OperationView:
        self._act("cancel", id)
        view = msgspec.convert(self._shelves[OPERATIONS][id], OperationView)
        self.put_operation(replace(view, state="cancelled"))
        return view

    def patch_object(self, kind: Kind, name: str, namespace: str, body: Document) -> Document:
        self._act("patch", kind.plural, name, namespace)
        self.patches.append(body)
        return body

    def delete_object(self, kind: Kind, name: str, namespace: str) -> Document:
        self._act("delete", kind.plural, name, namespace)
        self.remove(HOSTS, f"{namespace}/{name}")
        return {}

    # --- below

    def _decide(self, verb: str, name: str, namespace: str, *, by: str) -> HostView:
        self.deciders.append(by)
        self._act(verb, name, namespace)
        key = f"{namespace}/{name}"
        if key in self._shelves[INBOX] and not self.is_slow:
            self.remove(INBOX, key)
        decided = "approved" if verb == "approve" else "rejected"
        host = self._shelves[HOSTS].get(key, {"name": name, "namespace": namespace})
        changed = {**host, "approval": decided, "phase": "Registered" if verb == "approve" else "Rejected"}
        self._put(HOSTS, key, changed)
        return msgspec.convert(changed, HostView)

    def _act(self, *call: str) -> None:
        self._answer()
        self.calls.append(call)
        if self.refusal is not None:
            raise self.refusal

    def _answer(self) -> None:
        with self._lock:
            if self._away is not None:
                raise self._away

    def _put(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        with self._lock:
            known = key in self._shelves[kind]
            self._shelves[kind][key] = dict(document)
            self._tell(WatchEvent(type="MODIFIED" if known else "ADDED", kind=kind, object=dict(document)))

    def _tell(self, event: WatchEvent) -> None:
        for watcher in self._watchers:
            watcher.put(event)
