"""The core: what becomes visible, in which order, and what two processes see of each other."""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mirror.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    TooLarge,
)
from mirror.limits import DEFAULT_LIMITS
from mirror.oci import OCI_INDEX, OCI_MANIFEST, Digest, digest_of
from mirror.registry import Registry
from tests.mirror.running import descriptor, image_manifest


def push_blob(registry: Registry, repository: str, content: bytes) -> Digest:
    upload = registry.open_upload(repository)
    upload.write(content)
    return upload.commit(digest_of(content))


def push_image(registry: Registry, repository: str, *tags: str, **fields: Any) -> Digest:
    push_blob(registry, repository, b"config")
    content = image_manifest(b"config", **fields)
    return registry.push_manifest(repository, content, OCI_MANIFEST, tags=tags).digest


def test_a_blob_is_visible_only_where_it_was_pushed_or_linked(registry: Registry) -> None:
    digest = push_blob(registry, "a", b"content")

    assert registry.has_blob(digest)
    assert registry.has_blob(digest, "a")
    assert not registry.has_blob(digest, "b")
    registry.link_blob("b", digest)
    assert registry.blob_size("b", digest) == 7


def test_what_is_not_there_cannot_be_linked(registry: Registry) -> None:
    with pytest.raises(BlobUnknown):
        registry.link_blob("a", digest_of(b"nothing"))

    assert registry.list_repositories() == []


def test_a_manifest_comes_back_byte_for_byte_by_tag_and_digest(registry: Registry) -> None:
    push_blob(registry, "a", b"config")
    content = b" " + image_manifest(b"config") + b"\n"

    digest = registry.put_manifest("a", content, OCI_MANIFEST, reference="v1")

    assert digest == digest_of(content)
    for reference in ("v1", digest):
        stored = registry.get_manifest("a", reference)
        assert (stored.content, stored.media_type, stored.digest) == (content, OCI_MANIFEST, digest)


def test_a_manifest_pushed_by_sha512_is_known_by_it(registry: Registry) -> None:
    push_blob(registry, "a", b"config")
    content = image_manifest(b"config")
    digest = digest_of(content, "sha512")

    registry.push_manifest("a", content, OCI_MANIFEST, digest=digest, tags=("v1", "v2"))

    assert registry.get_manifest("a", "v2").digest == digest


def test_a_manifest_without_its_blobs_is_refused(registry: Registry) -> None:
    push_blob(registry, "other", b"config")

    with pytest.raises(ManifestBlobUnknown, match="a has no blob"):
        registry.put_manifest("a", image_manifest(b"config"), OCI_MANIFEST, reference="v1")

    assert not registry.has_manifest("a", "v1")


def test_foreign_layers_need_not_be_there(registry: Registry) -> None:
    foreign = {**descriptor(b"windows", "a/b"), "urls": ["https://example.com/layer"]}

    push_image(registry, "a", "v1", layers=[foreign])

    assert registry.has_manifest("a", "v1")


def test_an_index_may_name_platforms_that_were_not_carried(registry: Registry) -> None:
    index = msgspec.json.encode({"manifests": [descriptor(b"arm64", OCI_MANIFEST)]})

    registry.put_manifest("a", index, OCI_INDEX, reference="v1")

    assert registry.get_manifest("a", "v1").content == index


@pytest.mark.parametrize(
    ("content", "media_type", "error"),
    [
        (b"{", OCI_MANIFEST, ManifestInvalid),
        (b"{}", "", ManifestInvalid),
        (b"{}", "no type", ManifestInvalid),
        (b"{}", "text/html\r\nX: y", ManifestInvalid),
        (b"x" * 101, OCI_MANIFEST, TooLarge),
    ],
)
def test_a_bad_manifest_leaves_nothing(
    tmp_path: Path, content: bytes, media_type: str, error: type[Exception]
) -> None:
    registry = Registry(tmp_path / "root", limits=replace(DEFAULT_LIMITS, manifest_bytes=100))

    with pytest.raises(error):
        registry.put_manifest("a", content, media_type, reference="v1")

    assert registry.list_repositories() == []
    registry.close()


def test_a_manifest_with_another_digest_than_it_is_pushed_by_is_refused(registry: Registry) -> None:
    with pytest.raises(DigestInvalid):
        registry.put_manifest("a", b"{}", "a/b", reference=digest_of(b"[]"))


def test_a_type_nobody_knows_is_kept_verbatim(registry: Registry) -> None:
    registry.put_manifest("a", b'{"x": 1}', "application/vnd.example.thing.v7+json", reference="v1")

    stored = registry.get_manifest("a", "v1")
    assert (stored.content, stored.media_type) == (b'{"x": 1}', "application/vnd.example.thing.v7+json")


def test_a_manifest_may_bring_its_own_type(registry: Registry) -> None:
    push_blob(registry, "a", b"config")

    registry.put_manifest("a", image_manifest(b"config"), "", reference="v1")

    assert registry.get_manifest("a", "v1").media_type == OCI_MANIFEST


def test_a_tag_moves_and_the_old_manifest_stays(registry: Registry) -> None:
    old = push_image(registry, "a", "v1", annotations={"n": "1"})
    new = push_image(registry, "a", "v1", annotations={"n": "2"})

    assert registry.get_manifest("a", "v1").digest == new
    assert registry.get_manifest("a", old).digest == old


def test_tags_can_be_put_last_and_all_at_once(registry: Registry) -> None:
    digest = push_image(registry, "a")
    assert registry.list_tags("a") == []

    registry.put_tags("a", ["v1", "latest"], digest)

    assert registry.list_tags("a") == ["latest", "v1"]
    with pytest.raises(ManifestUnknown):
        registry.put_tags("a", ["v2"], digest_of(b"nothing"))
    with pytest.raises(NameInvalid):
        registry.put_tags("a", ["v3", ".."], digest)
    assert registry.list_tags("a") == ["latest", "v1"]


