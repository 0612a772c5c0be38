"""Builds and runs `tests/conformance/registration`: the protocol by the libraries Elemental is made of.

The binary is kept in the user's cache under the hash of its sources, for building it takes a minute and,
the first time, a way to a Go module proxy.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCES = Path(__file__).parent / "registration"


def has_go() -> bool:
    return shutil.which("go") is not None


def build() -> Path:
    """The peer's binary, built if these sources never were. Raises CalledProcessError with go's words."""
    content = b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skerry"
    cache.mkdir(parents=True, exist_ok=True)
    binary = cache / f"registration-peer-{hashlib.sha256(content).hexdigest()[:16]}"
    with (cache / "registration-peer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            unfinished = binary.with_suffix(".new")
            command = ["go", "build", "-trimpath", "-o", str(unfinished), "."]
            subprocess.run(command, cwd=SOURCES, check=True)
            unfinished.rename(binary)
    return binary


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
