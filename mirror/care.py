"""When the mirror was last collected and last verified, and how that ended. It decides nothing.

Whoever collects or verifies writes it down, one small file for each; whoever serves tells it as metrics.
"""

import contextlib
import os
import uuid
from pathlib import Path
from typing import Final, Literal

import msgspec

from mirror.staging import sync_directory

Chore = Literal["collection", "verification"]
MAX_BYTES: Final = 4096


class Care(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`at` is seconds since 1970, the end of it. `bytes` were freed, or checked; `findings` were found."""

    at: float
    is_sound: bool
    bytes: int = 0
    findings: int = 0


def write_care(root: Path, chore: Chore, care: Care) -> None:
    """Durable when it returns. Dry runs and what was cancelled are not written down."""
    temporary = root / f".{chore}-{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(msgspec.json.encode(care) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(_path(root, chore))
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(root)


def read_care(root: Path, chore: Chore) -> Care | None:
    """None if it was never done, or if what is written of it cannot be read."""
    with (
        contextlib.suppress(OSError, msgspec.MsgspecError, ValueError),
        _path(root, chore).open("rb") as file,
    ):
        return msgspec.json.decode(file.read(MAX_BYTES), type=Care)
    return None


def _path(root: Path, chore: Chore) -> Path:
    return root / f"last-{chore}.json"
