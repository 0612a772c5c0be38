"""Files out of images: which layer wins, what is hidden, which platform, and what is refused."""

import gzip
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from appliance.image_files import (
    ImageFiles,
    ImageSettings,
    ImageUnusable,
    choose_list_paths,
    normalise_platform,
)
from mirror.registry import Registry
from tests.appliance.mirrored import put_artifact, put_image, put_index, put_layers, render_layer

MIRROR = "10.0.0.1:5000"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(tmp_path / "mirror")
    yield opened
    opened.close()


def read(registry: Registry, reference: str, path: str, *, platform: str = "", limit: int = 1000) -> bytes:
    output = BytesIO()
    image = ImageFiles(registry, reference, address=MIRROR, platform=platform or "linux/amd64")
    found = image.extract(lambda name: name == path, output, limit=limit)
    return output.getvalue() if found else b"(nothing)"


def test_the_topmost_layer_wins(registry: Registry) -> None:
    put_image(registry, "chan", [{"/a": b"old", "/b": b"only here"}, {"/a": b"new"}])

    assert read(registry, f"{MIRROR}/chan:1", "/a") == b"new"
    assert read(registry, "oci://chan:1", "/b") == b"only here"


@pytest.mark.parametrize("whiteout", ["/d/.wh.a", "/.wh.d", "/d/.wh..wh..opq"], ids=["file", "folder", "all"])
def test_what_an_upper_layer_removed_is_not_found_below(registry: Registry, whiteout: str) -> None:
    put_image(registry, "chan", [{"/d/a": b"old"}, {whiteout: b""}])

    assert read(registry, "chan:1", "/d/a") == b"(nothing)"


def test_a_file_beside_a_whiteout_in_one_layer_is_found(registry: Registry) -> None:
    put_image(registry, "chan", [{"/d/old": b"old"}, {"/d/.wh..wh..opq": b"", "/d/new": b"new"}])

    assert read(registry, "chan:1", "/d/new") == b"new"


def test_an_artifacts_file_is_found_by_its_title(registry: Registry) -> None:
    put_artifact(registry, "list", b"[]", "application/json", title="channel.json")

    assert read(registry, "list:1", "/channel.json") == b"[]"


def test_an_index_gives_the_image_of_the_platform(registry: Registry) -> None:
    small = put_image(registry, "os", [{"/arch": b"arm"}], tag="arm")
    large = put_image(registry, "os", [{"/arch": b"intel"}], tag="intel")
    put_index(registry, "os", {"linux/arm64": small, "linux/amd64": large})

    assert read(registry, "os:many", "/arch", platform="linux/aarch64") == b"arm"
    assert read(registry, "os:many", "/arch", platform="linux/x86_64") == b"intel"
    with pytest.raises(ImageUnusable, match="not here for linux/riscv64"):
        read(registry, "os:many", "/arch", platform="linux/riscv64")


def test_what_is_too_large_or_no_plain_file_is_refused(registry: Registry) -> None:
    put_image(registry, "chan", [{"/a": b"x" * 100}])

    with pytest.raises(ImageUnusable, match="/a in chan:1 has 100 bytes; 10 are allowed"):
        read(registry, "chan:1", "/a", limit=10)


def test_a_blob_of_another_size_than_its_manifest_says_is_refused(registry: Registry) -> None:
    put_layers(registry, "chan", [render_layer({"/a": b"x"})], said_size=1)

    with pytest.raises(ImageUnusable, match="not of the size that is said of it"):
        read(registry, "chan:1", "/a")
    with pytest.raises(ImageUnusable, match="not of the size that is said of it"):
        ImageFiles(registry, "chan:1", address=MIRROR).settings()


def layer_with(header: tarfile.TarInfo, content: bytes) -> bytes:
    header.size = len(content)
    blocks = content + bytes(-len(content) % 512)
    return gzip.compress(header.tobuf() + blocks + gzip.decompress(render_layer({"/a": b"x"})))


def test_a_name_of_megabytes_is_not_read_into_the_memory(registry: Registry) -> None:
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type = tarfile.GNUTYPE_LONGNAME
    put_layers(registry, "chan", [layer_with(long_name, b"n" * 2 * 1024 * 1024)])

    with pytest.raises(ImageUnusable, match="a header of 2097152 bytes"):
        read(registry, "chan:1", "/a")


def test_extended_headers_that_are_no_numbers_are_refused(registry: Registry) -> None:
    sparse = tarfile.TarInfo("PaxHeaders/a")
    sparse.type = tarfile.XHDTYPE
    put_layers(registry, "chan", [layer_with(sparse, b"24 GNU.sparse.size=many\n")])

    with pytest.raises(ImageUnusable, match="cannot be read"):
        read(registry, "chan:1", "/a")


@pytest.mark.parametrize("reference", ["chan:2", "elsewhere.example/chan:2", "not a reference"])
def test_an_image_that_is_not_here_is_named(registry: Registry, reference: str) -> None:
    with pytest.raises(ImageUnusable, match=reference):
        read(registry, reference, "/a")


def test_an_image_of_another_registry_is_found_where_the_mirror_has_it_under_its_name(
    registry: Registry,
) -> None:
    put_image(registry, "rancher/channel", [{"/channel.json": b"[]"}])

    assert read(registry, "registry.suse.com/rancher/channel:1", "/channel.json") == b"[]"


def test_a_layer_that_is_no_tar_is_refused_in_words(registry: Registry) -> None:
    put_artifact(registry, "broken", b"no tar at all", "application/vnd.oci.image.layer.v1.tar")

    with pytest.raises(ImageUnusable, match="a layer of broken:1 cannot be read"):
        read(registry, "broken:1", "/a")


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "command", "args", "first"),
    [
        (["busybox", "cp", "/channel.json", "/data/output"], [], [], [], "/channel.json"),
        (["/bin/cp"], ["/lists/edge.json", "/data/output"], [], [], "/lists/edge.json"),
        (["/bin/sh", "-c", "cp -f /lists/a.json /data/output"], [], [], [], "/lists/a.json"),
        (["cp"], ["/a.json", "/data/output"], [], ["/b.json", "/data/output"], "/b.json"),
        (["cp", "/a.json", "/out"], [], ["cp"], ["/c.json", "/out"], "/c.json"),
        (["/generate"], [], [], [], "/channel.json"),
        (["sh", "-c", "cp 'unclosed /data"], [], [], [], "/channel.json"),
        ([], [], [], [], "/channel.json"),
    ],
    ids=range(8),
)
def test_a_channels_list_is_what_its_command_copies(
    entrypoint: list[str], cmd: list[str], command: list[str], args: list[str], first: str
) -> None:
    settings = ImageSettings(entrypoint=entrypoint, cmd=cmd)
    paths = choose_list_paths(settings, command=command, args=args, output_file="/data/output")

    assert paths[0] == first
    assert paths[-1] == "/data/output"


def test_platforms_are_written_as_oci_writes_them() -> None:
    assert [normalise_platform(text) for text in ("linux/x86_64", "linux/aarch64", "")] == [
        "linux/amd64",
        "linux/arm64",
        "linux/amd64",
    ]
