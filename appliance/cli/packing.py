"""`bundle pack`: images from layouts and from registries into one signed bundle. Asks no appliance."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.mirror_copies import CaFile, PasswordFile, PlainHttp, Username, read_password
from appliance.cli.options import FormatOption
from appliance.cli.output import Output, print_data, print_lines, print_table
from appliance.cli.progress import Telling

if TYPE_CHECKING:
    from bundles.manifest import BundleManifest
    from bundles.pack import Source

REMOTE = "docker://"  # as skopeo says it


def pack_bundle(
    images: Annotated[list[str], typer.Argument(metavar="SOURCE=REPOSITORY:TAG...")],
    key: Annotated[Path, typer.Option("--key", help="The private key that signs.")],
    bundle: Annotated[Path, typer.Option("--output", help="The bundle to make; a new folder.")],
    name: Annotated[str, typer.Option("--name", help="What the bundle is called.")],
    sequence: Annotated[int, typer.Option("--sequence", min=0, help="Grows with every edition.")] = 0,
    username: Username = "",
    password_file: PasswordFile = None,
    ca_file: CaFile = None,
    plain_http: PlainHttp = False,
    output: FormatOption = Output.TABLE,
) -> None:
    """Pack images into a signed bundle.

    SOURCE is an OCI image layout, LAYOUT#NAME one of several in it, or docker://HOST/REPOSITORY:TAG of a
    registry, which login, CA and --plain-http are for.
    """
    import tempfile

    from bundles.pack import pack
    from bundles.signing import load_private_key

    signing_key = load_private_key(key)
    registry = Registry(username, read_password(username, password_file), ca_file, plain_http)
    # Beside the bundle, where there must be room for as much anyway.
    with tempfile.TemporaryDirectory(dir=bundle.absolute().parent, prefix=".fetched-") as folder:
        sources = [
            _parse_source(text, fetched=Path(folder) / str(number), registry=registry)
            for number, text in enumerate(images)
        ]
        manifest = pack(sources, bundle, key=signing_key, name=name, sequence=sequence)
    print_manifest(manifest, output, verb="packed")


def print_manifest(manifest: "BundleManifest", output: Output, *, verb: str) -> None:
    if output in (Output.JSON, Output.YAML):
        print_data(manifest, output)
    elif output is Output.NAME:
        print_lines([f"bundle/{manifest.name}"])
    else:
        megabytes = manifest.size / 1e6
        print_lines([f"bundle/{manifest.name} {verb}: {len(manifest.images)} images, {megabytes:.1f} MB"])
        rows = [[image.reference, image.version, image.digest] for image in manifest.images]
        print_table(("REFERENCE", "VERSION", "DIGEST"), rows)


@dataclass(frozen=True, slots=True)
class Registry:
    """How the registries of docker:// sources are reached."""

    username: str
    password: str
    ca_file: Path | None
    plain_http: bool


def _parse_source(text: str, *, fetched: Path, registry: Registry) -> "Source":
    """A source that lies in a layout: where it does already, or in `fetched` once this returns."""
    from bundles.pack import Source

    origin, equals, reference = text.rpartition("=")
    if not equals or not origin or not reference:
        raise CommandFailed("Usage", f"{text!r} is not SOURCE=REPOSITORY:TAG.")
    if origin.startswith(REMOTE):
        return _fetch(origin.removeprefix(REMOTE), reference, into=fetched, registry=registry)
    path, _, name = origin.partition("#")
    return Source(layout=Path(path), reference=reference, name=name)


def _fetch(image: str, reference: str, *, into: Path, registry: Registry) -> "Source":
    from bundles.fetch import fetch_image
    from bundles.progress import ProgressEvent
    from mirror.oci import parse_reference
    from mirror.transfer import Endpoint, RemoteRepository

    parsed = parse_reference(image)
    if not parsed.registry:
        raise CommandFailed("Usage", f"{REMOTE}{image} names no registry.")
    endpoint = Endpoint(
        parsed.registry,
        plain_http=registry.plain_http,
        ca_file=registry.ca_file,
        username=registry.username,
        password=registry.password,
    )
    wanted = parsed.digest or parsed.tag or "latest"
    with (
        contextlib.closing(RemoteRepository(endpoint, parsed.repository)) as origin,
        Telling("fetching") as telling,
    ):

        def show(event: ProgressEvent) -> None:
            telling.show(f"fetching {event.what}", event.done, event.total)

        return fetch_image(origin, wanted, into=into, name=reference, progress=show)
