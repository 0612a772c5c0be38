"""The client's calls to the inventory; `appliance.api.client.Client` has them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal
from urllib.parse import quote, urlencode

from appliance.api.contract import PREFIX
from appliance.api.inventory_contract import (
    ApartRequest,
    Conflict,
    ConflictList,
    Details,
    Entry,
    EntryList,
    Event,
    EventList,
    ImportOutcome,
    Location,
    LocationRequest,
    MergeRequest,
    NoteRequest,
    TagRequest,
)
from appliance.api.wire import Wire

IMPORT_SECONDS = 600.0  # a hundred thousand rows are judged before the answer comes


class InventoryCalls(Wire):
    """Machines: their facts, places, notes and history."""

    def machines(
        self, *, limit: int = 1000, query: Mapping[str, str] | None = None, labels: Sequence[str] = ()
    ) -> Iterator[Entry]:
        """Every machine of the inventory by name, a page at a time."""
        token = ""
        while True:
            asked = [("limit", str(limit)), ("continue", token), *(query or {}).items()]
            asked += [("label", label) for label in labels]
            given = urlencode([(key, value) for key, value in asked if value])
            page = self.read(EntryList, "GET", f"{PREFIX}/inventory?{given}")
            yield from page.items
            token = page.continue_token
            if not token:
                return

    def search_machines(self, text: str, *, limit: int = 100) -> EntryList:
        query = {"q": text, "limit": str(limit)}
        return self.read(EntryList, "GET", f"{PREFIX}/inventory/search", query=query)

    def machine(self, name: str) -> Details:
        """By name, serial, MAC, address, asset tag or id."""
        return self.read(Details, "GET", _machine_path(name))

    def machine_history(self, name: str = "", *, limit: int = 100, before: int = 0) -> list[Event]:
        """Newest first; of every machine without a name."""
        path = f"{_machine_path(name)}/history" if name else f"{PREFIX}/inventory/history"
        query = {"limit": str(limit), "before": str(before)}
        return self.read(EventList, "GET", path, query=query).items

    def set_location(self, name: str, location: Location, *, by: str = "") -> Entry:
        body = LocationRequest(location=location, by=by)
        return self.read(Entry, "POST", f"{_machine_path(name)}/location", body=body)

    def set_asset_tag(self, name: str, tag: str, *, by: str = "") -> Entry:
        body = TagRequest(asset_tag=tag, by=by)
        return self.read(Entry, "POST", f"{_machine_path(name)}/tag", body=body)

    def add_note(self, name: str, text: str, *, by: str = "") -> Entry:
        return self.read(Entry, "POST", f"{_machine_path(name)}/notes", body=NoteRequest(text=text, by=by))

    def merge_machines(self, name: str, other: str, *, by: str = "") -> Entry:
        body = MergeRequest(other=other, by=by)
        return self.read(Entry, "POST", f"{_machine_path(name)}/merge", body=body)

    def machine_conflicts(self) -> list[Conflict]:
        return self.read(ConflictList, "GET", f"{PREFIX}/inventory/conflicts").items

    def keep_apart(self, conflict: int, *, by: str = "") -> list[Conflict]:
        path = f"{PREFIX}/inventory/conflicts/{conflict}/apart"
        return self.read(ConflictList, "POST", path, body=ApartRequest(by=by)).items

    def export_machines(self, *, format: Literal["csv", "json"]) -> Iterator[bytes]:
        """The whole inventory as a file, in pieces."""
        with self.exchange("GET", f"{PREFIX}/inventory/export?format={format}") as response:
            while piece := response.read(256 * 1024):
                yield piece

    def import_machines(
        self,
        content: bytes,
        *,
        format: Literal["csv", "json"],
        skip_bad: bool = False,
        dry_run: bool = False,
        by: str = "",
    ) -> ImportOutcome:
        query = {
            "format": format,
            "skipBad": "true" if skip_bad else "",
            "dryRun": "true" if dry_run else "",
            "by": by,
        }
        path = f"{PREFIX}/inventory/import"
        return self.read(
            ImportOutcome,
            "POST",
            path,
            body=content,
            query=query,
            content_type="text/plain",
            timeout=IMPORT_SECONDS,
        )


def _machine_path(name: str) -> str:
    return f"{PREFIX}/inventory/machines/{quote(name, safe='')}"
