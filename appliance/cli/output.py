"""What goes to stdout and how: tables at their natural width, JSON, YAML, names. Talk goes to stderr.

No boxes, no truncation, no colour that carries meaning: a pipe, a serial line and a screen get the same
words.
"""

import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

import msgspec

from appliance.resources.meta import Document, Kind

# Words that ask for attention; all others stay calm.
ALARMING = frozenset(("Failed", "Rolled back", "RolledBack", "Rejected", "failed", "False", "interrupted"))
WARNING = frozenset(("Silent", "Pending approval", "Paused", "cancelled"))


class Output(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


def print_data(data: object, output: Output) -> None:
    """Print a document as JSON or YAML."""
    built = msgspec.to_builtins(data)
    if output is Output.YAML:
        import yaml

        write(yaml.safe_dump(built, sort_keys=False, allow_unicode=True))
    else:
        write(msgspec.json.format(msgspec.json.encode(built), indent=2).decode() + "\n")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns, as wide as what is in them."""
    write(render_table(headers, list(rows), colour=uses_colour(sys.stdout)))


def print_lines(lines: Iterable[str]) -> None:
    write("".join(f"{line}\n" for line in lines))


def talk(sentence: str) -> None:
    """Say something to the person; never data."""
    print(sentence, file=sys.stderr, flush=True)


def write(text: str) -> None:
    """Write to stdout; what its encoding cannot say is escaped, not fatal."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def render_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, colour: bool = False) -> str:
    """Columns three spaces apart, the last one unpadded; control characters never reach the terminal."""
    cells = [list(headers), *([_printable(cell) or "-" for cell in row] for row in rows)]
    widths = [max(cell_width(row[column]) for row in cells) for column in range(len(headers))]
    lines = []
    for number, row in enumerate(cells):
        padded = [
            (_paint(cell) if colour and number else cell) + " " * (width - cell_width(cell))
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("   ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def cell_width(text: str) -> int:
    """How many terminal cells a text takes."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def uses_colour(stream: TextIO) -> bool:
    """FORCE_COLOR, then NO_COLOR (present and not empty), then whether it is a terminal that can."""
    if os.environ.get("FORCE_COLOR"):
        return True
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return stream.isatty()


def render_age(timestamp: str | None, now: datetime | None = None) -> str:
    """How long ago, in kubectl's short form: 12s, 5m, 3h, 41d."""
    if not timestamp:
        return ""
    try:
        then = datetime.fromisoformat(timestamp)
    except ValueError:
        return timestamp
    seconds = max(0, int(((now or datetime.now(UTC)) - then).total_seconds()))
    for unit, size, upto in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172800)):
        if seconds < upto:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86400}d"


def print_documents(
    kind: Kind, documents: Sequence[Document], output: Output, *, is_list: bool, with_namespace: bool = False
) -> None:
    """Print resources the way `-o` asks."""
    match output:
        case Output.NAME:
            print_lines(f"{qualified(kind)}/{document['metadata']['name']}" for document in documents)
        case Output.JSON | Output.YAML:
            shown = [_without_bookkeeping(document) for document in documents]
            whole = {"apiVersion": "v1", "kind": "List", "items": shown} if is_list else shown[0]
            print_data(whole, output)
        case _:
            columns = [column for column in kind.columns if output is Output.WIDE or not column.wide]
            headers = [*(["NAMESPACE"] if with_namespace else []), "NAME", *(c.name for c in columns)]
            rows = [
                [
                    *([document["metadata"].get("namespace", "")] if with_namespace else []),
                    document["metadata"]["name"],
                    *(
                        render_age(text) if column.type == "date" else text
                        for column in columns
                        for text in [look_up(document, column.path)]
                    ),
                ]
                for document in documents
            ]
            print_table(headers, rows)


def _without_bookkeeping(document: Document) -> Document:
    """As kubectl does: who wrote which field is for machines."""
    metadata = {key: value for key, value in document["metadata"].items() if key != "managedFields"}
    return {**document, "metadata": metadata}


def qualified(kind: Kind) -> str:
    """`machineinventory.elemental.cattle.io`, as kubectl says it."""
    return f"{kind.singular}.{kind.group}" if kind.group else kind.singular


def look_up(document: Mapping[str, Any], path: str) -> str:
    """Follow a printer column's path; a missing step is empty."""
    value: Any = document
    for step in path.split("."):
        name, _, wanted = step.partition("[")
        value = value.get(name) if isinstance(value, Mapping) else None
        if wanted and isinstance(value, list):
            value = next((item for item in value if item.get("type") == wanted.rstrip("]")), None)
    return "" if value is None else str(value)


def _paint(cell: str) -> str:
    if cell in ALARMING:
        return f"\x1b[31m{cell}\x1b[0m"
    return f"\x1b[33m{cell}\x1b[0m" if cell in WARNING else cell


def _printable(text: str) -> str:
    return "".join(letter if unicodedata.category(letter)[0] != "C" else "?" for letter in text)
