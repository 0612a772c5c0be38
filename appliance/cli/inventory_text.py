"""How machines, their history and an import look as text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from appliance.cli.output import (
    Output,
    print_data,
    print_lines,
    print_table,
    render_age,
    render_table,
    talk,
)

if TYPE_CHECKING:
    from appliance.api.inventory_contract import Conflict, Details, Entry, Event, ImportOutcome

HEADERS = ("ID", "NAME", "SERIAL", "MODEL", "LOCATION", "TAG", "SEEN", "STATE")
WIDE_HEADERS = (*HEADERS, "MACS", "ADDRESSES", "LABELS")
EVENT_HEADERS = ("TIME", "MACHINE", "KIND", "WHAT", "BEFORE", "AFTER", "SOURCE")


def print_entries(entries: "Sequence[Entry]", output: Output, *, is_list: bool = True) -> None:
    """Print machines the way `-o` asks."""
    match output:
        case Output.NAME:
            print_lines(f"machine/{entry.name or entry.id}" for entry in entries)
        case Output.JSON | Output.YAML:
            whole = {"apiVersion": "skerry.dev/v1", "kind": "InventoryList", "items": entries}
            print_data(whole if is_list else entries[0], output)
        case _ if not entries:
            talk("No machines.")
        case _:
            is_wide = output is Output.WIDE
            print_table(
                WIDE_HEADERS if is_wide else HEADERS, [_row(each, is_wide=is_wide) for each in entries]
            )


def print_events(events: "Sequence[Event]", output: Output) -> None:
    if output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "InventoryHistory", "items": events}, output)
    elif output is Output.NAME:
        print_lines(str(event.id) for event in events)
    elif not events:
        talk("Nothing changed yet.")
    else:
        print_table(EVENT_HEADERS, [_event_row(event) for event in events])


def print_conflicts(conflicts: "Sequence[Conflict]", output: Output) -> None:
    if output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "InventoryConflicts", "items": conflicts}, output)
    elif output is Output.NAME:
        print_lines(str(conflict.id) for conflict in conflicts)
    elif not conflicts:
        talk("No two machines claim the same.")
    else:
        rows = [
            [
                str(each.id),
                f"{each.kind} {each.value}",
                f"{each.one_name} (id:{each.one})",
                f"{each.other_name} (id:{each.other})",
                render_age(each.since),
            ]
            for each in conflicts
        ]
        print_table(("CONFLICT", "CLAIM", "ONE", "OTHER", "AGE"), rows)


def print_outcome(outcome: "ImportOutcome", output: Output, *, dry_run: bool) -> None:
    """What an import did, or would do; bad rows are talk."""
    if output in (Output.JSON, Output.YAML):
        print_data(outcome, output)
        return
    if outcome.is_applied or dry_run:
        print_lines(outcome.changes)
    for bad in outcome.bad:
        talk(f"line {bad.line}: {bad.reason}.")
    verb = "would be changed" if dry_run else "changed"
    print_lines([f"{outcome.changed} of {outcome.rows} machines {verb}, {outcome.unchanged} were so already"])


def render_details(details: "Details", *, with_facts: bool) -> str:
    """One machine as text."""
    entry = details.entry
    seen = f"{render_age(entry.last_seen)} ago by {entry.last_source}" if entry.last_seen else "never"
    lines = [
        ("Name", f"{entry.name}  (id:{entry.id})"),
        ("State", f"{entry.state}  {entry.approval}".strip()),
        ("Seen", f"{seen}  ({entry.staleness})"),
        ("Serial", entry.serial),
        ("Model", f"{entry.manufacturer} {entry.product}".strip()),
        ("Asset tag", entry.asset_tag),
        ("Location", str(entry.location)),
        ("MACs", ", ".join(entry.macs)),
        ("Addresses", ", ".join(entry.addresses)),
        ("TPM", entry.tpm_hash or entry.machine_hash),
        ("Labels", ", ".join(f"{key}={value}" for key, value in sorted(entry.labels.items()))),
    ]
    text = "".join(f"{word + ':':12} {value or '-'}\n" for word, value in lines)
    text += _section(
        "Conflicts",
        ("CONFLICT", "CLAIM", "WITH"),
        [
            [
                str(each.id),
                f"{each.kind} {each.value}",
                f"id:{each.other if each.one == entry.id else each.one}",
            ]
            for each in details.conflicts
        ],
    )
    text += _section(
        "Sightings",
        ("SOURCE", "ADDRESS", "LAST", "TIMES"),
        [
            [each.source, each.address, render_age(each.last_seen), str(each.times)]
            for each in details.sightings
        ],
    )
    text += _section(
        "Notes",
        ("TIME", "AUTHOR", "NOTE"),
        [[each.time, each.author, each.text] for each in details.notes],
    )
    if with_facts:
        text += _section("Facts", ("FACT", "VALUE"), list(_flatten(details.facts)))
    return text


def _row(entry: "Entry", *, is_wide: bool) -> list[str]:
    state = entry.state if entry.state != "registered" else entry.staleness
    wide = [
        " ".join(entry.macs),
        " ".join(entry.addresses),
        " ".join(f"{key}={value}" for key, value in sorted(entry.labels.items())),
    ]
    return [
        *(str(entry.id), entry.name, entry.serial, f"{entry.manufacturer} {entry.product}".strip()),
        *(str(entry.location), entry.asset_tag, render_age(entry.last_seen)),
        f"{state}, conflict" if entry.conflicts else state,
        *(wide if is_wide else ()),
    ]


def _event_row(event: "Event") -> list[str]:
    return [
        *(event.time, f"id:{event.entry}", event.kind, event.what, event.before, event.after, event.source)
    ]


def _section(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    return f"{title}:\n" + "".join(f"  {line}\n" for line in render_table(headers, rows).splitlines())


def _flatten(tree: Mapping[str, object], path: str = "") -> Iterable[list[str]]:
    for key, value in sorted(tree.items()):
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{path}{key}/")
        else:
            yield [f"{path}{key}", str(value)[:200]]
