"""The embedded store: Kubernetes' rules over one SQLite file. Nothing to install, open in a moment.

Reads of one object happen where they are asked, lists in a reading thread, writes in the writer's. The file
belongs to one process at a time; the next one resumes watches where this one ended. What Kubernetes does
later by controllers (garbage collection, closing namespaces) happens here inside the write.
"""

import asyncio
import base64
import binascii
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from appliance.resources.kinds import KINDS
from appliance.resources.meta import Document, Kind
from appliance.store import writes
from appliance.store.base import (
    EVERYTHING,
    Event,
    Gone,
    Limits,
    Malformed,
    Page,
    Patch,
    Preconditions,
    Propagation,
    Selection,
    Subresource,
    Unavailable,
)
from appliance.store.database import Database
from appliance.store.selectors import parse_field_selector, parse_label_selector
from appliance.store.tables import Change, Key, Reader, Scan, Transaction
from appliance.store.watches import Subscription, Watches, bookmark
from appliance.store.writer import Writer

T = TypeVar("T")

_CATCH_UP = 500  # changes read at a time for a watcher that resumes or fell behind


def utc_now() -> datetime:
    return datetime.now(UTC)


class SqliteStore:
    """`appliance.store.base.Store` over one file. Use it from one event loop, and close it."""

    def __init__(
        self, database: Database, *, kinds: Sequence[Kind], limits: Limits, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._kinds = frozenset((kind.group, kind.version, kind.plural) for kind in kinds)
        self._limits = limits
        self._now = now
        self._watches = Watches(bookmark_every=max(1, limits.history // 4))
        self._writer = Writer(database.connect(), kinds=kinds, limits=limits, publish=self._watches.publish)
        self._near = Reader(database.connect(read_only=True))
        self._far = Reader(database.connect(read_only=True))
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-reader")
        self._is_closed = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        limits: Limits | None = None,
        kinds: Sequence[Kind] = KINDS,
        now: Callable[[], datetime] = utc_now,
    ) -> Self:
        """Open or make the store. Raises Unavailable (in use, unreadable) or Damaged."""
        return cls(Database(path), kinds=kinds, limits=limits or Limits(), now=now)

    def close(self) -> None:
        """Finish the writes under way, end every watch and let go of the file. May be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._watches.close()
        self._writer.close()
        self._reading.shutdown()
        self._near.close()
        self._far.close()
        self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def has_kind(self, kind: Kind) -> bool:
        """Say whether the kind is among those that this store was opened with."""
        return (kind.group, kind.version, kind.plural) in self._kinds

    async def get(self, kind: Kind, name: str, *, namespace: str = "") -> Document:
        """Return the object. Raises NotFound."""
        self._check_open()
        document = self._near.find(kind, namespace if kind.namespaced else "", name)
        if document is None:
            raise writes.missing(kind, (namespace, name))
        return document

    async def list(
        self, kind: Kind, selection: Selection = EVERYTHING, *, limit: int = 0, continue_token: str = ""
    ) -> Page:
        """Return a page in the order of namespace and name.

        Every page of a list carries the resource version of its first, so that a watch from there misses
        nothing that happened while the pages were read. Raises Malformed, and Gone for a token too old.
        """
        start, after = _parse_token(continue_token) if continue_token else (0, None)
        scan = _scan(kind, selection, after=after, limit=max(0, limit))
        if start:
            self._check_kept(start, *await self._read(self._far.bounds))
        found = await self._read(lambda: self._far.scan(scan))
        version = start or found.revision
        token = _render_token(version, found.last) if found.last else ""
        return Page(found.documents, str(version), token, found.remaining)

    async def create(self, kind: Kind, document: Document, *, dry_run: bool = False) -> Document:
        """Make a new object; a name ending is chosen when only `generateName` is given."""
        prepared, uid, now = writes.prepare(kind, document), str(uuid.uuid4()), self._now()
        return await self._write(
            lambda tables: writes.create(tables, kind, prepared, uid=uid, now=now), dry_run=dry_run
        )

    async def update(
        self, kind: Kind, document: Document, *, subresource: Subresource = "", dry_run: bool = False
    ) -> Document:
        """Replace the object (or only its status) by a newer document of it."""
        prepared, now = writes.prepare(kind, document), self._now()
        return await self._write(
            lambda tables: writes.update(tables, kind, prepared, subresource=subresource, now=now),
            dry_run=dry_run,
        )

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Patch,
        *,
        namespace: str = "",
        subresource: Subresource = "",
        dry_run: bool = False,
    ) -> Document:
        """Change the object; `apply` makes it when it is not there."""
        writes.check_patch(kind, patch)
        key, uid, now = (namespace if kind.namespaced else "", name), str(uuid.uuid4()), self._now()
        return await self._write(
            lambda tables: writes.patch(tables, kind, key, patch, subresource=subresource, uid=uid, now=now),
            dry_run=dry_run,
        )

    async def delete(
        self,
        kind: Kind,
        name: str,
        *,
        namespace: str = "",
        preconditions: Preconditions | None = None,
        propagation: Propagation = "Background",
        dry_run: bool = False,
    ) -> Document:
        """Delete the object and, unless orphaned, what it owns. Returns its last state, marked if held."""
        key, now = (namespace if kind.namespaced else "", name), self._now()
        return await self._write(
            lambda tables: writes.delete(
                tables, kind, key, preconditions=preconditions, propagation=propagation, now=now
            ),
            dry_run=dry_run,
        )

    async def adopt(self, documents: Sequence[tuple[Kind, Document]], *, above: int) -> None:
        """Take over what another store kept, uids included; `above` is the newest version it gave.

        Raises AlreadyExists unless this one is empty.
        """
        await self._write(lambda tables: writes.adopt(tables, documents, above=above), dry_run=False)

    async def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, since: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Yield changes after `since`; or what exists, a bookmark, and then changes. Ends with the store.

        Raises Gone when `since` is no longer kept, at once or later if the watcher reads too slowly.
        """
        self._check_open()
        scan = _scan(kind, selection)
        subscription = Subscription(
            kind, selection.namespace, scan.labels, scan.fields, buffer=self._limits.watch_buffer
        )
        self._watches.add(subscription)
        try:
            if since:
                position = _parse_version(since)
                subscription.is_behind = True
            else:
                found = await self._read(lambda: self._far.scan(scan))
                position = found.revision
                for document in found.documents:
                    yield Event("ADDED", kind, document, msgspec.json.encode(document))
                yield bookmark(kind, position)
            async with aclosing(self._follow(subscription, position)) as events:
                async for event in events:
                    yield event
        finally:
            self._watches.remove(subscription)

    async def _follow(self, subscription: Subscription, position: int) -> AsyncGenerator[Event, None]:
        while not subscription.is_closed:
            items: Iterable[Change | int] = subscription.take()
            reached = position
            if subscription.is_behind:
                items, reached = await self._catch_up(subscription, position)
            for item in items:
                revision = item if isinstance(item, int) else item.revision
                if revision <= position:
                    continue
                position = revision
                event = (
                    bookmark(subscription.kind, item) if isinstance(item, int) else subscription.event(item)
                )
                if event is not None:
                    yield event
            position = max(position, reached)
            if not subscription.is_behind:
                await subscription.wait()

    async def _catch_up(self, subscription: Subscription, position: int) -> tuple[Sequence[Change], int]:
        """Read on from the history. Changes that arrive meanwhile are kept, and skipped if read here too."""
        subscription.is_behind = False
        self._check_kept(position, *await self._read(self._far.bounds))
        changes, reached = await self._read(
            lambda: self._far.changes_after(subscription.kind, subscription.object, position, limit=_CATCH_UP)
        )
        if len(changes) == _CATCH_UP:
            subscription.is_behind = True
        return changes, reached

    async def _write(self, work: Callable[[Transaction], T], *, dry_run: bool) -> T:
        self._check_open()
        return await self._writer.submit(work, dry_run=dry_run)

    async def _read(self, work: Callable[[], T]) -> T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._reading, work)

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the store is closed")

    @staticmethod
    def _check_kept(version: int, pruned: int, newest: int) -> None:
        if version < pruned:
            raise Gone(
                f"version {version} is too old: changes are kept from version {pruned} on",
                hint="list again and watch from the list's version",
            )
        if version > newest:
            raise Gone(
                f"version {version} is not known here, the newest is {newest}: the store was restored",
                hint="list again and watch from the list's version",
            )


def _scan(kind: Kind, selection: Selection, *, after: Key | None = None, limit: int = 0) -> Scan:
    return Scan(
        kind,
        selection.namespace if kind.namespaced else None,
        parse_label_selector(selection.labels),
        parse_field_selector(selection.fields, kind),
        after=after,
        limit=limit,
    )


def _parse_version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Malformed(
            f"{text[:40]!r} is no resource version", hint="versions come from a list or an object"
        )
    return int(text)


def _render_token(version: int, last: Key) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((version, *last))).decode()


def _parse_token(text: str) -> tuple[int, Key]:
    try:
        version, namespace, name = msgspec.json.decode(
            base64.urlsafe_b64decode(text.encode()), type=tuple[int, str, str]
        )
    except (ValueError, binascii.Error) as error:
        raise Malformed("the continue token is not one of ours", hint="list again from the start") from error
    return version, (namespace, name)
