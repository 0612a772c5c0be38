"""What the console knows: the last thing it heard of every host, rollout and operation, and when.

It is the console's whole memory; it outlives the connection, and nothing in it is ever written down. It
does not fetch anything (the session does) and does not paint (the screens do).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from appliance.api.contract import BundleView, HostView, InboxEntry, OperationView, VersionInfo
from appliance.resources.rollout import Rollout
from tui.estimate import Sighting, next_sighting

Item: TypeAlias = HostView | InboxEntry | OperationView | Rollout | BundleView
Shelf = Literal["hosts", "inbox", "operations", "rollouts", "bundles"]


@dataclass(frozen=True, slots=True)
class Listed:
    """Everything there is of a kind: what is not in it is gone."""

    shelf: Shelf
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Changed:
    item: Item


@dataclass(frozen=True, slots=True)
class Removed:
    shelf: Shelf
    key: str


Change: TypeAlias = Listed | Changed | Removed


@dataclass(slots=True)
class Known:
    """Keys are `namespace/name`, or an id where there is one."""

    clock: Callable[[], datetime]
    hosts: dict[str, HostView] = field(default_factory=dict)
    inbox: dict[str, InboxEntry] = field(default_factory=dict)
    operations: dict[str, OperationView] = field(default_factory=dict)
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    bundles: dict[str, BundleView] = field(default_factory=dict)
    listed: set[Shelf] = field(default_factory=set)
    version: VersionInfo | None = None
    connected: bool = False
    trouble: str = ""
    heard_at: datetime | None = None
    found_by: str = ""  # what was last asked of the inventory, and the hosts that it knows by that
    found: frozenset[str] = frozenset()
    _sightings: dict[str, Sighting] = field(default_factory=dict)

    def learn(self, change: Change) -> None:
        """Take in one change."""
        self.heard_at = self.clock()
        match change:
            case Listed(shelf, items):
                self._clear(shelf)
                self.listed.add(shelf)
                for item in items:
                    self._put(item)
            case Changed(item):
                self._put(item)
            case Removed(shelf, key):
                self._shelf(shelf).pop(key, None)

    def sighting_of(self, item: HostView | OperationView) -> Sighting | None:
        """What was seen of the item's progress in its present phase."""
        return self._sightings.get(_progress(item)[0])

    def _put(self, item: Item) -> None:
        match item:
            case HostView():
                self.hosts[key_of(item)] = item
                self._sight(item)
            case InboxEntry():
                self.inbox[item.id] = item
            case OperationView():
                self.operations[item.id] = item
                self._sight(item)
            case Rollout():
                self.rollouts[key_of(item)] = item
            case BundleView():
                self.bundles[key_of(item)] = item

    def _clear(self, shelf: Shelf) -> None:
        """Start a new dict, so that a screen which still iterates over the old one is not disturbed."""
        match shelf:
            case "hosts":
                self.hosts = {}
            case "inbox":
                self.inbox = {}
            case "operations":
                self.operations = {}
            case "rollouts":
                self.rollouts = {}
            case "bundles":
                self.bundles = {}

    def _shelf(self, shelf: Shelf) -> dict[str, Item]:
        shelves: dict[Shelf, object] = {
            "hosts": self.hosts,
            "inbox": self.inbox,
            "operations": self.operations,
            "rollouts": self.rollouts,
            "bundles": self.bundles,
        }
        return shelves[shelf]  # type: ignore[return-value]

    def _sight(self, item: HostView | OperationView) -> None:
        key, done, total = _progress(item)
        if total > 0:
            self._sightings[key] = next_sighting(self._sightings.get(key), done, total, now=self.clock())


def key_of(item: Item) -> str:
    match item:
        case HostView():
            return f"{item.namespace}/{item.name}"
        case Rollout():
            return f"{item.metadata.namespace}/{item.metadata.name}"
        case BundleView():
            return f"{item.name} {item.loaded_at}"
        case _:
            return item.id


def _progress(item: HostView | OperationView) -> tuple[str, int, int]:
    """The key of the phase under way, how far it is, and of how much (0: unknown or nothing runs)."""
    if isinstance(item, OperationView):
        progress = item.progress
        return f"{item.id} {progress.phase}", progress.done, 0 if item.is_final else progress.total
    transaction = item.transaction
    if transaction is None or transaction.phase == "done":
        return f"{key_of(item)} -", 0, 0
    return f"{key_of(item)} {transaction.id} {transaction.phase}", transaction.percent, 100
