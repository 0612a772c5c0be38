"""Builds and runs `tests/conformance/registration`: the protocol by the libraries Elemental is made of."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.go_builds import build_program, has_go

__all__ = ["Server", "build", "conversing", "has_go", "register", "serving"]

SOURCES = Path(__file__).parent / "registration"


def build() -> Path:
    return build_program("registration-peer", SOURCES)


@contextmanager
def serving(
    binary: Path, *, tls: tuple[Path, Path] | None = None, version: int = 12
) -> Iterator[tuple[str, int]]:
    """Run the peer's server on a free port; yields its registration URL and its process id."""
    with conversing(binary, tls=tls, version=version) as server:
        yield server.url, server.process.pid


@dataclass(frozen=True)
class Server:
    url: str
    process: subprocess.Popen[bytes]

    def read_heard(self) -> dict[int, dict[str, Any]]:
        """What the newest conversation said of the machine, by message number; waits for its end."""
        assert self.process.stdout is not None
        return {
            message["kind"]: message.get("data", {}) for message in json.loads(self.process.stdout.readline())
        }


@contextmanager
def conversing(binary: Path, *, tls: tuple[Path, Path] | None = None, version: int = 12) -> Iterator[Server]:
    """The peer's server, which tells what it heard."""
    flags = ["-tls-cert", str(tls[0]), "-tls-key", str(tls[1])] if tls else []
    flags += ["-version", str(version)]
    with subprocess.Popen([binary, "serve", *flags], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            address = json.loads(process.stdout.readline())["listen"]
            yield Server(f"{'https' if tls else 'http'}://{address}/elemental/registration/tok", process)
        finally:
            process.terminate()


def register(binary: Path, url: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """One registration by the peer's client; its standard output is JSON if it succeeded."""
    return subprocess.run(
        [binary, "register", "-url", url, *flags], capture_output=True, text=True, timeout=60, check=False
    )
