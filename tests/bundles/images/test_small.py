"""The tiny OS images."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from bundles.graph import parse_labels
from bundles.images.small import build_small_image
from bundles.layout import OciLayout, image_layers
from mirror.oci import Descriptor, Manifest, parse_manifest
from tests.bundles.factories import files_of


def tree_of(layout: OciLayout, name: str) -> dict[str, tarfile.TarInfo]:
    entries: dict[str, tarfile.TarInfo] = {}
    for layer in image_layers(layout, layout.find(name)):
        with tarfile.open(layout.blob_path(layer.digest)) as archive:
            entries |= {member.name: member for member in archive}
    return entries


def read(layout: OciLayout, name: str, path: str) -> bytes:
    for layer in reversed(image_layers(layout, layout.find(name))):
        with tarfile.open(fileobj=io.BytesIO(layout.blob_path(layer.digest).read_bytes())) as archive:
            if path in archive.getnames():
                file = archive.extractfile(path)
                assert file is not None
                return file.read()
    raise AssertionError(f"{path} is in no layer")


def config_of(layout: OciLayout, root: Descriptor) -> bytes:
    manifest = parse_manifest(layout.read_manifest(root), root.media_type)
    assert isinstance(manifest, Manifest)
    return layout.read_blob(manifest.config, limit=100_000)


def test_it_holds_what_an_agent_looks_for(tmp_path: Path) -> None:
    digest = build_small_image(tmp_path, name="os/demo", version="1.2", payload_bytes=5_000)
    layout = OciLayout(tmp_path)

    tree = tree_of(layout, "os/demo:1.2")
    release = read(layout, "os/demo:1.2", "etc/os-release").decode()

    assert layout.find("os/demo:1.2").digest == digest
    assert {"boot/vmlinuz", "boot/initrd", "etc/elemental/bootargs.cfg"} < set(tree)
    assert 'ID="skerry-demo"\n' in release
    assert 'IMAGE_TAG="1.2"\n' in release
    assert 'IMAGE="os/demo:1.2"\n' in release
    assert parse_labels(config_of(layout, layout.find("")))["org.opencontainers.image.version"] == "1.2"


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        build_small_image(tmp_path / folder, name="os/demo", version="1", payload_bytes=5_000)

    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    for name in files_of(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_versions_share_the_payload_and_differ_in_the_rest(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    for version in ("1", "2"):
        build_small_image(tmp_path, name="os/demo", version=version)

    one, two = (
        [layer.digest for layer in image_layers(layout, layout.find(f"os/demo:{version}"))]
        for version in "12"
    )

    assert one[0] == two[0]
    assert one[1] != two[1]


@pytest.mark.parametrize(("healthy", "code"), [(True, 0), (False, 1)])
def test_its_health_check_says_how_it_is(tmp_path: Path, healthy: bool, code: int) -> None:
    build_small_image(tmp_path / "layout", name="os/demo", version="1", healthy=healthy)
    layout = OciLayout(tmp_path / "layout")
    path = "usr/libexec/elemental-checker/50-demo.sh"
    script = tmp_path / "check"
    script.write_bytes(read(layout, "", path))

    result = subprocess.run(["sh", script], check=False, capture_output=True, text=True)

    assert tree_of(layout, "")[path].mode == 0o755
    assert result.returncode == code
    assert bool(result.stderr) is not healthy


def test_building_again_replaces_the_image_of_that_name(tmp_path: Path) -> None:
    build_small_image(tmp_path, name="os/demo", version="1", healthy=True)
    digest = build_small_image(tmp_path, name="os/demo", version="1", healthy=False)

    assert [each.digest for each in OciLayout(tmp_path).index().manifests] == [digest]
