"""Writes what was observed: finds or makes the machine's entry, notes what changed, keeps it findable.

Everything here runs in the writer's thread, inside its transaction, and may be repeated: an observation that
was written before changes nothing but when it was last seen.
"""

import logging
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from agent.protocol.documents import JSON
from appliance.inventory.entries import Entry, Note
from appliance.inventory.facts import Change, Hardware, compare, merge_trees, read_hardware
from appliance.inventory.matching import Key, Known, match
from appliance.inventory.observations import Observation
from appliance.inventory.rows import MAX_FACTS_BYTES, read_entry, read_facts, read_notes, render_key

log = logging.getLogger(__name__)

MAX_EVENTS = 2000  # an entry; the oldest go
MAX_SIGHTINGS = 64  # an entry
# Ways by which a machine stays findable for ever; all others are as they are now.
LASTING_KEYS = frozenset(("tpm", "machine", "alias", "announced"))


def observe(connection: sqlite3.Connection, seen: Observation) -> int | None:
    """Write one observation; the entry's id, or None for a report of a machine that is not known yet."""
    hardware = read_hardware(seen.facts)
    number = _find_reporter(connection, seen) if seen.source == "report" else None
    if seen.source == "report" and number is None:
        return None
    if number is None:
        number = _find_machine(connection, seen, hardware)
    before = read_entry(connection, number)
    old_tree = read_facts(connection, number) if seen.facts else {}
    after = _next_entry(before, seen, hardware)
    changes = list(_compare_entries(before, after))
    if seen.facts:
        changes += compare(read_hardware(old_tree), hardware) if old_tree else []
        _write_facts(connection, number, old_tree, seen.facts)
    _write_entry(connection, before, after)
    if seen.source != "report":
        connection.execute("UPDATE entries SET is_missing = 0 WHERE id = ? AND is_missing", (number,))
    if after.name != before.name and before.name:
        add_key(connection, number, "alias", before.name)
    add_events(connection, number, changes, at=seen.at, source=seen.source)
    if seen.is_sign_of_life:
        for address in (seen.addresses or ("",))[:8]:
            sight(connection, number, seen.source, address, at=seen.at)
    if seen.facts or _is_indexed_differently(before, after):
        refresh_index(connection, number)
    return number


def remove(connection: sqlite3.Connection, namespace: str, name: str, *, uid: str, at: str) -> None:
    """The machine's record is gone from the store; what is known of it stays."""
    for row in connection.execute(
        "SELECT id FROM entries WHERE namespace = ? AND name = ? AND uid = ? AND state = 'registered'",
        (namespace, name, uid),
    ).fetchall():
        connection.execute("UPDATE entries SET state = 'removed' WHERE id = ?", (row["id"],))
        change = Change("changed", "state", "registered", "removed")
        add_events(connection, row["id"], [change], at=at, source="inventory")


def add_events(
    connection: sqlite3.Connection, number: int, changes: Sequence[Change], *, at: str, source: str
) -> None:
    """Append to the entry's history; the oldest beyond the limit go."""
    if not changes:
        return
    connection.executemany(
        "INSERT INTO events (entry, time, kind, what, before, after, source) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (number, at, each.kind, each.what, each.before[:1024], each.after[:1024], source)
            for each in changes
        ],
    )
    connection.execute(
        "DELETE FROM events WHERE entry = ?1 AND id <= (SELECT id FROM events WHERE entry = ?1"
        " ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (number, MAX_EVENTS),
    )


def sight(
    connection: sqlite3.Connection, number: int, source: str, address: str, *, at: str, interface: str = ""
) -> None:
    """The entry was met at that address; of many addresses the ones longest unseen are forgotten."""
    done = connection.execute(
        "UPDATE sightings SET times = times + (last_seen < ?5), last_seen = max(last_seen, ?5)"
        " WHERE entry = ?1 AND source = ?2 AND address = ?3 AND interface = ?4",
        (number, source, address, interface, at),
    )
    if done.rowcount:
        return
    connection.execute(
        "INSERT INTO sightings VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1)", (number, source, address, interface, at)
    )
    connection.execute(
        "DELETE FROM sightings WHERE entry = ?1 AND last_seen < (SELECT last_seen FROM sightings"
        " WHERE entry = ?1 ORDER BY last_seen DESC LIMIT 1 OFFSET ?2)",
        (number, MAX_SIGHTINGS - 1),
    )


def add_key(connection: sqlite3.Connection, number: int, kind: str, value: str) -> None:
    connection.execute("INSERT OR IGNORE INTO keys VALUES (?, ?, ?)", (kind, render_key(kind, value), number))


