"""`mirror …`: care of a mirror's folder on its own machine: what is in it, what is wrong, what can go.

These commands open the folder that `--root` names, also while its server runs, and ask no appliance; only
`gc` and `verify` without a folder are jobs of the appliance, which also knows what its store names. Bringing
images in and out is `appliance.cli.mirror_copies`, telling nodes of the mirror `appliance.cli.mirror_nodes`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli import following, mirror_copies, mirror_nodes
from appliance.cli.bundles import Wait, waits
from appliance.cli.exits import CommandFailed
from appliance.cli.options import DryRun, OutputOption, Server, connect
from appliance.cli.output import (
    Output,
    print_data,
    print_lines,
    print_table,
    render_age,
    talk,
)
from appliance.cli.progress import Telling

if TYPE_CHECKING:
    from mirror.care import Chore
    from mirror.collection import Reason
    from mirror.registry import Registry

app = typer.Typer(
    help="A mirror's folder: list, measure, verify, collect, rebuild, copy. Run as the mirror's user.",
    no_args_is_help=True,
)
mirror_copies.add_commands(app)
mirror_nodes.add_commands(app)

Root = mirror_copies.Root
Grace = Annotated[
    float,
    typer.Option("--grace", metavar="HOURS", help="Leave alone what was pushed or asked for so recently."),
]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="DIGEST", help="A manifest that stays without a tag; may be repeated."),
]


@app.command("ls")
def list_mirror(
    repository: Annotated[str, typer.Argument(metavar="[REPOSITORY]")] = "",
    root: Root = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the repositories, or the tags of one with their digests and sizes."""
    with opened(root) as registry:
        if repository:
            _list_tags(registry, repository, output)
        else:
            _list_repositories(registry, output)


@app.command("du")
def measure(root: Root = None, output: OutputOption = Output.TABLE) -> None:
    """Say what takes how much room; OWN is what would be freed with the repository."""
    from mirror.usage import usage

    with opened(root) as registry:
        found = usage(registry)
    if output is Output.NAME:
        print_lines(f"repository/{each.name}" for each in found.repositories)
    elif output in (Output.JSON, Output.YAML):
        print_data(_document("MirrorUsage", found), output)
    else:
        rows = [
            [
                each.name,
                str(each.tags),
                str(each.manifests),
                render_size(each.bytes),
                render_size(each.own_bytes),
            ]
            for each in found.repositories
        ]
        print_table(("REPOSITORY", "TAGS", "MANIFESTS", "SIZE", "OWN"), rows)
        talk(
            f"{found.blobs} blobs, {render_size(found.bytes)} on disk; "
            f"{render_size(found.unreachable_bytes)} of it unreachable, "
            f"{render_size(found.staged_bytes)} on its way in; "
            f"{render_size(found.free_bytes)} free. {_render_care(mirror_copies.check_root(root))}"
        )


