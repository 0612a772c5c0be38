"""Which store holds an appliance's objects: `store.json` in its data folder, written by a move.

Without the file it is the embedded one. `skerry serve` asks here, so that two stores never both believe that
they are the one; and whoever works on the folder holds it here, in a pod too, for a lock is the file's.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from appliance.errors import ConfigurationError, DataDirectoryBusy
from appliance.files import PRIVATE, write_durably

PLACE = "store.json"
DATABASE = "skerry.db"
Where = Literal["sqlite", "kubernetes"]


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`since` is RFC 3339 text, UTC."""

    store: Where
    since: str


@contextmanager
def lock_directory(data: Path) -> Iterator[None]:
    """Hold the data directory for this process; the kernel lets go when it ends. Raises DataDirectoryBusy."""
    with (data / "skerry.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataDirectoryBusy(
                f"Another appliance already runs on {data}.", hint="Stop it first, or choose another --data."
            ) from error
        yield


def find_place(data: Path) -> Where:
    """Where the folder's objects are. Raises ConfigurationError when the file cannot be read."""
    place = _read(data)
    return place.store if place else "sqlite"


def check_place(data: Path, wanted: Where) -> None:
    """Raise ConfigurationError if the folder's objects are in the other store."""
    place = _read(data)
    if place is None and wanted == "kubernetes" and (data / DATABASE).exists():
        raise ConfigurationError(
            f"the objects of {data} are in its own database, not in the cluster",
            hint="skerry store migrate --to kubernetes",
        )
    if place is not None and place.store != wanted:
        raise ConfigurationError(
            f"the objects of {data} moved to the {place.store} store at {place.since}",
            hint=f"start it with --store {place.store}, or: skerry store migrate --to {wanted}",
        )


def write_place(data: Path, store: Where, *, at: datetime) -> None:
    place = Place(store=store, since=at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    write_durably(data / PLACE, msgspec.json.encode(place), mode=PRIVATE)


def _read(data: Path) -> Place | None:
    try:
        return msgspec.json.decode((data / PLACE).read_bytes(), type=Place)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{data / PLACE} cannot be read: {error}") from error
