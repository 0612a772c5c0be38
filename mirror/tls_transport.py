"""An asyncio transport over a TLS session, and the listener that makes one for every client.

It reads and writes small things on the event loop. Whoever sends a file borrows the session and uses it in a
thread (`mirror.sending`); what the client sends meanwhile waits in the kernel.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mirror.tls import TlsContext, TlsSession

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS: Final = 30.0
READ_BYTES: Final = 256 * 1024
SMALL_RECORD: Final = 4 * 1024  # mostly a whole request: asking for more would be in vain
HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024
ACCEPTS_AT_ONCE: Final = 64
ACCEPT_PAUSE_SECONDS: Final = 1.0
OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

MakeProtocol = Callable[[], asyncio.Protocol]


class TlsListener:
    """Accepts on `sock`, which listens already; a protocol is made once a handshake is done."""

    def __init__(self, sock: socket.socket, context: "TlsContext", make_protocol: MakeProtocol) -> None:
        self._sock = sock
        self._context = context
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._shaking: set[TlsTransport] = set()
        sock.setblocking(False)
        self._watch()

    def close(self) -> None:
        """Stop accepting; connections that are past their handshake stay. May be said twice."""
        if self._sock.fileno() < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for transport in tuple(self._shaking):
            transport.abort()

    def _watch(self) -> None:
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in OUT_OF_RESOURCES:
                    raise
                log.warning("mirror: no connection is accepted for a moment: %s", error)
                self._loop.remove_reader(self._sock)
                self._pause = self._loop.call_later(ACCEPT_PAUSE_SECONDS, self._watch)
                return
            sock.setblocking(False)
            transport = TlsTransport(sock, self._context, self._make_protocol)
            self._shaking.add(transport)
            transport.when_decided(self._shaking.discard)


class TlsTransport(asyncio.Transport):
    """One connection, from its handshake on."""

    def __init__(self, sock: socket.socket, context: "TlsContext", make_protocol: MakeProtocol) -> None:
        peer = None
        with contextlib.suppress(OSError):  # it may be gone already
            peer = sock.getpeername()
        named = {"socket": sock, "sslcontext": context, "peername": peer, "sockname": sock.getsockname()}
        super().__init__(named)
        self.sock = sock
        self._session = context.open_session(sock)
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._protocol: asyncio.Protocol | None = None
        self._on_decided: Callable[[TlsTransport], None] = lambda transport: None
        self._deadline = self._loop.call_later(HANDSHAKE_SECONDS, self.abort)
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._high, self._low = HIGH_WATER, LOW_WATER
        self._is_held_up = False  # the protocol was told to write no more
        self._is_paused = False
        self._is_lent = False
        self._is_closing = False
        self._is_lost = False
        self._watch_reading()

    def when_decided(self, on_decided: Callable[["TlsTransport"], None]) -> None:
        """Called once: the handshake is done, or will never be."""
        self._on_decided = on_decided

    def lend(self) -> "TlsSession":
        """The session is the caller's alone until `take_back`; nothing may be waiting to be written."""
        if self._is_closing:
            raise ConnectionResetError("the client went away")
        self._is_lent = True
        self._loop.remove_reader(self.sock)
        return self._session

    def take_back(self) -> None:
        self._is_lent = False
        if self._is_closing:
            self._lose(None)
        else:
            self._write_unsent()
            self._watch_reading()

    # what a protocol asks of a transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing or not data:
            return
        piece = bytes(data)
        self._unsent.append(piece)
        self._unsent_bytes += len(piece)
        if len(self._unsent) == 1 and not self._is_lent:
            self._write_unsent()
        self._hold_up()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._loop.remove_reader(self.sock)
        if not self._unsent and not self._is_lent:
            self._end()

    def abort(self) -> None:
        self._is_closing = True
        if self._is_lent:  # the borrower learns of it, and gives the session back
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
        else:
            self._lose(None)

    def is_closing(self) -> bool:
        return self._is_closing

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self._is_paused = True
        if not self._is_lost:
            self._loop.remove_reader(self.sock)

    def resume_reading(self) -> None:
        self._is_paused = False
        self._watch_reading()

    def is_reading(self) -> bool:
        return not (self._is_paused or self._is_closing)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return self._unsent_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    # what the loop calls

    def _on_readable(self) -> None:
        try:
            if self._protocol is None:
                self._shake_hands()
            else:
                self._read(self._protocol)
        except ConnectionError as error:
            self._lose(error)

    def _on_writable(self) -> None:
        self._loop.remove_writer(self.sock)
        if self._protocol is None:
            self._on_readable()
        elif not self._is_lent:
            self._write_unsent()

    def _shake_hands(self) -> None:
        match self._session.shake_hands():
            case "writable":
                self._loop.add_writer(self.sock, self._on_writable)
            case "nothing":
                self._deadline.cancel()
                self._on_decided(self)
                self._protocol = self._make_protocol()
                self._protocol.connection_made(self)
            case "readable":
                pass

    def _read(self, protocol: asyncio.Protocol) -> None:
        """Many records at once: the protocol's work a call is more than the copying."""
        pieces: list[bytes] = []
        count = 0
        try:
            while count < READ_BYTES:
                piece = self._session.read()
                if not piece:
                    break
                pieces.append(piece)
                count += len(piece)
                if len(piece) < SMALL_RECORD:
                    break
        finally:
            if pieces:
                protocol.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if piece == b"":
            self.close()

    def _write_unsent(self) -> None:
        try:
            while self._unsent:
                if not self._session.write(self._unsent[0]):
                    self._loop.add_writer(self.sock, self._on_writable)
                    break
                self._unsent_bytes -= len(self._unsent.popleft())
        except ConnectionError as error:
            self._lose(error)
            return
        if self._is_held_up and self._unsent_bytes <= self._low and self._protocol is not None:
            self._is_held_up = False
            self._protocol.resume_writing()
        if self._is_closing and not self._unsent:
            self._end()

    def _hold_up(self) -> None:
        if self._unsent_bytes > self._high and not self._is_held_up and self._protocol is not None:
            self._is_held_up = True
            self._protocol.pause_writing()

    def _watch_reading(self) -> None:
        if not (self._is_paused or self._is_closing or self._is_lent):
            self._loop.add_reader(self.sock, self._on_readable)

    def _end(self) -> None:
        self._session.say_goodbye()
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = self._is_closing = True
        self._deadline.cancel()
        self._loop.remove_reader(self.sock)
        self._loop.remove_writer(self.sock)
        self._unsent.clear()
        self._unsent_bytes = 0
        self._on_decided(self)
        self._loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: Exception | None) -> None:
        try:
            if self._protocol is not None:
                self._protocol.connection_lost(error)
        finally:
            self.sock.close()
