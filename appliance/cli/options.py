"""The options that many commands share, once each, and the client they lead to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.output import Output

if TYPE_CHECKING:
    from appliance.api.client import Client

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="ADDRESS",
        help="unix:PATH or https://HOST:PORT; else SKERRY_SERVER, else the configuration file.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Output, typer.Option("-o", "--output", help="How to print: table, wide, json, yaml or name.")
]
# Where --output names the file that is made.
FormatOption = Annotated[
    Output, typer.Option("-o", "--format", help="How to print: table, wide, json, yaml or name.")
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "-n", "--namespace", help="The namespace; fleet-default if none is said.", show_default=False
    ),
]
Labels = Annotated[
    str, typer.Option("-l", "--selector", metavar="LABELS", help="Only those with these labels: k=v,k2!=v.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait at most.")]


def connect(server: str | None) -> "Client":
    """The client for `--server` or what stands in for it."""
    from appliance.api.client import Client

    return Client.connect_default(server)


def choose_namespace(namespace: str | None) -> str:
    """The flag, or the configuration's default."""
    if namespace:
        return namespace
    from appliance.config import load_client_config

    return load_client_config().namespace


def operator() -> str:
    """Who is at the keyboard, for the record of an approval."""
    import getpass
    import socket

    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()


def absolute(path: Path) -> str:
    """The path as the appliance must hear it: it has another working directory."""
    return str(path.expanduser().absolute())
