"""One WebSocket, spoken in turns within one deadline: what registering needs, and nothing beside it.

The protocol is websockets' machine; the socket is ours. websockets' own threaded client reads in a second
thread, which over TLS can sit in a read that nothing ends (a record without data wakes it, and no timeout
reaches it there): a host that waits forever for a silent appliance. Here every read and write
has the deadline, and a registration ends when it should.
"""

import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

from agent.errors import ConfigInvalid, Denied, Unreachable

USER_AGENT = "skerry-agent"
RECEIVE_BYTES = 64 * 1024
MAX_REFUSAL_CHARACTERS = 2048


class WebSocket:
    """Open on return. A context manager: leaving it sends a close frame and waits for nothing.

    Raises, from every method: Unreachable when the other end is gone or silent, Denied when it refuses.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        trust: ssl.SSLContext | None = None,
        timeout: float,
        max_bytes: int,
    ) -> None:
        """`url` is http(s) or ws(s); `timeout` is for everything until the end, in seconds.

        `trust` is for TLS; without it the system's roots are trusted.
        """
        self._url = url
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._messages: deque[tuple[bytes, bool]] = deque()  # and whether it is text
        self._parts: list[bytes] = []
        self._is_text = False
        uri = parse_url(url)
        self._protocol = ClientProtocol(uri, max_size=max_bytes)
        with self._explaining():
            self._socket = self._connect(uri, trust)
        try:
            self._shake_hands(headers)
        except BaseException:
            self._socket.close()
            raise

    @property
    def local_address(self) -> str:
        """Our end's IP address, without port or scope."""
        address: tuple[str, int] = self._socket.getsockname()
        return address[0].partition("%")[0]

    def send(self, message: bytes) -> None:
        with self._explaining():
            self._check_open()
            self._protocol.send_binary(message)
            self._flush()

    def recv(self) -> bytes | str:
        """The next whole message; text as str. What came before an end or an error is heard before it."""
        with self._explaining():
            while not self._messages:
                self._check_open()
                self._receive()
            message, is_text = self._messages.popleft()
            return message.decode() if is_text else message

    def close(self) -> None:
        with suppress(OSError):
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1000)
                self._flush()
        self._socket.close()

    def __enter__(self) -> "WebSocket":
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self, uri: WebSocketURI, trust: ssl.SSLContext | None) -> socket.socket:
        plain = socket.create_connection((uri.host, uri.port), timeout=self._remaining())
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(self._remaining())
            if not uri.secure:
                return plain
            context = trust or ssl.create_default_context()
            return context.wrap_socket(plain, server_hostname=uri.host)
        except BaseException:
            plain.close()
            raise

    def _shake_hands(self, headers: Mapping[str, str]) -> None:
        request = self._protocol.connect()
        request.headers["User-Agent"] = USER_AGENT
        for name, value in headers.items():
            request.headers[name] = value
        with self._explaining():
            self._protocol.send_request(request)
            self._flush()
            while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
                self._receive()
            if self._protocol.handshake_exc is not None:
                raise self._protocol.handshake_exc

    def _check_open(self) -> None:
        error = self._protocol.parser_exc
        if error is not None:
            raise error
        if self._protocol.state is not State.OPEN:
            raise EOFError

    def _receive(self) -> None:
        """Read once and keep what came."""
        self._socket.settimeout(self._remaining())
        data = self._socket.recv(RECEIVE_BYTES)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._flush()

    def _take(self, frame: Frame) -> None:
        """Put a message's fragments together; pings are answered by the protocol."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._is_text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(bytes(frame.data))
        if frame.fin:
            self._messages.append((b"".join(self._parts), self._is_text))
            self._parts.clear()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.settimeout(self._remaining())
                self._socket.sendall(data)

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turn what sockets, TLS and the protocol raise into the host's own errors."""
        try:
            yield
        except InvalidStatus as error:
            raise explain_status(error.response, self._url) from error
        except ssl.SSLCertVerificationError as error:
            raise Denied(
                f"the certificate of {self._url} is not to be trusted: {error.verify_message}",
                hint="give the appliance's CA with --registration-ca-cert",
            ) from error
        except TimeoutError as error:
            raise Unreachable(f"{self._url} did not answer within {self._timeout:g} s") from error
        except EOFError as error:
            raise Unreachable(
                "the appliance closed the connection without an answer", hint="its log holds the reason"
            ) from error
        except (WebSocketException, UnicodeDecodeError) as error:
            raise Unreachable(f"{self._url} does not speak the WebSocket protocol: {error}") from error
        except OSError as error:
            raise Unreachable(f"cannot reach {self._url}: {error}") from error


def parse_url(url: str) -> WebSocketURI:
    """Elemental's way to the WebSocket's URL: the first `http` becomes `ws`. Raises ConfigInvalid."""
    try:
        return parse_uri(url.replace("http", "ws", 1))
    except (InvalidURI, ValueError) as error:
        raise ConfigInvalid(f"{url!r} is not a registration URL") from error


def explain_status(response: Response, url: str) -> Denied:
    """What an answer other than 101 means; our appliance and Elemental's say why in a 401's text."""
    text = (response.body or b"").decode(errors="replace").strip()[:MAX_REFUSAL_CHARACTERS]
    status = response.status_code
    if status == 404:
        return Denied(f"{url} is not known there: {text or status}", hint="check the URL", status=status)
    return Denied(text or f"{url} answered {status}", status=status)
