"""The clients of `benchmarks.blobs`: as little Python a byte as can be, so that the server is measured."""

import http.client
import json
import os
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from mirror.oci import OCI_MANIFEST

BUFFER_BYTES = 1024 * 1024
CONNECTIONS = 8


@dataclass(frozen=True)
class Target:
    """`authority` is the certificate to trust, None for plain HTTP."""

    host: str
    port: int
    authority: Path | None = None


@dataclass(frozen=True)
class Blob:
    path: Path
    size: int
    digest: str


def pull(target: Target, path: str, size: int, is_discarding: bool) -> None:
    """GET the first `size` bytes of `path`; discarding leaves the bytes in the kernel."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with _connect(target) as sock:
        request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nRange: bytes=0-{size - 1}\r\n\r\n"
        sock.sendall(request.encode())
        _check_found(_head(sock))
        received = 0
        flags = socket.MSG_TRUNC if is_discarding and target.authority is None else 0
        while received < size:
            count = sock.recv_into(buffer, 0, flags)
            if count == 0:
                raise ConnectionError(f"{path} ended after {received} bytes")
            received += count


def push(target: Target, repository: str, blob: Blob) -> None:
    """POST, then PUT of the whole blob."""
    with _connect(target) as sock:
        start = f"POST /v2/{repository}/blobs/uploads/ HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"
        sock.sendall(start.encode())
        location = _headers_of(_head(sock))["location"]
        path = "/" + location.split("://")[-1].split("/", 1)[1] if "://" in location else location
        joint = "&" if "?" in path else "?"
        sock.sendall(
            f"PUT {path}{joint}digest={blob.digest} HTTP/1.1\r\nHost: bench\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {blob.size}\r\n\r\n".encode()
        )
        with blob.path.open("rb") as file:
            sock.sendfile(file)
        answer = _head(sock)
        if b" 201 " not in answer.split(b"\r\n", 1)[0]:
            raise ConnectionError(f"the push was answered {answer[:200]!r}")


def count_answers(target: Target, path: str, seconds: float, method: str) -> int:
    """How many requests for one small thing are answered, over a few connections in step."""
    request = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAccept: {OCI_MANIFEST}\r\n\r\n".encode()
    socks = [_connect(target) for _ in range(CONNECTIONS)]
    length = _answer_length(socks[0], request, has_body=method == "GET")
    count = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for sock in socks:
            sock.sendall(request)
        for sock in socks:
            left = length
            while left > 0:
                left -= len(sock.recv(65536))
        count += len(socks)
    for sock in socks:
        sock.close()
    return count


def count_lists(target: Target, path: str, seconds: float, names: int) -> int:
    """How many whole lists of tags one connection gets, page by page where the server insists on pages."""
    connection = open_connection(target)
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        found, page = 0, f"{path}?n={names}"
        while page:
            connection.request("GET", page)
            answer = connection.getresponse()
            found += len(json.loads(answer.read())["tags"])
            link = answer.headers["Link"]
            page = link.partition("<")[2].partition(">")[0] if link else ""
        if found != names:
            raise ConnectionError(f"{path} listed {found} of {names} tags")
        count += 1
    connection.close()
    return count


def name_suite(target: Target) -> str:
    """The cipher suite that this client and the server agree on: a ratio between two would mislead."""
    with _connect(target) as sock:
        cipher = sock.cipher() if isinstance(sock, ssl.SSLSocket) else None
    return cipher[0] if cipher is not None else "plain"


def open_connection(target: Target) -> http.client.HTTPConnection:
    if target.authority is None:
        return http.client.HTTPConnection(target.host, target.port)
    context = ssl.create_default_context(cafile=target.authority)
    return http.client.HTTPSConnection(target.host, target.port, context=context)


def _connect(target: Target) -> socket.socket:
    sock = socket.create_connection((target.host, target.port), timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if target.authority is None:
        return sock
    context = ssl.create_default_context(cafile=target.authority)
    return context.wrap_socket(sock, server_hostname="localhost")


def _answer_length(sock: socket.socket, request: bytes, *, has_body: bool) -> int:
    """The length of a whole answer, which is the same every time."""
    sock.sendall(request)
    received = bytearray(sock.recv(65536))
    while b"\r\n\r\n" not in received:
        received += sock.recv(65536)
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    _check_found(head)
    wanted = int(_headers_of(head)["content-length"]) if has_body else 0
    while len(body) < wanted:
        body += sock.recv(65536)
    return len(head) + 4 + wanted


def _head(sock: socket.socket) -> bytes:
    """Read to the end of the headers, byte by byte: what follows belongs to the caller."""
    received = bytearray()
    while not received.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise ConnectionError(f"the connection ended after {bytes(received[:200])!r}")
        received += byte
    return bytes(received)


def _headers_of(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _check_found(head: bytes) -> None:
    if not head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 206 ")):
        raise ConnectionError(f"the pull was answered {head[:200]!r}")


def warm(path: Path) -> None:
    """Bring a file into the page cache, so that no disk is measured."""
    with path.open("rb", buffering=0) as file:
        while os.read(file.fileno(), BUFFER_BYTES):
            pass
