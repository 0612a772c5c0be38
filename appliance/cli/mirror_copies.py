"""`mirror copy|export|import`: images between a mirror's folder, OCI image layouts and other registries.

Every digest is checked on the way, blobs that are there already are not sent again, and the tag comes last.
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.options import FormatOption, OutputOption
from appliance.cli.output import Output, print_data, print_lines
from appliance.cli.progress import Telling

if TYPE_CHECKING:
    from mirror.copying import LocalRepository, Source, Target
    from mirror.oci import Descriptor, Reference
    from mirror.registry import Registry
    from mirror.transfer import RemoteRepository

MAX_PASSWORD_BYTES = 4096

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        envvar="SKERRY_MIRROR_ROOT",
        help="The mirror's folder; an appliance's is DIR/mirror of its data. Else SKERRY_MIRROR_ROOT.",
        show_default=False,
        show_envvar=False,
    ),
]
Username = Annotated[str, typer.Option("--username", help="Who logs in.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", metavar="FILE", help="Where the password is; flags show in listings."),
]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", metavar="FILE", help="The CA that the other registry's is of.")
]
PlainHttp = Annotated[bool, typer.Option("--plain-http", help="The other registry has no TLS.")]


def add_commands(app: typer.Typer) -> None:
    app.command("copy")(copy_between)
    app.command("export")(export_image)
    app.command("import")(import_image)


def copy_between(
    source: Annotated[str, typer.Argument(metavar="SOURCE")],
    target: Annotated[str, typer.Argument(metavar="TARGET")],
    root: Root = None,
    username: Username = "",
    password_file: PasswordFile = None,
    ca_file: CaFile = None,
    plain_http: PlainHttp = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Copy an image. HOST:PORT/REPOSITORY:TAG is of another registry, REPOSITORY:TAG of this mirror.

    SOURCE may be REPOSITORY@DIGEST. Login, CA and --plain-http are for the other registry.
    """
    from mirror.oci import parse_reference
    from mirror.transfer import Endpoint, RemoteRepository

    origin, goal = parse_reference(source), parse_reference(target)
    if not goal.tag or goal.digest:
        raise CommandFailed("Usage", f"{target!r} needs a tag, and no digest.")
    password = read_password(username, password_file)
    with contextlib.ExitStack() as stack:
        registry = None
        if not (origin.registry and goal.registry):
            registry = stack.enter_context(contextlib.closing(_open(root, may_be_new=not goal.registry)))

        def place(reference: "Reference") -> "LocalRepository | RemoteRepository":
            if not reference.registry:
                return _local(registry, reference.repository)
            endpoint = Endpoint(
                reference.registry,
                plain_http=plain_http,
                ca_file=ca_file,
                username=username,
                password=password,
            )
            return stack.enter_context(contextlib.closing(RemoteRepository(endpoint, reference.repository)))

        wanted = origin.digest or origin.tag or "latest"
        copied = _copy(place(origin), place(goal), wanted, tag=goal.tag)
    _print_copied(copied, target, output)


def export_image(
    image: Annotated[str, typer.Argument(metavar="REPOSITORY:TAG")],
    layout: Annotated[Path, typer.Option("--output", help="The OCI image layout; made, or added to.")],
    name: Annotated[str, typer.Option("--name", help="What it is called there; the tag if not said.")] = "",
    root: Root = None,
    output: FormatOption = Output.TABLE,
) -> None:
    """Write an image of the mirror, or a whole index of them, into an OCI image layout folder."""
    from mirror.layout import Layout

    reference = _parse_local(image)
    wanted = reference.digest or reference.tag or "latest"
    with contextlib.closing(_open(root)) as registry:
        source = _local(registry, reference.repository)
        source.read_manifest(wanted)  # before a folder is made for nothing
        with contextlib.closing(Layout(layout)) as target:
            copied = _copy(source, target, wanted, tag=name or reference.tag or "latest")
    _print_copied(copied, str(layout), output)


def import_image(
    layout: Annotated[str, typer.Argument(metavar="LAYOUT[#NAME]")],
    image: Annotated[str, typer.Argument(metavar="REPOSITORY:TAG")],
    root: Root = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Read an image from an OCI image layout folder into the mirror. NAME picks one of several."""
    from mirror.layout import Layout

    reference = _parse_local(image)
    if not reference.tag or reference.digest:
        raise CommandFailed("Usage", f"{image!r} needs a tag, and no digest.")
    path, _, name = layout.partition("#")
    if not (Path(path) / "oci-layout").is_file():
        raise CommandFailed("Usage", f"{path} is not an OCI image layout: it has no file oci-layout.")
    with (
        contextlib.closing(_open(root, may_be_new=True)) as registry,
        contextlib.closing(Layout(Path(path))) as source,
    ):
        copied = _copy(source, _local(registry, reference.repository), name, tag=reference.tag)
    _print_copied(copied, image, output)


def check_root(root: Path | None, *, may_be_new: bool = False) -> Path:
    """The folder, if it is a mirror's. Nothing is made by mistyping."""
    if root is None:
        raise CommandFailed(
            "Usage", "Say where the mirror is.", hint="--root DIR, or SKERRY_MIRROR_ROOT in the environment."
        )
    is_mirror = (root / "blobs").is_dir() and (root / "staging").is_dir()
    is_free = not root.exists() or (root.is_dir() and not any(root.iterdir()))
    if not (is_mirror or (may_be_new and is_free)):
        raise CommandFailed(
            "Usage",
            f"{root} is not a mirror's folder.",
            hint="It holds blobs/, staging/ and index.db; an appliance has it as DIR/mirror.",
        )
    return root


def read_password(username: str, password_file: Path | None) -> str:
    """The file's first line."""
    if bool(username) != bool(password_file):
        raise CommandFailed("Usage", "--username and --password-file belong together.")
    if password_file is None:
        return ""
    with password_file.open("rb") as file:
        content = file.read(MAX_PASSWORD_BYTES)
    return content.decode(errors="replace").partition("\n")[0].strip("\r")


def _open(root: Path | None, *, may_be_new: bool = False) -> "Registry":
    from mirror.registry import Registry

    return Registry(check_root(root, may_be_new=may_be_new))


def _local(registry: "Registry | None", repository: str) -> "LocalRepository":
    from mirror.copying import LocalRepository

    assert registry is not None, "it is open whenever a name has no host"
    return LocalRepository(registry, repository)


def _parse_local(image: str) -> "Reference":
    from mirror.oci import parse_reference

    reference = parse_reference(image)
    if reference.registry:
        raise CommandFailed(
            "Usage", f"{image!r} names a host; this command is of the mirror itself.", hint="Use mirror copy."
        )
    return reference


def _copy(source: "Source", target: "Target", wanted: str, *, tag: str) -> "Descriptor":
    from mirror.copying import copy_image, missing_bytes

    with Telling("copying") as telling:
        telling.show("copying", 0, missing_bytes(source, target, wanted))
        return copy_image(source, target, wanted, tag=tag, progress=telling.advance)


def _print_copied(copied: "Descriptor", target: str, output: Output) -> None:
    if output in (Output.JSON, Output.YAML):
        document = {"mediaType": copied.media_type, "digest": copied.digest, "size": copied.size}
        print_data(
            {"apiVersion": "skerry.dev/v1", "kind": "MirrorCopy", "target": target, **document}, output
        )
    elif output is Output.NAME:
        print_lines([f"manifest/{copied.digest}"])
    else:
        print_lines([f"{target} {copied.digest} copied"])
