"""`backup`, `restore` and `store …`: the appliance's objects and keys, saved, brought back, moved, checked.

These work on the data folder itself, on the box; none asks a running appliance.
"""

import socket
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.options import OutputOption
from appliance.cli.output import Output, print_data, print_lines, talk
from appliance.cli.progress import Telling

app = typer.Typer(
    help="The appliance's objects: move them into k3s and back, check them.", no_args_is_help=True
)

MAX_PASSPHRASE_BYTES = 4096

Data = Annotated[Path, typer.Option("--data", help="The appliance's folder.")]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", metavar="FILE", help="The cluster that holds, or shall hold, the objects."),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Seal, or open, with what stands in this file."),
]
DEFAULT_DATA = Path("/var/lib/skerry")


def add_commands(main: typer.Typer) -> None:
    main.command("backup")(back_up)
    main.command("restore")(restore)


def back_up(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup to make.")],
    data: Data = DEFAULT_DATA,
    kubeconfig: Kubeconfig = None,
    passphrase_file: PassphraseFile = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Save everything that makes this appliance itself into one signed file, while it runs.

    Resources, secrets, the CA and the keys of host tokens: restored, burnt media and running hosts go on as
    before. The mirror's images are not in it; they come again from their bundles.
    """
    from appliance.moving import folders
    from appliance.moving.backup import load_signing_key

    passphrase = _read_passphrase(passphrase_file)
    site = socket.gethostname()
    contents = folders.back_up(data, file, site=site, kubeconfig=kubeconfig, passphrase=passphrase)
    signer = load_signing_key(data).public.key_id
    if not passphrase:
        talk("It holds keys in the clear. Keep it as you keep the box, or seal it: --passphrase-file FILE")
    if output in (Output.JSON, Output.YAML):
        print_data({"file": str(file), "signer": signer, "objects": contents.objects}, output)
        return
    total = sum(contents.objects.values())
    print_lines([f"{file}: {total} objects, {len(contents.members) - 1} files, signed by {signer}"])


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")],
    data: Data = DEFAULT_DATA,
    passphrase_file: PassphraseFile = None,
    signer: Annotated[
        str, typer.Option("--signer", metavar="ID", help="The key that must have signed it.")
    ] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring a backup back into an empty folder. It appears there whole, or not at all."""
    from appliance.moving import folders
    from appliance.moving.objects import bundles_loaded

    backup = folders.restore(file, data, passphrase=_read_passphrase(passphrase_file), signer=signer)
    contents, bundles = backup.contents, bundles_loaded(backup.objects)
    if output in (Output.JSON, Output.YAML):
        found = {"signer": backup.signer, "objects": contents.objects, "bundles": bundles}
        print_data({"data": str(data), **found}, output)
        return
    total = sum(contents.objects.values())
    print_lines(
        [f"{data}: {total} objects of {contents.site}, {contents.created}, signed by {backup.signer}"]
    )
    talk(f"Now: skerry serve --data {data}")
    if bundles:
        talk("Its mirror is empty. Until these are loaded again, no host can install or upgrade from it:")
    for bundle in bundles:
        talk(f"  skerry bundle load … {bundle}")


@app.command("migrate")
def migrate(
    to: Annotated[str, typer.Option("--to", metavar="STORE", help="kubernetes or sqlite.")],
    data: Data = DEFAULT_DATA,
    kubeconfig: Kubeconfig = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Move every object into a cluster, or back. Read back and compared; cut off, it goes on when repeated.

    The appliance must not run meanwhile. The side that was left keeps what it had.
    """
    from appliance.moving import folders

    with Telling("moving", unit="") as telling:
        if to == "kubernetes":
            moved = folders.move_to_kubernetes(
                data, kubeconfig, told=lambda done, total: telling.show("moving", done, total)
            )
        elif to == "sqlite":
            moved = folders.move_to_sqlite(data, kubeconfig)
        else:
            raise CommandFailed("Usage", f"There is no store {to!r}.", hint="--to kubernetes, or --to sqlite")
    if output in (Output.JSON, Output.YAML):
        print_data({"store": to, "objects": moved.objects, "brought": moved.brought}, output)
        return
    print_lines([f"{moved.objects} objects are in the {to} store, {moved.brought} of them brought now"])
    talk(f"Now: skerry serve --store {to} --data {data}")


@app.command("check")
def check(data: Data = DEFAULT_DATA, output: OutputOption = Output.TABLE) -> None:
    """Read the whole store and say what is wrong with it, if anything. Changes nothing."""
    from appliance.moving import folders

    total, troubles = folders.check(data)
    if output in (Output.JSON, Output.YAML):
        print_data({"objects": total, "troubles": troubles}, output)
    else:
        print_lines([*troubles, f"{total} objects, {len(troubles)} troubles"])
    if troubles:
        raise CommandFailed(
            "Damaged",
            f"{len(troubles)} of {total} objects are not as they should be.",
            hint="skerry backup now, then mend each with kubectl edit, or restore an older backup",
        )


def _read_passphrase(file: Path | None) -> bytes:
    if file is None:
        return b""
    with file.open("rb") as content:
        passphrase = content.read(MAX_PASSPHRASE_BYTES + 1).strip()
    if not passphrase or len(passphrase) > MAX_PASSPHRASE_BYTES:
        raise CommandFailed("Configuration", f"{file} holds no passphrase.", hint="One line of text.")
    return passphrase
