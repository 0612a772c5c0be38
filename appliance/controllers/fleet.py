"""What rollouts know of every host, kept current by the watches, so that a look at 10,000 costs no reading.

Nothing is remembered that the store does not hold. A fleet that no watch feeds, or whose watch broke, is read
from the store at every look; one that is fed is read once, and again after a break. A write of our own is
noted at once, so that a decision never rests on what stood before it. Versions only grow, which tells an old
event from news.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from appliance.controllers.manager import identify
from appliance.controllers.plans import PlanRecord, read_plan
from appliance.controllers.queue import Key
from appliance.resources.core import MANAGED, SECRET
from appliance.resources.host_report import HOST_REPORT, HostReport
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import Document, Kind, decode
from appliance.store.base import Event, Selection, Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan Secret: what it says, and as little of the document as a write bound to its version needs."""

    record: PlanRecord
    secret: Document


@dataclass(frozen=True, slots=True)
class Host:
    """One machine with the report and the plan that are its own; those of a deleted namesake do not count."""

    machine: MachineInventory
    report: HostReport | None
    plan: Plan | None


class Shelf(Generic[T]):
    """The objects of one kind, read. `restart` and `take` are what an observer of a watch is told."""

    def __init__(self, store: Store, kind: Kind, read: Callable[[Document], T], *, labels: str = "") -> None:
        self._store = store
        self._kind = kind
        self._read = read
        self._labels = labels
        self._is_fed = False
        self._begin()

    def _begin(self) -> None:
        self._is_loaded = self._is_loading = False
        self._things: dict[Key, tuple[int, frozenset[str], T]] = {}
        self._gone: dict[Key, int] = {}

    @property
    def is_fed(self) -> bool:
        """A watch has told everything that there was, and tells on."""
        return self._is_fed

    def restart(self) -> None:
        """A watch begins, or begins anew: until it has told everything, the store is read."""
        self._is_fed = False
        self._begin()

    def take(self, event: Event) -> None:
        """One event. What was never asked for is not kept."""
        if event.type == "BOOKMARK":
            self._is_fed = True
        elif self._is_loaded or self._is_loading:
            if event.type == "DELETED" or not self._is_selected(event.document):
                self._remove(event.document)
            else:
                self.put(event.document)

    def put(self, document: Document) -> None:
        """Keep a document unless a newer one is here."""
        if not (self._is_loaded or self._is_loading):
            return
        key, version = identify(document), _version(document)
        present = self._things.get(key)
        if version > max(self._gone.get(key, 0), present[0] if present else 0):
            self._things[key] = (version, _owners(document), self._read(document))

    async def all(self, namespace: str) -> Mapping[Key, tuple[int, frozenset[str], T]]:
        """Everything of a namespace, and where it costs nothing of the others too."""
        if self._is_loaded:
            return self._things
        if not self._is_fed:
            page = await self._store.list(self._kind, Selection(namespace=namespace, labels=self._labels))
            return {
                identify(document): (_version(document), _owners(document), self._read(document))
                for document in page.items
            }
        self._is_loading = True
        things = self._things
        for document in (await self._store.list(self._kind, Selection(labels=self._labels))).items:
            self.put(document)
        if things is self._things:  # no break of the watch came between
            self._is_loaded = True
            self._gone.clear()
        return things

    def forget(self) -> None:
        """Nobody asks for now: give the memory back."""
        self._begin()

    def _remove(self, document: Document) -> None:
        key, version = identify(document), _version(document)
        if self._is_loading and not self._is_loaded:
            self._gone[key] = version
        present = self._things.get(key)
        if present and present[0] <= version:
            del self._things[key]

    def _is_selected(self, document: Document) -> bool:
        label, _, value = self._labels.partition("=")
        return not label or (document["metadata"].get("labels") or {}).get(label) == value


class Fleet:
    """Machines, reports and plans, joined."""

    def __init__(self, store: Store) -> None:
        self.machines = Shelf(store, MACHINE_INVENTORY, partial(decode, MachineInventory))
        self.reports = Shelf(store, HOST_REPORT, partial(decode, HostReport))
        self.plans = Shelf(store, SECRET, _read_secret, labels=f"{MANAGED}=true")

    async def hosts(self, namespace: str) -> list[Host]:
        """Every machine of the namespace, in the order of its name."""
        machines = await self.machines.all(namespace)
        reports = await self.reports.all(namespace)
        plans = await self.plans.all(namespace)
        hosts = []
        for key in sorted(key for key in machines if key.namespace == namespace):
            _, _, machine = machines[key]
            uid = machine.metadata.uid
            hosts.append(Host(machine, _owned(reports.get(key), uid), _owned(plans.get(key), uid)))
        return hosts

    @property
    def is_fed(self) -> bool:
        return all(shelf.is_fed for shelf in (self.machines, self.reports, self.plans))

    def forget(self) -> None:
        """Nobody asks for now: give the memory back."""
        for shelf in (self.machines, self.reports, self.plans):
            shelf.forget()


def _owned(entry: tuple[int, frozenset[str], T] | None, uid: str) -> T | None:
    if entry is None:
        return None
    _, owners, thing = entry
    return thing if not owners or uid in owners else None


def _owners(document: Document) -> frozenset[str]:
    owners = document["metadata"].get("ownerReferences")
    return frozenset(owner["uid"] for owner in owners) if owners else frozenset()


def _version(document: Document) -> int:
    """Resource versions are numbers in both engines, and only grow."""
    return int(document["metadata"]["resourceVersion"])


def _read_secret(document: Document) -> Plan:
    metadata = document["metadata"]
    bound = {key: metadata[key] for key in ("name", "namespace", "resourceVersion") if key in metadata}
    return Plan(read_plan(document), {"metadata": bound})
