"""What can go wrong when a store is saved, brought back or moved.

ApplianceFault
└── MovingError
    ├── BackupUnusable    no backup, a damaged one, or one of a newer Skerry
    ├── WrongSigner       a sound backup, made by another appliance than was asked for
    ├── WrongPassphrase   a sealed backup and not its passphrase, or none
    ├── TargetInUse       there is something already where it should go
    ├── DiskFailed        the disk is full, or does not do what a disk should
    └── MoveIncomplete    the target does not hold what the source holds; the source is unchanged
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import ApplianceFault

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class MovingError(ApplianceFault):
    pass


class BackupUnusable(MovingError):
    pass


class WrongSigner(MovingError):
    pass


class WrongPassphrase(MovingError):
    pass


class TargetInUse(MovingError):
    pass


class DiskFailed(MovingError):
    pass


class MoveIncomplete(MovingError):
    pass


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says of the disk below `path` into a DiskFailed."""
    try:
        yield
    except OSError as error:
        hint = f"is it full? df -h {path.parent}" if error.errno in FULL else ""
        raise DiskFailed(f"{path} cannot be written: {error.strerror}", hint=hint) from error
    except sqlite3.Error as error:
        raise DiskFailed(f"{path} cannot be written: {error}", hint=f"is it full? df -h {path}") from error
