"""The door: who says nothing goes, who asked for something stays."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from appliance.listening import Door, settle_connections

REQUEST = b"GET / HTTP/1.1\r\nHost: box\r\n\r\n"


@asynccontextmanager
async def opened(door: Door) -> AsyncIterator[int]:
    """A server behind the door that answers everything; yields its port."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application(middlewares=[settle_connections(door)])
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    assert runner.server is not None
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        door.open(listener, None, runner.server)
        try:
            yield listener.getsockname()[1]
        finally:
            door.close()
            await runner.cleanup()


@pytest.mark.parametrize("said", [b"", REQUEST[:-2]], ids=["silent", "half a request"])
async def test_who_does_not_ask_in_time_is_shown_out(said: bytes) -> None:
    async with opened(Door(patience=0.01)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def test_the_oldest_of_too_many_goes_and_the_newcomer_is_served() -> None:
    async with opened(Door(places=2)) as port:
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        crowd[2][1].write(REQUEST)
        async with asyncio.timeout(20):
            assert (await crowd[2][0].readline()).startswith(b"HTTP/1.1 200")
            assert await crowd[0][0].read() == b""
        for _, writer in crowd:
            writer.close()


async def test_who_asked_once_is_no_longer_among_the_strangers() -> None:
    async with opened(Door(places=1)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        _, other = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        for each in (writer, other):
            each.close()
