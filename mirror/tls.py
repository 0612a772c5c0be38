"""TLS between a plain transport and a protocol, as asyncio's own, but with a session that can be lent.

The loops' own TLS encrypts on the loop, one core for all connections, and copies every byte four times. Here
whoever sends a file borrows the session, and encrypts in a thread straight to the socket (`mirror.sending`).
OpenSSL allows one user of a session at a time, so what arrives meanwhile is held.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

HANDSHAKE_SECONDS: Final = 30.0
READ_BYTES: Final = 256 * 1024


class TlsTransport(asyncio.Transport):
    """What the protocol above writes to. Everything that is not encryption is the plain transport's."""

    def __init__(self, end: "TlsEnd", plain: asyncio.Transport, context: ssl.SSLContext) -> None:
        super().__init__({"sslcontext": context, "ssl_object": end.session})
        self._end = end
        self.plain = plain

    def lend(self) -> "TlsEnd":
        """The session is the caller's alone until `take_back`."""
        self._end.is_lent = True
        self.plain.pause_reading()
        return self._end

    def take_back(self) -> None:
        self._end.is_lent = False
        if not self.plain.is_closing():
            self.plain.resume_reading()
            self._end.read_held()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return super().get_extra_info(name) or self.plain.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.plain.is_closing():
            encrypt(self._end.session, memoryview(data).cast("B"))
            self._end.flush()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self.plain.is_closing() and not self._end.is_lent:
            self._end.say_goodbye()
        self.plain.close()

    def abort(self) -> None:
        self.plain.abort()

    def is_closing(self) -> bool:
        return self.plain.is_closing()

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.plain.pause_reading()

    def resume_reading(self) -> None:
        self.plain.resume_reading()

    def is_reading(self) -> bool:
        return self.plain.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.plain.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self.plain.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.plain.get_write_buffer_limits()


class TlsEnd(asyncio.Protocol):
    """The server's end of one connection; `make_protocol` is called once the handshake is done."""

    def __init__(self, context: ssl.SSLContext, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.session = context.wrap_bio(self._incoming, self.outgoing, server_side=True)
        self.is_lent = False
        self._context = context
        self._make_protocol = make_protocol
        self._plain: asyncio.Transport
        self._transport: TlsTransport
        self._protocol: asyncio.Protocol | None = None
        self._deadline: asyncio.TimerHandle
        self._buffer = memoryview(bytearray(READ_BYTES))  # takes memory only as far as it is ever filled

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._plain = cast(asyncio.Transport, transport)
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._plain.abort)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        if not self.is_lent:
            self.read_held()

    def read_held(self) -> None:
        """Everything that has arrived. What is no TLS, and a goodbye, end the connection."""
        try:
            if self._protocol is None:
                self._shake_hands()
            if self._protocol is not None:
                self._read(self._protocol)
        except ssl.SSLWantReadError:
            self.flush()
        except (ssl.SSLError, ConnectionError):
            self.flush()
            self._plain.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        if self._protocol is not None:
            self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    def flush(self) -> None:
        """Hand on what is encrypted."""
        if self.outgoing.pending and not self._plain.is_closing():
            self._plain.write(self.outgoing.read())

    def say_goodbye(self) -> None:
        """A close_notify; nobody waits for the other's."""
        with contextlib.suppress(ssl.SSLError):
            self.session.unwrap()
        self.flush()

    def _shake_hands(self) -> None:
        self.session.do_handshake()
        self.flush()
        self._deadline.cancel()
        self._transport = TlsTransport(self, self._plain, self._context)
        self._protocol = self._make_protocol()
        self._protocol.connection_made(self._transport)

    def _read(self, protocol: asyncio.Protocol) -> None:
        """Many records at once: the protocol's work a call is more than the copying."""
        while not self._plain.is_closing():
            count = 0
            try:
                while count < READ_BYTES:
                    got = _read_into(self.session, self._buffer[count:])
                    if got == 0:
                        raise ssl.SSLZeroReturnError
                    count += got
            finally:
                if count:
                    protocol.data_received(bytes(self._buffer[:count]))


def encrypt(session: ssl.SSLObject, data: memoryview) -> None:
    """All of it, one record a call."""
    while data:
        data = data[session.write(data) :]


def _read_into(session: ssl.SSLObject, buffer: memoryview) -> int:
    """SSLObject's stub knows bytearrays only."""
    return cast(int, session.read(len(buffer), cast(bytearray, buffer)))
