"""`operation …`: the appliance's long jobs."""

from typing import Annotated

import typer

from appliance.cli import following
from appliance.cli.options import OutputOption, Server, connect
from appliance.cli.output import Output, print_data, print_lines, print_table, render_age, talk

app = typer.Typer(help="Long jobs: what runs, what ran, and how it ended.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID")]
HEADERS = ("ID", "KIND", "STATE", "PROGRESS", "AGE")


@app.command("list")
def list_operations(output: OutputOption = Output.TABLE, server: Server = None) -> None:
    """List the jobs, newest first."""
    views = connect(server).operations()
    if output is Output.NAME:
        print_lines(f"operation/{view.id}" for view in views)
    elif output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "OperationList", "items": views}, output)
    elif not views:
        talk("No operations.")
    else:
        is_wide = output is Output.WIDE
        rows = []
        for view in views:
            progress = following.render_progress(view, seconds=0) if view.state == "running" else ""
            error = [view.error.message if view.error else ""] if is_wide else []
            rows.append([view.id, view.kind, view.state, progress, *error, render_age(view.created_at)])
        print_table((*HEADERS[:-1], "ERROR", "AGE") if is_wide else HEADERS, rows)


@app.command("follow")
def follow_operation(id: Id, output: OutputOption = Output.TABLE, server: Server = None) -> None:
    """Watch a job to its end; the exit code says how that was."""
    client = connect(server)
    following.finish(client, client.operation(id), output, wait=True)


@app.command("cancel")
def cancel_operation(id: Id, output: OutputOption = Output.TABLE, server: Server = None) -> None:
    """Ask a job to end; it leaves nothing half done."""
    view = connect(server).cancel_operation(id)
    if output in (Output.JSON, Output.YAML):
        print_data(view, output)
    else:
        print_lines([f"operation/{view.id}{'' if output is Output.NAME else ' is being cancelled'}"])
