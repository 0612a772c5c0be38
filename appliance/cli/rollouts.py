"""`rollout …`: moving the fleet to another image, wave by wave."""

import time
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.options import (
    DryRun,
    Labels,
    Namespace,
    OutputOption,
    Server,
    Timeout,
    choose_namespace,
    connect,
)
from appliance.cli.output import Output, print_data, print_documents, print_lines, render_table, talk, write
from appliance.resources.meta import Document, Kind, decode
from appliance.resources.rollout import ROLLOUT, Rollout
from appliance.rollout import render_pause, render_resume

if TYPE_CHECKING:
    pass

app = typer.Typer(help="Staged upgrades: waves, brakes, and what stopped them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME")]
FINISHED = ("Completed", "Failed")


@app.command("start")
def start_rollout(
    name: Name,
    image: Annotated[str, typer.Option("--image", help="What to move to; best by digest.")] = "",
    os_version: Annotated[str, typer.Option("--version", help="Or the name of a ManagedOSVersion.")] = "",
    waves: Annotated[
        str, typer.Option("--waves", metavar="SIZES", help="Hosts or shares: 1,25%,100%.")
    ] = "1,25%,100%",
    selector: Labels = "",
    max_unavailable: Annotated[int, typer.Option("--max-unavailable", min=1, help="Hosts at once.")] = 1,
    soak: Annotated[int, typer.Option("--soak", min=0, metavar="SECONDS", help="Rest between waves.")] = 0,
    paused: Annotated[bool, typer.Option("--paused", help="Make it, and hold it until resumed.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for its end.")] = False,
    timeout: Timeout = 1800,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Start moving hosts to an image. Without --selector: all of them."""
    if bool(image) == bool(os_version):
        raise CommandFailed("Usage", "Say either --image or --version.")
    target = {"image": image} if image else {"managedOSVersionName": os_version}
    place = choose_namespace(namespace)
    document: Document = {
        "apiVersion": ROLLOUT.api_version,
        "kind": ROLLOUT.kind,
        "metadata": {"name": name, "namespace": place},
        "spec": {
            **target,
            "selector": parse_selector(selector),
            "waves": [{"size": size.strip()} for size in waves.split(",") if size.strip()],
            "maxUnavailable": max_unavailable,
            "soakSeconds": soak,
            "paused": paused,
        },
    }
    client = connect(server)
    created = document if dry_run else client.create_object(document)
    if output in (Output.JSON, Output.YAML, Output.NAME):
        print_documents(ROLLOUT, [created], output, is_list=False)
    else:
        print_lines([f"rollout.skerry.dev/{name} started{' (dry run)' if dry_run else ''}"])
    if wait and not dry_run:
        wait_for_end(client, name, place, timeout)


@app.command("list")
def list_rollouts(
    namespace: Namespace = None,
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Every namespace.")] = False,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """List the rollouts."""
    place = None if all_namespaces else choose_namespace(namespace)
    documents = connect(server).list_objects(ROLLOUT, place)
    if not documents and output in (Output.TABLE, Output.WIDE):
        talk("No rollouts.")
        return
    print_documents(ROLLOUT, documents, output, is_list=True, with_namespace=all_namespaces)


@app.command("status")
def show_status(
    name: Name, namespace: Namespace = None, output: OutputOption = Output.TABLE, server: Server = None
) -> None:
    """Show how far a rollout is: waves, hosts, and why it stopped."""
    document = connect(server).get_object(ROLLOUT, name, choose_namespace(namespace))
    if output in (Output.JSON, Output.YAML):
        print_data(document, output)
    elif output is Output.NAME:
        print_documents(ROLLOUT, [document], output, is_list=False)
    else:
        write(render_status(decode(Rollout, document)))


@app.command("pause")
def pause_rollout(
    name: Name, namespace: Namespace = None, dry_run: DryRun = False, server: Server = None
) -> None:
    """Start no further host; those under way finish or roll back."""
    _set_paused(name, namespace, server, is_paused=True, dry_run=dry_run)


@app.command("resume")
def resume_rollout(
    name: Name, namespace: Namespace = None, dry_run: DryRun = False, server: Server = None
) -> None:
    """Go on with a paused rollout."""
    _set_paused(name, namespace, server, is_paused=False, dry_run=dry_run)


@app.command("wait")
def wait_for_rollout(
    name: Name, timeout: Timeout = 1800, namespace: Namespace = None, server: Server = None
) -> None:
    """Wait for the end: 0 completed, 1 failed, 4 time is up, 7 stopped with some hosts not updated."""
    wait_for_end(connect(server), name, choose_namespace(namespace), timeout)


def parse_selector(text: str) -> Document:
    """`k=v,k2!=v,k3,!k4` as a LabelSelector. Raises CommandFailed."""
    labels: dict[str, str] = {}
    expressions: list[dict[str, Any]] = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = term.partition("=")
        if equals and key.endswith("!"):
            expressions.append({"key": key[:-1].strip(), "operator": "NotIn", "values": [value.strip()]})
        elif equals:
            labels[key.strip()] = value.lstrip("=").strip()
        elif any(letter.isspace() for letter in term):
            raise CommandFailed("Usage", f"The selector {term!r} is not understood.", hint="k=v,k2!=v,k3,!k4")
        elif term.startswith("!"):
            expressions.append({"key": term[1:], "operator": "DoesNotExist"})
        else:
            expressions.append({"key": term, "operator": "Exists"})
    selector: Document = {"matchLabels": labels} if labels else {}
    return {**selector, "matchExpressions": expressions} if expressions else selector


def render_status(rollout: Rollout) -> str:
    """A rollout as text: where it is, a line a wave, a line a host that is neither waiting nor done."""
    status = rollout.status
    lines = [
        f"Rollout:  {rollout.metadata.name}",
        f"Phase:    {status.phase}" + (f": {status.reason}" if status.reason else ""),
        f"Image:    {status.image or rollout.spec.image or rollout.spec.managed_os_version_name}",
        f"Hosts:    {status.updated} of {status.total} updated, {status.failed} failed",
    ]
    text = "\n".join(lines) + "\n"
    rows = []
    for number, wave in enumerate(status.waves):
        mark = "<- now" if number == status.current_wave and status.phase not in FINISHED else ""
        rows.append([str(number + 1), f"{wave.updated}/{wave.hosts}", mark or " "])
    if rows:
        text += render_table(("WAVE", "UPDATED", ""), rows)
    busy = [host for host in status.hosts if host.phase not in ("Waiting", "Updated")]
    if busy:
        rows = [[host.name, str(host.wave + 1), host.phase, host.reason] for host in busy]
        text += render_table(("HOST", "WAVE", "PHASE", "REASON"), rows)
    untold = status.total - len(status.hosts)
    if untold > 0:
        text += f"{untold} more hosts: skerry hosts list\n"
    return text


def _set_paused(
    name: str, namespace: str | None, server: str | None, *, is_paused: bool, dry_run: bool
) -> None:
    client, place = connect(server), choose_namespace(namespace)
    rollout = decode(Rollout, client.get_object(ROLLOUT, name, place))
    if not dry_run:
        change = render_pause() if is_paused else render_resume(rollout)
        client.patch_object(ROLLOUT, name, place, change)
    verb = "paused" if is_paused else "resumed"
    print_lines([f"rollout.skerry.dev/{name} {verb}{' (dry run)' if dry_run else ''}"])


class RolloutReader(Protocol):
    """The one thing that waiting asks of an appliance."""

    def get_object(self, kind: Kind, name: str, namespace: str) -> Document: ...


def wait_for_end(client: RolloutReader, name: str, namespace: str, timeout: float) -> None:
    """Return when it completed. Raises CommandFailed when it failed, paused, or the time is up."""
    deadline = time.monotonic() + timeout
    while True:
        rollout = decode(Rollout, client.get_object(ROLLOUT, name, namespace))
        status = rollout.status
        match status.phase:
            case "Completed":
                talk(f"Rollout {name} completed: {status.updated} of {status.total} hosts.")
                return
            case "Failed":
                raise CommandFailed("Failed", f"Rollout {name} failed: {status.reason}")
            case "Paused":
                hint = f"skerry rollout status {name}, then skerry rollout resume {name}"
                reason = status.reason or "somebody paused it"
                raise CommandFailed("Partial", f"Rollout {name} is paused: {reason}", hint=hint)
        if time.monotonic() >= deadline:
            raise CommandFailed("TimedOut", f"Rollout {name} is {status.phase} after {timeout:g} s.")
        time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
