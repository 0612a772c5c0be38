"""What people say of a machine: where it stands, its tag, notes, and whether two entries are one machine.

Runs in the writer's thread, inside its transaction. Each change is in the entry's history with its author.
The caller refreshes the index, once for all that it changed.
"""

import sqlite3
import unicodedata

from appliance.inventory.book import add_events
from appliance.inventory.entries import Location
from appliance.inventory.errors import EntryInvalid
from appliance.inventory.facts import Change
from appliance.inventory.rows import read_entry, render_key

MAX_WORD = 64  # a part of a location, a tag
MAX_NOTE = 4096
MAX_NOTES = 1000
PLACE = ("site", "line", "cell", "slot")


def set_location(connection: sqlite3.Connection, id: int, place: Location, *, by: str, at: str) -> None:
    """Raises EntryInvalid."""
    before = read_entry(connection, id)
    words = [check_word(getattr(place, part), what=part) for part in PLACE]
    if before.location == place:
        return
    connection.execute("UPDATE entries SET site = ?, line = ?, cell = ?, slot = ? WHERE id = ?", (*words, id))
    change = Change("changed", "location", str(before.location), str(place))
    add_events(connection, id, [change], at=at, source=by)


def set_tag(connection: sqlite3.Connection, id: int, tag: str, *, by: str, at: str) -> None:
    """Give the machine an asset tag, or take it away with an empty one. A tag is one machine's."""
    before = read_entry(connection, id)
    check_word(tag, what="asset tag")
    if before.asset_tag == tag:
        return
    held = connection.execute(
        "SELECT id, name FROM keys JOIN entries ON id = entry WHERE kind = 'tag' AND value = ? AND id != ?",
        (render_key("tag", tag), id),
    ).fetchone()
    if held is not None:
        raise EntryInvalid(
            f"The asset tag {tag} is already that of {held['name'] or 'a machine'} (id:{held['id']})."
        )
    connection.execute("UPDATE entries SET asset_tag = ? WHERE id = ?", (tag, id))
    change = Change("changed", "asset tag", before.asset_tag, tag)
    add_events(connection, id, [change], at=at, source=by)


def add_note(connection: sqlite3.Connection, id: int, text: str, *, by: str, at: str) -> None:
    """Raises EntryInvalid."""
    text = check_note(text)
    held = connection.execute("SELECT count(*) FROM notes WHERE entry = ?", (id,)).fetchone()[0]
    if held >= MAX_NOTES:
        raise EntryInvalid(f"There are {held} notes on this machine already, which is the most.")
    connection.execute(
        "INSERT INTO notes (entry, time, author, text) VALUES (?, ?, ?, ?)", (id, at, by, text)
    )


def merge_entries(connection: sqlite3.Connection, keep: int, other: int, *, by: str, at: str) -> None:
    """Make two entries one: `keep` gets the history, notes and keys of `other`, which is gone then."""
    kept, gone = read_entry(connection, keep), read_entry(connection, other)
    if keep == other:
        raise EntryInvalid("An entry cannot be merged with itself.")
    if kept.state == gone.state == "registered":
        raise EntryInvalid(
            f"{kept.name} and {gone.name} are both registered, so they are two machines to everybody else.",
            hint="Delete the MachineInventory of one of them first.",
        )
    for table in ("events", "notes"):
        connection.execute(f"UPDATE {table} SET entry = ? WHERE entry = ?", (keep, other))  # noqa: S608
    for table in ("keys", "sightings"):
        connection.execute(f"UPDATE OR IGNORE {table} SET entry = ? WHERE entry = ?", (keep, other))  # noqa: S608
        connection.execute(f"DELETE FROM {table} WHERE entry = ?", (other,))  # noqa: S608 - constants
    connection.execute("UPDATE OR IGNORE facts SET entry = ? WHERE entry = ?", (keep, other))
    connection.execute("DELETE FROM facts WHERE entry = ?", (other,))
    connection.execute("DELETE FROM conflicts WHERE ? IN (one, other)", (other,))
    connection.execute("DELETE FROM search WHERE rowid = ?", (other,))
    connection.execute("DELETE FROM entries WHERE id = ?", (other,))
    if kept.location == Location():
        place = gone.location
        connection.execute(
            "UPDATE entries SET site = ?, line = ?, cell = ?, slot = ? WHERE id = ?",
            (place.site, place.line, place.cell, place.slot, keep),
        )
    connection.execute(
        "UPDATE entries SET first_seen = min(first_seen, ?), asset_tag = ? WHERE id = ?",
        (gone.first_seen, kept.asset_tag or gone.asset_tag, keep),
    )
    if gone.name and gone.name != kept.name:
        connection.execute("INSERT OR IGNORE INTO keys VALUES ('alias', ?, ?)", (gone.name.casefold(), keep))
    what = f"{gone.name or 'a machine that was heard'} (id:{other})"
    change = Change("merged", "machine", what, kept.name)
    add_events(connection, keep, [change], at=at, source=by)


def keep_apart(connection: sqlite3.Connection, conflict: int, *, by: str, at: str) -> None:
    """Two machines that claim the same are two all the same: the conflict is settled. Raises EntryInvalid."""
    row = connection.execute("SELECT * FROM conflicts WHERE id = ? AND is_open", (conflict,)).fetchone()
    if row is None:
        raise EntryInvalid(f"There is no open conflict {conflict}.", hint="skerry inventory conflicts")
    connection.execute("UPDATE conflicts SET is_open = 0 WHERE id = ?", (conflict,))
    for each, its in ((row["one"], row["other"]), (row["other"], row["one"])):
        change = Change("kept apart", f"{row['kind']} {row['value']}", "", f"not id:{its}")
        add_events(connection, each, [change], at=at, source=by)


def check_word(text: str, *, what: str) -> str:
    """A word for a column: short, on one line, without what drives a terminal. Raises EntryInvalid."""
    if len(text) > MAX_WORD or text != text.strip() or _has_controls(text):
        raise EntryInvalid(f"The {what} {text[:80]!r} must be one line of at most {MAX_WORD} characters.")
    return text


def check_note(text: str) -> str:
    """The text as it is kept. Raises EntryInvalid."""
    kept = text.strip().replace("\r\n", "\n")
    if not kept or len(kept) > MAX_NOTE or _has_controls(kept.replace("\n", "").replace("\t", "")):
        raise EntryInvalid(f"A note is plain text of 1 to {MAX_NOTE} characters.")
    return kept


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(letter)[0] == "C" for letter in text)
