"""Rows of the inventory's tables as structs, and the few questions that everybody asks of them."""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from appliance.inventory.entries import Conflict, Details, Entry, Event, Location, Note, Sighting
from appliance.inventory.errors import MachineAmbiguous, MachineUnknown
from appliance.resources.meta import Document

MAX_FACTS_BYTES = 256 * 1024
# By what a person may name a machine, most telling first.
NAMING = ("name", "serial", "mac", "tag", "ip", "tpm", "machine", "alias")

Row = sqlite3.Row


def read_entry(connection: sqlite3.Connection, id: int) -> Entry:
    """Without its conflicts. Raises MachineUnknown."""
    row = connection.execute("SELECT * FROM entries WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise MachineUnknown(f"There is no inventory entry {id}.")
    return entry_of(row)


def read_entries(connection: sqlite3.Connection, ids: Sequence[int]) -> list[Entry]:
    """In the order of `ids`; those that are gone meanwhile are left out."""
    found = {}
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        marks = ",".join("?" * len(some))
        for row in connection.execute(f"SELECT * FROM entries WHERE id IN ({marks})", some):  # noqa: S608 - marks
            found[row["id"]] = row
    rows = [found[each] for each in ids if each in found]
    return [entry_of(row, conflicts=count_conflicts(connection, row["id"])) for row in rows]


def entry_of(row: Row, *, conflicts: int = 0) -> Entry:
    return Entry(
        id=row["id"],
        state=row["state"],
        namespace=row["namespace"],
        name=row["name"],
        uid=row["uid"],
        approval=row["approval"],
        tpm_hash=row["tpm_hash"],
        machine_hash=row["machine_hash"],
        serial=row["serial"],
        manufacturer=row["manufacturer"],
        product=row["product"],
        asset_tag=row["asset_tag"],
        location=Location(site=row["site"], line=row["line"], cell=row["cell"], slot=row["slot"]),
        macs=msgspec.json.decode(row["macs"], type=list[str]),
        addresses=msgspec.json.decode(row["addresses"], type=list[str]),
        labels=msgspec.json.decode(row["labels"], type=dict[str, str]),
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        last_source=row["last_source"],
        conflicts=conflicts,
    )


def count_conflicts(connection: sqlite3.Connection, id: int) -> int:
    return int(
        connection.execute(
            "SELECT (SELECT count(*) FROM conflicts WHERE is_open AND one = ?1)"
            " + (SELECT count(*) FROM conflicts WHERE is_open AND other = ?1)",
            (id,),
        ).fetchone()[0]
    )


def read_details(connection: sqlite3.Connection, id: int) -> Details:
    """Raises MachineUnknown."""
    found = read_entries(connection, [id])
    if not found:
        raise MachineUnknown(f"There is no inventory entry {id}.")
    sightings = connection.execute(
        "SELECT * FROM sightings WHERE entry = ? ORDER BY last_seen DESC, address", (id,)
    )
    return Details(
        entry=found[0],
        facts=read_facts(connection, id),
        sightings=[
            Sighting(
                source=row["source"],
                address=row["address"],
                interface=row["interface"],
                first_seen=row["first_seen"],
                last_seen=row["last_seen"],
                times=row["times"],
            )
            for row in sightings
        ],
        notes=read_notes(connection, id),
        conflicts=read_conflicts(connection, id),
    )


def read_facts(connection: sqlite3.Connection, id: int) -> Document:
    row = connection.execute("SELECT document FROM facts WHERE entry = ?", (id,)).fetchone()
    return msgspec.json.decode(zlib.decompress(row[0]), type=Document) if row else {}


def read_notes(connection: sqlite3.Connection, id: int) -> list[Note]:
    rows = connection.execute("SELECT * FROM notes WHERE entry = ? ORDER BY id", (id,))
    return [Note(time=row["time"], author=row["author"], text=row["text"]) for row in rows]


def read_conflicts(connection: sqlite3.Connection, id: int | None = None) -> list[Conflict]:
    """The open ones, of one entry or of all."""
    rows = connection.execute(
        "SELECT c.*, a.name AS one_name, b.name AS other_name FROM conflicts c"
        " JOIN entries a ON a.id = c.one JOIN entries b ON b.id = c.other"
        " WHERE is_open AND (?1 IS NULL OR one = ?1 OR other = ?1) ORDER BY c.id LIMIT 1000",
        (id,),
    )
    return [
        Conflict(
            id=row["id"],
            kind=row["kind"],
            value=row["value"],
            one=row["one"],
            other=row["other"],
            since=row["since"],
            one_name=row["one_name"],
            other_name=row["other_name"],
        )
        for row in rows
    ]


def read_events(
    connection: sqlite3.Connection, id: int | None, *, before: int = 0, limit: int = 100
) -> list[Event]:
    """Newest first, of one entry or of all; those older than the event `before`."""
    rows = connection.execute(
        f"SELECT * FROM events WHERE {'entry = ?1' if id is not None else '?1 IS NULL'}"  # noqa: S608 - constants
        " AND (?2 = 0 OR id < ?2) ORDER BY id DESC LIMIT ?3",
        (id, before, limit),
    )
    return [
        Event(
            id=row["id"],
            entry=row["entry"],
            time=row["time"],
            kind=row["kind"],
            what=row["what"],
            before=row["before"],
            after=row["after"],
            source=row["source"],
        )
        for row in rows
    ]


def find_entry(connection: sqlite3.Connection, reference: str, *, kinds: Iterable[str] = NAMING) -> int:
    """The machine that a person means by a name, serial, MAC, tag, address, hash or number.

    Raises MachineUnknown, MachineAmbiguous.
    """
    for kind in kinds:
        found = find_by_key(connection, kind, reference)
        if len(found) > 1:
            names = ", ".join(f"{entry.name or 'unnamed'} (id:{entry.id})" for entry in found[:5])
            raise MachineAmbiguous(
                f"{reference[:80]!r} is the {kind} of {len(found)} machines: {names}.",
                hint="Say which by its id, as in id:12.",
            )
        if found:
            return found[0].id
    number = reference.removeprefix("id:")
    if kinds is NAMING and number.isdecimal() and len(number) < 18:
        return read_entry(connection, int(number)).id
    raise MachineUnknown(
        f"No machine is known as {reference[:80]!r}.", hint="skerry inventory search finds parts of names."
    )


def find_by_key(connection: sqlite3.Connection, kind: str, value: str) -> list[Entry]:
    """Those registered now, else those that once were or were merely heard."""
    rows = connection.execute(
        "SELECT entries.* FROM keys JOIN entries ON id = entry WHERE kind = ? AND value = ?"
        " ORDER BY entry LIMIT 20",
        (kind, render_key(kind, value)),
    )
    found = [entry_of(row) for row in rows]
    return [entry for entry in found if entry.state == "registered"] or found


def render_key(kind: str, value: str) -> str:
    """A key as it is stored and asked for."""
    if kind == "label":
        return value
    text = value.strip().casefold()
    if kind == "mac":
        bare = "".join(letter for letter in text if letter not in ":-.")
        return ":".join(bare[start : start + 2] for start in range(0, len(bare), 2))
    return text


def each_entry(connection: sqlite3.Connection) -> Iterator[Entry]:
    """Every entry by name, a page at a time in memory."""
    place: tuple[str, int] = ("", 0)
    while True:
        rows = connection.execute(
            "SELECT * FROM entries WHERE (name, id) > (?, ?) ORDER BY name, id LIMIT 500", place
        ).fetchall()
        if not rows:
            return
        for row in rows:
            yield entry_of(row)
        place = rows[-1]["name"], rows[-1]["id"]
