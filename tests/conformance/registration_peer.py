"""Builds and runs `tests/conformance/registration`: the protocol by the libraries Elemental is made of."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.go_builds import build_program, has_go

__all__ = ["build", "has_go", "register", "serving"]

SOURCES = Path(__file__).parent / "registration"


def build() -> Path:
    return build_program("registration-peer", SOURCES)


@contextmanager
def serving(binary: Path, *, tls: tuple[Path, Path] | None = None) -> Iterator[tuple[str, int]]:
    """Run the peer's server on a free port; yields its registration URL and its process id."""
    flags = ["-tls-cert", str(tls[0]), "-tls-key", str(tls[1])] if tls else []
    with subprocess.Popen([binary, "serve", *flags], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            address = json.loads(process.stdout.readline())["listen"]
            yield f"{'https' if tls else 'http'}://{address}/elemental/registration/tok", process.pid
        finally:
            process.terminate()


def register(binary: Path, url: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """One registration by the peer's client; its standard output is JSON if it succeeded."""
    return subprocess.run(
        [binary, "register", "-url", url, *flags], capture_output=True, text=True, timeout=60, check=False
    )
