"""`audit …`: the log of decisions, read from the data folder itself: the appliance need not run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.options import OutputOption
from appliance.cli.output import Output, print_data, print_lines, print_table, talk

if TYPE_CHECKING:
    from appliance.audit.chain import Entry

app = typer.Typer(help="The log of decisions, chained so that no line can be changed.", no_args_is_help=True)

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The appliance's folder.")]
Since = Annotated[
    str, typer.Option("--since", metavar="TIME|AGE", help="Only from then on: 2026-11-21T08:00:00Z, 90m, 7d.")
]
About = Annotated[
    str, typer.Option("--object", metavar="TEXT", help="Only objects whose name holds this: host/line-3.")
]
DEFAULT_DATA = Path("/var/lib/skerry")
HEADERS = ("N", "TIME", "WHO", "WHAT", "OBJECT", "WHY")


@app.command("list")
def list_decisions(
    data: Data = DEFAULT_DATA, since: Since = "", about: About = "", output: OutputOption = Output.TABLE
) -> None:
    """List decisions, oldest first: who decided what, about what, when and why."""
    entries = _read(data, since, about)
    if output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "AuditList", "items": entries}, output)
    elif output is Output.NAME:
        print_lines(str(entry.n) for entry in entries)
    elif not entries:
        talk("No decisions.")
    else:
        rows = [
            [str(entry.n), f"{entry.at[:19]}Z", entry.who, entry.what, entry.object, entry.why]
            for entry in entries
        ]
        print_table(HEADERS, rows)


@app.command("verify")
def verify_log(data: Data = DEFAULT_DATA, output: OutputOption = Output.TABLE) -> None:
    """Check that no line was changed, taken out, moved or cut off. Exit code 6 if one was, and where."""
    from appliance.audit.log import verify

    lines, findings = verify(_existing(data))
    told = [str(finding) for finding in findings]
    if output in (Output.JSON, Output.YAML):
        print_data({"lines": lines, "findings": told}, output)
    else:
        print_lines([*told, f"{lines} lines, {len(told)} findings"])
    if told:
        raise CommandFailed(
            "Damaged",
            f"The audit log of {data} is not as it was written.",
            hint="keep the folder as it is, and compare with a backup's copy",
        )


@app.command("export")
def export_log(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, or - for standard output.")],
    data: Data = DEFAULT_DATA,
    since: Since = "",
    about: About = "",
) -> None:
    """Write decisions as JSON lines, as they stand in the log, hashes included."""
    from appliance.audit.chain import render_line

    lines = [render_line(entry) for entry in _read(data, since, about)]
    if str(file) == "-":
        print_lines(line.decode().rstrip("\n") for line in lines)
        return
    try:
        with file.open("xb") as target:
            target.writelines(lines)
    except FileExistsError as error:
        raise CommandFailed("OutputExists", f"{file} exists already.", hint="give another name") from error
    talk(f"{len(lines)} decisions are in {file}")


def _read(data: Path, since: str, about: str) -> "list[Entry]":
    from appliance.audit.log import read_entries

    return list(read_entries(_existing(data), since=_parse_since(since), about=about))


def _existing(data: Path) -> Path:
    if not data.is_dir():
        raise CommandFailed(
            "Configuration", f"{data} holds no appliance.", hint="name its folder with --data"
        )
    return data


def _parse_since(text: str) -> str:
    """An RFC 3339 time, from one or from an age."""
    from datetime import UTC, datetime, timedelta

    from appliance.cli.kubeconfig import parse_age

    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.now(UTC) - timedelta(seconds=parse_age(text))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
