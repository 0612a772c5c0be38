"""`iso …`: installer media: built for a registration, burned onto sticks that are safe to overwrite."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.api.contract import DeviceView
from appliance.cli import following
from appliance.cli.bundles import Wait, waits
from appliance.cli.exits import CommandFailed
from appliance.cli.options import (
    DryRun,
    FormatOption,
    Namespace,
    OutputOption,
    Server,
    absolute,
    choose_namespace,
    connect,
)
from appliance.cli.output import Output, print_data, print_lines, print_table, talk

app = typer.Typer(help="Installer media: build, burn, and which sticks are safe.", no_args_is_help=True)


@app.command("build")
def build_iso(
    registration: Annotated[str, typer.Argument(metavar="REGISTRATION")],
    iso: Annotated[Path, typer.Option("--output", help="The image to make, on the appliance's machine.")],
    tree: Annotated[
        Path | None, typer.Option("--tree", metavar="DIR", help="A folder whose content goes onto it.")
    ] = None,
    uefi_image: Annotated[
        str, typer.Option("--uefi-image", help="A file of the tree: FAT with a loader.")
    ] = "",
    bios_image: Annotated[
        str, typer.Option("--bios-image", help="A file of the tree: El Torito loader.")
    ] = "",
    base_image: Annotated[
        str,
        typer.Option(
            "--base-image", metavar="IMAGE", help="Instead: an image that holds an ISO, or its URL."
        ),
    ] = "",
    platform: Annotated[
        str, typer.Option("--platform", metavar="OS/ARCH", help="Of the base image, as linux/x86_64.")
    ] = "",
    checksum: Annotated[bool, typer.Option("--checksum", help="Write FILE.sha256 beside it.")] = False,
    namespace: Namespace = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    output: FormatOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Build an installer image that registers with REGISTRATION."""
    from appliance.resources.machine_registration import MACHINE_REGISTRATION

    client, place = connect(server), choose_namespace(namespace)
    params = {
        "output": absolute(iso),
        "registration": registration,
        "namespace": place,
        "tree": absolute(tree) if tree else "",
        "uefiImage": uefi_image,
        "biosImage": bios_image,
        "baseImage": base_image,
        "platform": platform,
        "withChecksum": checksum,
    }
    if dry_run:
        client.get_object(MACHINE_REGISTRATION, registration, place)
        print_lines([f"{params['output']} would be built for {registration} (dry run)"])
        return
    operation = client.start_operation("build-iso", params)
    following.finish(client, operation, output, wait=waits(wait, output))


@app.command("burn")
def burn_iso(
    image: Annotated[Path, typer.Argument(metavar="IMAGE")],
    target: Annotated[Path, typer.Argument(metavar="DEVICE|FILE")],
    confirm: Annotated[
        str, typer.Option("--confirm", metavar="SERIAL-TAIL", help="The end of the stick's serial number.")
    ] = "",
    sha256: Annotated[str, typer.Option("--sha256", help="What the image must be.")] = "",
    wait: Wait = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Write an image to a stick and read it back. Everything on the stick is lost."""
    client = connect(server)
    if dry_run:
        plan_burn(client.devices(), target)
        return
    params = {"image": absolute(image), "target": absolute(target), "confirm": confirm, "sha256": sha256}
    operation = client.start_operation("burn-iso", params)
    following.finish(client, operation, output, wait=waits(wait, output))


@app.command("devices")
def list_devices(
    everything: Annotated[bool, typer.Option("--all", help="The unsafe ones too, with the reasons.")] = False,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """List the sticks of the appliance's machine that are safe to overwrite."""
    devices = connect(server).devices()
    shown = [device for device in devices if everything or not device.refusals]
    if output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "DeviceList", "items": shown}, output)
    elif output is Output.NAME:
        print_lines(device.path for device in shown)
    elif not shown:
        talk(f"No device is safe to overwrite; {len(devices)} are not: skerry iso devices --all")
    else:
        headers = ("DEVICE", "SIZE", "BUS", "PORT", "MODEL", "SERIAL", *(("REFUSED",) if everything else ()))
        print_table(headers, [_row(device, with_refusals=everything) for device in shown])


def plan_burn(devices: list[DeviceView], target: Path) -> None:
    """Say what a burn would do. Raises CommandFailed for a device that would be refused."""
    found = next((device for device in devices if device.path == str(target.resolve())), None)
    if found is not None and found.refusals:
        raise CommandFailed("DeviceRefused", f"{target} is refused: {'; '.join(found.refusals)}.")
    name = f"{found.vendor} {found.model} (serial {found.serial or 'none'})" if found else "a file"
    print_lines([f"{target}, {name}, would be overwritten (dry run)"])


def _row(device: DeviceView, *, with_refusals: bool) -> list[str]:
    size = f"{device.size / 1e9:.1f}G"
    model = " ".join(filter(None, (device.vendor, device.model)))
    refused = ["; ".join(device.refusals)] if with_refusals else []
    return [device.path, size, device.bus, device.port, model, device.serial, *refused]
