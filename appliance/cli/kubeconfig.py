"""`kubeconfig`, `user list`, `user revoke`: how other people and machines get in, and out again."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.options import OutputOption, Server, connect, operator
from appliance.cli.output import Output, print_data, print_lines, print_table, talk, write

if TYPE_CHECKING:
    from appliance.api.contract import Access, UserCredential, UserView

UNITS = {"m": 60, "h": 3600, "d": 24 * 3600, "y": 365 * 24 * 3600}

app = typer.Typer(help="Who was given a token or a certificate.", no_args_is_help=True)


def add_commands(root: typer.Typer) -> None:
    root.command()(kubeconfig)


def kubeconfig(
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="viewer, operator or admin; else all there is.")
    ] = "",
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="For whom; else you, here.")] = "",
    expires: Annotated[
        str, typer.Option("--expires", metavar="AGE", help="How long it counts: 12h, 30d, 1y.")
    ] = "30d",
    mtls: Annotated[bool, typer.Option("--mtls", help="A client certificate instead of a token.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write it there, for its owner's eyes only."),
    ] = None,
    server: Server = None,
) -> None:
    """Print a kubeconfig for kubectl and k9s. Without --role it holds the administrator's token."""
    import yaml

    if not role and (user or mtls):
        raise CommandFailed("Usage", "Say which role it shall have: --role viewer, operator or admin.")
    lifetime = parse_age(expires)
    client = connect(server)
    access = client.access()
    secret: dict[str, str] = {"token": access.token}
    name = f"skerry-{access.site}"
    if role:
        method: Literal["token", "certificate"] = "certificate" if mtls else "token"
        chosen = user or re.sub(r"[^A-Za-z0-9._@-]", "-", operator()).strip("-._@")[:63]
        issued = client.issue_user(chosen, role, method=method, lifetime_seconds=lifetime)
        secret = secret_of(issued)
        name = f"{chosen}@{name}"
        talk(f"{chosen} is {role} until {issued.user.expires}. skerry user revoke {chosen} takes it back.")
    text = yaml.safe_dump(render_kubeconfig(access, name, secret), sort_keys=False)
    if output is None:
        write(text)
        return
    from appliance.files import PRIVATE, write_durably

    write_durably(output.expanduser().absolute(), text.encode(), mode=PRIVATE)
    talk(f"Written to {output}; kubectl --kubeconfig {output} get mi")


@app.command("list")
def list_users(output: OutputOption = Output.TABLE, server: Server = None) -> None:
    """Show what was issued to people, and whether it still counts."""
    users = connect(server).users()
    if output in (Output.JSON, Output.YAML):
        print_data({"kind": "UserList", "items": users}, output)
    elif output is Output.NAME:
        print_lines(dict.fromkeys(f"user/{each.name}" for each in users))
    elif users:
        print_table(("NAME", "ROLE", "BY", "STATE", "ISSUED", "EXPIRES"), map(_row, users))
    else:
        talk("Nothing was issued to anybody.")


@app.command()
def revoke(name: Annotated[str, typer.Argument(metavar="NAME")], server: Server = None) -> None:
    """Take back every token and certificate of a user, at once."""
    for each in connect(server).revoke_user(name):
        print_lines([f"user/{each.name} {each.method} {each.id} revoked"])


def parse_age(text: str) -> int:
    """Seconds of `12h`, `30d`, `1y`. Raises CommandFailed."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhdy])", text)
    if found is None:
        raise CommandFailed(
            "Usage", f"{text!r} is no age.", hint="A number and m, h, d or y: 90m, 12h, 30d, 1y."
        )
    return int(found[1]) * UNITS[found[2]]


def render_kubeconfig(access: "Access", name: str, secret: dict[str, str]) -> dict[str, object]:
    """The document, with one context for one user."""
    cluster_name = f"skerry-{access.site}"
    cluster = {"server": access.url}
    if access.ca:
        cluster["certificate-authority-data"] = _encode(access.ca)
    context = {"cluster": cluster_name, "user": name, "namespace": "fleet-default"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster_name, "cluster": cluster}],
        "users": [{"name": name, "user": secret}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }


def secret_of(issued: "UserCredential") -> dict[str, str]:
    """What stands under `user`: the token, or the certificate and its key."""
    if issued.token:
        return {"token": issued.token}
    return {
        "client-certificate-data": _encode(issued.certificate),
        "client-key-data": _encode(issued.key),
    }


def _row(user: "UserView") -> tuple[str, ...]:
    return (user.name, user.role, user.method, user.state, user.issued, user.expires)


def _encode(text: str) -> str:
    import base64

    return base64.b64encode(text.encode()).decode()
