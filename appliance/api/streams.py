"""JSON lines over HTTP: many sources into one response, a heartbeat, a bounded memory of slow readers."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TypeVar

import msgspec
from aiohttp import web

from appliance.api.contract import WatchEvent
from appliance.store.base import Gone

JSON_LINES = "application/x-ndjson"
HEARTBEAT_SECONDS = 10.0
MAX_BUFFERED = 256  # events; a source waits when its reader is that far behind


class Streams:
    """The requests that are streaming now."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[object]] = set()


STREAMS = web.AppKey("streams", Streams)

T = TypeVar("T")


async def send_lines(
    request: web.Request, items: AsyncIterator[msgspec.Struct], *, heartbeat: msgspec.Struct | None = None
) -> web.StreamResponse:
    """Write each item as a line until the source ends, the client leaves or the appliance stops."""
    response = web.StreamResponse(headers={"Content-Type": JSON_LINES, "Cache-Control": "no-store"})
    await response.prepare(request)
    task = asyncio.current_task()
    assert task is not None
    streams = request.app[STREAMS].tasks
    streams.add(task)
    try:
        with contextlib.suppress(ConnectionResetError, Gone):
            async for item in with_heartbeat(items, heartbeat):
                await response.write(msgspec.json.encode(item) + b"\n")
            await response.write_eof()
    except asyncio.CancelledError:
        # The appliance stops: ending the body here is all the goodbye that a stream needs.
        with contextlib.suppress(ConnectionResetError):
            await response.write_eof()
    finally:
        streams.discard(task)
    return response


async def end_streams(app: web.Application) -> None:
    """On shutdown: followers would otherwise hold the server until its patience ends."""
    for task in list(app[STREAMS].tasks):
        task.cancel()


async def merge(sources: Sequence[AsyncIterator[T]]) -> AsyncGenerator[T, None]:
    """Items of all sources as they come. A source that fails ends the whole with its error."""
    merged: asyncio.Queue[T] = asyncio.Queue(MAX_BUFFERED)

    async def pump(source: AsyncIterator[T]) -> None:
        async for item in source:
            await merged.put(item)

    pumps = [asyncio.create_task(pump(source)) for source in sources]
    getting: asyncio.Task[T] | None = None
    try:
        while pumps or not merged.empty():
            getting = getting or asyncio.create_task(merged.get())
            await asyncio.wait([getting, *pumps], return_when=asyncio.FIRST_COMPLETED)
            for ended in [each for each in pumps if each.done()]:
                pumps.remove(ended)
                ended.result()
            if getting.done():
                item, getting = getting.result(), None
                yield item
    finally:
        remaining = [*pumps, *([getting] if getting else [])]
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)


async def with_heartbeat(
    items: AsyncIterator[msgspec.Struct], heartbeat: msgspec.Struct | None
) -> AsyncIterator[msgspec.Struct]:
    """The items, and the heartbeat whenever nothing came for a while."""
    if heartbeat is None:
        async for item in items:
            yield item
        return
    next_item: asyncio.Future[msgspec.Struct] = asyncio.ensure_future(anext(items))
    try:
        while True:
            done, _ = await asyncio.wait([next_item], timeout=HEARTBEAT_SECONDS)
            if not done:
                yield heartbeat
                continue
            try:
                yield next_item.result()
            except StopAsyncIteration:
                return
            next_item = asyncio.ensure_future(anext(items))
    finally:
        next_item.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Gone):
            await next_item


BOOKMARK = WatchEvent(type="BOOKMARK")
