"""The way into the console: prepare the terminal, then import Textual, then run.

The order matters: Textual reads its settings from the environment when it is imported.
"""

import getpass
import os
import socket
from datetime import datetime
from pathlib import Path

from appliance.api.client import Client
from tui.terminal import prepare


def run(
    server: str | None = None,
    *,
    basic: bool = False,
    token: str | None = None,
    ca_file: Path | None = None,
) -> None:
    """Show the console until somebody quits it; `server` is found as by every client command."""
    if token is not None or ca_file is not None:
        client = Client(server or os.environ.get("SKERRY_SERVER", ""), token=token, ca_file=ca_file)
    else:
        client = Client.connect_default(server)
    terminal = prepare(os.environ, basic=basic)

    from tui.console import Console
    from tui.serial import SerialDriver

    console = Console(
        client,
        server=client.server,
        operator=_operator(),
        clock=_now,
        basic=terminal.basic,
        driver=SerialDriver if terminal.basic else None,
    )
    console.run(mouse=False)


def _operator() -> str:
    """Who is at the keyboard, for the record of an approval."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()


def _now() -> datetime:
    """Local time, aware: what the clock on the wall shows, and comparable with the appliance's UTC."""
    return datetime.now().astimezone()
