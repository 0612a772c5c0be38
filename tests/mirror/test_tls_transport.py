"""The transport alone, under a protocol that echoes: what waits, what is cut off, what is accepted later."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mirror.tls_transport import TlsListener, TlsTransport
from tests.mirror.certificates import Certificate, make_certificate

BIG = os.urandom(3 * 1024 * 1024)


class Echo(asyncio.Protocol):
    """Says back what it hears, and remembers what it was told."""

    def __init__(self) -> None:
        self.transport: TlsTransport
        self.told: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


class Server:
    def __init__(self, certificate: Certificate, make_socket: Callable[[], socket.socket]) -> None:
        sock = make_socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        self.port: int = sock.getsockname()[1]
        self.echoes: list[Echo] = []
        self.listener = TlsListener(sock, certificate.context, self._make_echo)
        self._client_context = ssl.create_default_context(cafile=certificate.certificate)

    def _make_echo(self) -> Echo:
        self.echoes.append(Echo())
        return self.echoes[-1]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self._client_context, server_hostname="localhost"
        )


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path / "pki")


@asynccontextmanager
async def listening(
    certificate: Certificate, make_socket: Callable[[], socket.socket] = socket.socket
) -> AsyncIterator[Server]:
    server = Server(certificate, make_socket)
    try:
        yield server
    finally:
        server.listener.close()
        for echo in server.echoes:
            echo.transport.abort()
        await asyncio.gather(*(echo.lost for echo in server.echoes))


async def test_what_a_client_does_not_read_yet_waits_and_arrives_whole(certificate: Certificate) -> None:
    async with listening(certificate) as server:
        reader, writer = await server.connect()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        echo = server.echoes[0]

        for _ in range(8):
            echo.transport.write(BIG)
        assert echo.told == ["pause"]
        assert echo.transport.get_write_buffer_size() > 0
        echo.transport.close()
        received = await reader.read()
        writer.close()
        await writer.wait_closed()

        assert received == BIG * 8
        assert echo.told == ["pause", "resume"]
        assert await echo.lost is None


async def test_nothing_is_read_while_the_session_is_lent_and_everything_after(
    certificate: Certificate,
) -> None:
    async with listening(certificate) as server:
        reader, writer = await server.connect()
        writer.write(b"first")
        await reader.readexactly(5)
        transport = server.echoes[0].transport

        session = transport.lend()
        writer.write(b"second")
        transport.write(b" after")
        assert session.write(b"between")
        assert await reader.readexactly(7) == b"between"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.05)
        transport.take_back()

        assert await reader.readexactly(12) == b" aftersecond"
        writer.close()


async def test_an_abort_while_the_session_is_lent_waits_for_the_borrower(certificate: Certificate) -> None:
    async with listening(certificate) as server:
        reader, writer = await server.connect()
        writer.write(b"x")
        await reader.readexactly(1)
        echo = server.echoes[0]

        session = echo.transport.lend()
        echo.transport.abort()
        with pytest.raises(ConnectionError):
            session.write(BIG)
        assert not echo.lost.done()
        echo.transport.take_back()

        assert await echo.lost is None
        assert echo.transport.sock.fileno() == -1
        with pytest.raises(ConnectionError):
            echo.transport.lend()
        writer.close()


async def test_reading_pauses_and_goes_on(certificate: Certificate) -> None:
    async with listening(certificate) as server:
        reader, writer = await server.connect()
        writer.write(b"x")
        await reader.readexactly(1)
        transport = server.echoes[0].transport

        transport.pause_reading()
        assert not transport.is_reading()
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.05)
        transport.resume_reading()

        assert await reader.readexactly(4) == b"held"
        writer.close()


async def test_a_client_that_goes_without_a_goodbye_is_noticed(certificate: Certificate) -> None:
    async with listening(certificate) as server:
        reader, writer = await server.connect()
        writer.write(b"x")
        await reader.readexactly(1)
        writer.transport.abort()

        assert isinstance(await server.echoes[0].lost, ConnectionError)


async def test_a_handshake_under_way_ends_with_the_listener(certificate: Certificate) -> None:
    async with listening(certificate) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"\x16\x03\x01")
        _, other = await server.connect()  # accepted after it, so it is accepted
        server.listener.close()

        assert await reader.read() == b""
        writer.close()
        other.close()


class ShortOfFiles(socket.socket):
    """The first accept finds the process out of file descriptors."""

    refusals = 1

    def accept(self) -> tuple[socket.socket, object]:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


async def test_running_out_of_file_descriptors_delays_clients_and_loses_none(
    certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(certificate, ShortOfFiles) as server:
        reader, writer = await server.connect()
        writer.write(b"x")

        assert await reader.readexactly(1) == b"x"
        assert "Too many open files" in caplog.text
        writer.close()
