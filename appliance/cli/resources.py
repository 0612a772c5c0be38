"""`get`, `describe`, `apply`, `delete`: any kind of resource, the way kubectl does it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.exits import CommandFailed, check_all_done
from appliance.cli.options import DryRun, Labels, Namespace, OutputOption, Server, choose_namespace, connect
from appliance.cli.output import (
    Output,
    print_data,
    print_documents,
    print_lines,
    qualified,
    render_age,
    render_table,
    talk,
    write,
)
from appliance.cli.several import attempt_each
from appliance.resources.kinds import KINDS, find_kind
from appliance.resources.meta import Document, Kind

if TYPE_CHECKING:
    from appliance.api.client import Client

MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_DOCUMENTS = 1000

KindArgument = Annotated[str, typer.Argument(metavar="KIND", help="A kind, its plural or its short name.")]
File = Annotated[
    str,
    typer.Option("-f", "--filename", metavar="FILE|-", help="YAML or JSON, several documents; - is stdin."),
]


def add_commands(app: typer.Typer) -> None:
    for function in (get, describe, apply, delete):
        app.command()(function)


def get(
    kind: KindArgument,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    namespace: Namespace = None,
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Every namespace.")] = False,
    selector: Labels = "",
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Show resources of a kind."""
    found, names = split_reference(kind, names or [])
    client = connect(server)
    chosen = choose_namespace(namespace)
    if names:
        documents = [client.get_object(found, name, chosen) for name in names]
    else:
        documents = client.list_objects(
            found, None if all_namespaces or found.kind == "Namespace" else chosen, selector
        )
        if not documents and output in (Output.TABLE, Output.WIDE):
            talk(f"No {found.plural} in {'any namespace' if all_namespaces else f'namespace {chosen}'}.")
            return
    print_documents(found, documents, output, is_list=len(names) != 1, with_namespace=all_namespaces)


def describe(
    kind: KindArgument,
    name: Annotated[str | None, typer.Argument()] = None,
    namespace: Namespace = None,
    server: Server = None,
) -> None:
    """Tell everything about one resource, with its events."""
    found, names = split_reference(kind, [name] if name else [])
    if not names:
        raise CommandFailed("Usage", "Say which one: skerry describe KIND NAME.")
    client = connect(server)
    document = client.get_object(found, names[0], choose_namespace(namespace))
    event_kind = find_kind("events")
    assert event_kind is not None
    events = [
        event
        for event in client.list_objects(event_kind, document["metadata"].get("namespace"))
        if event.get("involvedObject", {}).get("name") == names[0]
        and event.get("involvedObject", {}).get("kind") == found.kind
    ]
    write(render_description(document, events))


