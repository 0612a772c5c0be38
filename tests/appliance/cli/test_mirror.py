"""`skerry mirror`: each command over a real folder, with good input and bad, and no appliance anywhere."""

import json
import os
import re
from pathlib import Path

import pytest

from mirror.oci import Digest, digest_of
from mirror.registry import Registry
from tests.appliance.cli.typing_in import Outcome, Terminal
from tests.mirror.pushing import push_blob, push_image
from tests.mirror.running import RunningMirror

LAYER = b"layer" * 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    registry = Registry(tmp_path / "mirror")
    push_image(registry, "apps/a", LAYER, "v1", "v2")
    push_image(registry, "b", b"small", "v1")
    push_blob(registry, "b", b"loose")
    registry.close()
    return tmp_path / "mirror"


def digest_in(root: Path, repository: str, tag: str) -> Digest:
    registry = Registry(root)
    try:
        return registry.get_manifest(repository, tag).digest
    finally:
        registry.close()


def age(root: Path) -> None:
    """As if nothing had been pushed or asked for in a long time."""
    for path in (root / "blobs").rglob("*"):
        os.utime(path, (0, 0))


def data_of(outcome: Outcome) -> dict[str, object]:
    document: dict[str, object] = json.loads(outcome.out)
    return document


def test_repositories_and_tags_are_listed(lonely: Terminal, root: Path) -> None:
    whole = lonely.bare("mirror", "ls", "--root", str(root))
    tags = lonely.bare("mirror", "ls", "apps/a", "--root", str(root), "-o", "wide")
    names = lonely.bare("mirror", "ls", "apps/a", "--root", str(root), "-o", "name")

    assert (whole.code, whole.out.splitlines()[1:]) == (0, ["apps/a       2", "b            1"])
    assert digest_in(root, "apps/a", "v1") in tags.out
    assert "5.4 kB" in tags.out, "the layer and what surrounds it"
    assert names.out == "apps/a:v1\napps/a:v2\n"


def test_a_list_is_json_for_scripts(lonely: Terminal, root: Path) -> None:
    whole = data_of(lonely.bare("mirror", "ls", "--root", str(root), "-o", "json"))

    assert whole["items"] == [{"name": "apps/a", "tags": ["v1", "v2"]}, {"name": "b", "tags": ["v1"]}]


def test_room_is_measured(lonely: Terminal, root: Path) -> None:
    outcome = lonely.bare("mirror", "du", "--root", str(root), "-o", "json")

    found = data_of(outcome)
    assert found["unreachable_bytes"] == len(b"loose")
    assert found["bytes"] == sum(p.stat().st_size for p in (root / "blobs").rglob("*") if p.is_file())
    table = lonely.bare("mirror", "du", "--root", str(root))
    assert table.out.splitlines()[0].split() == ["REPOSITORY", "TAGS", "MANIFESTS", "SIZE", "OWN"]
    assert "5 B of it unreachable" in table.err


def test_measuring_says_when_the_mirror_was_cared_for(lonely: Terminal, root: Path) -> None:
    before = lonely.bare("mirror", "du", "--root", str(root))
    lonely.bare("mirror", "gc", "--root", str(root), "--dry-run")
    lonely.bare("mirror", "verify", "--root", str(root))
    verified = lonely.bare("mirror", "du", "--root", str(root))
    lonely.bare("mirror", "gc", "--root", str(root))
    damage = next((root / "blobs/sha256").iterdir())
    damage.chmod(0o600)
    damage.write_bytes(b"x")
    lonely.bare("mirror", "verify", "--root", str(root))
    after = lonely.bare("mirror", "du", "--root", str(root))

    assert before.err.endswith("Never collected; never verified.\n")
    assert re.search(r"Never collected; verified \d+s ago\.$", verified.err.rstrip())
    assert re.search(r"Collected \d+s ago; verified \d+s ago, \d+ findings\.$", after.err.rstrip())


def test_collection_tells_first_and_frees_then(lonely: Terminal, root: Path) -> None:
    age(root)

    told = lonely.bare("mirror", "gc", "--root", str(root), "--dry-run")
    freed = lonely.bare("mirror", "gc", "--root", str(root), "-o", "json")
    again = lonely.bare("mirror", "gc", "--root", str(root))

    assert digest_of(b"loose") in told.out
    assert told.out.endswith("1 blobs, 5 B would be freed (dry run)\n")
    assert "unreferenced: 1 blobs, 5 B" in told.err
    assert data_of(freed)["bytes"] == 5
    assert (again.code, again.out) == (0, "0 blobs, 0 B freed\n")