def refresh_index(connection: sqlite3.Connection, number: int) -> None:
    """Make the keys and the search say what the entry says."""
    entry = read_entry(connection, number)
    hardware = read_hardware(read_facts(connection, number))
    _refresh_keys(connection, entry)
    texts = _render_texts(entry, hardware, _aliases(connection, number), read_notes(connection, number))
    row = connection.execute(
        "SELECT name, serial, mac, ip, tag, location, label, more FROM search WHERE rowid = ?", (number,)
    ).fetchone()
    if row is not None and tuple(row) == texts:
        return
    if row is not None:
        connection.execute("DELETE FROM search WHERE rowid = ?", (number,))
    connection.execute(
        "INSERT INTO search (rowid, name, serial, mac, ip, tag, location, label, more)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, *texts),
    )


def create_entry(connection: sqlite3.Connection, *, state: str, at: str) -> int:
    done = connection.execute("INSERT INTO entries (state, first_seen) VALUES (?, ?)", (state, at))
    assert done.lastrowid is not None, "an insert has a row id"
    return done.lastrowid


def _find_reporter(connection: sqlite3.Connection, seen: Observation) -> int | None:
    row = connection.execute(
        "SELECT id FROM keys JOIN entries ON id = entry WHERE kind = 'name' AND value = ?"
        " AND namespace = ? AND state = 'registered'",
        (render_key("name", seen.name), seen.namespace),
    ).fetchone()
    return row["id"] if row else None


def _find_machine(connection: sqlite3.Connection, seen: Observation, hardware: Hardware) -> int:
    """The entry of that machine, made if there is none; claims by others become conflicts."""
    keys: list[Key] = [
        (kind, render_key(kind, value))
        for kind, value in (
            ("tpm", seen.tpm_hash),
            ("machine", seen.machine_hash),
            ("uid", seen.uid),
            ("serial", hardware.facts.get("serial", "")),
            *(("mac", mac) for mac in hardware.macs),
        )
        if value
    ]
    found = {key: _known_by(connection, key) for key in keys}
    # Whoever registers was found by its TPM among all records first, and refused if there were two.
    matched = match(keys, found, has_one_record=seen.source == "registration")
    number = matched.entry
    if number is None:
        number = create_entry(connection, state="registered", at=seen.at)
        first = Change("appeared", "machine", "", seen.name)
        add_events(connection, number, [first], at=seen.at, source=seen.source)
    for claim in matched.claims:
        one, other = sorted((number, claim.other))
        done = connection.execute(
            "INSERT OR IGNORE INTO conflicts (kind, value, one, other, since) VALUES (?, ?, ?, ?, ?)",
            (claim.kind, claim.value, one, other, seen.at),
        )
        if done.rowcount:
            log.warning(
                "inventory: entries %d and %d both have the %s %s", one, other, claim.kind, claim.value
            )
            for each, its in ((one, other), (other, one)):
                change = Change("conflict", f"{claim.kind} {claim.value}", "", f"also of id:{its}")
                add_events(connection, each, [change], at=seen.at, source=seen.source)
    return number


def _known_by(connection: sqlite3.Connection, key: Key) -> list[Known]:
    rows = connection.execute(
        "SELECT id, tpm_hash, machine_hash, uid, state, is_missing FROM keys JOIN entries ON id = entry"
        " WHERE kind = ? AND value = ? ORDER BY entry LIMIT 20",
        key,
    )
    return [
        Known(
            row["id"],
            {
                "tpm": render_key("tpm", row["tpm_hash"]),
                "machine": render_key("machine", row["machine_hash"]),
                "uid": row["uid"] if row["state"] == "registered" and not row["is_missing"] else "",
            },
        )
        for row in rows
    ]


def _next_entry(before: Entry, seen: Observation, hardware: Hardware) -> Entry:
    """What the entry says after the observation; it takes nothing away that was not said again."""
    is_newest = seen.is_sign_of_life and seen.at >= before.last_seen
    replace = msgspec.structs.replace
    after = replace(
        before,
        serial=hardware.facts.get("serial", before.serial),
        manufacturer=hardware.facts.get("manufacturer", before.manufacturer),
        product=hardware.facts.get("product", before.product),
        macs=before.macs if hardware.nics is None else hardware.macs,
        addresses=_next_addresses(before, seen),
        last_seen=seen.at if is_newest else before.last_seen,
        last_source=seen.source if is_newest else before.last_source,
    )
    if seen.source == "report":
        return after
    return replace(
        after,
        state="registered",
        namespace=seen.namespace,
        name=seen.name,
        uid=seen.uid,
        approval=seen.approval,
        tpm_hash=seen.tpm_hash or before.tpm_hash,
        machine_hash=seen.machine_hash or before.machine_hash,
        labels=dict(seen.labels if seen.labels is not None else before.labels),
    )


def _next_addresses(before: Entry, seen: Observation) -> list[str]:
    """A report names all addresses of a host; a registration only the one that it came from."""
    if not seen.addresses:
        return before.addresses
    if seen.source == "report" or not before.addresses:
        return list(seen.addresses)
    return before.addresses


