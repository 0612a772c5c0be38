"""The HTTP edge: aiohttp, on whatever loop runs it. Bytes, limits and time-outs; no rules of registries.

Pulls of manifests are answered on the loop, everything that may wait for the disk in threads. Blobs leave by
`mirror.sending`; bodies of pushes go to their receiver in batches, one being stored while the next arrives.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict

from mirror.census import Census
from mirror.distribution import Distribution
from mirror.errors import MirrorError, RequestInvalid
from mirror.guard import Guard
from mirror.limits import DEFAULT_PATIENCE, Patience
from mirror.metrics import Metrics
from mirror.oversight import PATHS, Exchange, Oversight, route_of
from mirror.problems import render_error, render_problem
from mirror.registry import Registry
from mirror.sending import Sender
from mirror.tls_transport import TlsListener, TlsTransport
from mirror.wire import FileSlice, Receiver, Reply, Request

if TYPE_CHECKING:
    from mirror.tls import TlsContext

log = logging.getLogger(__name__)
log_http = logging.getLogger("mirror.http")

BACKLOG: Final = 1024
BATCH_BYTES: Final = 1024 * 1024
MAX_HEADER_LINE: Final = 16 * 1024
LINGERING_SECONDS: Final = 2.0
SERVER_NAME: Final = "skerry-mirror"
WORK_THREADS: Final = 16
SEND_THREADS: Final = 8
SWEEP_SECONDS: Final = 3600.0

T = TypeVar("T")


class Server:
    """One listener over one registry."""

    def __init__(
        self,
        registry: Registry,
        *,
        patience: Patience = DEFAULT_PATIENCE,
        guard: Guard | None = None,
        oversight: Oversight | None = None,
        on_answered: Callable[[Exchange], None] = lambda exchange: None,
    ) -> None:
        self._registry = registry
        self._guard = guard or Guard()
        self._oversight = oversight or Oversight(Metrics(), take_census=Census, check=lambda: None)
        self._on_answered = on_answered
        self._distribution = Distribution(registry)
        self._patience = patience
        self._work = ThreadPoolExecutor(max_workers=WORK_THREADS, thread_name_prefix="mirror-work")
        self._sender = Sender(threads=SEND_THREADS, stall_seconds=patience.in_reading)
        self._connections: web.Server | None = None
        self._listener: asyncio.Server | TlsListener | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int, *, tls: "TlsContext | None" = None) -> tuple[str, int]:
        """Listen; port 0 picks a free one. Returns the address that clients can use."""
        loop = asyncio.get_running_loop()
        self._connections = web.Server(
            self._answer,
            access_log=None,
            logger=log_http,
            auto_decompress=False,
            keepalive_timeout=self._patience.between_requests,
            max_line_size=MAX_HEADER_LINE,
            max_field_size=MAX_HEADER_LINE,
            read_bufsize=BATCH_BYTES,
            lingering_time=LINGERING_SECONDS,
        )
        sock = _listening_socket(host, port, stall_seconds=self._patience.in_reading)
        bound = sock.getsockname()
        if tls is None:
            self._listener = await loop.create_server(self._connections, sock=sock, backlog=BACKLOG)
        else:
            sock.listen(BACKLOG)
            self._listener = TlsListener(sock, tls, self._connections)
        self._sweeper = asyncio.create_task(self._sweep_now_and_then())
        return str(bound[0]), int(bound[1])

    async def stop(self, *, grace_seconds: float = 3.0) -> None:
        """Stop listening, give transfers under way the grace, then cut them off."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._listener is not None:
            self._listener.close()
        if self._connections is not None:
            self._connections.pre_shutdown()
            await self._connections.shutdown(grace_seconds)
        self._work.shutdown()
        self._sender.close()
        self._guard.close()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections.connections) if self._connections is not None else 0

    async def _answer(self, http: BaseRequest) -> web.StreamResponse:
        """One request; the broad handler keeps a fault in it from the connection's other requests."""
        visit = Visit(http)
        try:
            reply = await self._reply(visit)
        except MirrorError as error:
            reply = render_problem(error)
        except ConnectionError:
            reply = Reply(400, [])  # nobody is left to read it
        except TimeoutError:
            reply = render_error(408, "BLOB_UPLOAD_INVALID", "the body stopped coming")
        except Exception:
            log.exception("%s %s: failed", http.method, http.raw_path[:300])
            reply = render_error(500, "INTERNAL_ERROR", "the mirror failed; its log says why")
        response = self._response(visit, reply)
        if not http.content.is_eof():
            response.force_close()
        return response

    def _response(self, visit: "Visit", reply: Reply) -> web.StreamResponse:
        headers = CIMultiDict(reply.headers)
        headers["Server"] = SERVER_NAME
        if isinstance(reply.body, FileSlice):
            on_sent = partial(self._count, visit, reply.status)
            return FileResponse(
                reply.body, status=reply.status, headers=headers, sender=self._sender, on_sent=on_sent
            )
        body = None if visit.http.method == "HEAD" else reply.body
        self._count(visit, reply.status, len(body or b""))
        return web.Response(status=reply.status, headers=headers, body=body)

    def _count(self, visit: "Visit", status: int, sent: int) -> None:
        exchange = visit.exchange(status, sent)
        self._oversight.metrics.count(
            route_of(exchange.path),
            exchange.method,
            status=status,
            received=exchange.received,
            sent=sent,
            seconds=exchange.seconds,
        )
        self._on_answered(exchange)

    async def _reply(self, visit: "Visit") -> Reply:
        http, path = visit.http, visit.path
        if path in PATHS:
            return await self._in_thread(partial(self._oversight.answer, http.method, path))
        request = Request(http.method, path, http.headers, visit.query)
        admitted = await self._guard.admit(request, client=visit.client)
        if isinstance(admitted, Reply):
            return admitted
        visit.user = admitted.user
        if http.method in ("GET", "HEAD") and ("/manifests/" in path or "/blobs/" in path):
            outcome = self._distribution.begin(admitted.request)
        else:
            outcome = await self._in_thread(partial(self._distribution.begin, admitted.request))
        if isinstance(outcome, Reply):
            return self._guard.with_challenge(outcome, admitted)
        return await self._take_in(visit, outcome)

    async def _take_in(self, visit: "Visit", receiver: Receiver) -> Reply:
        http = visit.http
        if http.headers.get("Expect", "").lower() == "100-continue" and http.transport is not None:
            http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            await self._pour(visit, receiver)
            return await self._in_thread(receiver.finish)
        except BaseException:
            await self._in_thread(receiver.break_off)
            raise

    async def _pour(self, visit: "Visit", receiver: Receiver) -> None:
        """Store a batch while the next one arrives; never more than two are in memory."""
        storing: asyncio.Future[None] | None = None
        try:
            while batch := await self._read_batch(visit.http):
                visit.received += sum(map(len, batch))
                if storing is not None:
                    await storing
                storing = self._in_thread(partial(_store, receiver, batch))
        finally:
            if storing is not None:
                await asyncio.wait([storing])
        if storing is not None:
            storing.result()

    async def _read_batch(self, http: BaseRequest) -> list[bytes]:
        """The pieces as they came in: joining them would be one copy more."""
        batch: list[bytes] = []
        count = 0
        async with asyncio.timeout(self._patience.in_body):
            try:
                while count < BATCH_BYTES and not http.content.at_eof():
                    piece, _ = await http.content.readchunk()
                    if piece:
                        batch.append(piece)
                        count += len(piece)
            except web.RequestPayloadError as error:
                raise RequestInvalid(f"the body is not readable: {error}") from error
        return batch

    def _in_thread(self, function: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._work, function)

    async def _sweep_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            swept = await self._in_thread(self._registry.sweep)
            log.info("mirror: %d stale uploads removed", swept)


