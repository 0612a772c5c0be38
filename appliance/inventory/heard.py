"""Machines that announce themselves: sightings of a known one, else entries of their own, bounded.

Anybody on the link can say anything, so an announcement changes no fact and is no sign of life; it says where
something called itself a machine.
"""

import sqlite3

from appliance.inventory.book import add_key, create_entry, refresh_index, sight
from appliance.inventory.observations import Announced
from appliance.inventory.people import merge_entries
from appliance.inventory.rows import find_by_key

MAX_HEARD = 2000  # entries of machines that nobody proved; the one longest unheard goes


def hear(connection: sqlite3.Connection, said: Announced) -> int:
    """Write one announcement; the id of the entry it is of."""
    known = find_by_key(connection, "announced", said.id)
    registered = [entry for entry in known if entry.state != "heard"]
    number = registered[0].id if len(registered) == 1 else _find_by_address(connection, said)
    if number is None and known:
        number = known[0].id
    if number is None:
        _make_room(connection)
        number = create_entry(connection, state="heard", at=said.first_seen)
        connection.execute("UPDATE entries SET name = ? WHERE id = ?", (said.name, number))
    for entry in known:
        if entry.state == "heard" and entry.id != number:
            merge_entries(connection, number, entry.id, by="mdns", at=said.last_seen)
    add_key(connection, number, "announced", said.id)
    sight(connection, number, "mdns", said.address, at=said.last_seen)
    connection.execute(
        "UPDATE entries SET last_seen = max(last_seen, ?), last_source = 'mdns', addresses = json_array(?)"
        " WHERE id = ? AND state = 'heard'",
        (said.last_seen, said.address, number),
    )
    refresh_index(connection, number)
    return number


def _find_by_address(connection: sqlite3.Connection, said: Announced) -> int | None:
    """The one registered machine that has this address, unless its serial ends otherwise."""
    found = [entry for entry in find_by_key(connection, "ip", said.address) if entry.state == "registered"]
    tail = said.serial_tail.casefold()
    fitting = [entry for entry in found if not entry.serial or entry.serial.casefold().endswith(tail)]
    return fitting[0].id if len(fitting) == 1 else None


def _make_room(connection: sqlite3.Connection) -> None:
    """Forget the heard machine that was silent longest, of those about which nobody wrote anything."""
    held = connection.execute("SELECT count(*) FROM entries WHERE state = 'heard'").fetchone()[0]
    if held < MAX_HEARD:
        return
    row = connection.execute(
        "SELECT id FROM entries WHERE state = 'heard' AND asset_tag = ''"
        " AND site || line || cell || slot = ''"
        " AND NOT EXISTS (SELECT 1 FROM notes WHERE entry = entries.id) ORDER BY last_seen LIMIT 1"
    ).fetchone()
    if row is None:
        return
    for table in ("keys", "sightings", "events", "facts"):
        connection.execute(f"DELETE FROM {table} WHERE entry = ?", (row["id"],))  # noqa: S608 - constants
    connection.execute("DELETE FROM search WHERE rowid = ?", (row["id"],))
    connection.execute("DELETE FROM entries WHERE id = ?", (row["id"],))
