"""One call to the appliance: standard library HTTP over the socket or TLS, refusals as errors.

One connection a call. It neither retries nor caches. TLS trusts exactly the CA file it was given. Which calls
there are is `appliance.api.client`'s.

ApplianceError       the appliance answered with a problem; `reason` is stable, `message` is for people
└── Unreachable      it did not answer at all
"""

import http.client
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

MAX_REPLY_BYTES = 64 * 1024 * 1024
MAX_LINE_BYTES = 4 * 1024 * 1024

T = TypeVar("T")


class ApplianceError(Exception):
    """What the appliance refused, in its own words."""

    def __init__(self, reason: str, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
        self.status = status


class Unreachable(ApplianceError):
    """No answer: not running, wrong address, wrong CA, or the line broke."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("Unreachable", message, hint=hint)


class Wire:
    """`server` is `unix:PATH`, `https://HOST:PORT` or `http://HOST:PORT`."""

    def __init__(
        self, server: str, *, token: str | None = None, ca_file: Path | None = None, timeout: float = 30
    ) -> None:
        self.server = server
        self._token = token
        self._ca_file = ca_file
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None

    def read(
        self,
        type: type[T],
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> T:
        """One call, whose answer is decoded as `type`. Raises ApplianceError."""
        given = {key: value for key, value in (query or {}).items() if value}
        target = f"{path}?{urlencode(given)}" if given else path
        with self.exchange(method, target, body=body, content_type=content_type, timeout=timeout) as response:
            content = response.read(MAX_REPLY_BYTES + 1)
        if len(content) > MAX_REPLY_BYTES:
            raise Unreachable(f"The answer of {self.server} is over {MAX_REPLY_BYTES} bytes.")
        try:
            return msgspec.json.decode(content, type=type)
        except msgspec.DecodeError as error:
            raise Unreachable(
                f"The answer of {self.server} to {method} {path} is not of the form we know: {error}.",
                hint="Is there really an appliance at that address, and is it of this version?",
            ) from error

    def lines(self, path: str, *, timeout: float | None = None) -> Iterator[bytes]:
        """The lines of a stream as they come; empty ones only keep it open."""
        with self.exchange("GET", path, timeout=timeout) as response:
            while line := response.readline(MAX_LINE_BYTES):
                if line.strip():
                    yield line

    @contextmanager
    def exchange(
        self,
        method: str,
        target: str,
        *,
        body: object = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """One call, whose answer is read by whoever asked."""
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = content_type
        connection = self._connection(timeout or self._timeout)
        try:
            with self._as_unreachable():
                content = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
                connection.request(method, target, body=content, headers=headers)
                response = connection.getresponse()
            if response.status >= 400:
                with self._as_unreachable():
                    raise parse_problem(response.status, response.read(MAX_LINE_BYTES))
            with self._as_unreachable():
                yield response
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self.server.startswith("unix:"):
            return _UnixConnection(self.server.removeprefix("unix:"), timeout)
        parts = urlsplit(self.server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unreachable(
                f"{self.server!r} is not an appliance's address.",
                hint="Say unix:/path/to/skerry.sock or https://HOST:PORT.",
            )
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)
        return http.client.HTTPSConnection(
            parts.hostname, parts.port or 443, timeout=timeout, context=self._tls_context()
        )

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_file)
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._tls

    @contextmanager
    def _as_unreachable(self) -> Iterator[None]:
        """Name whatever the network did in one kind of error."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                f"{self.server} is not the appliance we trust: {error.verify_message}.",
                hint="Check the CA file (SKERRY_CA_FILE or ca-file in the configuration).",
            ) from error
        except FileNotFoundError as error:
            raise Unreachable(
                f"There is no appliance at {self.server}.",
                hint="Start one with skerry serve, or say --server unix:DIR/skerry.sock or https://HOST:PORT.",
            ) from error
        except TimeoutError as error:
            raise Unreachable(f"{self.server} has not answered in time.") from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"{self.server} cannot be reached: {error or type(error).__name__}.",
                hint="Is the appliance running, and is the address right?",
            ) from error


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        directory, name = os.path.split(os.path.abspath(self._path))
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # By way of the directory: the kernel takes at most 107 bytes for a socket's path.
            self.sock.connect(f"/proc/self/fd/{descriptor}/{name}")
        finally:
            os.close(descriptor)


def parse_problem(status: int, content: bytes) -> ApplianceError:
    """Read a problem document, or Kubernetes' Status, or whatever else stands in an error's body."""
    try:
        document = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        text = content.decode(errors="replace").strip()[:200]
        return ApplianceError("Unexpected", f"The appliance answered {status}: {text}", status=status)
    return ApplianceError(
        str(document.get("reason") or document.get("title") or "Unexpected"),
        str(document.get("detail") or document.get("message") or f"The appliance answered {status}."),
        hint=str(document.get("hint") or ""),
        status=status,
    )
