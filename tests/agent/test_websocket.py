"""The WebSocket a host registers over, against servers that do every wrong thing a server can."""

import base64
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import AgentError, ConfigInvalid, Denied, Unreachable
from agent.websocket import WebSocket, parse_url
from tests.agent.test_register import Authority

Speak = Callable[[socket.socket], None]
LIMIT = 1000


def upgrade(connection: socket.socket) -> bytes:
    """Read the request and answer 101; returns the request."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += connection.recv(1)
    key = next(line for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: ")).split(
        b": "
    )[1]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return request


def frame(payload: bytes, *, opcode: int = 2, fin: bool = True) -> bytes:
    assert len(payload) < 126
    return bytes([(0x80 if fin else 0) | opcode, len(payload)]) + payload


def saying(*data: bytes) -> Speak:
    """Upgrade, say these bytes one write each, then wait for the client to go."""

    def speak(connection: socket.socket) -> None:
        upgrade(connection)
        for piece in data:
            connection.sendall(piece)
        wait(connection)

    return speak


def wait(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


@contextmanager
def serving(speak: Speak, *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """One connection's worth of server on a free port; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        plain, _ = listener.accept()
        try:
            with tls.wrap_socket(plain, server_side=True) if tls else plain as connection:
                speak(connection)
        except OSError:
            pass  # the client went away, which is the point of some tests

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}/x"
    finally:
        thread.join()
        listener.close()


def connect(url: str, *, timeout: float = 10.0, trust: ssl.SSLContext | None = None) -> WebSocket:
    return WebSocket(
        url, headers={"Authorization": "Bearer x"}, timeout=timeout, max_bytes=LIMIT, trust=trust
    )


def listen(url: str, *, timeout: float, trust: ssl.SSLContext | None = None) -> bytes | str:
    with connect(url, timeout=timeout, trust=trust) as websocket:
        return websocket.recv()


def test_the_request_has_what_the_real_clients_has_and_no_extensions() -> None:
    requests: list[bytes] = []

    def speak(connection: socket.socket) -> None:
        requests.append(upgrade(connection))
        wait(connection)

    with serving(speak) as url, connect(url) as websocket:
        assert websocket.local_address == "127.0.0.1"

    lines = requests[0].decode().split("\r\n")
    assert lines[0] == "GET /x HTTP/1.1"
    assert "Authorization: Bearer x" in lines
    assert {line.partition(":")[0] for line in lines[1:] if line} == {
        "Host", "User-Agent", "Authorization", "Connection", "Upgrade", "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
    }  # fmt: skip


@pytest.mark.parametrize(
    "pieces",
    [
        [frame(b"abc")],
        [frame(b"a", fin=False), frame(b"b", opcode=0, fin=False), frame(b"c", opcode=0)],
        [frame(b"a", fin=False), frame(b"hello", opcode=9), frame(b"bc", opcode=0)],
        [bytes([byte]) for byte in frame(b"abc")],
        [frame(b"", opcode=10), frame(b"abc")],
    ],
    ids=["whole", "in fragments", "around a ping", "byte by byte", "after a pong"],
)
def test_a_message_comes_whole_however_it_was_sent(pieces: list[bytes]) -> None:
    with serving(saying(*pieces)) as url, connect(url) as websocket:
        assert websocket.recv() == b"abc"


def test_messages_that_came_together_are_heard_one_by_one() -> None:
    data = frame(b"a") + frame(b"b", opcode=1) + frame(b"", opcode=8)
    with serving(saying(data)) as url, connect(url) as websocket:
        assert [websocket.recv(), websocket.recv()] == [b"a", "b"]
        with pytest.raises(Unreachable, match="closed the connection"):
            websocket.recv()


