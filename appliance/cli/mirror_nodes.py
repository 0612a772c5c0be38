"""`mirror registries-yaml|hosts-toml`: the files by which nodes pull from a mirror. It is not asked itself.

How they get to the nodes is the caller's affair; a node that the appliance installs has them already.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.mirror_copies import PasswordFile, Username, read_password
from appliance.cli.options import FormatOption
from appliance.cli.output import Output, print_data, print_lines, write

if TYPE_CHECKING:
    from mirror.nodes import Login

MAX_CA_BYTES = 256 * 1024

MirrorUrl = Annotated[str, typer.Argument(metavar="MIRROR-URL")]
Upstreams = Annotated[
    list[str] | None,
    typer.Option("--upstream", metavar="HOST", help="A registry that it stands for; may be repeated."),
]


def add_commands(app: typer.Typer) -> None:
    app.command("registries-yaml")(print_registries)
    app.command("hosts-toml")(write_hosts)


def print_registries(
    mirror: MirrorUrl,
    ca_file: Annotated[
        str, typer.Option("--ca-file", metavar="PATH", help="Where the node has the mirror's CA.")
    ] = "",
    upstreams: Upstreams = None,
    username: Username = "",
    password_file: PasswordFile = None,
) -> None:
    """Print the registries.yaml by which a k3s or RKE2 node pulls everything from this mirror."""
    from mirror.nodes import render_registries_yaml
    from mirror.upstreams import KNOWN_UPSTREAMS

    write(
        render_registries_yaml(
            mirror,
            upstreams=upstreams or KNOWN_UPSTREAMS,
            ca_file=ca_file,
            login=_read_login(username, password_file),
        )
    )


def write_hosts(
    mirror: MirrorUrl,
    folder: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Becomes a node's /etc/containerd/certs.d.")
    ],
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="The mirror's CA, to go with the files.")
    ] = None,
    upstreams: Upstreams = None,
    username: Username = "",
    password_file: PasswordFile = None,
    output: FormatOption = Output.TABLE,
) -> None:
    """Write the folder by which any containerd pulls from this mirror: every registry, or each --upstream.

    The node's containerd must name it as its registries' config_path. With a password the files are secret.
    """
    from appliance.files import PRIVATE, PUBLIC, write_durably
    from mirror.nodes import render_certs_d

    login = _read_login(username, password_file)
    files = render_certs_d(
        mirror, upstreams=upstreams or (), ca=_read_ca(ca) if ca is not None else "", login=login
    )
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, text.encode(), mode=PUBLIC if login is None else PRIVATE)
    written = [str(folder / name) for name in files]
    if output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "MirrorHosts", "files": written}, output)
    else:
        print_lines(written)


def _read_login(username: str, password_file: Path | None) -> "Login | None":
    from mirror.nodes import Login

    password = read_password(username, password_file)
    return Login(username, password) if username else None


def _read_ca(path: Path) -> str:
    """Raises CommandFailed if it holds anything else than certificates: a key must not go to a node."""
    with path.open("rb") as file:
        content = file.read(MAX_CA_BYTES + 1)
    text = content.decode("ascii", errors="replace")
    is_certificates = "-----BEGIN CERTIFICATE-----" in text and "PRIVATE KEY" not in text
    if len(content) > MAX_CA_BYTES or not is_certificates:
        raise CommandFailed(
            "Usage",
            f"{path} is not a file of certificates alone.",
            hint="The appliance's is DIR/pki/ca.crt of its data.",
        )
    return text
