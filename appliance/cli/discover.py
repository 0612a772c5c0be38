"""`discover`: which appliances and machines can be heard from here; `discover pair`: take one in that is."""

import time
from typing import Annotated, Any

import typer

from appliance.cli.options import Namespace, OutputOption, Server, choose_namespace, connect
from appliance.cli.output import Output, print_data, print_lines, print_table, talk

HEADERS = ("NAME", "KIND", "ADDRESS", "DETAILS")


app = typer.Typer(help="Who can be heard on this network, and taking in a machine that was.")


@app.callback(invoke_without_command=True)
def discover(
    context: typer.Context,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=60, help="How long to listen.")] = 3,
    interface: Annotated[
        list[str] | None, typer.Option("--interface", metavar="ADDRESS", help="Only on this address of ours.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Listen for appliances and machines. What is heard is not proved: anybody can say anything."""
    if context.invoked_subcommand is not None:
        return
    heard = listen(seconds, interface or ["0.0.0.0"])  # noqa: S104 - a wildcard to choose from, not bound
    if output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "DiscoveryList", "items": heard}, output)
    elif output is Output.NAME:
        print_lines(each["name"] for each in heard)
    elif not heard:
        talk("Nothing was heard. If there should be something: is multicast filtered on this network?")
    else:
        rows = []
        for each in heard:
            details = ", ".join(f"{key}={value}" for key, value in each["details"].items())
            rows.append([each["name"], each["kind"], each["address"], details])
        print_table(HEADERS, rows)


@app.command("pair")
def pair_machine(
    machine: Annotated[str, typer.Argument(metavar="ID", help="Its id or name, as in the inbox.")],
    registration: Annotated[str, typer.Option("--registration", help="The registration it is to use.")],
    code: Annotated[str, typer.Option("--code", help="The six digits on the machine's own screen.")],
    address: Annotated[
        str, typer.Option("--address", metavar="ADDRESS[:PORT]", help="Where it is, if it was not heard.")
    ] = "",
    namespace: Namespace = None,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Give a machine that shows a code a registration: it trusts this appliance, and registers.

    A code is good for one try. After a wrong one the machine shows another.
    """
    paired = connect(server).pair(machine, code, registration, choose_namespace(namespace), address=address)
    if output in (Output.JSON, Output.YAML):
        print_data(paired, output)
    elif output is Output.NAME:
        print_lines([paired.name])
    else:
        print_lines([f"machine/{paired.name} at {paired.address} paired, registers by {paired.registration}"])


def listen(seconds: float, interfaces: list[str]) -> list[dict[str, Any]]:
    """What answers within the time."""
    from zeroconf import IPVersion, ServiceBrowser, ServiceStateChange, Zeroconf

    from agent.protocol.discovery import NODE_SERVICE, REGISTRATION_SERVICE
    from appliance.discovery import choose_interfaces, clean

    words = {REGISTRATION_SERVICE: "appliance", NODE_SERVICE: "machine"}
    names: set[tuple[str, str]] = set()

    def hear(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        names.add((service_type, name))

    mdns = Zeroconf(interfaces=choose_interfaces(interfaces), ip_version=IPVersion.V4Only)
    try:
        ServiceBrowser(mdns, list(words), handlers=[hear])
        time.sleep(seconds)
        heard = []
        for service, name in sorted(names)[:1000]:
            info = mdns.get_service_info(service, name, timeout=500)
            if info is not None:
                addresses = info.parsed_scoped_addresses()
                heard.append(
                    {
                        "name": clean(name.removesuffix(f".{service}")),
                        "kind": words[service],
                        "address": f"{addresses[0]}:{info.port}" if addresses else "",
                        "details": {
                            clean(key): clean(value or "") for key, value in info.decoded_properties.items()
                        },
                    }
                )
        return heard
    finally:
        mdns.close()
