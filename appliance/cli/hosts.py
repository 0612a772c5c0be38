"""`hosts …`, `approve`, `reject`: the fleet as people see it."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal

import typer

from appliance.api.contract import HostView, InboxEntry
from appliance.cli.exits import CommandFailed, check_all_done
from appliance.cli.options import (
    DryRun,
    Labels,
    Namespace,
    OutputOption,
    Server,
    Timeout,
    choose_namespace,
    connect,
    operator,
)
from appliance.cli.output import (
    Output,
    print_data,
    print_lines,
    print_table,
    render_age,
    render_table,
    talk,
    write,
)
from appliance.cli.several import attempt_each

app = typer.Typer(help="The hosts and their inbox.", no_args_is_help=True)

Names = Annotated[list[str], typer.Argument(metavar="NAME...")]
HEADERS = ("NAME", "PHASE", "SLOT", "VERSION", "SEEN", "AGE")
WIDE_HEADERS = (*HEADERS[:-1], "DIGEST", "TPM", "ADDRESS", "REASON", "AGE")


def add_commands(app: typer.Typer) -> None:
    app.command()(approve)
    app.command()(reject)


@app.command("list")
def list_hosts(
    namespace: Namespace = None,
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Every namespace.")] = False,
    selector: Labels = "",
    phase: Annotated[str, typer.Option("--phase", help="Only those in this phase, e.g. 'Silent'.")] = "",
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """List the hosts: phase, slot, version, when last seen."""
    views = connect(server).hosts(None if all_namespaces else choose_namespace(namespace), labels=selector)
    views = [view for view in views if not phase or view.phase.lower() == phase.lower()]
    print_hosts(views, output)


@app.command("show")
def show_host(
    name: str, namespace: Namespace = None, output: OutputOption = Output.TABLE, server: Server = None
) -> None:
    """Show one host: its slots, what it is doing, and what happened to it."""
    view = connect(server).host(name, choose_namespace(namespace))
    if output in (Output.TABLE, Output.WIDE):
        write(render_host(view))
    else:
        print_hosts([view], output, is_list=False)


@app.command("inbox")
def show_inbox(output: OutputOption = Output.TABLE, server: Server = None) -> None:
    """Show who waits for approval, and which machines were merely heard on the network."""
    entries = connect(server).inbox()
    if output is Output.NAME:
        print_lines(entry.name for entry in entries)
    elif output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "InboxList", "items": entries}, output)
    elif not entries:
        talk("The inbox is empty.")
    else:
        headers = ("NAME", "KIND", "ADDRESS", "DETAILS", "AGE")
        print_table(headers, [_inbox_row(entry, is_wide=output is Output.WIDE) for entry in entries])


@app.command("label")
def label_host(
    name: str,
    changes: Annotated[list[str], typer.Argument(metavar="KEY=VALUE|KEY-...")],
    namespace: Namespace = None,
    dry_run: DryRun = False,
    server: Server = None,
) -> None:
    """Set labels (KEY=VALUE) and remove them (KEY-)."""
    from appliance.resources.machine_inventory import MACHINE_INVENTORY

    labels: dict[str, str | None] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals and not change.endswith("-"):
            raise CommandFailed("Usage", f"{change!r} is neither KEY=VALUE nor KEY-.")
        labels[key if equals else change.removesuffix("-")] = value if equals else None
    if not dry_run:
        body = {"metadata": {"labels": labels}}
        connect(server).patch_object(MACHINE_INVENTORY, name, choose_namespace(namespace), body)
    print_lines([f"host/{name} labelled{' (dry run)' if dry_run else ''}"])


@app.command("resolve")
def resolve_host(
    name: str,
    keep: Annotated[bool, typer.Option("--keep", help="The record is right as it is.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="What came newly is right; its doubles are rejected.")
    ] = False,
    namespace: Namespace = None,
    server: Server = None,
) -> None:
    """Say which machine is right where one identity has two: see the condition IdentityUnique."""
    if keep == replace:
        raise CommandFailed("Usage", f"Say what is right of {name}: --keep or --replace.")
    choice: Literal["keep", "replace"] = "keep" if keep else "replace"
    connect(server).resolve(name, choose_namespace(namespace), choice=choice, by=operator())
    print_lines([f"host/{name} {'kept' if keep else 'replaced'}"])


@app.command("wait")
def wait_for_host(
    name: str,
    phase: Annotated[str, typer.Option("--for", metavar="PHASE", help="The phase to wait for.")] = "Ready",
    timeout: Timeout = 1800,
    namespace: Namespace = None,
    server: Server = None,
) -> None:
    """Wait until a host is in a phase. Exit code 4 when time is up, 8 if it still waits for approval then."""
    client, place = connect(server), choose_namespace(namespace)
    deadline = time.monotonic() + timeout
    while True:
        view = client.host(name, place)
        if view.phase.lower() == phase.lower():
            print_lines([f"host/{name} is {view.phase}"])
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
    if view.phase == "Pending approval":
        raise CommandFailed("NeedsApproval", f"{name} waits for approval.", hint=f"skerry approve {name}")
    raise CommandFailed("TimedOut", f"{name} is {view.phase} after {timeout:g} s, not {phase}.")


def approve(
    names: Names,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Let hosts in that proved their identity and wait."""
    client, place = connect(server), choose_namespace(namespace)
    by = operator()
    _decide(
        names,
        lambda name: client.host(name, place) if dry_run else client.approve(name, place, by=by),
        verb="approved",
        dry_run=dry_run,
        output=output,
    )


