"""Requests and replies under `/skerry/v1/inventory`; clients and server share this file."""

from appliance.api.contract import API_VERSION, Reply, Request
from appliance.inventory.entries import (
    Conflict,
    Details,
    Entry,
    Event,
    ImportOutcome,
    Location,
)

__all__ = ["Conflict", "Details", "Entry", "Event", "ImportOutcome", "Location"]


class EntryList(Reply, frozen=True, kw_only=True):
    """`continue_token` asks for the next page; `is_cut` says that a search found more than it shows."""

    items: list[Entry]
    continue_token: str = ""
    is_cut: bool = False
    kind: str = "InventoryList"
    api_version: str = API_VERSION


class EventList(Reply, frozen=True, kw_only=True):
    """Newest first; `before` the id of the last one are the older ones."""

    items: list[Event]
    kind: str = "InventoryHistory"
    api_version: str = API_VERSION


class ConflictList(Reply, frozen=True, kw_only=True):
    items: list[Conflict]
    kind: str = "InventoryConflicts"
    api_version: str = API_VERSION


class LocationRequest(Request, frozen=True, kw_only=True):
    """The whole location: what is left empty is taken away. `by` counts from the box's own administrator."""

    location: Location
    by: str = ""


class TagRequest(Request, frozen=True, kw_only=True):
    """An empty tag takes it away."""

    asset_tag: str
    by: str = ""


class NoteRequest(Request, frozen=True, kw_only=True):
    text: str
    by: str = ""


class MergeRequest(Request, frozen=True, kw_only=True):
    """`other` becomes part of the machine in the path."""

    other: str
    by: str = ""


class ApartRequest(Request, frozen=True, kw_only=True):
    by: str = ""
