"""An image layout folder as others write and read it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mirror.errors import DigestInvalid, ManifestInvalid, ManifestUnknown
from mirror.index import StoredManifest
from mirror.layout import REFERENCE_NAME, Layout
from mirror.oci import OCI_INDEX, OCI_MANIFEST, Descriptor, digest_of
from tests.mirror.running import image_manifest


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    layout = Layout(tmp_path / "layout")
    yield layout
    layout.close()


def put(layout: Layout, tag: str, **fields: object) -> StoredManifest:
    content = image_manifest(b"config", **fields)
    manifest = StoredManifest(content, OCI_MANIFEST, digest_of(content))
    layout.put_manifest(manifest)
    layout.put_tag(tag, manifest)
    return manifest


def test_a_new_folder_is_a_layout(layout: Layout) -> None:
    assert msgspec.json.decode((layout.path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert layout.entries() == []


def test_an_image_is_found_by_name_and_by_digest(layout: Layout) -> None:
    one, two = put(layout, "v1"), put(layout, "v2", annotations={"n": "2"})

    assert layout.read_manifest("v1") == one
    assert layout.read_manifest(two.digest) == two
    with pytest.raises(ManifestUnknown) as refusal:
        layout.read_manifest("v3")
    assert refusal.value.hint == "its names are: v1, v2"


def test_the_only_image_needs_no_name(layout: Layout) -> None:
    with pytest.raises(ManifestUnknown):
        layout.read_manifest("")

    only = put(layout, "v1")

    assert layout.read_manifest("") == only


def test_a_name_moves(layout: Layout) -> None:
    put(layout, "v1")
    new = put(layout, "v1", annotations={"n": "2"})

    assert [entry.digest for entry in layout.entries()] == [new.digest]
    assert layout.entries()[0].annotations == {REFERENCE_NAME: "v1"}


def test_a_child_without_a_declared_type_is_an_image(layout: Layout) -> None:
    content = b'{"config":{"mediaType":"a/b","digest":"' + digest_of(b"c").encode() + b'","size":1}}'
    layout.put_manifest(StoredManifest(content, OCI_MANIFEST, digest_of(content)))

    assert layout.read_manifest(digest_of(content)).media_type == OCI_MANIFEST


def test_content_that_is_not_its_digest_is_not_kept(layout: Layout) -> None:
    blob = Descriptor(media_type="a/b", digest=digest_of(b"right"), size=5)

    with pytest.raises(DigestInvalid):
        layout.put_blob(blob, iter([b"wr", b"ong"]))

    assert not layout.has_blob(digest_of(b"right"))


@pytest.mark.parametrize("content", [b"", b"{", b'{"manifests":[{}]}', b" " * (4 * 1024 * 1024 + 1)])
def test_a_bad_index_is_refused(layout: Layout, content: bytes) -> None:
    (layout.path / "index.json").write_bytes(content)

    with pytest.raises(ManifestInvalid):
        layout.read_manifest("v1")


def test_closing_leaves_only_the_layout(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    put(layout, "v1")
    layout.close()

    assert sorted(path.name for path in (tmp_path / "layout").iterdir()) == [
        "blobs",
        "index.json",
        "oci-layout",
    ]
    assert msgspec.json.decode((tmp_path / "layout" / "index.json").read_bytes())["mediaType"] == OCI_INDEX
