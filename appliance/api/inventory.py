"""The routes under `/skerry/v1/inventory`: lists, searches, history, and what people say of a machine.

The table is in `inventory_routes`; files go out and come in as streams, bounded. An inventory that could not
be opened answers every request with why, and the rest of the appliance goes on.
"""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

from aiohttp import web

from appliance.access.roles import CONTROL_GROUP
from appliance.access.rules import Asked
from appliance.api import inventory_contract as c
from appliance.api.contract import PREFIX
from appliance.api.identity import ADMINISTRATOR, CALLER, check_access
from appliance.api.inventory_routes import INVENTORY_ROUTES
from appliance.api.problems import BadRequest, TooLarge
from appliance.api.server import add_routes
from appliance.inventory.entries import Details, Entry, ImportOutcome, State
from appliance.inventory.errors import InventoryError
from appliance.inventory.inventory import Inventory, Wanted
from appliance.inventory.people import PLACE, check_word
from appliance.inventory.staleness import render_time
from appliance.inventory.table import MAX_BYTES

MAX_LIMIT = 1000
PAGE = 100
MEDIA = {"csv": "text/csv", "json": "application/x-ndjson"}
STATES: dict[str, State] = {"registered": "registered", "heard": "heard", "removed": "removed"}
MAX_SECONDS = 10 * 365 * 24 * 3600


def add_inventory_routes(
    app: web.Application,
    inventory: Inventory | InventoryError,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Mount the table and the export on `app`."""
    api = InventoryApi(inventory, clock)
    add_routes(app, INVENTORY_ROUTES, api)
    app.router.add_get(f"{PREFIX}/inventory/export", api.export)


class InventoryApi:
    """One method a route of the table, under the route's name."""

    def __init__(self, inventory: Inventory | InventoryError, clock: Callable[[], datetime]) -> None:
        self._opened = inventory
        self._clock = clock

    async def list_machines(self, request: web.Request, _: None) -> c.EntryList:
        query, limit = request.query, _limit(request)
        wanted = Wanted(
            state=_state(query.get("state", "")),
            place={part: query[part] for part in PLACE if part in query},
            labels=query.getall("label", []),
            seen_before=self._moment(query.get("olderThan", "")),
        )
        found = await self._inventory.select(wanted, limit=limit + 1, after=_place(query.get("continue", "")))
        shown = found[:limit]
        token = json.dumps([shown[-1].name, shown[-1].id]) if len(found) > limit else ""
        return c.EntryList(items=shown, continue_token=token)

    async def search_machines(self, request: web.Request, _: None) -> c.EntryList:
        limit = _limit(request)
        found = await self._inventory.search(request.query.get("q", ""), limit=limit + 1)
        return c.EntryList(items=found[:limit], is_cut=len(found) > limit)

    async def show_machine(self, request: web.Request, _: None) -> Details:
        return await self._inventory.show(request.match_info["machine"])

    async def show_history(self, request: web.Request, _: None) -> c.EventList:
        return await self._history(request, request.match_info["machine"])

    async def list_history(self, request: web.Request, _: None) -> c.EventList:
        return await self._history(request, "")

    async def list_conflicts(self, request: web.Request, _: None) -> c.ConflictList:
        return c.ConflictList(items=await self._inventory.conflicts())

    async def set_location(self, request: web.Request, body: c.LocationRequest) -> Entry:
        machine, by = request.match_info["machine"], _author(request, body.by)
        return await self._inventory.set_location(machine, body.location, by=by)

    async def set_tag(self, request: web.Request, body: c.TagRequest) -> Entry:
        machine, by = request.match_info["machine"], _author(request, body.by)
        return await self._inventory.set_tag(machine, body.asset_tag, by=by)

    async def add_note(self, request: web.Request, body: c.NoteRequest) -> Entry:
        machine, by = request.match_info["machine"], _author(request, body.by)
        return await self._inventory.add_note(machine, body.text, by=by)

    async def merge_machines(self, request: web.Request, body: c.MergeRequest) -> Entry:
        machine, by = request.match_info["machine"], _author(request, body.by)
        return await self._inventory.merge(machine, body.other, by=by)

    async def keep_apart(self, request: web.Request, body: c.ApartRequest) -> c.ConflictList:
        conflict = _number(request.match_info["conflict"], what="conflict")
        await self._inventory.keep_apart(conflict, by=_author(request, body.by))
        return c.ConflictList(items=await self._inventory.conflicts())

    async def import_machines(self, request: web.Request, _: None) -> ImportOutcome:
        query = request.query
        return await self._inventory.import_rows(
            await _read_file(request),
            format=_format(request),
            skip_bad=query.get("skipBad", "") == "true",
            dry_run=query.get("dryRun", "") == "true",
            by=_author(request, query.get("by", "")),
        )

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Not a row of the table: it answers a file."""
        await check_access(request, Asked("list", CONTROL_GROUP, "inventory"))
        wanted = _format(request)
        pieces: AsyncIterator[bytes] = self._inventory.export(format=wanted)
        first = await anext(pieces, b"")  # what can fail fails before the status is said
        response = web.StreamResponse(
            headers={
                "Content-Type": MEDIA[wanted],
                "Content-Disposition": f'attachment; filename="inventory.{wanted}"',
                "Cache-Control": "no-store",
            }
        )
        await response.prepare(request)
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    @property
    def _inventory(self) -> Inventory:
        if isinstance(self._opened, InventoryError):
            raise self._opened
        return self._opened

    async def _history(self, request: web.Request, machine: str) -> c.EventList:
        before = _number(request.query.get("before", "0"), what="event")
        events = await self._inventory.history(machine, before=before, limit=_limit(request))
        return c.EventList(items=events)

    def _moment(self, seconds: str) -> str:
        """The time that many seconds ago; nothing for an empty text."""
        if not seconds:
            return ""
        ago = min(_number(seconds, what="number of seconds"), MAX_SECONDS)
        return render_time(self._clock() - timedelta(seconds=ago))


def _author(request: web.Request, by: str) -> str:
    """Whoever asks; on the box itself, where everybody is the administrator, who they say they are."""
    caller = request[CALLER]
    if caller != ADMINISTRATOR or not by:
        return str(caller.name)
    return check_word(by, what="author")


def _format(request: web.Request) -> str:
    wanted = request.query.get("format", "csv")
    if wanted not in MEDIA:
        raise BadRequest(f"There is no format {wanted[:20]!r}.", hint="format=csv or format=json")
    return wanted


def _limit(request: web.Request) -> int:
    limit = _number(request.query.get("limit", str(PAGE)), what="limit")
    if not 1 <= limit <= MAX_LIMIT:
        raise BadRequest(f"A limit is 1 to {MAX_LIMIT}.")
    return limit


def _number(text: str, *, what: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise BadRequest(f"{text[:20]!r} is no {what}.")
    return int(text)


def _state(text: str) -> State | None:
    if text and text not in STATES:
        raise BadRequest(f"There is no state {text[:20]!r}.", hint=f"It is one of {', '.join(STATES)}.")
    return STATES.get(text)


def _place(token: str) -> tuple[str, int]:
    if not token:
        return "", 0
    try:
        name, number = json.loads(token)
        return str(name), int(number)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadRequest("The continue token is not one of ours.") from error


async def _read_file(request: web.Request) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_chunked(256 * 1024):
        body += chunk
        if len(body) > MAX_BYTES:
            raise TooLarge(f"The file is over {MAX_BYTES} bytes.", hint="Import it in parts.")
    return bytes(body)
