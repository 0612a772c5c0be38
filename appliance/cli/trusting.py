"""`trust ek-roots …`: whose TPMs are believed; `registration …`: its token and its expected hosts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.kubeconfig import parse_age
from appliance.cli.options import Namespace, OutputOption, Server, choose_namespace, connect
from appliance.cli.output import Output, print_data, print_lines, print_table, talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.api.trusting_contract import RootView

trust_app = typer.Typer(help="Whose TPMs are believed.", no_args_is_help=True)
roots_app = typer.Typer(help="Certificates of TPM makers.", no_args_is_help=True)
trust_app.add_typer(roots_app, name="ek-roots")

MAX_FILE_BYTES = 1024 * 1024
Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="PEM certificates, or revocation lists.")
]
Grace = Annotated[
    str, typer.Option("--grace", metavar="AGE", help="How long media with the old token still work: 12h, 7d.")
]
Table = Annotated[
    Path, typer.Option("--file", metavar="CSV", help="Columns out of ek_hash, serial, mac, uuid, note.")
]


def add_commands(registration: typer.Typer) -> None:
    """What a registration can be told about trust, beside its other commands."""
    registration.command("rotate")(rotate_token)
    registration.command("expect")(expect_hosts)


@roots_app.command("add")
def add_ek_roots(files: Files, output: OutputOption = Output.TABLE, server: Server = None) -> None:
    """Believe the TPMs whose certificates go back to these; what lies between belongs in, too."""
    client = connect(server)
    added = [root for file in files for root in client.add_ek_roots(_read_text(file))]
    _print_roots(added, output)


@roots_app.command("list")
def list_ek_roots(output: OutputOption = Output.TABLE, server: Server = None) -> None:
    """List the certificates of TPM makers that are trusted."""
    _print_roots(connect(server).ek_roots(), output)


@roots_app.command("remove")
def remove_ek_root(
    id: Annotated[str, typer.Argument(metavar="ID", help="As in the list.")], server: Server = None
) -> None:
    """Believe one no longer. Machines that are in stay in."""
    connect(server).remove_ek_root(id)
    print_lines([f"ek-root/{id} removed"])


def rotate_token(
    name: str,
    grace: Grace = "",
    namespace: Namespace = None,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Give a registration another token. Media with the old one work until the grace is over."""
    seconds = parse_age(grace) if grace else 0
    rotated = connect(server).rotate(name, choose_namespace(namespace), grace_seconds=seconds)
    if output in (Output.JSON, Output.YAML):
        print_data(rotated, output)
        return
    print_lines([rotated.url])
    until = f"work for {grace} more" if grace else "bring nobody in any more"
    talk(f"Media with the old token {until}")


def expect_hosts(
    name: str,
    file: Table,
    namespace: Namespace = None,
    server: Server = None,
) -> None:
    """Say which hosts are to come, instead of what was said before.

    What the list decides is the registration's: annotation skerry.dev/expected-hosts, record or require.
    """
    from appliance.hosts.expected import KEY, SUFFIX, ListInvalid, parse_expected
    from appliance.resources.core import CONFIG_MAP

    text = _read_text(file)
    try:
        listed = parse_expected(text)
    except ListInvalid as error:
        raise CommandFailed("ContentUnusable", f"{file}: {error}.") from error
    document = {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": {"name": f"{name}{SUFFIX}", "namespace": choose_namespace(namespace)},
        "data": {KEY: text},
    }
    connect(server).apply_object(document)
    print_lines([f"registration/{name} expects {len(listed.hosts)} hosts"])


def _read_text(file: Path) -> str:
    with file.open("rb") as content:
        data = content.read(MAX_FILE_BYTES + 1)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise CommandFailed(
            "ContentUnusable",
            f"{file} is no text.",
            hint="openssl x509 -inform der -in FILE makes PEM of DER",
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise CommandFailed("ContentUnusable", f"{file} is over {MAX_FILE_BYTES} bytes.")
    return text


def _print_roots(roots: "Sequence[RootView]", output: Output) -> None:
    if output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "RootList", "items": roots}, output)
    elif output is Output.NAME:
        print_lines(f"ek-root/{root.id}" for root in roots)
    elif not roots:
        talk("No TPM maker is trusted: skerry trust ek-roots add FILE")
    else:
        print_table(
            ("ID", "TYPE", "ENDS", "NAME"), [[root.id, root.type, root.ends, root.name] for root in roots]
        )
