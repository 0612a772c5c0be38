"""`doctor discovery`: which rung of discovery is broken on this machine, and what to do."""

from typing import Annotated

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.options import OutputOption
from appliance.cli.output import Output, print_data, print_lines, print_table

app = typer.Typer(help="What is broken, and what to do.", no_args_is_help=True)


@app.callback()
def doctor() -> None:
    """What is broken, and what to do."""


@app.command("discovery")
def examine_discovery(
    seconds: Annotated[float, typer.Option("--seconds", min=0.5, max=60, help="How long to listen.")] = 5,
    interface: Annotated[
        list[str] | None, typer.Option("--interface", metavar="ADDRESS", help="Only on this address of ours.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Look at each rung of discovery from this machine. Exit code 1 if one is broken."""
    from appliance.discovery.doctor import judge, look

    rungs = judge(look(interfaces=interface or ["0.0.0.0"], seconds=seconds))  # noqa: S104 - to choose from
    if output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "RungList", "items": rungs}, output)
    elif output is Output.NAME:
        print_lines(rung.name for rung in rungs)
    else:
        print_table(("RUNG", "VERDICT", "SEEN"), [[rung.name, rung.verdict, rung.what] for rung in rungs])
        print_lines(f"{rung.name}: {rung.hint}" for rung in rungs if rung.hint)
    broken = [rung.name for rung in rungs if rung.verdict == "broken"]
    if broken:
        raise CommandFailed("Failed", f"Broken: {', '.join(broken)}.")
