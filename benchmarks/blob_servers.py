"""The servers of `benchmarks.blobs`: the mirror, its peers, and the limit of what a server could do.

distribution v3 is built once, from the Go module pinned in `benchmarks/distribution`, into the user's cache.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.blob_clients import Blob, Target
from tests.go_builds import build_program, has_go
from tests.mirror.certificates import Certificate

DISTRIBUTION = Path(__file__).parent / "distribution"


@dataclass(frozen=True)
class Peer:
    """A server under load; its processor time is read from its process, its tags may lie in a folder."""

    name: str
    target: Target
    process: int
    start_seconds: float = 0.0
    tags_folder: Path | None = None


def find_peers() -> dict[str, str]:
    """Name and program of the peers on this machine; says on standard output which is missing."""
    peers = {}
    if shutil.which("docker-registry"):
        peers["docker-registry"] = "docker-registry"
    else:
        print("docker-registry is missing: install Debian's package of that name")
    if has_go():
        try:
            peers["distribution v3"] = str(build_program("distribution", DISTRIBUTION))
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"distribution v3 is missing: {error}")
    else:
        print("distribution v3 is missing: there is no go to build it with")
    return peers


@contextlib.contextmanager
def serve_mirror(work: Path, certificate: Certificate | None) -> Iterator[Peer]:
    command = [
        sys.executable,
        "-m",
        "mirror",
        "serve",
        "--root",
        str(work / "mirror"),
        "--listen",
        "127.0.0.1:0",
    ]
    if certificate is not None:
        command += ["--tls-cert", str(certificate.certificate), "--tls-key", str(certificate.key)]
    began = time.perf_counter()
    with _running(command, {}) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        seconds = time.perf_counter() - began
        yield _peer("mirror", process, int(ready["listen"].rpartition(":")[2]), certificate, seconds)


@contextlib.contextmanager
def serve_docker_registry(
    name: str, binary: str, work: Path, certificate: Certificate | None
) -> Iterator[Peer]:
    """Debian's docker-registry, or what it has become since: both take the same settings."""
    port = _free_port()
    config = work / f"{name}.yml"
    http: dict[str, object] = {"addr": f"127.0.0.1:{port}"}
    if certificate is not None:
        http["tls"] = {"certificate": str(certificate.certificate), "key": str(certificate.key)}
    settings = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(work / name)}},
        "http": http,
    }
    config.write_text(json.dumps(settings))  # JSON is YAML
    began = time.perf_counter()
    with _running([binary, "serve", str(config)], {"OTEL_TRACES_EXPORTER": "none"}) as process:
        _wait_for_port(port)
        seconds = time.perf_counter() - began
        tags = work / name / "docker/registry/v2/repositories"
        yield _peer(name, process, port, certificate, seconds, tags)


@contextlib.contextmanager
def serve_by_sendfile(blob: Blob) -> Iterator[Peer]:
    """The limit: no HTTP to speak of, a thread a client, the file straight to the socket."""
    program = (
        "import os, socket, sys, threading\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "def serve(sock, path, size):\n"
        "    with sock, open(path, 'rb') as file:\n"
        "        sock.recv(4096)\n"
        "        sock.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n')\n"
        "        offset = 0\n"
        "        while offset < size:\n"
        "            offset += os.sendfile(sock.fileno(), file.fileno(), offset, size - offset)\n"
        "while True:\n"
        "    arguments = (listener.accept()[0], sys.argv[1], int(sys.argv[2]))\n"
        "    threading.Thread(target=serve, args=arguments).start()\n"
    )
    with _running([sys.executable, "-c", program, str(blob.path), str(blob.size)], {}) as process:
        assert process.stdout is not None
        yield _peer("bare sendfile", process, int(process.stdout.readline()), None)


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _peer(
    name: str,
    process: subprocess.Popen[str],
    port: int,
    certificate: Certificate | None,
    start_seconds: float = 0.0,
    tags_folder: Path | None = None,
) -> Peer:
    authority = certificate.certificate if certificate is not None else None
    return Peer(name, Target("127.0.0.1", port, authority), process.pid, start_seconds, tags_folder)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _wait_for_port(port: int, *, seconds: float = 10.0) -> None:
    def is_open() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    _wait_until(is_open, seconds=seconds)


def _wait_until(is_so: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"a server did not start within {seconds:.0f} s")
        time.sleep(0.002)
