"""Files to sockets: the kernel copies where the socket is plain, a thread encrypts where it is TLS.

A bounded pool of threads sends in bursts. A burst ends when the client stops reading, and the thread goes to
another client; the event loop waits for the slow one. So a few threads serve any number of clients.
"""

import asyncio
import os
import select
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from mirror.tls_transport import TlsTransport
from mirror.wire import FileSlice

if TYPE_CHECKING:
    from mirror.tls import TlsSession

T = TypeVar("T")

BURST_SECONDS = 0.25
BURST_PATIENCE_MILLISECONDS = 20
SENDFILE_BYTES = 4 * 1024 * 1024
TLS_BYTES = 256 * 1024  # as fast as larger ones, and stays in the processor's cache
FLUSH_POLL_SECONDS = 0.002


BytesSent = Callable[[int], None]  # how many bytes were sent since the last call


def sent_nothing_to_tell(count: int) -> None:
    """The `BytesSent` of those who do not ask."""


class Sender:
    """`stall_seconds` is how long a client may read nothing before it is cut off.

    Both ways raise ConnectionError or TimeoutError when the client is gone or reads nothing; the file stays
    the caller's.
    """

    def __init__(self, *, threads: int, stall_seconds: float) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="mirror-send")
        self._stall_seconds = stall_seconds

    def close(self) -> None:
        self._pool.shutdown()

    async def send_plain(
        self, transport: asyncio.Transport, part: FileSlice, on_sent: BytesSent = sent_nothing_to_tell
    ) -> None:
        """By sendfile, past the transport."""
        loop = asyncio.get_running_loop()
        await self._flush(transport)
        sock = os.dup(_socket_of(transport).fileno())
        try:
            offset, end = part.offset, part.offset + part.length
            while offset < end:
                burst = loop.run_in_executor(self._pool, _send_burst, sock, part.fd, offset, end)
                reached = await _completed(burst)
                on_sent(reached - offset)
                offset = reached
                if offset < end:
                    if transport.is_closing():
                        raise ConnectionResetError("the client went away")
                    async with asyncio.timeout(self._stall_seconds):
                        await _writable(loop, sock)
        finally:
            os.close(sock)

    async def send_tls(
        self, transport: TlsTransport, part: FileSlice, on_sent: BytesSent = sent_nothing_to_tell
    ) -> None:
        """Encrypted in the burst's thread, past the transport."""
        loop = asyncio.get_running_loop()
        await self._flush(transport)
        sock = transport.sock.fileno()
        burst = TlsBurst(transport.lend(), sock, part)
        try:
            while not burst.is_done:
                on_sent(await _completed(loop.run_in_executor(self._pool, burst.send)))
                if not burst.is_done:
                    if transport.is_closing():
                        raise ConnectionResetError("the client went away")
                    async with asyncio.timeout(self._stall_seconds):
                        await _writable(loop, sock)
        finally:
            transport.take_back()

    async def _flush(self, transport: asyncio.Transport) -> None:
        """Wait until the kernel has what was written to the transport before; mostly it has at once."""
        await asyncio.sleep(0)
        async with asyncio.timeout(self._stall_seconds):
            while transport.get_write_buffer_size() > 0:  # noqa: ASYNC110 - a transport has no event for this
                await asyncio.sleep(FLUSH_POLL_SECONDS)


async def _completed(future: "asyncio.Future[T]") -> T:
    """What a thread is doing with a file descriptor must be over before the descriptor is closed."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


def _socket_of(transport: asyncio.Transport) -> socket.socket:
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        raise ConnectionResetError("the client went away")
    return sock


def _send_burst(sock: int, fd: int, offset: int, end: int) -> int:
    """Send as long as the client takes it and the burst lasts; where the next burst starts."""
    deadline = time.monotonic() + BURST_SECONDS
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    while offset < end:
        try:
            sent = os.sendfile(sock, fd, offset, min(SENDFILE_BYTES, end - offset))
        except BlockingIOError:
            if not poll.poll(BURST_PATIENCE_MILLISECONDS):
                return offset
            continue
        if sent == 0:
            raise ConnectionResetError("the file is shorter than was announced")
        offset += sent
        if time.monotonic() > deadline:
            return offset
    return offset


class TlsBurst:
    """What is left of a file to send by TLS.

    A piece that the client did not take whole is read from the file again and offered again, as OpenSSL wants
    it, so nobody who waits holds memory.
    """

    def __init__(self, session: "TlsSession", sock: int, part: FileSlice) -> None:
        self._session = session
        self._sock = sock
        self._fd = part.fd
        self._offset = part.offset
        self._stop = part.offset + part.length

    @property
    def is_done(self) -> bool:
        return self._offset >= self._stop

    def send(self) -> int:
        """One burst; how many bytes of the file were taken on."""
        deadline = time.monotonic() + BURST_SECONDS
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        buffer = memoryview(bytearray(min(TLS_BYTES, self._stop - self._offset)))
        start = self._offset
        while not self.is_done and time.monotonic() < deadline:
            piece = self._load(buffer)
            while not self._session.write(piece):
                if not poll.poll(BURST_PATIENCE_MILLISECONDS):
                    return self._offset - start
            self._offset += len(piece)
        return self._offset - start

    def _load(self, buffer: memoryview) -> memoryview:
        piece = buffer[: self._stop - self._offset]
        if os.preadv(self._fd, [piece], self._offset) < len(piece):
            raise ConnectionResetError("the file is shorter than was announced")
        return piece


async def _writable(loop: asyncio.AbstractEventLoop, sock: int) -> None:
    ready: asyncio.Future[None] = loop.create_future()

    def is_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(sock, is_ready)
    try:
        await ready
    finally:
        loop.remove_writer(sock)
