"""The console's side of the conversation: threads that watch the appliance and carry out actions.

The appliance's client is synchronous, so everything that waits happens here, on daemon threads, and
arrives in the app as messages. News is kept until the app takes it, and announced once, so a burst of ten
thousand changes is one message. When the appliance goes away the session says so and tries again for
ever, with back-off. It paints nothing and remembers nothing of the fleet (`tui.known` does).
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from textual.message import Message

from appliance.api.client import ApplianceError
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
from appliance.api.inventory_contract import EntryList
from appliance.resources.meta import Document, Kind
from appliance.resources.rollout import ROLLOUT, Rollout
from tui.known import Change, Changed, Item, Listed, Removed, Shelf
from tui.messages import (
    CommandFinished,
    ConnectionLost,
    ConnectionMade,
    LineHeld,
    MachinesFound,
    NewsArrived,
    ObjectUnreadable,
)

log = logging.getLogger(__name__)

MAX_FOUND = 500  # machines that a search of the inventory may add

_TYPES: dict[str, tuple[Shelf, type[Item]]] = {
    HOSTS: ("hosts", HostView),
    INBOX: ("inbox", InboxEntry),
    OPERATIONS: ("operations", OperationView),
    ROLLOUT.plural: ("rollouts", Rollout),
}


class Appliance(Protocol):
    """What the console asks of `appliance.api.client.Client`; the tests' simulator is the other one."""

    def version(self) -> VersionInfo: ...

    def watch(self, kinds: Sequence[str]) -> Iterator[WatchEvent]: ...

    def bundles(self) -> list[BundleView]: ...

    def approve(self, name: str, namespace: str, *, by: str) -> HostView: ...

    def reject(self, name: str, namespace: str, *, by: str) -> HostView: ...

    def search_machines(self, text: str, *, limit: int) -> EntryList: ...

    def cancel_operation(self, id: str) -> OperationView: ...

    def patch_object(self, kind: Kind, name: str, namespace: str, body: Document) -> Document: ...

    def delete_object(self, kind: Kind, name: str, namespace: str) -> Document: ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait before trying again: doubling, bounded."""

    first: float = 0.5
    longest: float = 15.0

    def next(self, waited: float) -> float:
        return min(self.longest, waited * 2) if waited else self.first


@dataclass(frozen=True, slots=True)
class Command:
    """One action: its CLI twin, the sentence for when it is done, and the call."""

    twin: str
    done: str
    call: Callable[[Appliance], object]


class Session:
    """`post` is called from other threads; Textual's `post_message` is made for that."""

    def __init__(
        self, appliance: Appliance, post: Callable[[Message], object], *, backoff: Backoff | None = None
    ) -> None:
        self._appliance = appliance
        self._post = post
        self._backoff = backoff or Backoff()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._news: list[Change] = []

    def start(self) -> None:
        threading.Thread(target=self._listen, name="console-watch", daemon=True).start()

    def stop(self) -> None:
        """Ask the threads to end; a thread that waits for the network is left behind, it holds nothing."""
        self._stopping.set()

    def take_news(self) -> list[Change]:
        """Hand over what arrived since the last call, in order."""
        with self._lock:
            news, self._news = self._news, []
        return news

    def run(self, command: Command) -> None:
        """Carry out an action beside everything else; the answer comes as CommandFinished."""
        threading.Thread(target=self._carry_out, args=(command,), name="console-action", daemon=True).start()

    def search(self, typed: str) -> None:
        """Ask the inventory beside everything else; the answer, if there is one, comes as MachinesFound."""
        threading.Thread(target=self._search, args=(typed,), name="console-search", daemon=True).start()

    def _listen(self) -> None:
        waited = 0.0
        while not self._stopping.is_set():
            try:
                self._post(ConnectionMade(self._appliance.version()))
                for _ in self._hear():
                    waited = 0.0
                    if self._stopping.is_set():
                        return
                reason = "the appliance ended the conversation"
            except ApplianceError as error:
                reason = _sentence(error)
            except Exception as error:  # the one broad handler of the watch: the console never exits
                log.exception("the watch failed")
                reason = f"{type(error).__name__}: {error}"
            waited = self._backoff.next(waited)
            self._post(ConnectionLost(reason, waited))
            self._stopping.wait(waited)

    def _hear(self) -> Iterator[None]:
        """Take in one watch, yielding at every event; a kind's first items are handed over as one list."""
        self._tell(Listed("bundles", self._appliance.bundles()))
        gathered: dict[str, list[Item]] = {kind: [] for kind in _TYPES}
        for event in self._appliance.watch(list(_TYPES)):
            yield
            if event.type == "BOOKMARK":
                self._post(LineHeld())
            elif event.type == "SYNCED" and event.kind in gathered:
                self._tell(Listed(_TYPES[event.kind][0], gathered.pop(event.kind)))
            elif event.kind in _TYPES:
                self._take_in(event, gathered.get(event.kind))

    def _take_in(self, event: WatchEvent, gathered: list[Item] | None) -> None:
        shelf, struct = _TYPES[event.kind]
        if event.type == "DELETED":
            self._tell(Removed(shelf, _key(event.object)))
            return
        try:
            item = msgspec.convert(event.object, struct)
        except msgspec.ValidationError as error:
            self._post(ObjectUnreadable(event.kind, str(error)))
            return
        if gathered is not None:
            gathered.append(item)
            return
        self._tell(Changed(item))
        if isinstance(item, OperationView) and item.is_final:
            self._tell(Listed("bundles", self._appliance.bundles()))

    def _tell(self, change: Change) -> None:
        with self._lock:
            announced = bool(self._news)
            self._news.append(change)
        if not announced:
            self._post(NewsArrived())

    def _carry_out(self, command: Command) -> None:
        try:
            command.call(self._appliance)
        except ApplianceError as error:
            self._post(CommandFinished(command.twin, _sentence(error), succeeded=False))
        except Exception as error:  # the one broad handler of the actions
            log.exception("%s failed", command.twin)
            self._post(CommandFinished(command.twin, f"{type(error).__name__}: {error}", succeeded=False))
        else:
            self._post(CommandFinished(command.twin, command.done, succeeded=True))

    def _search(self, typed: str) -> None:
        try:
            found = self._appliance.search_machines(typed, limit=MAX_FOUND).items
        except ApplianceError as error:  # what the hosts' own rows say is found without it
            log.info("the inventory was not searched for %r: %s", typed, error)
            return
        keys = frozenset(f"{machine.namespace}/{machine.name}" for machine in found)
        self._post(MachinesFound(typed, keys))


def _sentence(error: ApplianceError) -> str:
    return f"{error.message} {error.hint}".strip()


def _key(object: dict[str, Any]) -> str:
    """The key of what is gone, by the same rule as `tui.known.key_of`."""
    if "id" in object:
        return str(object["id"])
    metadata = object.get("metadata", object)
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
