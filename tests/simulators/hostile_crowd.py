"""Thousands of clients that mean no good, on loopback: silent, slow, garbled, oversized, replaying.

Each holds its connection for as long as the appliance lets it, then comes again no more. How many there can
be at a time is the process's number of open files, which `besieged` raises and then keeps to.
"""

import asyncio
import itertools
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from appliance.listening import raise_file_limit

KEPT_FILES = 500  # for everything else that the process does
AT_ONCE = 100  # that are connecting or shaking hands
# A ClientHello that says it has 512 bytes, and stops after eleven.
HALF_HELLO = bytes.fromhex("1603010200 0100 01fc 0303".replace(" ", ""))


@dataclass(slots=True)
class Siege:
    """What became of them; `answers` counts the bytes that the appliance spent on words."""

    asked_for: int
    came: int = 0
    turned_away: int = 0
    answers: int = 0


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int
    path: str
    authorization: str

    def request(self, *, authorization: str = "") -> bytes:
        lines = [
            f"GET {self.path} HTTP/1.1",
            f"Host: {self.host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            f"Authorization: {authorization or self.authorization}",
        ]
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


@asynccontextmanager
async def besieged(url: str, authorization: str, *, count: int) -> AsyncIterator[Siege]:
    """`count` hostile clients of the registration at `url`, all there when the context begins.

    `authorization` is an honest machine's header, overheard and played back.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    target = _Target(parts.hostname, parts.port, parts.path, authorization)
    siege = Siege(min(count, raise_file_limit() - KEPT_FILES))
    door = asyncio.Semaphore(AT_ONCE)
    kinds = itertools.cycle((_be_silent, _be_garbled, _be_half_open, _be_slow, _be_oversized, _replay))
    tasks = [asyncio.create_task(_attack(target, next(kinds), siege, door)) for _ in range(siege.asked_for)]
    try:
        while siege.came + siege.turned_away < siege.asked_for:
            await asyncio.sleep(0.05)
        yield siege
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_Attack = Callable[[_Target], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def _attack(target: _Target, attack: _Attack, siege: Siege, door: asyncio.Semaphore) -> None:
    writer: asyncio.StreamWriter | None = None
    try:
        async with door, asyncio.timeout(20):
            reader, writer = await attack(target)
        siege.came += 1
        while heard := await reader.read(4096):
            siege.answers += len(heard)
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        if writer is None:
            siege.turned_away += 1
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.transport.abort()


async def _connect(target: _Target, *, tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection(target.host, target.port, ssl=context)


async def _be_silent(target: _Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await _connect(target, tls=False)


async def _be_garbled(target: _Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await _connect(target, tls=False)
    writer.write(os.urandom(300))
    return reader, writer


async def _be_half_open(target: _Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await _connect(target, tls=False)
    writer.write(HALF_HELLO)
    return reader, writer


async def _be_slow(target: _Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Every header but the last."""
    reader, writer = await _connect(target, tls=True)
    writer.write(target.request()[:-30])
    return reader, writer


async def _be_oversized(target: _Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await _connect(target, tls=True)
    writer.write(target.request(authorization="Bearer TPM" + "A" * 200_000))
    return reader, writer


async def _replay(target: _Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The challenge to keys that it does not have is never answered."""
    reader, writer = await _connect(target, tls=True)
    writer.write(target.request())
    return reader, writer
