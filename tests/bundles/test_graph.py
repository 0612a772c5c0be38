"""What an image is made of."""

import msgspec
import pytest

from bundles.errors import IncompleteImage, NotABundle
from bundles.graph import check_held, parse_labels, walk_image
from bundles.layout import render_index
from mirror.oci import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor, digest_of


class Contents:
    """Manifests by digest, as a source that reads them."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    def add(self, content: bytes, media_type: str) -> Descriptor:
        descriptor = Descriptor(media_type=media_type, digest=digest_of(content), size=len(content))
        self.stored[descriptor.digest] = content
        return descriptor

    def add_image(self, *layers: Descriptor) -> Descriptor:
        config = Descriptor(media_type=OCI_CONFIG, digest=digest_of(b"config"), size=6)
        document = {"schemaVersion": 2, "config": config, "layers": layers}
        return self.add(msgspec.json.encode(document), OCI_MANIFEST)

    def read(self, descriptor: Descriptor) -> bytes:
        return self.stored[descriptor.digest]


def layer(content: bytes) -> Descriptor:
    return Descriptor(media_type=OCI_LAYER, digest=digest_of(content), size=len(content))


def test_children_come_before_their_parents_and_shared_layers_once() -> None:
    contents = Contents()
    one, two = contents.add_image(layer(b"a"), layer(b"b")), contents.add_image(layer(b"a"))
    inner = contents.add(render_index([two]), OCI_INDEX)
    root = contents.add(render_index([one, inner]), OCI_INDEX)

    graph = walk_image(root, contents.read)

    assert [each.descriptor for each in graph.manifests] == [one, two, inner, root]
    assert [blob.size for blob in graph.blobs] == [6, 1, 1]
    assert graph.size == 8 + sum(each.size for each in (one, two, inner, root))
    assert graph.config is not None
    assert graph.config.digest == digest_of(b"config")


def test_a_foreign_layer_is_left_with_its_owner() -> None:
    contents = Contents()
    foreign = Descriptor(media_type=OCI_LAYER, digest=digest_of(b"x"), size=1, urls=["https://owner.test/x"])

    graph = walk_image(contents.add_image(foreign), contents.read)

    assert [blob.media_type for blob in graph.blobs] == [OCI_CONFIG]


def test_indexes_within_indexes_have_an_end() -> None:
    contents = Contents()
    nested = contents.add_image()
    for _ in range(20):
        nested = contents.add(render_index([nested]), OCI_INDEX)

    with pytest.raises(NotABundle, match="deep"):
        walk_image(nested, contents.read)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"config":{}}', b"[" * 100_000])
def test_a_manifest_that_cannot_be_read_is_named(content: bytes) -> None:
    contents = Contents()
    root = contents.add(content, OCI_MANIFEST)

    with pytest.raises(NotABundle, match=root.digest):
        walk_image(root, contents.read)


def test_what_is_missing_or_has_another_size_is_named() -> None:
    contents = Contents()
    graph = walk_image(contents.add_image(layer(b"abc")), contents.read)
    sizes = {digest: len(content) for digest, content in contents.stored.items()} | {digest_of(b"config"): 6}

    with pytest.raises(IncompleteImage, match=f"a:1 needs {digest_of(b'abc')}"):
        check_held("a:1", graph, sizes.get)
    with pytest.raises(IncompleteImage, match="has 3 bytes, but it has 4"):
        check_held("a:1", graph, (sizes | {digest_of(b"abc"): 4}).get)
    check_held("a:1", graph, (sizes | {digest_of(b"abc"): 3}).get)


@pytest.mark.parametrize(
    "config", [b"", b"{}", b"junk", b'{"config":null}', b'{"config":{"Labels":null}}', b"[" * 10**5]
)
def test_a_configuration_without_labels_has_none(config: bytes) -> None:
    assert parse_labels(config) == {}
