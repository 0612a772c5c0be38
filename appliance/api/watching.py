"""`/watch`: everything the appliance knows as it changes, resources and views alike, in one stream.

Each kind first sends what exists, then SYNCED, then what changes. A watch that fell behind ends; its
client connects again and is told everything anew.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

from appliance.api.boards import HostBoard, InboxBoard, next_events, render_event
from appliance.api.contract import HOSTS, INBOX, OPERATIONS, InboxEntry, OperationView, WatchEvent
from appliance.api.problems import BadRequest
from appliance.api.streams import merge
from appliance.changes import Changes
from appliance.discovery import Candidates
from appliance.operations import Operation, Operations
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.kinds import find_kind
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Kind
from appliance.store.base import Store

MAX_KINDS = 16
TICK_SECONDS = 10.0  # how late a host may be called silent
QUIET_SECONDS = 0.1  # changes of a view within this are one
# What a machine that nobody has adopted says of itself; others are in the inventory already.
UNADOPTED = ("", "live", "unreg")


class Watching:
    """Builds the streams; it keeps nothing between two of them."""

    def __init__(
        self,
        store: Store,
        *,
        candidates: Candidates,
        operations: Operations,
        render_operation: Callable[[Operation], OperationView],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._candidates = candidates
        self._operations = operations
        self._render_operation = render_operation
        self._now = now

    def watch(self, words: Sequence[str]) -> AsyncIterator[WatchEvent]:
        """One stream of all these kinds. Raises BadRequest for a word that is no kind."""
        wanted = list(dict.fromkeys(word.strip() for word in words if word.strip()))
        if not wanted or len(wanted) > MAX_KINDS:
            raise BadRequest(f"Say which kinds to watch, at most {MAX_KINDS}.", hint="?kinds=hosts,rollouts")
        return merge([self._source(word) for word in wanted])

    async def inbox(self) -> dict[str, InboxEntry]:
        """Who is in the inbox now."""
        board = InboxBoard()
        for document in (await self._store.list(MACHINE_INVENTORY)).items:
            board.feed(document)
        board.hear(found_entries(self._candidates))
        return board.entries()

    def _source(self, word: str) -> AsyncIterator[WatchEvent]:
        match word:
            case "hosts":
                return self._hosts()
            case "inbox":
                return self._inbox()
            case "operations":
                return self._watch_operations()
        kind = find_kind(word)
        if kind is None:
            raise BadRequest(
                f"There is no kind {word[:60]!r} to watch.", hint="skerry help kinds lists them."
            )
        return self._resources(kind)

    async def _resources(self, kind: Kind) -> AsyncIterator[WatchEvent]:
        page = await self._store.list(kind)
        for document in page.items:
            yield WatchEvent(type="ADDED", kind=kind.plural, object=document)
        yield WatchEvent(type="SYNCED", kind=kind.plural)
        async for event in self._store.watch(kind, since=page.resource_version):
            if event.type != "BOOKMARK":
                yield WatchEvent(type=event.type, kind=kind.plural, object=event.document)

    async def _hosts(self) -> AsyncIterator[WatchEvent]:
        board = HostBoard()
        reports = await self._store.list(HOST_REPORT)
        inventories = await self._store.list(MACHINE_INVENTORY)
        board.take(HOST_REPORT, reports.items)
        board.take(MACHINE_INVENTORY, inventories.items)
        for view in board.views(self._now()):
            yield render_event("ADDED", HOSTS, view)
        yield WatchEvent(type="SYNCED", kind=HOSTS)
        changes = merge(
            [
                self._store.watch(MACHINE_INVENTORY, since=inventories.resource_version),
                self._store.watch(HOST_REPORT, since=reports.resource_version),
                _ticks(),
            ]
        )
        async with contextlib.aclosing(changes):
            async for change in changes:
                now = self._now()
                for event in board.tick(now) if change is None else board.feed(change, now):
                    yield event

    async def _inbox(self) -> AsyncIterator[WatchEvent]:
        board = InboxBoard()
        page = await self._store.list(MACHINE_INVENTORY)
        for document in page.items:
            board.feed(document)
        board.hear(found_entries(self._candidates))
        told = board.entries()
        for entry in told.values():
            yield render_event("ADDED", INBOX, entry)
        yield WatchEvent(type="SYNCED", kind=INBOX)
        changes = merge(
            [
                self._store.watch(MACHINE_INVENTORY, since=page.resource_version),
                _wakes(self._candidates.changes),
            ]
        )
        async with contextlib.aclosing(changes):
            async for change in changes:
                if change is None:
                    board.hear(found_entries(self._candidates))
                elif change.type != "BOOKMARK":
                    board.feed(change.document, is_deleted=change.type == "DELETED")
                now = board.entries()
                for event in next_events(INBOX, told, now):
                    yield event
                told = now

    async def _watch_operations(self) -> AsyncIterator[WatchEvent]:
        with self._operations.changes.listen() as changed:
            told: dict[str, OperationView] = {}
            is_synced = False
            while True:
                changed.clear()
                now = {each.id: self._render_operation(each) for each in self._operations.list()}
                for event in next_events(OPERATIONS, told, now):
                    yield event
                told = now
                if not is_synced:
                    is_synced = True
                    yield WatchEvent(type="SYNCED", kind=OPERATIONS)
                await asyncio.sleep(QUIET_SECONDS)
                await changed.wait()


def watched_kinds(words: str) -> list[Kind]:
    """The resources among what a watch asks for, whose readers have roles; views are the control API's."""
    return [kind for word in words.split(",") if (kind := find_kind(word.strip())) is not None]


def found_entries(candidates: Candidates) -> list[InboxEntry]:
    """What discovery heard from machines that nobody has adopted."""
    return [
        InboxEntry(
            kind="found",
            id=f"mdns/{candidate.id}@{candidate.address}",
            name=candidate.name,
            address=candidate.address,
            details=dict(candidate.details),
            first_seen=candidate.first_seen,
            last_seen=candidate.last_seen,
        )
        for candidate in candidates.list()
        if candidate.details.get("st", "") in UNADOPTED
    ]


async def _ticks() -> AsyncIterator[None]:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        yield None


async def _wakes(changes: Changes) -> AsyncIterator[None]:
    with changes.listen() as changed:
        while True:
            await changed.wait()
            changed.clear()
            yield None
            await asyncio.sleep(QUIET_SECONDS)
