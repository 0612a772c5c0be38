"""Flattening layers: overlay semantics, whiteouts, and nothing outside of the tree, ever."""

import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import DigestMismatch, ImageInvalid
from agent.image import Layer
from agent.layers import TreeLimits, estimate_unpacked, find_inside, flatten, remove_tree
from tests.agent.registries import LAYER, add_file, add_member, digest_of, make_layer

Build = Callable[[tarfile.TarFile], None]


def write_layer(directory: Path, build: Build, *, compressed: bool = True) -> Layer:
    blob, diff_id = make_layer(build, compressed=compressed)
    path = directory / digest_of(blob).removeprefix("sha256:")
    path.write_bytes(blob)
    return Layer(path, LAYER if compressed else LAYER.removesuffix("+gzip"), len(blob), diff_id)


def flatten_all(directory: Path, *builds: Build, limits: TreeLimits | None = None) -> Path:
    tree = directory / "tree"
    layers = [write_layer(directory, build) for build in builds]
    flatten(layers, tree, limits=limits or TreeLimits(bytes=10_000_000))
    return tree


def list_tree(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in tree.rglob("*")}


def test_later_layers_replace_and_whiteouts_delete(tmp_path: Path) -> None:
    def lower(archive: tarfile.TarFile) -> None:
        add_file(archive, "etc/kept", b"1")
        add_file(archive, "etc/replaced", b"old", mode=0o600)
        add_file(archive, "etc/gone/deep", b"2")

    def upper(archive: tarfile.TarFile) -> None:
        add_file(archive, "etc/.wh.gone")
        add_file(archive, "etc/replaced", b"new", mode=0o755)

    tree = flatten_all(tmp_path, lower, upper)

    assert list_tree(tree) == {"etc", "etc/kept", "etc/replaced"}
    assert (tree / "etc/replaced").read_bytes() == b"new"
    assert stat.S_IMODE((tree / "etc/replaced").stat().st_mode) == 0o755


@pytest.mark.parametrize("marker_first", [True, False])
def test_an_opaque_directory_hides_lower_layers_but_not_its_own(tmp_path: Path, marker_first: bool) -> None:
    def lower(archive: tarfile.TarFile) -> None:
        add_file(archive, "d/old/x", b"1")

    def upper(archive: tarfile.TarFile) -> None:
        if marker_first:
            add_file(archive, "d/.wh..wh..opq")
        add_file(archive, "d/new/y", b"2")
        if not marker_first:
            add_file(archive, "d/.wh..wh..opq")

    tree = flatten_all(tmp_path, lower, upper)

    assert list_tree(tree) == {"d", "d/new", "d/new/y"}


def test_hard_links_share_one_file_and_symlinks_are_kept_as_they_are(tmp_path: Path) -> None:
    def build(archive: tarfile.TarFile) -> None:
        add_file(archive, "bin/one", b"x")
        add_member(archive, "bin/two", tarfile.LNKTYPE, link="bin/one")
        add_member(archive, "bin/abs", tarfile.SYMTYPE, link="/bin/one")

    tree = flatten_all(tmp_path, build)

    assert (tree / "bin/one").stat().st_ino == (tree / "bin/two").stat().st_ino
    assert os.readlink(tree / "bin/abs") == "/bin/one"
    assert find_inside(tree, "bin/abs") == tree / "bin/one"


def test_files_below_a_link_land_inside_the_tree(tmp_path: Path) -> None:
    """`/lib -> usr/lib` is ordinary; `/out -> /etc` means the tree's own /etc, as in a chroot."""

    def build(archive: tarfile.TarFile) -> None:
        add_member(archive, "usr/lib", tarfile.DIRTYPE)
        add_member(archive, "lib", tarfile.SYMTYPE, link="usr/lib")
        add_file(archive, "lib/a.so", b"1")
        add_member(archive, "out", tarfile.SYMTYPE, link="/etc")
        add_file(archive, "out/passwd", b"2")
        add_member(archive, "up", tarfile.SYMTYPE, link="../../../..")
        add_file(archive, "up/top", b"3")

    tree = flatten_all(tmp_path, build)

    assert (tree / "usr/lib/a.so").is_file()
    assert (tree / "etc/passwd").read_bytes() == b"2"
    assert (tree / "top").read_bytes() == b"3"
    assert not (tmp_path / "top").exists()


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/../evil", "x/" + "n" * 300])
def test_names_that_climb_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageInvalid):
        flatten_all(tmp_path, lambda archive: add_file(archive, name, b"x"))

    assert not (tmp_path / "evil").exists()


def test_absolute_names_are_names_in_the_tree(tmp_path: Path) -> None:
    tree = flatten_all(tmp_path, lambda archive: add_file(archive, "/etc/x", b"1"))

    assert (tree / "etc/x").is_file()


@pytest.mark.parametrize("target", ["../../outside", "/nothing", "etc", "", "link"])
def test_hard_links_to_anything_but_a_file_inside_are_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").write_text("secret")

    def build(archive: tarfile.TarFile) -> None:
        add_member(archive, "etc", tarfile.DIRTYPE)
        add_member(archive, "stolen", tarfile.LNKTYPE, link=target)

    with pytest.raises(ImageInvalid):
        flatten_all(tmp_path, build)


