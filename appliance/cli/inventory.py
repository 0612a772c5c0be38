"""`inventory …`: what is known of every machine, what changed, and what people say of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.inventory_text import (
    print_conflicts,
    print_entries,
    print_events,
    print_outcome,
    render_details,
)
from appliance.cli.options import DryRun, OutputOption, Server, connect, operator
from appliance.cli.output import Output, print_data, print_lines, talk, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.api.inventory_contract import Entry

app = typer.Typer(help="Every machine: its parts, places, notes, and what changed.", no_args_is_help=True)

Machine = Annotated[
    str, typer.Argument(metavar="MACHINE", help="Name, serial, MAC, address, asset tag, or id:NUMBER.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")]
State = Annotated[str, typer.Option("--state", help="registered, heard or removed.")]
FileFormat = Annotated[str, typer.Option("--format", help="csv or json; else by the file's ending.")]

MAX_IMPORT_BYTES = 32 * 1024 * 1024


@app.command("list")
def list_machines(
    state: State = "",
    site: Annotated[str, typer.Option("--site", help="Only those at this site.")] = "",
    line: Annotated[str, typer.Option("--line", help="Only those on this line.")] = "",
    cell: Annotated[str, typer.Option("--cell", help="Only those in this cell.")] = "",
    label: Annotated[
        list[str] | None, typer.Option("-l", "--label", metavar="KEY=VALUE", help="Only those with it.")
    ] = None,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """List the machines: serial, model, place, when last seen."""
    query = {"state": state, "site": site, "line": line, "cell": cell}
    print_entries([*connect(server).machines(query=query, labels=label or ())], output)


@app.command("search")
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORD...")],
    limit: Limit = 100,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Find machines by any part of anything: serial, MAC, address, tag, place, label, name, notes.

    All words must be found. serial:4711, site:north and the like ask one thing only; line=press is a label.
    """
    found = connect(server).search_machines(" ".join(words), limit=limit)
    print_entries(found.items, output)
    if found.is_cut:
        talk(f"There are more than {limit}; say more, or --limit.")


@app.command("show")
def show(machine: Machine, output: OutputOption = Output.TABLE, server: Server = None) -> None:
    """Show all that is known of one machine: parts, sightings, notes, conflicts."""
    details = connect(server).machine(machine)
    if output in (Output.TABLE, Output.WIDE):
        write(render_details(details, with_facts=output is Output.WIDE))
    elif output is Output.NAME:
        print_entries([details.entry], output)
    else:
        print_data(details, output)


