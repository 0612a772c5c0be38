"""Builds Go programs that tests need: independent clients and peers, each a module pinned by its go.sum.

A binary is kept in the user's cache under the hash of its sources, for building one takes minutes and, the
first time, a way to a Go module proxy.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


def has_go() -> bool:
    return shutil.which("go") is not None


def build_program(
    name: str, sources: Path, *, package: str = ".", is_test: bool = False, flags: Sequence[str] = ()
) -> Path:
    """A package's binary, or that of its tests, built if these sources never were.

    Raises CalledProcessError with go's words.
    """
    content = b"".join(path.read_bytes() for path in sorted(sources.iterdir())) + " ".join(flags).encode()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skerry"
    cache.mkdir(parents=True, exist_ok=True)
    binary = cache / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            unfinished = binary.with_suffix(".new")
            verb = ["test", "-c"] if is_test else ["build"]
            command = ["go", *verb, "-trimpath", "-mod=readonly", *flags, "-o", str(unfinished), package]
            subprocess.run(command, cwd=sources, check=True)
            unfinished.rename(binary)
    return binary