def test_what_is_sent_arrives_masked_and_whole() -> None:
    heard: list[bytes] = []

    def speak(connection: socket.socket) -> None:
        upgrade(connection)
        data = connection.recv(4096)
        mask, payload = data[2:6], data[6 : 6 + (data[1] & 0x7F)]
        heard.append(data[:1] + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))
        wait(connection)

    with serving(speak) as url, connect(url) as websocket:
        websocket.send(b"\x05\x0c")

    assert heard == [b"\x82\x05\x0c"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (frame(b"\xff", opcode=1), "does not speak the WebSocket protocol"),
        (frame(b"x", opcode=3), "does not speak the WebSocket protocol"),
        (frame(b"x", opcode=0), "does not speak the WebSocket protocol"),
        (bytes([0x82, 126]) + (LIMIT + 1).to_bytes(2), "exceeds limit"),
        (frame(b"x" * 125, fin=False) + frame(b"x" * 125, opcode=0, fin=False) * 8, "exceeds limit"),
        (frame(b"", opcode=8), "closed the connection"),
    ],
    ids=["bad UTF-8", "an unknown frame", "a stray fragment", "too large", "too large in sum", "a close"],
)
def test_a_server_that_breaks_off_or_breaks_rules_is_unreachable(data: bytes, message: str) -> None:
    with serving(saying(data)) as url, connect(url) as websocket, pytest.raises(Unreachable, match=message):
        websocket.recv()


def test_a_connection_lost_in_a_message_is_unreachable() -> None:
    def speak(connection: socket.socket) -> None:
        upgrade(connection)
        connection.sendall(frame(b"abc")[:3])

    with (
        serving(speak) as url,
        connect(url) as websocket,
        pytest.raises(Unreachable, match="closed the connection"),
    ):
        websocket.recv()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Unreachable),
        (b"HTTP/1.1 101", Unreachable),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Unreachable),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Unreachable),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", Denied),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nno!\n", Denied),
    ],
)
def test_a_server_that_does_not_upgrade_is_told_from_one_that_refuses(
    answer: bytes, error: type[AgentError]
) -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    with serving(speak) as url, pytest.raises(error) as caught:
        connect(url)

    if b"401" in answer:
        assert str(caught.value) == "no!"


def be_silent(connection: socket.socket) -> None:
    wait(connection)


def upgrade_and_be_silent(connection: socket.socket) -> None:
    upgrade(connection)
    wait(connection)


@pytest.mark.parametrize("speak", [be_silent, upgrade_and_be_silent])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_silence_ends_at_the_deadline(speak: Speak, secure: bool, tmp_path: Path) -> None:
    """Over TLS 1.3 the server's session tickets come first: readable, but nothing to read."""
    authority = Authority(tmp_path)
    tls = authority.server("127.0.0.1") if secure else None
    trust = ssl.create_default_context(cadata=authority.pem)

    with serving(speak, tls=tls) as url, pytest.raises(Unreachable, match=r"within 0\.3 s"):
        listen(url, timeout=0.3, trust=trust)


def test_dripping_does_not_extend_the_deadline() -> None:
    def drip(connection: socket.socket) -> None:
        upgrade(connection)
        connection.settimeout(0.01)
        while True:
            connection.sendall(frame(b"", opcode=9))
            try:
                if not connection.recv(4096):
                    return
            except TimeoutError:
                continue

    with serving(drip) as url, pytest.raises(Unreachable, match=r"within 0\.3 s"):
        listen(url, timeout=0.3)


def test_sending_to_somebody_who_left_is_unreachable() -> None:
    with serving(saying(frame(b"", opcode=8))) as url, connect(url) as websocket:
        with pytest.raises(Unreachable):
            websocket.recv()
        with pytest.raises(Unreachable):
            websocket.send(b"x")


@pytest.mark.parametrize("url", ["", "x", "ftp://x/", "http://", "http://x:port/"])
def test_a_url_that_is_none_is_a_matter_of_configuration(url: str) -> None:
    with pytest.raises(ConfigInvalid, match="not a registration URL"):
        parse_url(url)


def test_only_the_first_http_becomes_ws() -> None:
    uri = parse_url("https://http.example/elemental/registration/http")

    assert (uri.secure, uri.host, uri.path) == (True, "http.example", "/elemental/registration/http")
