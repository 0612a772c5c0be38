"""`serve`, `console`, `demo`, `version`: whole programs."""

import sys
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.options import OutputOption, Server, connect
from appliance.cli.output import Output, print_data, print_lines, talk


def add_commands(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(console)
    app.command()(demo)
    app.command()(version)


def serve(
    data: Annotated[Path | None, typer.Option("--data", help="Where everything is kept.")] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="ADDR:PORT", help="Control; port 0: any.")
    ] = None,
    mirror_listen: Annotated[
        str | None, typer.Option("--mirror-listen", metavar="ADDR:PORT", help="The OCI mirror.")
    ] = None,
    insecure_http: Annotated[
        bool | None, typer.Option("--insecure-http", help="No TLS: tokens travel in the clear.")
    ] = None,
    advertise_url: Annotated[
        str | None, typer.Option("--advertise-url", metavar="URL", help="What hosts are told to call.")
    ] = None,
    site: Annotated[str | None, typer.Option("--site", help="The name of this place.")] = None,
    discovery: Annotated[
        bool | None, typer.Option("--discovery/--no-discovery", help="Announce and listen by mDNS.")
    ] = None,
    mirror_quota: Annotated[
        str | None,
        typer.Option(
            "--mirror-quota", metavar="SIZE", help="All images together, as in 500G; else no bound."
        ),
    ] = None,
    mirror_keep_free: Annotated[
        str | None,
        typer.Option("--mirror-keep-free", metavar="SIZE", help="Of the disk, left free by images; 64M."),
    ] = None,
    mirror_htpasswd: Annotated[
        Path | None,
        typer.Option("--mirror-htpasswd", metavar="FILE", help="Users who may push, with bcrypt hashes."),
    ] = None,
    mirror_access: Annotated[
        Path | None,
        typer.Option("--mirror-access", metavar="FILE", help="Rules in the place of the appliance's own."),
    ] = None,
    mirror_gc_every: Annotated[
        str | None,
        typer.Option("--mirror-gc-every", metavar="INTERVAL", help="Free unused images; 24h, 0 is never."),
    ] = None,
    mirror_verify_every: Annotated[
        str | None,
        typer.Option("--mirror-verify-every", metavar="INTERVAL", help="Check every byte; 7d, 0 is never."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="STORE", help="sqlite, in DATA; or kubernetes, a cluster."),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option("--kubeconfig", metavar="FILE", help="The cluster; else the one this pod is in."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings; else DATA/skerry.toml if there."),
    ] = None,
) -> None:
    """Run the appliance. One JSON line on stdout says when it is ready and where."""
    import msgspec

    from appliance.cli.exits import CommandFailed
    from appliance.config import ServeConfig, load_serve_config

    file = config or (data / "skerry.toml" if data and (data / "skerry.toml").exists() else None)
    given = {
        "data": str(data) if data else None,
        "listen": listen,
        "mirror_listen": mirror_listen,
        "insecure_http": insecure_http,
        "advertise_url": advertise_url,
        "site": site,
        "discovery": discovery,
        "store": store,
        "kubeconfig": str(kubeconfig) if kubeconfig else None,
        "mirror_quota": mirror_quota,
        "mirror_keep_free": mirror_keep_free,
        "mirror_htpasswd": str(mirror_htpasswd) if mirror_htpasswd else None,
        "mirror_access": str(mirror_access) if mirror_access else None,
        "mirror_gc_every": mirror_gc_every,
        "mirror_verify_every": mirror_verify_every,
    }
    base = load_serve_config(file) if file else ServeConfig()
    settings = msgspec.structs.replace(
        base, **{key: value for key, value in given.items() if value is not None}
    )
    if settings.store not in ("sqlite", "kubernetes"):
        raise CommandFailed("Usage", f"There is no store {store!r}.", hint="--store sqlite or kubernetes")
    if not settings.data:
        raise CommandFailed("Usage", "Say where to keep everything: --data DIR.")

    from appliance.service import main

    main(settings)


def console(
    basic: Annotated[bool, typer.Option("--basic", help="ASCII and monochrome, for serial lines.")] = False,
    server: Server = None,
) -> None:
    """Open the console on this terminal."""
    import runpy

    # The console stands above us: it is started as a program, never imported.
    sys.argv = ["skerry console", *(["--server", server] if server else []), *(["--basic"] if basic else [])]
    runpy.run_module("tui", run_name="__main__", alter_sys=True)


def demo(
    hosts: Annotated[int, typer.Option("--hosts", min=1, max=200, help="How many simulated hosts.")] = 5,
    headless: Annotated[bool, typer.Option("--headless", help="No console: a line a step.")] = False,
    output: Annotated[
        str, typer.Option("-o", "--output", help="json: only the summary on stdout.")
    ] = "table",
) -> None:
    """Run the whole job on this machine: appliance, mirror, simulated hosts, install, upgrade, rollback."""
    from appliance.demo import run

    raise typer.Exit(run(hosts=hosts, headless=headless or not sys.stdout.isatty(), output=output))


def version(
    client_only: Annotated[bool, typer.Option("--client", help="Only of this program.")] = False,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Say which version this is, and which the appliance is."""
    from appliance.api.client import Unreachable

    ours = distribution_version("skerry")
    found = None
    if not client_only:
        try:
            found = connect(server).version()
        except Unreachable as error:
            talk(f"The appliance was not asked: {error.message}")
    if output in (Output.JSON, Output.YAML):
        print_data({"client": ours, "server": found}, output)
    else:
        lines = [f"client {ours}", *([f"server {found.version} {found.site} {found.url}"] if found else [])]
        print_lines(lines)
