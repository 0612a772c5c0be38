"""`k3s …`: put Skerry into an air-gapped k3s: pack what that needs, lay it down, start it, move in.

`pack` and `image` run on the connected side. `install` runs as root on the box, beside the mirror's folder,
and can be run again at any point. `manifests` and `chart` are for those who have a cluster already.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.options import DryRun, OutputOption
from appliance.cli.output import Output, print_data, print_lines, print_table, talk, write
from appliance.cli.progress import Telling

if TYPE_CHECKING:
    from appliance.k3s.documents import Hosted
    from appliance.k3s.install import Installation, Step
    from mirror.registry import Registry

app = typer.Typer(
    help="Skerry inside an air-gapped k3s: pack, install, manifests, chart.", no_args_is_help=True
)

MAX_TOKEN_BYTES = 4096

Image = Annotated[
    str,
    typer.Option("--image", metavar="REPOSITORY:TAG", help="The appliance's image.", show_default=False),
]
Data = Annotated[Path, typer.Option("--data", help="The appliance's folder, which stays where it is.")]
Advertise = Annotated[str, typer.Option("--advertise-url", help="What hosts are told to call.")]
Site = Annotated[str, typer.Option("--site", help="The site's name.")]
Port = Annotated[int, typer.Option("--port", help="Where control listens; 0: as last.", min=0, max=65535)]
MirrorPort = Annotated[
    int, typer.Option("--mirror-port", help="Where the mirror listens; 0: as last.", min=0, max=65535)
]


def default_image() -> str:
    return f"skerry/appliance:{version('skerry')}"


@app.command("pack")
def pack_k3s(
    binary: Annotated[Path, typer.Argument(metavar="K3S", help="The k3s program.")],
    images: Annotated[list[Path], typer.Argument(metavar="ARCHIVE...", help="Its air-gap image archives.")],
    release: Annotated[str, typer.Option("--release", metavar="VERSION", help="As k3s calls it.")],
    layout: Annotated[Path, typer.Option("--output", help="The OCI layout to write, for bundle pack.")],
) -> None:
    """Make an artifact of k3s' files, ready for `bundle pack`. Connected side."""
    from appliance.k3s.contents import BINARY_TITLE, K3S_TYPE, VERSION_LABEL
    from bundles.artifact import write_artifact

    files = {BINARY_TITLE: binary, **{path.name: path for path in images}}
    name = f"skerry/k3s:{release.replace('+', '-')}"
    with Telling("copying") as telling:
        digest = write_artifact(
            layout,
            files,
            name=name,
            artifact_type=K3S_TYPE,
            annotations={VERSION_LABEL: release},
            progress=lambda event: telling.show(event.phase, event.done, event.total),
        )
    talk(f"{name} is {digest}; now: skerry bundle pack {layout}#{name}={name} …")
    print_lines([name])


@app.command("image")
def build_image(
    layout: Annotated[Path, typer.Option("--output", help="The OCI layout to write, for bundle pack.")],
    source: Annotated[
        Path, typer.Option("--source", metavar="DIR", help="The checkout of Skerry to build from.")
    ] = Path(),
) -> None:
    """Build the appliance's own container image, ready for `bundle pack`. Connected side, root."""
    from bundles.images.appliance import build_appliance_image

    with Telling("building") as telling:
        name, digest = build_appliance_image(
            layout,
            source=source,
            progress=lambda event: telling.show(f"{event.phase} {event.what}", event.done, event.total),
        )
    talk(f"{name} is {digest}; now: skerry bundle pack {layout}#{name}={name} …")
    print_lines([name])


@app.command("manifests")
def print_manifests(
    image: Image = "",
    data: Data = Path("/var/lib/skerry"),
    advertise_url: Advertise = "",
    site: Site = "",
    port: Port = 0,
    mirror_port: MirrorPort = 0,
) -> None:
    """Print everything for `kubectl apply -f -`: CRDs, namespace, roles, the appliance."""
    from appliance.k3s.files import render_appliance, render_preparation

    hosted = _hosted(image, data, advertise_url, site, ports=(port or 8443, mirror_port or 5000))
    write(render_preparation(hosted) + "---\n" + render_appliance(hosted))