def apply(
    filename: File,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Create or change what a file says; what it does not mention stays."""
    client = connect(server)
    documents = read_documents(filename)

    def act(document: Document) -> Document:
        kind = _known_kind(str(document.get("kind", "")))
        document.setdefault("metadata", {}).setdefault("namespace", choose_namespace(namespace))
        before = _find(client, kind, document)
        applied = document if dry_run else client.apply_object(document)
        if output in (Output.TABLE, Output.WIDE, Output.NAME):
            is_same = before is not None and _intent(before) == _intent(applied)
            verb = "created" if before is None else "unchanged" if is_same else "configured"
            _say(kind, document["metadata"]["name"], verb, output, dry_run=dry_run)
        return applied

    done, refused = attempt_each(documents, act, name=_name_of)
    if output in (Output.JSON, Output.YAML):
        print_data(done[0] if len(documents) == 1 and done else {"kind": "List", "items": done}, output)
    check_all_done(refused, total=len(documents), what="documents were not applied")


def delete(
    kind: Annotated[str | None, typer.Argument(metavar="KIND")] = None,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    filename: Annotated[str, typer.Option("-f", "--filename", metavar="FILE|-")] = "",
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Delete resources by name, or those that a file names."""
    client = connect(server)
    targets: list[tuple[Kind, str, str]] = []
    if filename:
        for document in read_documents(filename):
            metadata = document.get("metadata", {})
            place = metadata.get("namespace") or choose_namespace(namespace)
            targets.append((_known_kind(str(document.get("kind", ""))), metadata.get("name", ""), place))
    elif kind:
        found, given = split_reference(kind, names or [])
        targets += [(found, name, choose_namespace(namespace)) for name in given]
    if not targets:
        raise CommandFailed("Usage", "Say what to delete: skerry delete KIND NAME, or -f FILE.")

    def act(target: tuple[Kind, str, str]) -> None:
        (client.get_object if dry_run else client.delete_object)(*target)
        _say(target[0], target[1], "deleted", output, dry_run=dry_run)

    _, refused = attempt_each(targets, act, name=lambda target: f"{target[0].singular}/{target[1]}")
    check_all_done(refused, total=len(targets), what="resources were not deleted")


def split_reference(kind: str, names: list[str]) -> tuple[Kind, list[str]]:
    """`KIND NAME...` and `KIND/NAME` alike."""
    word, _, name = kind.partition("/")
    return _known_kind(word), [*([name] if name else []), *names]


def read_documents(filename: str) -> list[Document]:
    """The documents of a YAML or JSON file. Raises CommandFailed with the file's name and the line."""
    import yaml

    try:
        text = sys.stdin.read(MAX_FILE_BYTES + 1) if filename == "-" else _read_text(Path(filename))
    except UnicodeDecodeError as error:
        raise CommandFailed("Usage", f"{filename} is not UTF-8 text.") from error
    if len(text) > MAX_FILE_BYTES:
        raise CommandFailed("Usage", f"{filename} is over {MAX_FILE_BYTES} bytes.")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = [document for document in yaml.load_all(text, loader) if document is not None]
    except (yaml.YAMLError, RecursionError) as error:
        raise CommandFailed("Usage", f"{filename} is not YAML: {' '.join(str(error).split())}") from error
    flat = list(_flatten(documents, filename))
    if not flat or len(flat) > MAX_DOCUMENTS:
        raise CommandFailed(
            "Usage", f"{filename} holds {len(flat)} documents; 1 to {MAX_DOCUMENTS} are taken."
        )
    return flat


def render_description(document: Document, events: list[Document]) -> str:
    """Everything about one resource as text: facts first, then its fields, its conditions, its events."""
    import yaml

    metadata = document["metadata"]
    created = metadata.get("creationTimestamp")
    lines = [f"Name:         {metadata['name']}", f"Namespace:    {metadata.get('namespace', '-')}"]
    lines.append(f"Kind:         {document['kind']} ({document['apiVersion']})")
    lines.append(f"Created:      {created} ({render_age(created)} ago)")
    for word in ("labels", "annotations"):
        pairs = sorted((metadata.get(word) or {}).items())
        for number, (key, value) in enumerate(pairs):
            lines.append(f"{word.capitalize() + ':' if number == 0 else '':13} {key}={value}")
    status = dict(document.get("status") or {})
    conditions = status.pop("conditions", [])
    body: dict[str, Any] = {
        key.capitalize(): value
        for key, value in {**document, "status": status}.items()
        if key not in ("apiVersion", "kind", "metadata") and value
    }
    if document["kind"] == "Secret":
        body["Data"] = {
            key: f"{len(value)} characters, not shown" for key, value in body.get("Data", {}).items()
        }
    text = (
        "\n".join(lines) + "\n" + (yaml.safe_dump(body, sort_keys=False, allow_unicode=True) if body else "")
    )
    if conditions:
        rows = [
            [str(each.get(key, "")) for key in ("type", "status", "reason", "message")] for each in conditions
        ]
        text += "Conditions:\n" + _indent(render_table(("TYPE", "STATUS", "REASON", "MESSAGE"), rows))
    if events:
        rows = [
            [
                render_age(event.get("lastTimestamp")),
                event.get("type", ""),
                event.get("reason", ""),
                event.get("message", ""),
            ]
            for event in events
        ]
        text += "Events:\n" + _indent(render_table(("AGE", "TYPE", "REASON", "MESSAGE"), rows))
    return text


def _known_kind(word: str) -> Kind:
    kind = find_kind(word) or find_kind(word.removesuffix("s"))
    if kind is None:
        import difflib

        words = [name for each in KINDS for name in (each.plural, each.singular, *each.short_names)]
        near = difflib.get_close_matches(word.lower(), words, n=1)
        hint = f"Did you mean {near[0]}?" if near else "skerry help kinds lists them."
        raise CommandFailed("Usage", f"There is no kind {word!r}.", hint=hint)
    return kind


def _find(client: "Client", kind: Kind, document: Document) -> Document | None:
    """What the appliance has under that name now."""
    from appliance.api.client import ApplianceError

    metadata = document["metadata"]
    if not metadata.get("name"):
        raise CommandFailed("Usage", f"A {kind} has no metadata.name.")
    try:
        return client.get_object(kind, metadata["name"], metadata["namespace"])
    except ApplianceError as error:
        if error.reason == "NotFound":
            return None
        raise


def _intent(document: Document) -> Document:
    """What people say of an object, without what the appliance keeps about it."""
    metadata = document.get("metadata", {})
    said = {key: metadata.get(key) or {} for key in ("labels", "annotations")}
    return {**{key: value for key, value in document.items() if key not in ("metadata", "status")}, **said}


def _name_of(document: Document) -> str:
    return f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"


def _say(kind: Kind, name: str, verb: str, output: Output, *, dry_run: bool) -> None:
    reference = f"{qualified(kind)}/{name}"
    print_lines(
        [reference if output is Output.NAME else f"{reference} {verb}{' (dry run)' if dry_run else ''}"]
    )


def _read_text(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _flatten(documents: list[Any], filename: str) -> Iterator[Document]:
    for number, document in enumerate(documents, 1):
        if not isinstance(document, dict):
            raise CommandFailed("Usage", f"Document {number} of {filename} is not an object.")
        if document.get("kind") == "List":
            yield from _flatten(document.get("items") or [], filename)
        else:
            yield document


def _indent(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())
