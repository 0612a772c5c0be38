"""The clients of `benchmarks.blobs`: as little Python a byte as can be, so that the server is measured."""

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
    """GET `path`, which has `size` bytes; discarding leaves the bytes in the kernel."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with _connect(target) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
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
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise ConnectionError(f"the pull was answered {head[:200]!r}")


def warm(path: Path) -> None:
    """Bring a file into the page cache, so that no disk is measured."""
    with path.open("rb", buffering=0) as file:
        while os.read(file.fileno(), BUFFER_BYTES):
            pass
