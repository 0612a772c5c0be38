"""The list of commands. Each noun's file brings its own; this one only puts them together."""

import os
from typing import TYPE_CHECKING

import typer

from appliance.cli import (
    audit,
    bundles,
    discover,
    doctor,
    hosts,
    inventory,
    k3s,
    kubeconfig,
    media,
    mirror,
    operations,
    programs,
    registrations,
    resources,
    rollouts,
    store,
    topics,
    trusting,
)
from appliance.cli.options import Server

if TYPE_CHECKING:
    from typer.core import TyperGroup

app = typer.Typer(
    name="skerry",
    help="An offline control plane in a box: OS images, registrations, installs and staged upgrades.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def root(server: Server = None) -> None:
    """Everything below finds its appliance by --server, then SKERRY_SERVER, then the configuration file."""
    if server:
        os.environ["SKERRY_SERVER"] = server


programs.add_commands(app)
resources.add_commands(app)
hosts.add_commands(app)
kubeconfig.add_commands(app)
app.add_typer(hosts.app, name="hosts")
app.add_typer(kubeconfig.app, name="user")
app.add_typer(rollouts.app, name="rollout")
app.add_typer(bundles.app, name="bundle")
app.add_typer(media.app, name="iso")
app.add_typer(mirror.app, name="mirror")
app.add_typer(inventory.app, name="inventory")
app.add_typer(registrations.app, name="registration")
app.add_typer(operations.app, name="operation")
store.add_commands(app)
app.add_typer(store.app, name="store")
app.add_typer(audit.app, name="audit")
app.add_typer(trusting.trust_app, name="trust")
trusting.add_commands(registrations.app)
app.add_typer(k3s.app, name="k3s")
app.add_typer(discover.app, name="discover")
app.add_typer(doctor.app, name="doctor")
topics.add_commands(app)


def command() -> "TyperGroup":
    """The whole command line as one object that can be run."""
    from typing import cast

    return cast("TyperGroup", typer.main.get_command(app))