def _store(receiver: Receiver, batch: list[bytes]) -> None:
    for piece in batch:
        receiver.write(piece)


class Visit:
    """One request while it is being answered: what of it is counted and logged in the end."""

    def __init__(self, http: BaseRequest) -> None:
        path, _, self.query = http.raw_path.partition("?")
        self.http = http
        self.path = unquote(path) if "%" in path else path
        self.client = http.remote or ""
        self.user = ""
        self.received = 0
        self._began = time.perf_counter()

    def exchange(self, status: int, sent: int) -> Exchange:
        return Exchange(
            method=self.http.method,
            path=self.path,
            client=self.client,
            user=self.user,
            agent=self.http.headers.get("User-Agent", ""),
            status=status,
            received=self.received,
            sent=sent,
            seconds=time.perf_counter() - self._began,
        )


class FileResponse(web.StreamResponse):
    """A reply whose body is part of a file, which is closed whatever happens.

    `on_sent` is told how much of it left.
    """

    def __init__(
        self,
        part: FileSlice,
        *,
        status: int,
        headers: CIMultiDict[str],
        sender: Sender,
        on_sent: Callable[[int], None],
    ) -> None:
        super().__init__(status=status, headers=headers)
        self._on_sent = on_sent
        self._sent = 0
        self._part = part
        self._sender = sender

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        try:
            return await super().prepare(request)
        except BaseException:
            os.close(self._part.fd)
            raise

    async def write_eof(self, data: bytes = b"") -> None:
        transport = self._req.transport if self._req is not None else None
        try:
            if transport is None:
                raise ConnectionResetError("the client went away")
            if isinstance(transport, TlsTransport):
                await self._sender.send_tls(transport, self._part, self._add)
            else:
                await self._sender.send_plain(transport, self._part, self._add)
        except (OSError, TimeoutError) as error:
            if transport is not None:
                transport.abort()
            raise ConnectionResetError(f"a pull was cut off: {error}") from error
        finally:
            os.close(self._part.fd)
            self._on_sent(self._sent)
        await super().write_eof()

    def _add(self, count: int) -> None:
        self._sent += count


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Bytes that are not HTTP, a TLS hello on a plain port among them, are no event worth a traceback."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


log_http.addFilter(_is_our_fault)


def _listening_socket(host: str, port: int, *, stall_seconds: float) -> socket.socket:
    """Accepted sockets inherit the time-out for clients that stop reading."""
    info = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(info[0], info[1], info[2])
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall_seconds * 1000))
        sock.bind(info[4])
    except BaseException:
        sock.close()
        raise
    return sock
