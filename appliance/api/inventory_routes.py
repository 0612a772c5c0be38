"""The table of `/skerry/v1/inventory`. The export is a stream of its own, beside it."""

from appliance.api import inventory_contract as c
from appliance.api.routes import Route

ENTRY = "/inventory/machines/{machine}"

INVENTORY_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/inventory",
        "list_machines",
        "Machines by name, page by page",
        c.EntryList,
        query=("state", "site", "line", "cell", "slot", "label", "olderThan", "limit", "continue"),
    ),
    Route(
        "GET",
        "/inventory/search",
        "search_machines",
        "Machines by any part of anything",
        c.EntryList,
        query=("q", "limit"),
    ),
    Route("GET", "/inventory/conflicts", "list_conflicts", "Machines that claim the same", c.ConflictList),
    Route(
        "GET",
        "/inventory/history",
        "list_history",
        "What changed, of all machines",
        c.EventList,
        query=("before", "limit"),
    ),
    Route(
        "POST",
        "/inventory/import",
        "import_machines",
        "Merge tags, locations and notes from a file",
        c.ImportOutcome,
        query=("format", "dryRun", "skipBad", "by"),
    ),
    Route("GET", ENTRY, "show_machine", "All that is known of one machine", c.Details),
    Route(
        "GET",
        f"{ENTRY}/history",
        "show_history",
        "What changed of one machine",
        c.EventList,
        query=("before", "limit"),
    ),
    Route("POST", f"{ENTRY}/location", "set_location", "Say where it stands", c.Entry, c.LocationRequest),
    Route("POST", f"{ENTRY}/tag", "set_tag", "Give it an asset tag", c.Entry, c.TagRequest),
    Route("POST", f"{ENTRY}/notes", "add_note", "Write a note, for good", c.Entry, c.NoteRequest),
    Route("POST", f"{ENTRY}/merge", "merge_machines", "Two entries are one machine", c.Entry, c.MergeRequest),
    Route(
        "POST",
        "/inventory/conflicts/{conflict}/apart",
        "keep_apart",
        "Two entries are two machines",
        c.ConflictList,
        c.ApartRequest,
    ),
)
