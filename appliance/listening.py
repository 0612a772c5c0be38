"""The appliance's door: accepts connections, and shows out those who never ask for anything.

aiohttp's own sites give a stranger a minute for the TLS handshake, an hour for the first request, and any
number of both. Here a connection has `REQUEST_SECONDS` from its coming to the end of its first request's
headers, and the silent ones have a bounded number of places (`appliance.crowd`). After that it is the
routes' business. Mount `settle_connections` as the outermost middleware.
"""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import ssl
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from appliance.crowd import Crowd

log = logging.getLogger(__name__)

# Two thousand hosts that come at once wait for each other's handshakes: more than the protocol's ten.
REQUEST_SECONDS: Final = 30.0
PLACES: Final = 4096
SWEEP_SECONDS: Final = 1.0
ACCEPTS_AT_ONCE: Final = 64
ACCEPT_PAUSE_SECONDS: Final = 0.1
BACKLOG: Final = 4096
OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Door:
    """Accepts for one server between `open` and `close`; `settle` tells it of each request."""

    def __init__(self, *, places: int = PLACES, patience: float = REQUEST_SECONDS) -> None:
        self._crowd: Crowd[asyncio.BaseProtocol] = Crowd(places)
        self._patience = patience
        self._sockets: dict[asyncio.BaseProtocol, socket.socket] = {}
        self._arrivals: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._listener: socket.socket | None = None

    def open(
        self,
        listener: socket.socket,
        context: ssl.SSLContext | None,
        make_protocol: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        """Listen and accept on the bound socket until `close`."""
        self._loop = asyncio.get_running_loop()
        self._context = context
        self._make_protocol = make_protocol
        self._listener = listener
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._loop.add_reader(listener, self._accept, listener)
        self._sweep()

    def close(self) -> None:
        """Accept no more and let go of those who did not ask yet; the others stay. May be said twice."""
        if self._listener is None:
            return
        self._loop.remove_reader(self._listener)
        self._listener = None
        for timer in (self._timer, self._pause):
            if timer is not None:
                timer.cancel()
        for protocol in self._crowd.clear_before(float("inf")):
            self._show_out(protocol)

    def settle(self, protocol: asyncio.BaseProtocol) -> None:
        """This connection asked for something."""
        if self._crowd.leave(protocol):
            self._sockets.pop(protocol, None)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in OUT_OF_RESOURCES:
                    raise
                log.warning("no connection is accepted for a moment: %s", error)
                self._loop.remove_reader(listener)
                self._pause = self._loop.call_later(
                    ACCEPT_PAUSE_SECONDS, self._loop.add_reader, listener, self._accept, listener
                )
                return
            self._let_in(sock, str(peer[0]))

    def _let_in(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        protocol = self._make_protocol()
        leaver = self._crowd.enter(protocol, address, now=self._loop.time())
        self._sockets[protocol] = sock
        if leaver is not None:
            self._show_out(leaver)
        task = self._loop.create_task(self._greet(sock, protocol))
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)

    async def _greet(self, sock: socket.socket, protocol: asyncio.BaseProtocol) -> None:
        """The TLS handshake, where there is TLS."""
        patience = self._patience if self._context else None
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, sock, ssl=self._context, ssl_handshake_timeout=patience
            )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            log.debug("a connection came to nothing: %s", error)
            self.settle(protocol)
            sock.close()

    def _sweep(self) -> None:
        for protocol in [each for each, sock in self._sockets.items() if sock.fileno() < 0]:
            self.settle(protocol)  # it went by itself
        for protocol in self._crowd.clear_before(self._loop.time() - self._patience):
            self._show_out(protocol)
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _show_out(self, protocol: asyncio.BaseProtocol) -> None:
        """End the connection from below, wherever it is; its transport learns of it and cleans up."""
        sock = self._sockets.pop(protocol, None)
        if sock is not None:
            with contextlib.suppress(OSError):  # it may be gone already
                sock.shutdown(socket.SHUT_RDWR)


def settle_connections(door: Door) -> Middleware:
    """Tells the door of every request."""

    @web.middleware
    async def settle(request: web.Request, handler: Handler) -> web.StreamResponse:
        door.settle(request.protocol)
        return await handler(request)

    return settle


def raise_file_limit() -> int:
    """Ask for as many open files as we may have, for each connection is one; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
