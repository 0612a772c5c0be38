"""What an imported file changes: asset tags, locations and notes of machines that are known.

Runs in the writer's thread, in one transaction: all rows are judged before any of it counts.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from appliance.inventory.book import refresh_index
from appliance.inventory.entries import BadRow, ImportOutcome
from appliance.inventory.errors import InventoryError, MachineUnknown
from appliance.inventory.people import add_note, check_note, set_location, set_tag
from appliance.inventory.rows import find_entry, read_entry, read_notes
from appliance.inventory.table import ImportRow

MAX_TOLD = 1000  # changes and bad rows that are listed; all are counted


class RowsRefused(Exception):
    """Carries the outcome of an import that must not be kept, so that its transaction is undone."""

    def __init__(self, outcome: ImportOutcome) -> None:
        super().__init__("bad rows")
        self.outcome = outcome


def merge_rows(
    connection: sqlite3.Connection, rows: Sequence[ImportRow], *, skip_bad: bool, by: str, at: str
) -> ImportOutcome:
    """Take the rows in. Raises RowsRefused when some are bad and none may be skipped."""
    changes: list[str] = []
    bad: list[BadRow] = []
    taken: dict[int, int] = {}
    changed = 0
    for row in rows:
        connection.execute("SAVEPOINT row")
        try:
            number = _find_untaken(connection, row, taken)
            done = list(_merge_row(connection, number, row, by=by, at=at))
            if done:
                refresh_index(connection, number)
        except InventoryError as error:
            connection.execute("ROLLBACK TO row")
            bad.append(BadRow(line=row.line, reason=str(error).rstrip(".")))
        else:
            taken[number] = row.line
            changes += done
            changed += bool(done)
        connection.execute("RELEASE row")
    is_applied = skip_bad or not bad
    outcome = ImportOutcome(
        rows=len(rows),
        changed=changed if is_applied else 0,
        unchanged=len(rows) - len(bad) - changed,
        is_applied=is_applied,
        changes=changes[:MAX_TOLD],
        bad=bad[:MAX_TOLD],
    )
    if not is_applied:
        raise RowsRefused(outcome)
    return outcome


def _find_untaken(connection: sqlite3.Connection, row: ImportRow, taken: Mapping[int, int]) -> int:
    if row.trouble:
        raise InventoryError(row.trouble)
    number = find_row(connection, row)
    if number in taken:
        raise InventoryError(f"it is the same machine as line {taken[number]}")
    return number


def _merge_row(
    connection: sqlite3.Connection, number: int, row: ImportRow, *, by: str, at: str
) -> Iterator[str]:
    """What the row changed, in words. Raises InventoryError."""
    before = read_entry(connection, number)
    name = before.name or f"id:{number}"
    if row.place:
        place = msgspec.structs.replace(before.location, **row.place)
        if place != before.location:
            set_location(connection, number, place, by=by, at=at)
            yield f"{name}: location {str(before.location) or '-'} -> {place}"
    if row.asset_tag and row.asset_tag != before.asset_tag:
        set_tag(connection, number, row.asset_tag, by=by, at=at)
        yield f"{name}: asset tag {before.asset_tag or '-'} -> {row.asset_tag}"
    held = {note.text for note in read_notes(connection, number)}
    for time, author, text in row.notes:
        if check_note(text) not in held:
            add_note(
                connection,
                number,
                text,
                by=f"{author[:60]} (imported by {by})" if author else by,
                at=time or at,
            )
            yield f"{name}: a note"


def find_row(connection: sqlite3.Connection, row: ImportRow) -> int:
    """Which machine it is of: by serial and MACs, which must agree, else by name. Raises InventoryError."""
    found: dict[str, int] = {}
    for kind, values in (("serial", (row.serial,)), ("mac", row.macs), ("name", (row.name,))):
        if kind == "name" and found:
            break  # names change; only what is burned in must agree
        for value in filter(None, values):
            try:
                found[f"{kind} {value}"] = find_entry(connection, value, kinds=(kind,))
            except MachineUnknown:
                continue
    if not found:
        said = row.serial or " ".join(row.macs) or row.name
        raise MachineUnknown(f"no machine is known as {said[:80]!r}" if said else "it names no machine")
    if len(set(found.values())) > 1:
        claims = ", ".join(f"{key} is id:{number}" for key, number in found.items())
        raise InventoryError(f"it names several machines: {claims}")
    return next(iter(found.values()))