def test_what_is_young_is_told_and_kept(lonely: Terminal, root: Path) -> None:
    outcome = lonely.bare("mirror", "gc", "--root", str(root))

    assert outcome.out == "0 blobs, 0 B freed\n"
    assert "1 more blobs, 5 B, are unreachable" in outcome.err


def test_a_manifest_can_be_kept_without_a_tag(lonely: Terminal, root: Path) -> None:
    digest = digest_in(root, "b", "v1")
    registry = Registry(root)
    registry.delete_tag("b", "v1")
    registry.close()
    age(root)

    kept = lonely.bare("mirror", "gc", "--root", str(root), "--keep", digest, "-o", "name")
    gone = lonely.bare("mirror", "gc", "--root", str(root), "-o", "name")

    assert kept.out.split() == [f"blob/{digest_of(b'loose')}"]
    assert f"blob/{digest}" in gone.out


@pytest.mark.parametrize(
    "arguments", [("--grace", "0"), ("--grace", "-1"), ("--grace", "nan"), ("--keep", "sha256:short")]
)
def test_collection_refuses_bad_settings(lonely: Terminal, root: Path, arguments: tuple[str, ...]) -> None:
    assert lonely.bare("mirror", "gc", "--root", str(root), *arguments).code == 2


def test_a_sound_mirror_verifies(lonely: Terminal, root: Path) -> None:
    outcome = lonely.bare("mirror", "verify", "--root", str(root))

    assert (outcome.code, outcome.out.splitlines()[-1][-11:]) == (0, "no findings")


def test_damage_is_an_integrity_error(lonely: Terminal, root: Path) -> None:
    path = root / "blobs/sha256" / digest_of(LAYER).removeprefix("sha256:")
    path.chmod(0o644)
    path.write_bytes(LAYER.replace(b"l", b"L", 1))

    table = lonely.bare("mirror", "verify", "--root", str(root))
    document = lonely.bare("mirror", "verify", "--root", str(root), "-o", "json")

    assert (table.code, document.code) == (6, 6)
    assert "damaged" in table.out
    assert digest_of(LAYER) in table.out
    assert data_of(document)["sound"] is False
    assert json.loads(document.err.splitlines()[-1])["reason"] == "MirrorDamaged"


def test_a_lost_index_is_made_again(lonely: Terminal, root: Path) -> None:
    (root / "index.db").unlink()

    refused = lonely.bare("mirror", "ls", "--root", str(root))
    rebuilt = lonely.bare("mirror", "rebuild", "--root", str(root))

    assert refused.code == 1
    assert "skerry mirror rebuild" in refused.err
    assert (rebuilt.code, rebuilt.out) == (0, "2 manifests and 3 tags in 2 repositories restored\n")
    assert lonely.bare("mirror", "ls", "--root", str(root)).code == 0


def test_a_damaged_index_says_what_to_do(lonely: Terminal, root: Path) -> None:
    (root / "index.db").write_bytes(b"not a database" * 1000)

    refused = lonely.bare("mirror", "ls", "--root", str(root))

    assert refused.code == 1
    assert "skerry mirror rebuild" in refused.err


def test_what_a_rebuild_cannot_restore_is_told(lonely: Terminal, root: Path) -> None:
    (root / "blobs/sha256" / digest_of(LAYER).removeprefix("sha256:")).unlink()

    outcome = lonely.bare("mirror", "rebuild", "--root", str(root))

    assert outcome.code == 7
    assert "v1, v2" in outcome.out


def test_an_open_mirror_is_not_rebuilt(lonely: Terminal, root: Path) -> None:
    registry = Registry(root)

    assert lonely.bare("mirror", "rebuild", "--root", str(root)).code == 5

    registry.close()


def test_an_image_goes_out_and_in_again_with_its_digest(lonely: Terminal, root: Path, tmp_path: Path) -> None:
    layout, other = tmp_path / "layout", tmp_path / "other"

    out = lonely.bare("mirror", "export", "apps/a:v1", "--output", str(layout), "--root", str(root))
    back = lonely.bare("mirror", "import", f"{layout}#v1", "new/name:v7", "--root", str(other))

    assert (out.code, back.code) == (0, 0), out.err + back.err
    assert digest_in(other, "new/name", "v7") == digest_in(root, "apps/a", "v1")
    assert lonely.bare("mirror", "verify", "--root", str(other)).code == 0


def test_an_image_is_copied_from_and_to_another_registry(
    lonely: Terminal, root: Path, tmp_path: Path
) -> None:
    with RunningMirror(tmp_path / "remote") as remote:
        options = ("--root", str(root), "--plain-http", "-o", "json")
        sent = lonely.bare("mirror", "copy", "apps/a:v1", f"{remote.address}/far:v1", *options)
        fetched = lonely.bare("mirror", "copy", f"{remote.address}/far:v1", "near:v1", *options)

    assert (sent.code, fetched.code) == (0, 0), sent.err + fetched.err
    assert data_of(sent)["digest"] == data_of(fetched)["digest"] == digest_in(root, "near", "v1")


def test_an_image_is_copied_inside_the_mirror(lonely: Terminal, root: Path) -> None:
    assert lonely.bare("mirror", "copy", "apps/a:v1", "b:new", "--root", str(root)).code == 0
    assert digest_in(root, "b", "new") == digest_in(root, "apps/a", "v1")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("copy", "missing:v1", "b:v2"), 1),
        (("copy", "apps/a:v1", "b"), 2),
        (("copy", "apps/a:v1", "B:v2"), 2),
        (("copy", "127.0.0.1:1/a:v1", "b:v2", "--plain-http"), 1),
        (("copy", "127.0.0.1:1/a:v1", "b:v2", "--username", "me"), 2),
        (("export", "apps/a:missing", "--output", "LAYOUT"), 1),
        (("export", "host:5000/a:v1", "--output", "LAYOUT"), 2),
        (("import", "LAYOUT", "b:v2"), 2),
        (("ls", "Bad"), 2),
        (("ls", "missing"), 1),
    ],
)
def test_bad_names_are_refused_and_change_nothing(
    lonely: Terminal, root: Path, tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    before = sorted(root.rglob("*"))
    layout = tmp_path / "layout"
    typed = [str(layout) if each == "LAYOUT" else each for each in arguments]

    outcome = lonely.bare("mirror", *typed, "--root", str(root))

    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    assert not layout.exists()
    assert [path for path in sorted(root.rglob("*")) if "index.db-" not in path.name] == before


@pytest.mark.parametrize("command", ["ls", "du", "gc", "verify", "rebuild"])
def test_a_folder_that_is_no_mirror_is_left_alone(lonely: Terminal, tmp_path: Path, command: str) -> None:
    (tmp_path / "documents").mkdir()

    for root in (tmp_path / "documents", tmp_path / "mistyped"):
        outcome = lonely.bare("mirror", command, "--root", str(root))
        assert outcome.code == 2
        assert "not a mirror's folder" in outcome.err

    assert not (tmp_path / "mistyped").exists()
    assert list((tmp_path / "documents").iterdir()) == []


@pytest.mark.parametrize("command", ["ls", "du", "rebuild"])
def test_a_folder_must_be_named_where_the_appliance_is_not_asked(lonely: Terminal, command: str) -> None:
    outcome = lonely.bare("mirror", command)

    assert outcome.code == 2
    assert "--root" in outcome.err


@pytest.mark.parametrize("command", ["gc", "verify"])
def test_without_a_folder_the_appliance_is_asked(lonely: Terminal, command: str) -> None:
    assert lonely("mirror", command).code == 3


def test_the_appliance_collects_and_verifies_its_mirror(skerry: Terminal) -> None:
    told = skerry("mirror", "gc", "--dry-run")
    verified = skerry("mirror", "verify")
    refused = skerry("mirror", "gc", "--grace", "0")
    kept = skerry("mirror", "gc", "--keep", digest_of(b"x"))

    assert (told.code, told.out.splitlines()[-1][-24:]) == (0, "would be freed (dry run)"), told.err
    assert verified.code == 0, verified.err
    assert "verify-mirror succeeded" in verified.out
    assert verified.out.endswith(" tags verified: no findings\n")
    assert (refused.code, kept.code) == (2, 2)
