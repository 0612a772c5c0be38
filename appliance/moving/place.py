"""Which store holds an appliance's objects: `store.json` in its data folder, written by a move.

Without the file it is the embedded one. `skerry serve` asks here, so that two stores never both believe that
they are the one.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from appliance.errors import ConfigurationError
from appliance.files import PRIVATE, write_durably

PLACE = "store.json"
Where = Literal["sqlite", "kubernetes"]


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`since` is RFC 3339 text, UTC."""

    store: Where
    since: str


def check_place(data: Path, wanted: Where) -> None:
    """Raise ConfigurationError if the folder's objects are in the other store."""
    try:
        place = msgspec.json.decode((data / PLACE).read_bytes(), type=Place)
    except FileNotFoundError:
        return
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{data / PLACE} cannot be read: {error}") from error
    if place.store != wanted:
        raise ConfigurationError(
            f"the objects of {data} moved to the {place.store} store at {place.since}",
            hint=f"start it with --store {place.store}, or: skerry store migrate --to {wanted}",
        )


def write_place(data: Path, store: Where, *, at: datetime) -> None:
    place = Place(store=store, since=at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    write_durably(data / PLACE, msgspec.json.encode(place), mode=PRIVATE)
