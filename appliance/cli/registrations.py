"""`registration …`: try a registration's templates before a machine does."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.exits import CommandFailed
from appliance.cli.options import Namespace, OutputOption, Server, choose_namespace, connect
from appliance.cli.output import Output, print_data, print_lines, print_table, talk

if TYPE_CHECKING:
    from agent.protocol.documents import JSON
    from appliance.hosts.templates_preview import Preview
    from appliance.resources.machine_registration import MachineRegistration

app = typer.Typer(help="Registrations and their templates.", no_args_is_help=True)

MAX_FILE_BYTES = 4 * 1024 * 1024


@app.callback()
def root() -> None:
    """Keep `render` a command of its own while it is the only one."""


@app.command("render")
def render_registration(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The MachineRegistration.")] = "",
    facts: Annotated[
        str,
        typer.Option("--facts", metavar="FILE", help="What `skerry-agent facts --json` printed; - is stdin."),
    ] = "",
    host: Annotated[
        str, typer.Option("--host", metavar="MACHINE", help="Use what the inventory has of this machine.")
    ] = "",
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="A MachineRegistration that is not applied yet.")
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option("--template", metavar="TEXT", help="Try this text, too.")
    ] = None,
    namespace: Namespace = None,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Show what templates make of a machine's facts, and what they lack. Exit code 7 if something is missing.

    With --facts, and --file or --template, no appliance is asked. A template is text with variables: ${A/B}
    is what the machine sent there, and ${A/B|C/D|text} the first of them that says something, else the text.
    """
    from appliance.hosts.templates_preview import preview_registration, preview_text, read_facts

    if not (name or file or template):
        raise CommandFailed("Usage", "Nothing to render: give a registration's NAME, --file or --template.")
    if bool(facts) == bool(host):
        raise CommandFailed("Usage", "Give either --facts FILE or --host MACHINE.")
    document = _read_document(facts, "the facts") if facts else connect(server).machine(host).facts
    tree, labels = read_facts(document)
    previews = [preview_text(text, tree) for text in template or ()]
    if file is not None:
        previews += preview_registration(_read_registration(file), tree, labels=labels)
    elif name:
        found = _fetch_registration(name, namespace, server)
        previews += preview_registration(found, tree, labels=labels)
    print_previews(previews, output)
    broken = [preview for preview in previews if preview.problem]
    if broken:
        reason = "Partial" if len(broken) < len(previews) else "Failed"
        raise CommandFailed(reason, f"{len(broken)} of {len(previews)} templates do not come out as written.")


def print_previews(previews: Sequence["Preview"], output: Output) -> None:
    """Print each template with its result, and below the table what is wrong."""
    match output:
        case Output.NAME:
            print_lines(preview.result for preview in previews)
        case Output.JSON | Output.YAML:
            items = [
                {"place": one.place, "template": one.template, "result": one.result, "problem": one.problem}
                for one in previews
            ]
            print_data({"apiVersion": "skerry.dev/v1", "kind": "TemplatePreviewList", "items": items}, output)
        case _ if not previews:
            talk("This registration has no templates.")
        case _:
            rows = [(one.place, one.template, one.result) for one in previews]
            print_table(("WHERE", "TEMPLATE", "RESULT"), rows)
            for one in previews:
                if one.problem:
                    talk(f"{one.place}: {one.problem}")


def _fetch_registration(name: str, namespace: str | None, server: str | None) -> "MachineRegistration":
    from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
    from appliance.resources.meta import decode

    found = connect(server).get_object(MACHINE_REGISTRATION, name, choose_namespace(namespace))
    return decode(MachineRegistration, found)


def _read_registration(path: Path) -> "MachineRegistration":
    import msgspec

    from appliance.resources.machine_registration import MachineRegistration
    from appliance.resources.meta import decode

    document = _read_document(str(path), "the registration")
    if document.get("kind") != "MachineRegistration":
        raise CommandFailed("Usage", f"{path} is no MachineRegistration.")
    try:
        return decode(MachineRegistration, dict(document))
    except msgspec.ValidationError as error:
        raise CommandFailed("Usage", f"{path} is not a valid MachineRegistration: {error}.") from error


def _read_document(place: str, what: str) -> "dict[str, JSON]":
    from agent.protocol.documents import as_object, parse_yaml
    from agent.protocol.errors import ProtocolError

    if place == "-":
        content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    else:
        with Path(place).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    try:
        return as_object(parse_yaml(content, what=what, limit=MAX_FILE_BYTES), what=what)
    except ProtocolError as error:
        raise CommandFailed("Usage", f"{place} cannot be used: {error}.") from error