@app.command("history")
def history(
    machine: Annotated[
        str, typer.Argument(metavar="[MACHINE]", help="One machine; all of them if none is said.")
    ] = "",
    limit: Limit = 100,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Show what changed: parts, firmware, addresses, names, places; newest first."""
    print_events(connect(server).machine_history(machine, limit=limit), output)


@app.command("stale")
def stale(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Not seen for 30m, 24h or 7d.")
    ] = "2m",
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """List the registered machines that were not seen for a while."""
    from appliance.mirror_settings import parse_interval

    try:
        seconds = parse_interval(older_than)
    except ValueError as error:
        raise CommandFailed("Usage", f"{error}.") from error
    query = {"state": "registered", "olderThan": str(round(seconds))}
    print_entries([*connect(server).machines(query=query)], output)


@app.command("set-location")
def set_location(
    machine: Machine,
    site: Annotated[str | None, typer.Option("--site")] = None,
    line: Annotated[str | None, typer.Option("--line")] = None,
    cell: Annotated[str | None, typer.Option("--cell")] = None,
    slot: Annotated[str | None, typer.Option("--slot")] = None,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Say where a machine stands. What is not given stays; an empty text takes it away."""
    from appliance.api.inventory_contract import Location

    given = {"site": site, "line": line, "cell": cell, "slot": slot}
    if all(value is None for value in given.values()):
        raise CommandFailed("Usage", "Nothing was said of the place.", hint="--site, --line, --cell, --slot")
    client = connect(server)
    known = client.machine(machine).entry
    parts = {part: getattr(known.location, part) if value is None else value for part, value in given.items()}
    changed = client.set_location(f"id:{known.id}", Location(**parts), by=operator())
    _print_changed(changed, f"is at {changed.location}" if str(changed.location) else "has no place", output)


@app.command("tag")
def tag(
    machine: Machine,
    asset_tag: Annotated[str, typer.Argument(metavar="TAG", help="The asset tag; '' takes it away.")],
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Give a machine its asset tag."""
    changed = connect(server).set_asset_tag(machine, asset_tag, by=operator())
    _print_changed(changed, f"has tag {asset_tag}" if asset_tag else "has no tag", output)


@app.command("note")
def note(
    machine: Machine,
    text: Annotated[list[str], typer.Argument(metavar="TEXT...")],
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Write a note on a machine, with your name and the time. Notes stay."""
    _print_changed(connect(server).add_note(machine, " ".join(text), by=operator()), "noted", output)


@app.command("conflicts")
def conflicts(output: OutputOption = Output.TABLE, server: Server = None) -> None:
    """List the machines that claim the same serial or MAC address."""
    print_conflicts(connect(server).machine_conflicts(), output)


@app.command("merge")
def merge(
    machine: Machine,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The entry that becomes part of it.")],
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Say that two entries are one machine: the first gets the other's history, notes and names."""
    changed = connect(server).merge_machines(machine, other, by=operator())
    _print_changed(changed, f"now includes {other}", output)


@app.command("keep-apart")
def keep_apart(
    conflict: Annotated[int, typer.Argument(metavar="CONFLICT", help="Its number.")], server: Server = None
) -> None:
    """Say that two machines which claim the same are two machines."""
    connect(server).keep_apart(conflict, by=operator())
    print_lines([f"conflict {conflict} is settled"])


@app.command("export")
def export(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Else to standard output.")] = None,
    format: FileFormat = "",
    server: Server = None,
) -> None:
    """Write the whole inventory as CSV, or as JSON lines with all notes."""
    import sys

    pieces = connect(server).export_machines(format=_choose_format(format, file))
    if file is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    from appliance.files import PUBLIC, write_durably

    write_durably(file, b"".join(pieces), mode=PUBLIC)
    talk(f"{file} is written.")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a header, or JSON lines.")],
    format: FileFormat = "",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Take the good rows; else one bad row refuses all.")
    ] = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Merge asset tags, locations and notes from a file. Rows find their machine by serial, MAC or name.

    An empty cell changes nothing. Exit code 7 when bad rows were skipped, 5 when they refused the file.
    """
    with file.open("rb") as content:
        data = content.read(MAX_IMPORT_BYTES + 1)
    if len(data) > MAX_IMPORT_BYTES:
        raise CommandFailed("Usage", f"{file} is over {MAX_IMPORT_BYTES} bytes.", hint="Import it in parts.")
    outcome = connect(server).import_machines(
        data, format=_choose_format(format, file), skip_bad=skip_bad, dry_run=dry_run, by=operator()
    )
    print_outcome(outcome, output, dry_run=dry_run)
    if not outcome.bad:
        return
    if skip_bad:
        raise CommandFailed("Partial", f"{len(outcome.bad)} of {outcome.rows} rows were skipped.")
    raise CommandFailed(
        "Refused",
        f"{len(outcome.bad)} of {outcome.rows} rows are bad, so nothing was changed.",
        hint="Mend them, or take the others: --skip-bad",
    )


@app.command("repair")
def repair(
    data: Annotated[Path, typer.Option("--data", help="The appliance's folder.")] = Path("/var/lib/skerry"),
) -> None:
    """Set a damaged inventory aside and save what can be read of it. The appliance must not run.

    The next start takes that in and builds the rest again from the store.
    """
    from appliance.inventory.truth import repair as repair_inventory

    count, aside = repair_inventory(data)
    print_lines([f"{count} machines with their history and notes were saved; the old file is {aside}"])


def _choose_format(format: str, file: Path | None) -> Literal["csv", "json"]:
    ending = file.suffix.lower() if file else ""
    match format or ("json" if ending in (".json", ".jsonl", ".ndjson") else "csv"):
        case "csv":
            return "csv"
        case "json":
            return "json"
    raise CommandFailed("Usage", f"There is no format {format!r}.", hint="--format csv, or --format json")


def _print_changed(entry: "Entry", sentence: str, output: Output) -> None:
    if output in (Output.TABLE, Output.WIDE):
        print_lines([f"machine/{entry.name or entry.id} {sentence}"])
    else:
        entries: Sequence[Entry] = [entry]
        print_entries(entries, output, is_list=False)
