"""The inventory as CSV and JSON lines: out, and in again as rows. Pure.

A cell that a spreadsheet would take for a formula gets an apostrophe before it, and loses it when it is read:
what is exported and imported again says the same.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from appliance.inventory.entries import Entry, Note, Shape
from appliance.inventory.errors import EntryInvalid

MAX_BYTES = 32 * 1024 * 1024
MAX_ROWS = 100_000
MAX_CELL = 4096
MAX_COLUMNS = 64
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

COLUMNS = (
    *("id", "state", "namespace", "name", "serial", "asset_tag", "site", "line", "cell", "slot"),
    *("manufacturer", "product", "macs", "addresses", "tpm_hash", "labels", "first_seen", "last_seen"),
    *("staleness", "note"),
)
# What an import reads: by what a machine is found, and what it then says of it.
FINDING = ("serial", "mac", "macs", "name")
MERGED = ("asset_tag", "site", "line", "cell", "slot", "note", "notes")


class Exported(Shape, frozen=True, kw_only=True):
    """One line of a JSON export."""

    entry: Entry
    notes: list[Note] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ImportRow:
    """What one line says; an empty text says nothing. `trouble` is why it cannot be used."""

    line: int
    serial: str = ""
    macs: tuple[str, ...] = ()
    name: str = ""
    asset_tag: str = ""
    place: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[tuple[str, str, str], ...] = ()  # time, author, text; without the first two: said now
    trouble: str = ""


def render_csv_header() -> str:
    return _line(COLUMNS)


def render_csv_row(entry: Entry, notes: Sequence[Note]) -> str:
    """One line. The newest note only; a JSON export has them all."""
    place = entry.location
    return _line(
        (
            *(str(entry.id), entry.state, entry.namespace, entry.name, entry.serial, entry.asset_tag),
            *(place.site, place.line, place.cell, place.slot, entry.manufacturer, entry.product),
            *(" ".join(entry.macs), " ".join(entry.addresses), entry.tpm_hash or entry.machine_hash),
            " ".join(f"{key}={value}" for key, value in sorted(entry.labels.items())),
            *(entry.first_seen, entry.last_seen, entry.staleness, notes[-1].text if notes else ""),
        )
    )


def render_json_row(entry: Entry, notes: Sequence[Note]) -> str:
    return msgspec.json.encode(Exported(entry=entry, notes=list(notes))).decode() + "\n"


def parse_rows(content: bytes, *, format: str) -> Iterator[ImportRow]:
    """The rows of a file, those with troubles too. Raises EntryInvalid when the whole cannot be read."""
    if len(content) > MAX_BYTES:
        raise EntryInvalid(f"The file is over {MAX_BYTES} bytes.", hint="Import it in parts.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EntryInvalid(
            f"The file is not UTF-8 text: {error.reason} at byte {error.start}.",
            hint="Save it as CSV UTF-8.",
        ) from error
    rows = _parse_json(text) if format == "json" else _parse_csv(text)
    for count, row in enumerate(rows, start=1):
        if count > MAX_ROWS:
            raise EntryInvalid(f"The file has over {MAX_ROWS} rows.", hint="Import it in parts.")
        yield row


def neutralise(cell: str) -> str:
    """The cell as no spreadsheet runs it."""
    return f"'{cell}" if cell.startswith((*FORMULA, "'")) else cell


def restore(cell: str) -> str:
    """What `neutralise` was given."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*FORMULA, "'")) else cell


def _line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([neutralise(cell) for cell in cells])
    return out.getvalue()


def _parse_csv(text: str) -> Iterator[ImportRow]:
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip().casefold().replace(" ", "_") for cell in next(reader, [])]
        _check_header(header)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _row_of(cells, header, line=reader.line_num)
    except csv.Error as error:
        raise EntryInvalid(f"Line {reader.line_num} is not CSV: {error}.") from error


def _check_header(header: Sequence[str]) -> None:
    if len(header) > MAX_COLUMNS or len(set(header)) != len(header):
        raise EntryInvalid(f"The header has a column twice, or over {MAX_COLUMNS} columns.")
    if not set(header) & set(FINDING) or not set(header) & set(MERGED):
        raise EntryInvalid(
            "The first line must name the columns: one of serial, mac, name and what to set.",
            hint="skerry inventory export --format csv shows a file that can be imported.",
        )


def _row_of(cells: Sequence[str], header: Sequence[str], *, line: int) -> ImportRow:
    if len(cells) != len(header):
        return ImportRow(line, trouble=f"it has {len(cells)} cells, the header {len(header)}")
    if any(len(cell) > MAX_CELL for cell in cells):
        return ImportRow(line, trouble=f"a cell is over {MAX_CELL} characters")
    said = {column: restore(cell.strip()) for column, cell in zip(header, cells, strict=True)}
    macs = f"{said.get('mac', '')} {said.get('macs', '')}"
    note = said.get("note", "")
    return ImportRow(
        line=line,
        serial=said.get("serial", ""),
        macs=tuple(macs.replace(",", " ").split()),
        name=said.get("name", ""),
        asset_tag=said.get("asset_tag", ""),
        place={part: said[part] for part in ("site", "line", "cell", "slot") if said.get(part)},
        notes=(("", "", note),) if note else (),
    )


def _parse_json(text: str) -> Iterator[ImportRow]:
    """One object a line, as exported."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            exported = msgspec.json.decode(line, type=Exported)
        except (msgspec.DecodeError, RecursionError) as error:
            yield ImportRow(number, trouble=f"it is not an exported machine: {error}")
            continue
        entry = exported.entry
        place = msgspec.to_builtins(entry.location)
        yield ImportRow(
            line=number,
            serial=entry.serial,
            macs=tuple(entry.macs),
            name=entry.name,
            asset_tag=entry.asset_tag,
            place={part: value for part, value in place.items() if value},
            notes=tuple((_checked_time(note.time), note.author, note.text) for note in exported.notes),
        )


def _checked_time(text: str) -> str:
    """A time that is none would sort wrongly for ever; such a note counts as written now."""
    return text if _TIME.fullmatch(text) else ""
