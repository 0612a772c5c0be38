"""`bundle …`: what crosses the air gap. keygen, pack and verify need no appliance; the others ask one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from appliance.cli import following
from appliance.cli.exits import CommandFailed
from appliance.cli.options import DryRun, OutputOption, Server, absolute, connect
from appliance.cli.output import Output, print_data, print_lines, print_table, render_age, talk
from appliance.cli.packing import pack_bundle, print_manifest

app = typer.Typer(help="Bundles: signed folders of images that cross the air gap.", no_args_is_help=True)
app.command("pack")(pack_bundle)

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE")]
Wait = Annotated[
    bool | None,
    typer.Option("--wait/--no-wait", help="Wait for the end; the default, but not with -o json or yaml."),
]


@app.command("keygen")
def make_key(name: Annotated[Path, typer.Argument(metavar="NAME")]) -> None:
    """Make a signing key: NAME.key stays with you, NAME.pub goes to the boxes."""
    from bundles.signing import write_key_pair

    private, public = name.with_name(f"{name.name}.key"), name.with_name(f"{name.name}.pub")
    if public.exists():
        raise CommandFailed("OutputExists", f"{public} exists already.", hint="Keys are never overwritten.")
    key = write_key_pair(private)
    private.with_name(f"{private.name}.pub").rename(public)
    talk(f"Keep {private} private; bring {public} to the boxes: skerry bundle trust {public.name}")
    print_lines([key.key_id])


@app.command("verify")
def verify_bundle(
    bundle: BundlePath,
    trusted: Annotated[
        list[Path] | None, typer.Option("--trust", metavar="FILE.pub", help="Public keys; may be repeated.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check a bundle's signature and every byte of it, and change nothing."""
    from bundles.signing import parse_public_key, trust_of
    from bundles.verify import check_bundle

    if not trusted:
        raise CommandFailed("Usage", "Say whose signature counts: --trust FILE.pub.")
    keys = [parse_public_key(path.read_bytes(), name=str(path)) for path in trusted]
    print_manifest(check_bundle(bundle, trust_of(*keys)), output, verb="verified")


@app.command("load")
def load_bundle(
    bundle: BundlePath,
    wait: Wait = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Load a bundle that lies on the appliance's machine into its mirror: all of it or nothing.

    --dry-run checks the signature, the listing and the room there is, and says what would be new.
    """
    client = connect(server)
    params = {"path": absolute(bundle), **({"dryRun": True} if dry_run else {})}
    operation = client.start_operation("load-bundle", params)
    done = following.finish(client, operation, output, wait=dry_run or waits(wait, output))
    if dry_run and done.result and output in (Output.TABLE, Output.WIDE):
        _print_preview(done.result)


@app.command("list")
def list_bundles(output: OutputOption = Output.TABLE, server: Server = None) -> None:
    """List the bundles that were loaded."""
    views = connect(server).bundles()
    if output is Output.NAME:
        print_lines(f"bundle/{view.name}" for view in views)
    elif output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "BundleList", "items": views}, output)
    elif not views:
        talk("No bundles were loaded.")
    else:
        is_wide = output is Output.WIDE
        rows = [
            [
                view.name,
                str(view.sequence),
                str(len(view.images)),
                *([", ".join(image.reference for image in view.images)] if is_wide else []),
                render_age(view.loaded_at),
            ]
            for view in views
        ]
        print_table(("NAME", "SEQUENCE", "IMAGES", *(("REFERENCES",) if is_wide else ()), "AGE"), rows)


@app.command("trust")
def trust_signer(
    key: Annotated[Path | None, typer.Argument(metavar="[FILE.pub]")] = None,
    name: Annotated[str, typer.Option("--name", help="What the key is called; else the file's name.")] = "",
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Trust a signer's public key from now on; without a file, list the trusted keys."""
    client = connect(server)
    if key is None:
        keys = client.trusted_keys()
        if output in (Output.JSON, Output.YAML):
            print_data({"apiVersion": "skerry.dev/v1", "kind": "TrustList", "items": keys}, output)
        elif not keys:
            talk("No signer is trusted, so no bundle can be loaded: skerry bundle trust FILE.pub")
        else:
            print_table(("NAME", "KEY"), [[each.name, each.key_id] for each in keys])
        return
    added = client.trust(name or key.name.removesuffix(".pub"), key.read_text(errors="replace"))
    if output in (Output.JSON, Output.YAML):
        print_data(added, output)
    else:
        print_lines([f"key/{added.name}{'' if output is Output.NAME else f' {added.key_id} trusted'}"])


def waits(wait: bool | None, output: Output) -> bool:
    """The default of --wait."""
    return output not in (Output.JSON, Output.YAML) if wait is None else wait


def _print_preview(found: Mapping[str, Any]) -> None:
    """The result of a dry run of load-bundle."""
    rows = [
        [image["reference"], image["version"], image["change"], image["digest"], image["previous"]]
        for image in found["images"]
    ]
    print_table(("REFERENCE", "VERSION", "CHANGE", "DIGEST", "NOW"), rows)
    talk(
        f"{found['blobsToCopy']} blobs, {found['bytesToCopy'] / 1e6:.1f} MB, would be copied; "
        f"{found['blobsPresent']} are there (dry run)."
    )
