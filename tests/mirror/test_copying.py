"""Copies between the places an image can be: verified on the way, complete or not visible."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mirror.copying import LocalRepository, copy_image, missing_bytes
from mirror.errors import BlobUnknown, DigestInvalid, ManifestUnknown, SizeInvalid
from mirror.index import StoredManifest
from mirror.layout import Layout
from mirror.oci import OCI_INDEX, OCI_MANIFEST, Descriptor, Digest, digest_of
from mirror.registry import Registry
from tests.mirror.running import descriptor, image_manifest

LAYER = b"layer" * 1000


class Memory:
    """A source that sends whatever it was given."""

    def __init__(self) -> None:
        self.manifests: dict[str, StoredManifest] = {}
        self.blobs: dict[str, bytes] = {}
        self.sent: list[str] = []
        self.asked: list[str] = []

    def add_image(self, name: str, **fields: object) -> StoredManifest:
        for blob in (b"config", LAYER):
            self.blobs[digest_of(blob)] = blob
        return self.add(name, image_manifest(b"config", LAYER, **fields), OCI_MANIFEST)

    def add(self, name: str, content: bytes, media_type: str) -> StoredManifest:
        manifest = StoredManifest(content, media_type, digest_of(content))
        self.manifests[name] = self.manifests[manifest.digest] = manifest
        return manifest

    def read_manifest(self, reference: str) -> StoredManifest:
        self.asked.append(reference)
        if reference not in self.manifests:
            raise ManifestUnknown(f"no {reference}")
        return self.manifests[reference]

    def read_blob(self, blob: Descriptor) -> Iterator[bytes]:
        self.sent.append(blob.digest)
        if blob.digest not in self.blobs:
            raise BlobUnknown(f"no {blob.digest}")
        content = self.blobs[blob.digest]
        return iter([content[:100], content[100:]])


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_an_image_is_copied_and_named_last(memory: Memory, registry: Registry) -> None:
    image = memory.add_image("v1")
    copied: list[int] = []

    found = copy_image(memory, LocalRepository(registry, "a"), "v1", tag="v1", progress=copied.append)

    assert (found.digest, found.media_type, found.size) == (image.digest, OCI_MANIFEST, len(image.content))
    assert registry.get_manifest("a", "v1") == image
    assert sum(copied) == len(b"config") + len(LAYER)


def test_what_is_there_is_not_sent_again(memory: Memory, registry: Registry) -> None:
    memory.add_image("v1")
    copy_image(memory, LocalRepository(registry, "a"), "v1", tag="v1")
    memory.sent.clear()

    copy_image(memory, LocalRepository(registry, "b"), "v1", tag="v1")

    assert memory.sent == []
    assert registry.get_manifest("b", "v1") == memory.manifests["v1"]


def test_an_index_of_indexes_is_copied_whole(memory: Memory, registry: Registry, tmp_path: Path) -> None:
    image = memory.add_image("image")
    inner = memory.add("inner", index_of(image), OCI_INDEX)
    outer = memory.add("outer", index_of(inner), OCI_INDEX)
    layout = Layout(tmp_path / "layout")

    copy_image(memory, layout, "outer", tag="v1")
    copy_image(layout, LocalRepository(registry, "a"), "v1", tag="v1")

    for manifest in (image, inner, outer):
        assert registry.get_manifest("a", manifest.digest) == manifest
    assert registry.list_tags("a") == ["v1"]
    layout.close()


def index_of(*manifests: StoredManifest) -> bytes:
    children = [descriptor(manifest.content, manifest.media_type) for manifest in manifests]
    return msgspec.json.encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children})


@pytest.mark.parametrize("content", [b"lAyer" * 1000, LAYER[:-1], LAYER + b"x", b""])
def test_a_blob_that_was_tampered_with_stops_the_copy(
    memory: Memory, registry: Registry, content: bytes
) -> None:
    memory.add_image("v1")
    memory.blobs[digest_of(LAYER)] = content

    with pytest.raises((DigestInvalid, SizeInvalid)):
        copy_image(memory, LocalRepository(registry, "a"), "v1", tag="v1")

    assert not registry.has_blob(digest_of(LAYER))
    assert registry.list_tags("a") == []


def test_a_manifest_that_was_tampered_with_stops_the_copy(memory: Memory, registry: Registry) -> None:
    image = memory.add_image("v1")
    memory.manifests["v1"] = StoredManifest(image.content + b" ", OCI_MANIFEST, image.digest)

    with pytest.raises(DigestInvalid):
        copy_image(memory, LocalRepository(registry, "a"), "v1")
    assert registry.list_repositories() == []


def test_an_index_that_goes_too_deep_is_refused(memory: Memory, registry: Registry) -> None:
    deepest = memory.add_image("0")
    for depth in range(10):
        deepest = memory.add(f"{depth + 1}", index_of(deepest), OCI_INDEX)

    with pytest.raises(SizeInvalid, match="deep"):
        copy_image(memory, LocalRepository(registry, "a"), "10")


def test_an_index_that_lists_the_same_over_and_over_is_read_once(memory: Memory, registry: Registry) -> None:
    deepest = memory.add_image("0")
    for depth in range(6):
        deepest = memory.add(f"{depth + 1}", index_of(*[deepest] * 100), OCI_INDEX)

    copy_image(memory, LocalRepository(registry, "a"), "6")

    assert len(memory.asked) == 7


def test_what_is_missing_is_told_before_it_is_sent(memory: Memory, registry: Registry) -> None:
    both = memory.add(
        "both", index_of(memory.add_image("v1"), memory.add_image("v2", annotations={})), OCI_INDEX
    )
    registry_a = LocalRepository(registry, "a")

    before = missing_bytes(memory, registry_a, both.digest)
    copy_image(memory, registry_a, "v1")

    assert before == len(b"config") + len(LAYER), "each blob once"
    assert missing_bytes(memory, registry_a, both.digest) == 0
    assert registry.list_repositories() == ["a"]


def test_foreign_layers_stay_where_they_are(memory: Memory, registry: Registry) -> None:
    foreign = {**descriptor(b"windows", "a/b"), "urls": ["https://example.com/x"]}
    memory.blobs[digest_of(b"config")] = b"config"
    memory.add("v1", image_manifest(b"config", layers=[foreign]), OCI_MANIFEST)

    target = LocalRepository(registry, "a")
    missing = missing_bytes(memory, target, "v1")
    copy_image(memory, target, "v1", tag="v1")

    assert memory.sent == [digest_of(b"config")]
    assert missing == len(b"config")


def test_a_missing_image_is_said_so(memory: Memory, registry: Registry) -> None:
    memory.add_image("v1")
    del memory.blobs[digest_of(LAYER)]
    target = LocalRepository(registry, "a")

    with pytest.raises(ManifestUnknown):
        copy_image(memory, target, "v2")
    with pytest.raises(BlobUnknown):
        copy_image(memory, target, "v1")


def test_cancelling_leaves_no_part(memory: Memory, registry: Registry) -> None:
    memory.add_image("v1")

    def cancel(count: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        copy_image(memory, LocalRepository(registry, "a"), "v1", progress=cancel)
    assert registry.sweep() == 0
    assert not registry.has_blob(Digest(digest_of(b"config")))
