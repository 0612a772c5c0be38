"""The floor of the registration benchmark: the same round trips over TLS with nothing behind them."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from agent.protocol.client_config import Config, render_config
from agent.protocol.messages import READY, Message, MessageType


@contextmanager
def running(key_files: tuple[Path, Path]) -> Iterator[tuple[str, int]]:
    """The URL and the process id of a floor that runs until the context ends."""
    command = [sys.executable, "-m", "benchmarks.registrations", "--floor", *map(str, key_files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"https://127.0.0.1:{int(process.stdout.readline())}/", process.pid
        finally:
            process.terminate()


async def be_floor(certificate: str, key: str) -> None:
    reply = Message(MessageType.CONFIG, render_config(Config())).render()

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await socket.send_bytes(READY.render())
        async for message in socket:
            match message.data[0]:
                case MessageType.VERSION:
                    await socket.send_bytes(message.data)
                case MessageType.GET:
                    await socket.send_bytes(reply)
                    break
                case _:
                    await socket.send_bytes(READY.render())
        await socket.close()
        return socket

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    app = web.Application()
    app.router.add_get("/", talk)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, backlog=4096)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()