def test_a_hard_link_to_a_symlink_never_touches_what_that_points_at(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    outside.chmod(0o600)

    def build(archive: tarfile.TarFile) -> None:
        add_member(archive, "soft", tarfile.SYMTYPE, link=str(outside))
        add_member(archive, "hard", tarfile.LNKTYPE, link="soft")
        add_file(archive, "soft", b"replaces the link, not its target")

    tree = flatten_all(tmp_path, build)

    assert outside.read_text() == "mine"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o600
    assert os.readlink(tree / "hard") == str(outside)


def test_whiteouts_cannot_climb(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")

    for name in (".wh...", ".wh..", "../.wh.victim"):
        with pytest.raises(ImageInvalid):
            flatten_all(tmp_path, lambda archive, name=name: add_file(archive, name))  # type: ignore[misc]

    assert (tmp_path / "victim").exists()


def test_links_in_circles_are_refused(tmp_path: Path) -> None:
    def build(archive: tarfile.TarFile) -> None:
        add_member(archive, "a", tarfile.SYMTYPE, link="b")
        add_member(archive, "b", tarfile.SYMTYPE, link="a")
        add_file(archive, "a/x", b"1")

    with pytest.raises(ImageInvalid, match="circles"):
        flatten_all(tmp_path, build)


def test_a_file_below_a_file_is_refused(tmp_path: Path) -> None:
    def build(archive: tarfile.TarFile) -> None:
        add_file(archive, "a", b"1")
        add_file(archive, "a/b", b"2")

    with pytest.raises(ImageInvalid, match="not a directory"):
        flatten_all(tmp_path, build)


def test_a_layer_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageInvalid, match="more than"):
        flatten_all(
            tmp_path,
            lambda archive: add_file(archive, "zeros", b"\0" * 1_000_000),
            limits=TreeLimits(bytes=100_000),
        )


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    def build(archive: tarfile.TarFile) -> None:
        for number in range(20):
            add_file(archive, str(number))

    with pytest.raises(ImageInvalid, match="more than"):
        flatten_all(tmp_path, build, limits=TreeLimits(bytes=1000, entries=10))


def test_a_layer_with_the_wrong_diff_id_is_refused(tmp_path: Path) -> None:
    layer = write_layer(tmp_path, lambda archive: add_file(archive, "x", b"1"))
    wrong = Layer(layer.path, layer.media_type, layer.size, "sha256:" + "0" * 64)

    with pytest.raises(DigestMismatch):
        flatten([wrong], tmp_path / "tree", limits=TreeLimits(bytes=1000))


@pytest.mark.parametrize("damage", [b"", b"not a gzip", "cut"])
def test_a_damaged_layer_is_refused(tmp_path: Path, damage: bytes | str) -> None:
    layer = write_layer(tmp_path, lambda archive: add_file(archive, "x", os.urandom(5000)))
    content = layer.path.read_bytes()
    layer.path.write_bytes(damage if isinstance(damage, bytes) else content[: len(content) // 2])

    with pytest.raises(ImageInvalid):
        flatten([layer], tmp_path / "tree", limits=TreeLimits(bytes=100_000))


def test_a_layer_of_an_unknown_kind_is_refused_by_name(tmp_path: Path) -> None:
    layer = write_layer(tmp_path, lambda archive: add_file(archive, "x"))
    zstd = Layer(layer.path, "application/vnd.oci.image.layer.v1.tar+zstd", layer.size, layer.diff_id)

    with pytest.raises(ImageInvalid, match="zstd"):
        flatten([zstd], tmp_path / "tree", limits=TreeLimits(bytes=1000))


def test_plain_tar_layers_are_taken(tmp_path: Path) -> None:
    layer = write_layer(tmp_path, lambda archive: add_file(archive, "x", b"1"), compressed=False)

    flatten([layer], tmp_path / "tree", limits=TreeLimits(bytes=1000))

    assert (tmp_path / "tree/x").read_bytes() == b"1"


def test_devices_are_not_for_ordinary_users(tmp_path: Path) -> None:
    layer = write_layer(tmp_path, lambda archive: add_member(archive, "null", tarfile.CHRTYPE))

    with pytest.raises(ImageInvalid, match="only root"):
        flatten([layer], tmp_path / "tree", limits=TreeLimits(bytes=1000), privileged=False)


def test_unpacking_twice_gives_the_same_tree(tmp_path: Path) -> None:
    def build(archive: tarfile.TarFile) -> None:
        add_file(archive, "a/b", b"1")

    first = list_tree(flatten_all(tmp_path, build))
    (tmp_path / "tree/left-over").write_text("x")

    assert list_tree(flatten_all(tmp_path, build)) == first


def test_a_tree_that_forbids_its_owner_is_removed(tmp_path: Path) -> None:
    (tmp_path / "t/locked").mkdir(parents=True)
    (tmp_path / "t/locked/x").write_text("1")
    (tmp_path / "t/locked").chmod(0o000)

    remove_tree(tmp_path / "t")

    assert not (tmp_path / "t").exists()


def test_the_estimate_is_what_gzip_says(tmp_path: Path) -> None:
    layer = write_layer(tmp_path, lambda archive: add_file(archive, "zeros", b"\0" * 500_000))

    assert 500_000 <= estimate_unpacked([layer]) < 520_000
