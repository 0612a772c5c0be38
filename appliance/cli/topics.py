"""`help TOPIC`: what is worth knowing, readable without a network."""

from collections.abc import Callable
from typing import Annotated

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.output import print_lines, write

EXIT_CODES = """\
Exit codes are a contract; scripts may rely on them.

  0    done, or there was nothing to do
  1    it failed
  2    usage or settings are wrong
  3    the appliance cannot be reached; trying again may help
  4    time was up while waiting
  5    refused by a safety gate: a system disk, a token that may not, a data directory in use
  6    integrity: a hash, a signature, a read-back or a database was wrong
  7    partial: some of several were done
  8    a person must approve first
  130  interrupted

With -o json an error is one JSON object on stderr: reason (stable), message, hint, retryable, exitCode.
"""

OUTPUT = """\
Data goes to stdout, talk to stderr, so a pipe gets only data.

  -o table   aligned columns, nothing cut off (the default)
  -o wide    more columns
  -o json    the whole thing; fields are only ever added
  -o yaml    the same as YAML
  -o name    kind/name, one a line, for xargs

Colour only underlines what a word says already. NO_COLOR (not empty) or TERM=dumb turns it and all boxes
off; FORCE_COLOR turns it on.
"""

CONNECTING = """\
A command finds its appliance by --server, then SKERRY_SERVER, then `server` in the configuration file.

  unix:DIR/skerry.sock     on the box itself, as the daemon's user or root; no token
  https://HOST:8443        from elsewhere, with a token and the appliance's CA

The configuration file is ~/.config/skerry/config.toml (XDG_CONFIG_HOME and SKERRY_CONFIG are honoured):

  server = "https://192.168.10.1:8443"
  token-file = "~/.config/skerry/token"      # DIR/admin.token of the box
  ca-file = "~/.config/skerry/ca.crt"        # DIR/pki/ca.crt of the box
  namespace = "fleet-default"

SKERRY_TOKEN_FILE and SKERRY_CA_FILE stand above the file. Tokens never come from flags: they would show in
a listing of processes.
"""

BUNDLES = """\
A bundle is a folder with OCI images and a signed list of every byte in it.

  skerry bundle keygen floor-2026                    on the connected side, once
  skerry bundle pack --key floor-2026.key --output spring.bundle --name spring ./layouts/v2=skerry/os:v2
  skerry bundle trust floor-2026.pub                 on the box, once
  skerry bundle verify /media/usb/spring.bundle      looks, changes nothing
  skerry bundle load /media/usb/spring.bundle        all of it or nothing

A flipped bit, an unknown signer and a missing file each have their own refusal (exit code 6), and leave the
mirror as it was. Loading twice writes nothing the second time.
"""


def _render_kinds() -> str:
    from appliance.resources.kinds import KINDS

    rows = [
        f"  {kind.plural:24} {','.join(kind.short_names) or '-':10} {kind.kind:22} {kind.api_version}"
        for kind in KINDS
    ]
    head = f"  {'NAME':24} {'SHORT':10} {'KIND':22} APIVERSION"
    return "Kinds for get, describe, apply and delete:\n\n" + "\n".join([head, *rows]) + "\n"


TOPICS: dict[str, tuple[str, Callable[[], str]]] = {
    "exit-codes": ("what the exit codes mean", lambda: EXIT_CODES),
    "output": ("where output goes and in which forms", lambda: OUTPUT),
    "connecting": ("how a command finds its appliance", lambda: CONNECTING),
    "bundles": ("bringing images across the air gap", lambda: BUNDLES),
    "kinds": ("the resources and their short names", _render_kinds),
}


def add_commands(app: typer.Typer) -> None:
    app.command("help")(show_topic)


def show_topic(topic: Annotated[str, typer.Argument(metavar="[TOPIC]")] = "") -> None:
    """Read a help topic; without one, list them."""
    if not topic:
        print_lines(["Topics, read with skerry help TOPIC:", ""])
        print_lines(f"  {name:12} {summary}" for name, (summary, _) in TOPICS.items())
        return
    if topic not in TOPICS:
        raise CommandFailed("Usage", f"There is no topic {topic!r}.", hint=f"Topics: {', '.join(TOPICS)}.")
    write(TOPICS[topic][1]())