def _compare_entries(before: Entry, after: Entry) -> Iterable[Change]:
    if before.name and before.name != after.name:
        yield Change("changed", "name", before.name, after.name)
    if (before.uid and before.uid != after.uid) or before.state == "removed" != after.state:
        yield Change("changed", "state", before.state, "registered again")
    for what in ("tpm_hash", "machine_hash", "approval"):
        old, new = getattr(before, what), getattr(after, what)
        if old and old != new:
            yield Change("changed", what.replace("_", " "), old, new)
    old_addresses, new_addresses = _lasting(before.addresses), _lasting(after.addresses)
    if old_addresses and old_addresses != new_addresses:
        yield Change("changed", "addresses", ", ".join(old_addresses), ", ".join(new_addresses))


def _lasting(addresses: Iterable[str]) -> list[str]:
    """Without IPv6: its private addresses change every day by themselves."""
    return sorted(address for address in addresses if ":" not in address)


def _write_entry(connection: sqlite3.Connection, before: Entry, after: Entry) -> None:
    if before == after:
        return
    columns = {
        "state": after.state,
        "namespace": after.namespace,
        "name": after.name,
        "uid": after.uid,
        "approval": after.approval,
        "tpm_hash": after.tpm_hash,
        "machine_hash": after.machine_hash,
        "serial": after.serial,
        "manufacturer": after.manufacturer,
        "product": after.product,
        "macs": msgspec.json.encode(after.macs).decode(),
        "addresses": msgspec.json.encode(after.addresses).decode(),
        "labels": msgspec.json.encode(after.labels).decode(),
        "last_seen": after.last_seen,
        "last_source": after.last_source,
    }
    if msgspec.structs.replace(after, last_seen=before.last_seen, last_source=before.last_source) == before:
        columns = {name: columns[name] for name in ("last_seen", "last_source")}  # nearly every report
    settings = ", ".join(f"{name} = ?" for name in columns)
    connection.execute(
        f"UPDATE entries SET {settings} WHERE id = ?",  # noqa: S608 - our own names
        (*columns.values(), after.id),
    )


def _write_facts(
    connection: sqlite3.Connection, number: int, before: Mapping[str, JSON], said: Mapping[str, JSON]
) -> None:
    merged = merge_trees(before, said)
    if merged == before:
        return
    encoded = msgspec.json.encode(merged, order="sorted")
    if len(encoded) > MAX_FACTS_BYTES:
        log.warning(
            "inventory: the facts of entry %d are over %d bytes and not kept", number, MAX_FACTS_BYTES
        )
        return
    connection.execute(
        "INSERT OR REPLACE INTO facts VALUES (?, ?)", (number, zlib.compress(encoded, level=1))
    )


def _is_indexed_differently(before: Entry, after: Entry) -> bool:
    """Whether anything that people search by has changed."""
    return (
        msgspec.structs.replace(
            after, last_seen=before.last_seen, last_source=before.last_source, approval=before.approval
        )
        != before
    )


def _refresh_keys(connection: sqlite3.Connection, entry: Entry) -> None:
    wanted = {
        (kind, render_key(kind, value))
        for kind, value in (
            ("name", entry.name),
            ("uid", entry.uid),
            ("tpm", entry.tpm_hash),
            ("machine", entry.machine_hash),
            ("serial", entry.serial),
            ("tag", entry.asset_tag),
            *(("location", part) for part in msgspec.structs.astuple(entry.location)),
            *(("mac", mac) for mac in entry.macs),
            *(("ip", address) for address in entry.addresses),
            *(("label", f"{key}={value}") for key, value in entry.labels.items()),
        )
        if value
    }
    rows = connection.execute("SELECT kind, value FROM keys WHERE entry = ?", (entry.id,)).fetchall()
    held = {(row["kind"], row["value"]) for row in rows}
    connection.executemany(
        "DELETE FROM keys WHERE kind = ? AND value = ? AND entry = ?",
        [(*key, entry.id) for key in held - wanted if key[0] not in LASTING_KEYS],
    )
    connection.executemany("INSERT INTO keys VALUES (?, ?, ?)", [(*key, entry.id) for key in wanted - held])


def _aliases(connection: sqlite3.Connection, number: int) -> list[str]:
    rows = connection.execute("SELECT value FROM keys WHERE entry = ? AND kind = 'alias'", (number,))
    return [row["value"] for row in rows]


def _render_texts(
    entry: Entry, hardware: Hardware, aliases: Sequence[str], notes: Sequence[Note]
) -> tuple[str, ...]:
    """The columns of the search; a MAC is found in both of its usual forms."""
    parts = [str(part) for part in hardware.parts]
    return (
        " ".join((entry.name, *aliases)),
        " ".join(filter(None, (entry.serial, *(part.serial for part in hardware.disks or ())))),
        " ".join((*entry.macs, *(mac.replace(":", "") for mac in entry.macs))),
        " ".join(entry.addresses),
        entry.asset_tag,
        str(entry.location),
        " ".join(f"{key}={value}" for key, value in entry.labels.items()),
        "\n".join(
            (
                entry.tpm_hash or entry.machine_hash,
                *hardware.facts.values(),
                *parts,
                *(note.text for note in notes),
            )
        ),
    )