def reject(
    names: Names,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the host.")] = "",
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Turn hosts away; they are told, and their tokens stop working."""
    client, place = connect(server), choose_namespace(namespace)
    by = operator()
    _decide(
        names,
        lambda name: client.host(name, place) if dry_run else client.reject(name, place, reason, by=by),
        verb="rejected",
        dry_run=dry_run,
        output=output,
    )


def print_hosts(views: Sequence[HostView], output: Output, *, is_list: bool = True) -> None:
    """Print hosts the way `-o` asks."""
    match output:
        case Output.NAME:
            print_lines(f"host/{view.name}" for view in views)
        case Output.JSON | Output.YAML:
            whole = {"apiVersion": "skerry.dev/v1", "kind": "HostList", "items": views}
            print_data(whole if is_list else views[0], output)
        case _ if not views:
            talk("No hosts.")
        case _:
            is_wide = output is Output.WIDE
            print_table(WIDE_HEADERS if is_wide else HEADERS, [_row(view, is_wide=is_wide) for view in views])


def render_host(view: HostView) -> str:
    """One host as text: facts, slots, history."""
    seen = f"{render_age(view.last_seen)} ago" if view.last_seen else "never"
    facts = [
        ("Name", view.name),
        ("Namespace", view.namespace),
        ("Phase", f"{view.phase}: {view.reason}" if view.reason else view.phase),
        ("Approval", view.approval),
        ("Running", f"{view.version or '-'}  slot {view.slot or '-'}  {view.mode}".rstrip()),
        ("Image", view.digest or "-"),
        ("Seen", seen),
        ("Address", ", ".join(view.addresses) or "-"),
        ("TPM", view.tpm_hash or "-"),
        ("Labels", ", ".join(f"{key}={value}" for key, value in sorted(view.labels.items())) or "-"),
    ]
    text = "".join(f"{word + ':':12} {value}\n" for word, value in facts)
    if view.slots:
        rows = [
            [slot.name, slot.state, slot.version, slot.digest, _mark(slot.name, view), slot.reason]
            for slot in view.slots
        ]
        text += "Slots:\n" + _indent(("SLOT", "STATE", "VERSION", "DIGEST", "NOW", "REASON"), rows)
    if view.history:
        rows = [
            [each.time, each.action, each.slot, each.version, each.outcome, each.reason]
            for each in view.history
        ]
        text += "History:\n" + _indent(("TIME", "ACTION", "SLOT", "VERSION", "OUTCOME", "REASON"), rows)
    return text


def _decide(
    names: Sequence[str],
    decide: Callable[[str], HostView],
    *,
    verb: str,
    dry_run: bool,
    output: Output,
) -> None:
    def act(name: str) -> HostView:
        view = decide(name)
        if output in (Output.TABLE, Output.WIDE):
            print_lines([f"host/{name} {verb}{' (dry run)' if dry_run else ''}"])
        return view

    done, refused = attempt_each(names, act, name=lambda name: f"host/{name}")
    if output in (Output.JSON, Output.YAML, Output.NAME) and done:
        print_hosts(done, output, is_list=len(names) > 1)
    check_all_done(refused, total=len(names), what=f"hosts were not {verb}")


def _row(view: HostView, *, is_wide: bool) -> list[str]:
    wide = [view.digest, view.tpm_hash, view.address, view.reason] if is_wide else []
    seen, age = render_age(view.last_seen), render_age(view.created)
    return [view.name, view.phase, view.slot, view.version, seen, *wide, age]


def _inbox_row(entry: InboxEntry, *, is_wide: bool) -> list[str]:
    details = ", ".join(
        f"{key}={value if is_wide or key != 'tpm' else '…' + value[-8:]}"
        for key, value in entry.details.items()
    )
    return [entry.name, entry.kind, entry.address, details, render_age(entry.first_seen)]


def _mark(slot: str, view: HostView) -> str:
    return "running" if slot == view.slot else ""


def _indent(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"  {line}\n" for line in render_table(headers, list(rows)).splitlines())
