"""Small files of the data directory: written whole or not at all, and private from their first byte."""

import os
import secrets
from pathlib import Path

PUBLIC = 0o644
PRIVATE = 0o600


def write_durably(path: Path, content: bytes, *, mode: int) -> None:
    """Replace `path` by `content`; after this returns it survives a power cut.

    The temporary file is created exclusively and with its final mode, so a key is never readable by
    others, not even between two system calls.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_directory(directory: Path) -> Path:
    """Create `directory` for its owner alone; an existing one keeps its mode."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory
