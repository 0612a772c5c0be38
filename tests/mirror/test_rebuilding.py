"""The index made again: from every state that a disk may leave it in, and only when nobody is in the way."""

import shutil
from pathlib import Path

import pytest

from mirror.collection import GRACE_SECONDS, collect
from mirror.errors import IndexMissing, MirrorBusy
from mirror.index import Holdings
from mirror.oci import digest_of
from mirror.rebuilding import rebuild
from mirror.registry import INDEX, JOURNAL, REBUILDING, Registry
from mirror.verification import verify
from tests.mirror.pushing import push_blob, push_image, push_index


def names_in(holdings: Holdings) -> object:
    """What an index names, whatever numbers its repositories have."""
    name = holdings.repositories
    return (
        {(name[number], digest): record for (number, digest), record in holdings.manifests.items()},
        {(name[number], tag, digest) for number, tag, digest in holdings.tags},
        {(name[number], digest) for number, digest in holdings.blobs},
    )


def fill(registry: Registry) -> None:
    child = push_image(registry, "apps/a", b"layer 1")
    push_index(registry, "apps/a", child, tag="v1")
    push_image(registry, "apps/a", b"layer 2", "v2", "latest")
    push_image(registry, "b", b"layer 2", "v1")
    gone = push_image(registry, "b", b"layer 3", "gone")
    registry.put_tags("b", ["old", "stable"], registry.get_manifest("b", "v1").digest)
    registry.delete_tag("b", "old")
    registry.delete_manifest("b", gone)
    registry.delete_blob("b", digest_of(b"layer 3"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    registry = Registry(tmp_path / "root")
    fill(registry)
    registry.close()
    return tmp_path / "root"


def holdings_of(root: Path) -> object:
    registry = Registry(root)
    try:
        assert verify(registry).is_sound
        return names_in(registry.index.holdings())
    finally:
        registry.close()


@pytest.mark.parametrize("damage", ["gone", "garbage", "sound"])
def test_a_new_index_names_what_the_old_one_named(root: Path, damage: str) -> None:
    before = holdings_of(root)
    if damage == "gone":
        (root / INDEX).unlink()
    elif damage == "garbage":
        (root / INDEX).write_bytes(b"not a database" * 1000)

    rebuilt = rebuild(root)

    assert holdings_of(root) == before
    assert (rebuilt.repositories, rebuilt.manifests, rebuilt.tags) == (2, 4, 5)
    assert (rebuilt.damaged_lines, rebuilt.lost) == (0, [])
    assert sorted(path.name for path in root.glob("*index*")) == [INDEX]


def test_collection_shortens_the_journal_and_loses_nothing(root: Path) -> None:
    length = (root / JOURNAL).stat().st_size
    registry = Registry(root)
    collect(registry, grace_seconds=GRACE_SECONDS)
    registry.close()
    before = holdings_of(root)

    assert (root / JOURNAL).stat().st_size < length
    rebuild(root)
    assert holdings_of(root) == before


def test_a_mirror_from_before_the_journal_gets_one(root: Path) -> None:
    before = holdings_of(root)
    (root / JOURNAL).unlink()
    assert holdings_of(root) == before

    rebuild(root)

    assert holdings_of(root) == before


def test_a_missing_index_is_not_taken_for_an_empty_mirror(root: Path) -> None:
    (root / INDEX).unlink()

    with pytest.raises(IndexMissing, match="is missing") as refusal:
        Registry(root)
    assert "skerry mirror rebuild" in refusal.value.hint


def test_nothing_is_rebuilt_under_somebody_who_has_the_mirror_open(root: Path) -> None:
    registry = Registry(root)

    with pytest.raises(MirrorBusy, match="in use"):
        rebuild(root)

    registry.close()
    rebuild(root)


def test_a_rebuild_that_was_killed_is_run_again(root: Path) -> None:
    before = holdings_of(root)
    (root / REBUILDING).touch()
    (root / INDEX).unlink()

    with pytest.raises(IndexMissing, match="interrupted"):
        Registry(root)

    rebuild(root)
    assert holdings_of(root) == before


def test_where_no_mirror_is_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(IndexMissing, match="no names"):
        rebuild(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_an_image_without_a_blob_is_told_and_the_others_are_restored(root: Path) -> None:
    registry = Registry(root)
    image = registry.get_manifest("apps/a", "v1").digest
    registry.blobs.delete(digest_of(b"layer 2"))
    registry.close()

    rebuilt = rebuild(root)

    assert {(lost.repository, lost.tags) for lost in rebuilt.lost} == {
        ("apps/a", ("latest", "v2")),
        ("b", ("stable", "v1")),
    }
    assert all("layer" not in lost.why and "no" in lost.why for lost in rebuilt.lost)
    registry = Registry(root)
    assert registry.get_manifest("apps/a", "v1").digest == image
    registry.close()


@pytest.mark.parametrize("damage", [b"", b"not a manifest", b"{}" * 3 * 1024 * 1024])
def test_a_damaged_manifest_is_told(root: Path, damage: bytes) -> None:
    registry = Registry(root)
    image = registry.get_manifest("apps/a", "v2").digest
    path = registry.blobs.path(image)
    registry.close()
    path.chmod(0o644)
    path.write_bytes(damage)

    rebuilt = rebuild(root)

    assert [(lost.repository, lost.digest) for lost in rebuilt.lost if lost.repository != "b"] == [
        ("apps/a", image)
    ]


def test_a_push_that_the_journal_could_not_record_is_not_acknowledged(root: Path) -> None:
    registry = Registry(root)
    push_blob(registry, "a", b"{}")
    journal = root / JOURNAL
    journal.unlink()
    (root / JOURNAL).mkdir()

    with pytest.raises(OSError, match="directory"):
        push_image(registry, "a", b"layer", "v9")

    assert registry.index.holdings().tags == [tag for tag in registry.index.holdings().tags if tag[1] != "v9"]
    registry.close()
    shutil.rmtree(journal)