@app.command("gc")
def collect_garbage(
    root: Root = None,
    grace: Grace = 24.0,
    keep: Keep = None,
    dry_run: DryRun = False,
    wait: Wait = None,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Free what no tag reaches, while the mirror serves; --dry-run only says what would go, and why.

    Without --root the appliance does it, and keeps what its OS versions and rollouts name by digest.
    """
    from mirror.collection import collect
    from mirror.errors import DigestInvalid
    from mirror.oci import parse_digest

    if not 0 <= grace <= 24 * 365:
        raise CommandFailed("Usage", f"--grace {grace:g} is not a number of hours from 0 to 8760.")
    if root is None:
        if keep:
            raise CommandFailed("Usage", "--keep needs --root; the appliance knows itself what to keep.")
        client = connect(server)
        operation = client.start_operation("collect-mirror", {"dryRun": dry_run, "graceHours": grace})
        done = following.finish(client, operation, output, wait=waits(wait, output))
        if output in (Output.TABLE, Output.WIDE) and done.result:
            verb = "would be freed (dry run)" if dry_run else "freed"
            print_lines([f"{done.result['blobs']} blobs, {render_size(done.result['bytes'])} {verb}"])
            _talk_of_garbage(
                {name: (each["blobs"], each["bytes"]) for name, each in done.result["reasons"].items()},
                waiting=(done.result["waiting"]["blobs"], done.result["waiting"]["bytes"]),
                grace=grace,
            )
        return
    try:
        held = [parse_digest(text) for text in keep or ()]
    except DigestInvalid as error:
        raise CommandFailed("Usage", f"--keep: {error}", hint=error.hint) from error
    with opened(root) as registry, Telling("marking", unit="") as telling:
        collected = collect(
            registry, grace_seconds=grace * 3600, keep=held, dry_run=dry_run, progress=telling.show
        )
        if not dry_run:
            _write_down(registry, "collection", bytes=collected.bytes)
    if output is Output.NAME:
        print_lines(f"blob/{each.digest}" for each in collected.garbage)
        return
    if output in (Output.JSON, Output.YAML):
        print_data(_document("MirrorCollection", collected, bytes=collected.bytes), output)
        return
    if output is Output.WIDE or dry_run:
        rows = [
            [each.digest, render_size(each.size), each.reason, ", ".join(each.repositories)]
            for each in collected.garbage
        ]
        print_table(("DIGEST", "SIZE", "REASON", "REPOSITORIES"), rows)
    verb = "would be freed (dry run)" if dry_run else "freed"
    print_lines([f"{len(collected.garbage)} blobs, {render_size(collected.bytes)} {verb}"])
    _talk_of_garbage(collected.by_reason(), waiting=(collected.waiting, collected.waiting_bytes), grace=grace)


@app.command("verify")
def verify_mirror(
    root: Root = None,
    wait: Wait = None,
    output: OutputOption = Output.TABLE,
    server: Server = None,
) -> None:
    """Prove every blob by its digest and every manifest by what it names; change nothing.

    Without --root the appliance does it.
    """
    if root is None:
        client = connect(server)
        operation = client.start_operation("verify-mirror", {})
        done = following.finish(client, operation, output, wait=waits(wait, output))
        if output in (Output.TABLE, Output.WIDE) and done.result:
            print_lines([_verdict(**done.result, findings=0)])
        return
    from mirror.space import bytes_below
    from mirror.verification import verify

    with opened(root) as registry:
        total = bytes_below(registry.blobs.staging.parent / "blobs")
        with Telling("verifying", total=total) as telling:
            verified = verify(registry, progress=telling.advance)
        _write_down(registry, "verification", bytes=verified.bytes, findings=len(verified.findings))
    if output in (Output.JSON, Output.YAML):
        print_data(_document("MirrorVerification", verified, sound=verified.is_sound), output)
    elif output is Output.NAME:
        print_lines(sorted({finding.what for finding in verified.findings}))
    else:
        if verified.findings:
            rows = [[each.problem, each.what, each.repository, each.detail] for each in verified.findings]
            print_table(("PROBLEM", "WHAT", "REPOSITORY", "DETAIL"), rows)
        print_lines(
            [
                _verdict(
                    blobs=verified.blobs,
                    bytes=verified.bytes,
                    manifests=verified.manifests,
                    tags=verified.tags,
                    findings=len(verified.findings),
                )
            ]
        )
    if not verified.is_sound:
        raise CommandFailed(
            "MirrorDamaged",
            f"The mirror has {len(verified.findings)} findings.",
            hint="Push or load the images that are hit once more: what is whole is left as it is.",
        )


@app.command("rebuild")
def rebuild_index(root: Root = None, output: OutputOption = Output.TABLE) -> None:
    """Make the index again from the blobs and the journal of names; the mirror's server must be stopped."""
    from mirror.rebuilding import rebuild

    rebuilt = rebuild(mirror_copies.check_root(root))
    if output in (Output.JSON, Output.YAML):
        print_data(_document("MirrorRebuild", rebuilt), output)
    elif output is Output.NAME:
        print_lines(f"manifest/{each.digest}" for each in rebuilt.lost)
    else:
        print_lines(
            [
                f"{rebuilt.manifests} manifests and {rebuilt.tags} tags in {rebuilt.repositories} "
                "repositories restored"
            ]
        )
        if rebuilt.lost:
            rows = [[each.repository, ", ".join(each.tags), each.digest, each.why] for each in rebuilt.lost]
            print_table(("REPOSITORY", "TAGS", "LOST", "WHY"), rows)
    if rebuilt.lost or rebuilt.damaged_lines:
        raise CommandFailed(
            "Partial",
            f"{len(rebuilt.lost)} manifests are not whole, and {rebuilt.damaged_lines} lines of the journal "
            "could not be read.",
            hint="Push or load the images that are missing once more.",
        )


@contextlib.contextmanager
def opened(root: Path | None) -> "Iterator[Registry]":
    """The mirror in the folder, which must be one already."""
    from mirror.registry import Registry

    registry = Registry(mirror_copies.check_root(root))
    try:
        yield registry
    finally:
        registry.close()


def render_size(count: int) -> str:
    """In powers of ten, as disks are sold: 0 B, 999 B, 1.0 kB, 12.3 GB."""
    size, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, bigger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def _verdict(*, blobs: int, bytes: int, manifests: int, tags: int, findings: int) -> str:
    return (
        f"{blobs} blobs, {render_size(bytes)}, {manifests} manifests and {tags} tags verified: "
        f"{findings or 'no'} findings"
    )


def _talk_of_garbage(
    reasons: Mapping["Reason", tuple[int, int]], *, waiting: tuple[int, int], grace: float
) -> None:
    for reason, (count, size) in reasons.items():
        talk(f"  {reason}: {count} blobs, {render_size(size)}")
    if waiting[0]:
        talk(
            f"{waiting[0]} more blobs, {render_size(waiting[1])}, are unreachable; their grace of "
            f"{grace:g} hours is not over."
        )


def _write_down(registry: "Registry", chore: "Chore", *, bytes: int, findings: int = 0) -> None:
    """For the metrics of whoever serves this folder; a folder that cannot be written to is no failure."""
    import time

    from mirror.care import Care, write_care

    care = Care(at=time.time(), is_sound=not findings, bytes=bytes, findings=findings)
    with contextlib.suppress(OSError):
        write_care(registry.blobs.staging.parent, chore, care)


def _render_care(root: Path) -> str:
    """`Collected 3h ago; verified 2d ago, 3 findings.`"""
    from datetime import UTC, datetime

    from mirror.care import Chore, read_care

    said = []
    chores: tuple[tuple[Chore, str], ...] = (("collection", "collected"), ("verification", "verified"))
    for chore, word in chores:
        care = read_care(root, chore)
        if care is None:
            said.append(f"never {word}")
            continue
        age = render_age(datetime.fromtimestamp(care.at, UTC).isoformat())
        findings = f", {care.findings} findings" if care.findings else ""
        said.append(f"{word} {age} ago{findings}{'' if care.is_sound or findings else ', and failed'}")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def _list_repositories(registry: "Registry", output: Output) -> None:
    names = registry.list_repositories()
    if output is Output.NAME:
        print_lines(f"repository/{name}" for name in names)
        return
    tags = {name: registry.list_tags(name) for name in names}
    if output in (Output.JSON, Output.YAML):
        items = [{"name": name, "tags": tags[name]} for name in names]
        print_data({"apiVersion": "skerry.dev/v1", "kind": "MirrorRepositoryList", "items": items}, output)
    elif not names:
        talk("The mirror is empty.")
    else:
        print_table(("REPOSITORY", "TAGS"), [[name, str(len(tags[name]))] for name in names])


def _list_tags(registry: "Registry", repository: str, output: Output) -> None:
    from mirror.usage import list_tags

    found = list_tags(registry, repository)
    if output is Output.NAME:
        print_lines(f"{repository}:{each.tag}" for each in found)
    elif output in (Output.JSON, Output.YAML):
        print_data({"apiVersion": "skerry.dev/v1", "kind": "MirrorTagList", "items": found}, output)
    elif not found:
        talk(f"{repository} has no tags.")
    else:
        is_wide = output is Output.WIDE
        rows = [
            [each.tag, each.digest, render_size(each.bytes), *([each.media_type] if is_wide else [])]
            for each in found
        ]
        print_table(("TAG", "DIGEST", "SIZE", *(("TYPE",) if is_wide else ())), rows)


def _document(kind: str, found: object, **more: object) -> Mapping[str, Any]:
    import msgspec

    return {"apiVersion": "skerry.dev/v1", "kind": kind, **msgspec.to_builtins(found), **more}
