"""The watch stream: a line of JSON an event, until the client, the time or the server ends it.

A client that reads slowly holds up only itself: the store keeps a bounded buffer for it and then the history;
one that reads nothing for a minute is dropped.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from appliance.api.kubernetes.representations import Representation, show_bookmark, show_object
from appliance.api.kubernetes.requests import ListOptions, Target
from appliance.api.kubernetes.statuses import failure
from appliance.errors import ApplianceFault
from appliance.resources.meta import Document
from appliance.store.base import Event, Store, StoreError

_WRITE_SECONDS = 60
_SMALL = 32 * 1024  # below what a transport takes before it says that it has enough
_LOOK_SECONDS = 5  # how often we look whether an idle client is still there
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class WatchStreams:
    """The watches under way, so that a server that stops can end them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._deadlines: set[asyncio.Timeout] = set()

    async def serve(
        self,
        request: web.Request,
        target: Target,
        options: ListOptions,
        *,
        representation: Representation,
        may_go_on: Callable[[], Awaitable[None]],
    ) -> web.StreamResponse:
        """Stream until the end; `may_go_on` raises as soon as the caller may no longer."""
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache"}
        )
        response.enable_chunked_encoding()
        await response.prepare(request)
        # Upstream ends watches at a random time too, so that clients do not all come back at once.
        seconds = options.timeout_seconds or random.randint(1800, 3600)  # noqa: S311 - spreads load
        lines = _render(self._store, target, options, representation)
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds) as deadline, aclosing(lines):
                self._deadlines.add(deadline)
                guard = asyncio.create_task(_expire(request, deadline, may_go_on))
                try:
                    async for line in lines:
                        await _send(request, response, line)
                finally:
                    guard.cancel()
                    self._deadlines.discard(deadline)
        if request.transport is not None and not request.transport.is_closing():
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await response.write_eof()
        return response

    async def end(self, _: web.Application) -> None:
        """End every watch now."""
        for deadline in [deadline for deadline in self._deadlines if not deadline.expired()]:
            deadline.reschedule(asyncio.get_running_loop().time())


async def _send(request: web.Request, response: web.StreamResponse, line: bytes) -> None:
    transport = request.transport
    if transport is not None and len(line) < _SMALL and not transport.get_write_buffer_size():
        await response.write(line)  # there is nothing to wait for, and a timer an event costs
        return
    try:
        async with asyncio.timeout(_WRITE_SECONDS):
            await response.write(line)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise


async def _expire(
    request: web.Request, deadline: asyncio.Timeout, may_go_on: Callable[[], Awaitable[None]]
) -> None:
    """End the watch when its client is gone, or was refused meanwhile."""
    with suppress(StoreError, ApplianceFault):
        # A transport has no event to wait for.
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(_LOOK_SECONDS)
            await may_go_on()
    if not deadline.expired():
        deadline.reschedule(asyncio.get_running_loop().time())


async def _render(
    store: Store, target: Target, options: ListOptions, representation: Representation
) -> AsyncGenerator[bytes, None]:
    since = options.resource_version if options.wants_initial_events is not True else ""
    if not since and options.wants_initial_events is False:
        since = (await store.list(target.kind, options.selection, limit=1)).resource_version
    is_initial = not since
    try:
        async with aclosing(store.watch(target.kind, options.selection, since=since)) as events:
            async for event in events:
                if event.type != "BOOKMARK":
                    yield _line(event, representation)
                elif options.wants_bookmarks:
                    ends_initial = is_initial and options.wants_initial_events is True
                    yield _bookmark_line(event, representation, ends_initial=ends_initial)
                    is_initial = False
    except StoreError as error:
        yield _encode("ERROR", failure(error, target.kind, target.name))


def _line(event: Event, representation: Representation) -> bytes:
    if representation.shape == "object" and event.encoded:
        return b'{"type":"%s","object":%s}\n' % (event.type.encode(), event.encoded)
    shown = show_object(representation, event.kind, event.document, now=datetime.now(UTC))
    return _encode(event.type, shown)


def _bookmark_line(event: Event, representation: Representation, *, ends_initial: bool) -> bytes:
    document = event.document
    if ends_initial:
        metadata = {**document["metadata"], "annotations": {_INITIAL_EVENTS_END: "true"}}
        document = {**document, "metadata": metadata}
    return _encode("BOOKMARK", show_bookmark(representation, document))


def _encode(type: str, document: Document) -> bytes:
    return msgspec.json.encode({"type": type, "object": document}) + b"\n"
