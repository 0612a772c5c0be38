"""Who watches what: committed changes in, events out, to any number of watchers.

A watcher that reads slowly keeps a bounded buffer here; when that is full it is emptied and the watcher reads
on from the history, so no watcher holds up another or costs memory. Runs on the event loop, opens nothing.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from appliance.resources.meta import Document, Kind
from appliance.store.base import Event
from appliance.store.selectors import Selector
from appliance.store.tables import Change, Key, Selectable, kind_key

_Topic = tuple[str, str, str]  # kind, namespace, name; the latter two empty for the whole kind


class Subscription:
    """What one watcher wants, and the changes it has not read yet."""

    def __init__(
        self, kind: Kind, namespace: str | None, labels: Selector, fields: Selector, *, buffer: int
    ) -> None:
        self.kind = kind
        self.is_behind = False
        self.is_closed = False
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._buffer = buffer
        self._waiting: deque[Change | int] = deque()
        self._arrived = asyncio.Event()

    @property
    def object(self) -> Key | None:
        """The one object that is watched, when it is one: a change then need not ask every watcher."""
        name = self._fields.pinned("metadata.name")
        if name is None or (self._namespace is None and self.kind.namespaced):
            return None
        return (self._namespace or "", name)

    @property
    def topic(self) -> _Topic:
        return (kind_key(self.kind), *(self.object or ("", "")))

    def put(self, item: Change | int) -> None:
        """Take a change, or a revision up to which there was none."""
        if self.is_behind:
            return
        if len(self._waiting) >= self._buffer:
            self._waiting.clear()
            self.is_behind = True
        else:
            self._waiting.append(item)
        self._arrived.set()

    def close(self) -> None:
        self.is_closed = True
        self._arrived.set()

    async def wait(self) -> None:
        await self._arrived.wait()
        self._arrived.clear()

    def take(self) -> Iterator[Change | int]:
        """Hand out what is waiting; stops at once when the watcher falls behind."""
        while self._waiting and not self.is_closed:
            yield self._waiting.popleft()

    def event(self, change: Change) -> Event | None:
        """What the change looks like from here: an object may come into, or leave, what is selected."""
        is_elsewhere = change.document["metadata"].get("namespace", "") != self._namespace
        if self.kind.namespaced and self._namespace is not None and is_elsewhere:
            return None
        if not self._labels and not self._fields:
            return Event(change.type, change.kind, change.document, change.encoded)
        is_selected, was_selected = self._selects(change.now), self._selects(change.before)
        match change.type, was_selected, is_selected:
            case "ADDED", _, True:
                return Event("ADDED", change.kind, change.document, change.encoded)
            case "DELETED", True, _:
                return Event("DELETED", change.kind, change.document, change.encoded)
            case "MODIFIED", True, True:
                return Event("MODIFIED", change.kind, change.document, change.encoded)
            case "MODIFIED", False, True:
                return Event("ADDED", change.kind, change.document, change.encoded)
            case "MODIFIED", True, False:
                return Event("DELETED", change.kind, change.document, change.encoded)
        return None

    def _selects(self, seen: Selectable) -> bool:
        return self._labels.matches(seen.labels) and self._fields.matches(seen.fields)


class Watches:
    """Every subscription, by topic."""

    def __init__(self, *, bookmark_every: int) -> None:
        self._topics: dict[_Topic, set[Subscription]] = {}
        self._bookmark_every = bookmark_every
        self._last_bookmark = 0

    def add(self, subscription: Subscription) -> None:
        self._topics.setdefault(subscription.topic, set()).add(subscription)

    def remove(self, subscription: Subscription) -> None:
        watchers = self._topics[subscription.topic]
        watchers.discard(subscription)
        if not watchers:
            del self._topics[subscription.topic]

    def publish(self, changes: Sequence[Change]) -> None:
        """Give each change to those who may want it, and now and then a bookmark to everyone.

        Without bookmarks the version that a quiet watcher would resume from falls out of the history.
        """
        for change in changes:
            for topic in _topics_of(change):
                for subscription in self._topics.get(topic, ()):
                    subscription.put(change)
        if changes and changes[-1].revision - self._last_bookmark >= self._bookmark_every:
            self._last_bookmark = changes[-1].revision
            for watchers in self._topics.values():
                for subscription in watchers:
                    subscription.put(self._last_bookmark)

    def close(self) -> None:
        for watchers in self._topics.values():
            for subscription in watchers:
                subscription.close()


def bookmark(kind: Kind, revision: int) -> Event:
    """An event that says only how far its watcher has come."""
    document: Document = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"resourceVersion": str(revision)},
    }
    return Event("BOOKMARK", kind, document, msgspec.json.encode(document))


def _topics_of(change: Change) -> tuple[_Topic, _Topic]:
    key, metadata = kind_key(change.kind), change.document["metadata"]
    return (key, "", ""), (key, metadata.get("namespace", ""), metadata["name"])
