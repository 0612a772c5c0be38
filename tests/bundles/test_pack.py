"""Packing: what goes in, and that nothing half made is left."""

import json
import resource
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bundles.errors import Cancelled, NoSpace, NotABundle, OutputExists, SourceError, UnsafeEntry
from bundles.fetch import fetch_image
from bundles.layout import OciLayout, create_layout, render_index, write_blob
from bundles.load import load
from bundles.manifest import BundleManifest
from bundles.pack import Source, pack
from bundles.progress import ProgressEvent
from bundles.verify import check_bundle
from mirror.copying import LocalRepository
from mirror.oci import OCI_INDEX, Descriptor
from mirror.registry import Registry
from tests.bundles.factories import KEY, TRUST, files_of, flip_bit, make_bundle, make_layout

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def pack_one(layout: Path, output: Path, *, name: str = "") -> BundleManifest:
    return pack([Source(layout, "os/demo:1", name=name)], output, key=KEY, name="demo", created=WHEN)


def test_a_bundle_describes_its_images(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout", versions=("1",))

    manifest = pack_one(layout, tmp_path / "bundle")

    assert manifest.created == "2026-01-02T03:04:05Z"
    (image,) = manifest.images
    assert image.digest == OciLayout(layout).find("").digest
    assert (image.version, image.display_name, image.kind) == ("1", "os/demo 1", "os")
    assert image.size == manifest.size
    assert check_bundle(tmp_path / "bundle", TRUST) == manifest


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout", versions=("1",))

    for name in ("one", "two"):
        pack_one(layout, tmp_path / name)

    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    for name in files_of(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_names_are_safe_on_any_stick(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)

    for name in files_of(bundle):
        assert not set(name) & set(':*?"<>|\\'), name
        assert not (bundle / name).is_symlink()


def test_a_shared_layer_is_packed_once(tmp_path: Path) -> None:
    one = make_bundle(tmp_path, versions=("1",), name="one", payload_bytes=50_000)
    two = make_bundle(tmp_path, versions=("1", "2"), name="two", payload_bytes=50_000)

    assert len(files_of(two)) - len(files_of(one)) == 3  # a layer, a configuration, a manifest


def test_an_index_is_packed_with_its_children(tmp_path: Path, registry: Registry) -> None:
    layout = OciLayout(make_layout(tmp_path / "layout"))
    children = [
        Descriptor(media_type=each.media_type, digest=each.digest, size=each.size)
        for each in layout.index().manifests
    ]
    index = write_blob(layout, render_index(children), media_type=OCI_INDEX)
    (layout.path / "index.json").write_bytes(render_index([index]))

    pack_one(layout.path, tmp_path / "bundle")
    load(tmp_path / "bundle", trust=TRUST, registry=registry)

    assert registry.get_manifest("os/demo", "1").digest == index.digest
    assert registry.list_tags("os/demo") == ["1"]
    for child in children:
        assert registry.get_manifest("os/demo", child.digest).digest == child.digest


def test_an_index_without_its_children_is_refused(tmp_path: Path) -> None:
    layout = create_layout(tmp_path / "layout")
    absent = Descriptor(
        media_type="application/vnd.oci.image.manifest.v1+json", digest="sha256:" + "a" * 64, size=10
    )
    index = write_blob(layout, render_index([absent]), media_type=OCI_INDEX)
    (layout.path / "index.json").write_bytes(render_index([index]))

    with pytest.raises(SourceError, match="a" * 64):
        pack_one(layout.path, tmp_path / "bundle")


@pytest.mark.parametrize("position", [0, 3_000])
def test_a_damaged_source_cannot_become_a_signed_bundle(tmp_path: Path, position: int) -> None:
    layout = make_layout(tmp_path / "layout", versions=("1",))
    flip_bit(max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size), position)

    with pytest.raises(SourceError, match="damaged"):
        pack_one(layout, tmp_path / "bundle")

    assert [path.name for path in tmp_path.iterdir()] == ["layout"]


@pytest.mark.parametrize("size_change", ["missing", "short"])
def test_an_incomplete_source_is_refused(tmp_path: Path, size_change: str) -> None:
    layout = make_layout(tmp_path / "layout", versions=("1",))
    layer = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    if size_change == "missing":
        layer.unlink()
    else:
        layer.write_bytes(layer.read_bytes()[:-1])

    with pytest.raises(SourceError, match=layer.name):
        pack_one(layout, tmp_path / "bundle")


def test_what_is_no_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk/index.json").write_text("{")

    for name in ("nothing", "junk"):
        with pytest.raises(SourceError, match=name):
            pack_one(tmp_path / name, tmp_path / "bundle")


def test_a_layout_with_several_images_must_be_told_which(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout")

    with pytest.raises(SourceError, match="several") as refusal:
        pack_one(layout, tmp_path / "bundle")
    with pytest.raises(SourceError, match="os/demo:7"):
        pack_one(layout, tmp_path / "bundle", name="os/demo:7")

    assert "os/demo:1, os/demo:2" in refusal.value.hint


def test_an_existing_bundle_is_not_overwritten(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)

    with pytest.raises(OutputExists):
        pack_one(make_layout(tmp_path / "layout", versions=("1",)), bundle)

    check_bundle(bundle, TRUST)


@pytest.mark.parametrize("reference", ["demo", "UPPER:1", "registry.example.com:5000/demo:1", "../x:1"])
def test_an_unusable_reference_is_refused(tmp_path: Path, reference: str) -> None:
    layout = make_layout(tmp_path / "layout", versions=("1",))

    with pytest.raises(UnsafeEntry):
        pack([Source(layout, reference)], tmp_path / "bundle", key=KEY, name="demo")


def test_one_reference_for_two_images_is_refused(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout")
    sources = [Source(layout, "os/demo:1", name=f"os/demo:{version}") for version in "12"]

    with pytest.raises(NotABundle, match="twice"):
        pack(sources, tmp_path / "bundle", key=KEY, name="demo")


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 200])
def test_an_unusable_bundle_name_is_refused(tmp_path: Path, name: str) -> None:
    layout = make_layout(tmp_path / "layout", versions=("1",))

    with pytest.raises(SourceError, match="bundle name"):
        pack([Source(layout, "os/demo:1")], tmp_path / "bundle", key=KEY, name=name)


def test_an_empty_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="empty"):
        pack([], tmp_path / "bundle", key=KEY, name="demo")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout", versions=("1",), payload_bytes=2_000_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(NoSpace):
            pack_one(layout, tmp_path / "bundle")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert [path.name for path in tmp_path.iterdir()] == ["layout"]


def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout", versions=("1",))

    def stop(event: ProgressEvent) -> None:
        raise Cancelled(f"stopped at {event.what}")

    with pytest.raises(Cancelled):
        pack([Source(layout, "os/demo:1")], tmp_path / "bundle", key=KEY, name="demo", progress=stop)

    assert [path.name for path in tmp_path.iterdir()] == ["layout"]


def test_an_image_is_fetched_from_a_registry_and_packed(tmp_path: Path, registry: Registry) -> None:
    loaded = load(make_bundle(tmp_path), trust=TRUST, registry=registry)

    source = fetch_image(
        LocalRepository(registry, "os/demo"), "2", into=tmp_path / "fetched", name="copy/demo:two"
    )
    manifest = pack([source], tmp_path / "again", key=KEY, name="again")

    assert [(image.reference, image.digest) for image in manifest.images] == [
        ("copy/demo:two", loaded.images[1].digest)
    ]


def test_fetching_what_is_not_there_says_so(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(SourceError, match="7"):
        fetch_image(LocalRepository(registry, "os/demo"), "7", into=tmp_path / "fetched", name="a:1")


@pytest.mark.interop
def test_skopeo_reads_the_bundle_and_we_pack_what_skopeo_wrote(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, versions=("1",))
    inspected = subprocess.run(
        ["skopeo", "inspect", f"oci:{bundle}:os/demo:1"], check=True, capture_output=True
    )
    subprocess.run(
        ["skopeo", "copy", "--quiet", f"oci:{bundle}:os/demo:1", f"oci:{tmp_path}/theirs:name"], check=True
    )

    manifest = pack_one(tmp_path / "theirs", tmp_path / "again")

    assert json.loads(inspected.stdout)["Labels"]["org.opencontainers.image.version"] == "1"
    assert manifest.images[0].version == "1"
    check_bundle(tmp_path / "again", TRUST)
