"""Objects of one kind by a key taken from each, in memory, kept current by the store's watch.

A registration must find its machine among ten thousand by hash, and its MachineRegistration by token,
without reading them all. It is a hint that is nearly always right: whoever acts on an answer reads the
object again, and whoever writes one hands the result to `remember` instead of waiting for the watch.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from appliance.resources.meta import Document, Kind
from appliance.store.base import Store, StoreError

log = logging.getLogger(__name__)

Identifier = tuple[str, str]  # namespace, name


class Index:
    """`key` names what to find a document by; a document whose key is empty is not kept."""

    def __init__(
        self, store: Store, kind: Kind, key: Callable[[Document], str], *, pause: float = 1.0
    ) -> None:
        self._store = store
        self._kind = kind
        self._key = key
        self._pause = pause  # between a lost watch and the next
        self._documents: dict[Identifier, Document] = {}
        self._names: dict[str, set[Identifier]] = {}

    def find(self, key: str) -> list[Document]:
        """Return every document with that key; an empty key finds nothing."""
        return [self._documents[name] for name in sorted(self._names.get(key, ()))]

    def get(self, namespace: str, name: str) -> Document | None:
        """Return the document of that name, if it has a key."""
        return self._documents.get((namespace, name))

    def everything(self) -> list[Document]:
        """Return every document that has a key."""
        return list(self._documents.values())

    def remember(self, document: Document) -> None:
        """Take a document that was just written or read; an older version than the one held is ignored."""
        name = _identify(document)
        held = self._documents.get(name)
        if held is not None and _version(held) > _version(document):
            return
        self.forget(*name)
        key = self._key(document)
        if key:
            self._documents[name] = document
            self._names.setdefault(key, set()).add(name)

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is known by that name."""
        held = self._documents.pop((namespace, name), None)
        if held is None:
            return
        key = self._key(held)
        self._names[key].discard((namespace, name))
        if not self._names[key]:
            del self._names[key]

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Fill the index, then keep it current until the context ends."""
        since = await self._fill()
        task = asyncio.create_task(self._follow(since), name=f"index {self._kind}")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _fill(self) -> str:
        page = await self._store.list(self._kind)
        present = {_identify(document) for document in page.items}
        for name in self._documents.keys() - present:
            self.forget(*name)
        for document in page.items:
            self.remember(document)
        return page.resource_version

    async def _follow(self, since: str) -> None:
        while True:
            try:
                async for event in self._store.watch(self._kind, since=since):
                    since = event.document["metadata"].get("resourceVersion", since)
                    if event.type == "DELETED":
                        self._drop(event.document)
                    elif event.type != "BOOKMARK":
                        self.remember(event.document)
            except StoreError as error:
                log.warning("%s index: the watch ended (%s); reading everything again", self._kind, error)
            await asyncio.sleep(self._pause)
            with suppress(StoreError):
                since = await self._fill()

    def _drop(self, document: Document) -> None:
        """Forget a deleted object, unless its name was taken again in the meantime."""
        held = self._documents.get(_identify(document))
        if held is not None and held["metadata"].get("uid") == document["metadata"].get("uid"):
            self.forget(*_identify(document))


def _identify(document: Document) -> Identifier:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _version(document: Document) -> int:
    return int(document["metadata"].get("resourceVersion") or 0)