def test_deleting_a_tag_leaves_the_manifest(registry: Registry) -> None:
    digest = push_image(registry, "a", "v1", "v2")

    registry.delete_tag("a", "v1")

    assert registry.list_tags("a") == ["v2"]
    assert registry.has_manifest("a", digest)
    with pytest.raises(ManifestUnknown):
        registry.delete_tag("a", "v1")


def test_deleting_a_manifest_takes_its_tags_along(registry: Registry) -> None:
    digest = push_image(registry, "a", "v1", "v2")
    push_image(registry, "b", "v1")

    registry.delete_manifest("a", digest)

    assert registry.list_tags("a") == []
    assert not registry.has_manifest("a", digest)
    assert registry.get_manifest("b", "v1").digest == digest
    with pytest.raises(ManifestUnknown):
        registry.delete_manifest("a", digest)


def test_deleting_a_blob_takes_it_out_of_one_repository(registry: Registry) -> None:
    digest = push_blob(registry, "a", b"content")
    registry.link_blob("b", digest)

    registry.delete_blob("a", digest)

    assert not registry.has_blob(digest, "a")
    assert registry.has_blob(digest, "b")
    with pytest.raises(BlobUnknown):
        registry.delete_blob("a", digest)


def test_lists_are_in_byte_order_and_paged(registry: Registry) -> None:
    tags = ["a", "B", "10", "9", "Z", "_"]
    push_image(registry, "r", *tags)

    assert registry.list_tags("r") == sorted(tags)
    assert registry.list_tags("r", last="B", limit=2) == sorted(tags)[3:5]
    assert registry.list_tags("r", last="nothing", limit=0) == []
    with pytest.raises(NameUnknown):
        registry.list_tags("nothing")


def test_referrers_carry_type_and_annotations(registry: Registry) -> None:
    subject = push_image(registry, "a", "v1")
    own = push_image(
        registry,
        "a",
        subject={"mediaType": OCI_MANIFEST, "digest": subject, "size": 1},
        artifactType="application/vnd.sbom",
        annotations={"k": "v"},
    )
    inherited = push_image(registry, "a", subject={"mediaType": OCI_MANIFEST, "digest": subject, "size": 1})

    found = {referrer.digest: referrer for referrer in registry.list_referrers("a", subject)}

    assert set(found) == {own, inherited}
    assert (found[own].artifact_type, found[own].annotations) == ("application/vnd.sbom", {"k": "v"})
    assert found[inherited].artifact_type == "application/vnd.oci.image.config.v1+json"
    filtered = registry.list_referrers("a", subject, artifact_type="application/vnd.sbom")
    assert [referrer.digest for referrer in filtered] == [own]


def test_a_subject_need_not_exist_and_an_unknown_one_has_no_referrers(registry: Registry) -> None:
    missing = digest_of(b"missing")
    referrer = push_image(registry, "a", subject={"mediaType": OCI_MANIFEST, "digest": missing, "size": 1})

    assert [found.digest for found in registry.list_referrers("a", missing)] == [referrer]
    assert registry.list_referrers("a", digest_of(b"other")) == []
    assert registry.list_referrers("nothing", missing) == []


@pytest.mark.parametrize("name", ["", "..", "a/../b", "A", "a//b"])
def test_a_bad_name_is_refused_everywhere(registry: Registry, name: str) -> None:
    digest = digest_of(b"x")
    asks: list[Callable[[], object]] = [
        lambda: registry.open_upload(name),
        lambda: registry.link_blob(name, digest),
        lambda: registry.put_manifest(name, b"{}", "a/b", reference="v1"),
        lambda: registry.get_manifest(name, "v1"),
        lambda: registry.list_tags(name),
        lambda: registry.list_referrers(name, digest),
        lambda: registry.delete_blob(name, digest),
        lambda: registry.delete_manifest(name, digest),
        lambda: registry.delete_tag(name, "v1"),
        lambda: registry.blob_size(name, digest),
    ]
    for ask in asks:
        with pytest.raises(NameInvalid):
            ask()


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Registry(tmp_path / "root")
    digest = push_image(first, "a", "v1")
    upload = first.open_upload("a")
    upload.write(b"half")
    upload.pause()
    first.close()

    second = Registry(tmp_path / "root")

    assert second.get_manifest("a", "v1").digest == digest
    assert second.upload_offset("a", upload.id) == 4
    second.close()


def push_many(root: str, prefix: str) -> None:
    registry = Registry(Path(root))
    for number in range(15):
        push_blob(registry, "shared", f"blob {number}".encode())
        push_image(registry, "shared", f"{prefix}-{number}", annotations={"n": str(number)})
    registry.close()


def test_two_processes_write_the_same_blobs_and_tags_at_once(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    spawn = multiprocessing.get_context("spawn")
    children = [spawn.Process(target=push_many, args=(root, prefix)) for prefix in ("a", "b")]
    for child in children:
        child.start()
    for child in children:
        child.join()

    assert [child.exitcode for child in children] == [0, 0]
    registry = Registry(tmp_path / "root")
    assert len(registry.list_tags("shared")) == 30
    for number in range(15):
        content = f"blob {number}".encode()
        assert (a := registry.get_manifest("shared", f"a-{number}")) == registry.get_manifest(
            "shared", f"b-{number}"
        ), a
        fd = registry.open_blob("shared", digest_of(content))
        assert os.read(fd, 100) == content
        os.close(fd)
    assert list((tmp_path / "root" / "staging").iterdir()) == []
    registry.close()