@app.command("chart")
def write_chart(
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where the chart's folder goes.")],
    image: Image = "",
) -> None:
    """Write the Helm chart: the same objects as `manifests`, with values."""
    from appliance.k3s.chart import ChartSettings, chart_files

    settings = ChartSettings(version=version("skerry"), image=image or f"docker.io/{default_image()}")
    for entry in chart_files(settings):
        path = output / entry.path
        if entry.kind == "directory":
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.write_bytes(entry.content)
    print_lines([str(output / "skerry")])


@app.command("install")
def install_k3s(
    release: Annotated[
        str, typer.Argument(metavar="REPOSITORY:TAG", help="The k3s artifact in the mirror, as packed.")
    ],
    data: Data = Path("/var/lib/skerry"),
    root: Annotated[Path, typer.Option("--root", help="Where the node's files go.")] = Path("/"),
    image: Image = "",
    advertise_url: Advertise = "",
    site: Site = "",
    port: Port = 0,
    mirror_port: MirrorPort = 0,
    mirror_url: Annotated[
        str, typer.Option("--mirror-url", help="Where the node pulls; else the appliance's own.")
    ] = "",
    names: Annotated[
        list[str] | None, typer.Option("--tls-san", help="A further name of the API server; may be repeated.")
    ] = None,
    first: Annotated[
        bool, typer.Option("--first", help="Begin a cluster that other boxes can join (etcd).")
    ] = False,
    join: Annotated[
        str, typer.Option("--join", metavar="URL", help="Join the cluster at this address.")
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="The cluster's join token.", show_default=False)
    ] = None,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Start k3s and move the store, where systemd runs.")
    ] = True,
    replace: Annotated[bool, typer.Option("--replace", help="Take over a k3s of other hands.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for each start.")] = 600.0,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lay down an air-gapped k3s from the mirror, start it, and move the appliance into it.

    Every step can be repeated. Without systemd, or with --no-start, only the files are laid down.
    """
    from appliance.k3s import install
    from appliance.k3s.contents import find_release
    from appliance.k3s.files import Node
    from appliance.k3s.starting import has_systemd
    from appliance.moving.into_k3s import check_can_move, settle_in
    from mirror.registry import Registry

    known = _read_endpoints(data)
    listened = (urlsplit(known.url).port or 8443, urlsplit(f"//{known.mirror}").port or 5000)
    ports = (port or listened[0], mirror_port or listened[1])
    hosted = _hosted(image, data, advertise_url or known.url, site, ports=ports)
    url, ca = _mirror_of(data, known, mirror_url)
    node = Node(
        hosted=hosted,
        mirror_url=url,
        ca_pem=ca,
        names=names or (),
        is_first=first,
        server_url=join,
        token=_read_token(join, token_file),
    )
    is_starting = start and has_systemd() and root == Path("/")
    if not (data / "mirror").is_dir():
        raise CommandFailed(
            "Configuration", f"{data} holds no mirror.", hint="Name the appliance's folder with --data."
        )
    with contextlib.closing(Registry(data / "mirror")) as registry:
        installation = install.Installation(
            root=root, release=find_release(registry, release), node=node, image=image or default_image()
        )
        _check(installation, registry, is_starting=is_starting, replace=replace)
        if is_starting and not join and not dry_run:
            check_can_move(data)
        steps = install.plan(installation, registry)
        if not dry_run:
            with Telling("copying", total=_bytes_to_copy(installation, steps)) as telling:
                install.carry_out(installation, registry, steps, telling.advance)
    _print_steps(steps, output)
    where = hosted.advertise_url or "what its node is called"
    talk(f"In k3s the appliance's URL is {where}, ports {hosted.port} and {hosted.mirror_port}.")
    if dry_run:
        if is_starting:
            if not join:
                with _told_only():
                    check_can_move(data)
            then = "" if join else ", move the objects into it, start the appliance in it"
            talk(f"Then: start k3s and wait for it{then} (dry run).")
        return
    if not is_starting:
        talk("The files are laid down. k3s was not started: no systemd on this root, or --no-start.")
        return
    settle_in(node, data, tell=talk, seconds=timeout)


@contextlib.contextmanager
def _told_only() -> Iterator[None]:
    """In a dry run, say what would stop the real one; an appliance may well run meanwhile."""
    from appliance.errors import ApplianceFault

    try:
        yield
    except ApplianceFault as error:
        talk(f"Before the start: {error} {error.hint}")


def _check(installation: "Installation", registry: "Registry", *, is_starting: bool, replace: bool) -> None:
    """Say what stands against it; what must stop it, stops it."""
    from appliance.k3s import install, preflight

    head = _head(registry, installation)
    ours = install.written_before(installation.root)
    facts = preflight.gather(installation.root, binary_head=head, size=installation.release.size, ours=ours)
    findings = preflight.judge(facts, is_starting=is_starting, replace=replace)
    stops = [finding for finding in findings if finding.is_stop]
    for finding in findings[len(stops) :]:
        talk(f"note: {finding.message}")
    if stops:
        raise CommandFailed(
            "Refused",
            "; ".join(finding.message for finding in stops),
            hint=" / ".join(finding.hint for finding in stops if finding.hint),
        )


def _head(registry: "Registry", installation: "Installation") -> bytes:
    release = installation.release
    with open(registry.open_blob(release.repository, release.binary.digest), "rb") as file:
        return file.read(64)


def _bytes_to_copy(installation: "Installation", steps: "list[Step]") -> int:
    changing = {step.path for step in steps if step.doing != "keep"}
    return sum(content.size for path, content, _ in installation.contents() if path in changing)


def _print_steps(steps: "list[Step]", output: Output) -> None:
    match output:
        case Output.JSON | Output.YAML:
            print_data(
                [{"doing": step.doing, "path": f"/{step.path}", "what": step.what} for step in steps], output
            )
        case Output.NAME:
            print_lines(f"/{step.path}" for step in steps)
        case _:
            print_table(
                ("DOING", "FILE", "WHAT"), [(step.doing, f"/{step.path}", step.what) for step in steps]
            )


def _hosted(image: str, data: Path, advertise_url: str, site: str, *, ports: tuple[int, int]) -> "Hosted":
    from appliance.k3s.documents import Hosted
    from appliance.k3s.install import image_name

    if advertise_url.startswith("http:"):
        raise CommandFailed(
            "Configuration",
            f"{advertise_url} is plain HTTP, and in k3s the appliance speaks TLS.",
            hint="Start it there once without --insecure-http, and give hosts and media the new URL.",
        )
    return Hosted(
        image=image_name(image or default_image()),
        data=str(data),
        port=ports[0],
        mirror_port=ports[1],
        advertise_url=advertise_url,
        site=site,
    )


@dataclass(frozen=True, slots=True)
class _Endpoints:
    """Where the appliance answered when it last ran; hosts and media know it by this."""

    url: str = ""
    mirror: str = ""


def _read_endpoints(data: Path) -> _Endpoints:
    try:
        known = json.loads((data / "endpoints.json").read_text())
        return _Endpoints(str(known["url"]), str(known["mirror"]))
    except (OSError, ValueError, KeyError, TypeError):
        return _Endpoints()


def _mirror_of(data: Path, known: _Endpoints, mirror_url: str) -> tuple[str, str]:
    """Where the node pulls, and the CA that it must trust."""
    ca_file = data / "pki" / "ca.crt"
    ca = ca_file.read_text() if ca_file.exists() else ""
    url = mirror_url or (f"{urlsplit(known.url).scheme}://{known.mirror}" if known.mirror else "")
    if not url:
        raise CommandFailed(
            "Configuration",
            f"{data} does not say where its mirror listens.",
            hint="Start the appliance there once, or name --mirror-url.",
        )
    return url, ca if url.startswith("https:") else ""


def _read_token(join: str, token_file: Path | None) -> str:
    if bool(join) != (token_file is not None):
        raise CommandFailed("Usage", "--join and --token-file go together.")
    if token_file is None:
        return ""
    with token_file.open("rb") as file:
        content = file.read(MAX_TOKEN_BYTES + 1)
    if not content.strip() or len(content) > MAX_TOKEN_BYTES:
        raise CommandFailed("Configuration", f"{token_file} holds no join token.")
    return content.decode("ascii", "strict").strip()
