"""Settings in files that may change while the mirror serves: read up to a limit, told apart by a stamp."""

from pathlib import Path
from typing import TypeAlias

from mirror.errors import SettingInvalid

Stamp: TypeAlias = tuple[int, int, int]


def read_setting(path: Path, *, most: int) -> bytes:
    """Raises SettingInvalid for a file of more than `most` bytes."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise SettingInvalid(f"{path} is larger than the {most} bytes that this mirror reads")
    return content


def stamp_of(path: Path) -> Stamp:
    """Another one for another content, if the file is replaced or written to at another moment."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
