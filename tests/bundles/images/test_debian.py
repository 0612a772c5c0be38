"""The Debian recipe: what it asks for, and in the system tier what it makes."""

import dataclasses
import gzip
import subprocess
from pathlib import Path

import pytest

from bundles.errors import RecipeFailed
from bundles.images.debian import DEBIAN_12, RootRecipe, build_debian_image, check_builder, mmdebstrap_command
from bundles.layout import OciLayout, create_layout, image_layers, write_layer
from bundles.tarball import file, render_tar


def test_the_key_covers_everything_that_goes_in() -> None:
    changes: list[dict[str, object]] = [
        {"suite": "trixie"},
        {"mirror": "http://mirror.test/debian"},
        {"packages": (*DEBIAN_12.packages, "vim")},
        {"before": ()},
        {"after": ()},
        {"epoch": 1},
        {"compression": "none"},
    ]

    keys = {dataclasses.replace(DEBIAN_12, **change).key for change in changes}  # type: ignore[arg-type]

    assert len(keys | {DEBIAN_12.key}) == len(changes) + 1
    assert {field for change in changes for field in change} == {
        field.name for field in dataclasses.fields(RootRecipe)
    }


def test_the_command_names_the_mirror_only_if_there_is_one() -> None:
    assert mmdebstrap_command(DEBIAN_12)[-2:] == ["bookworm", "-"]
    assert mmdebstrap_command(dataclasses.replace(DEBIAN_12, mirror="http://m/debian"))[-3:] == [
        "bookworm",
        "-",
        "http://m/debian",
    ]


def make_cached(cache: Path, recipe: RootRecipe) -> Path:
    """A cache entry as a build leaves it, with another root filesystem."""
    folder = cache / f"{recipe.suite}-{recipe.key}"
    folder.mkdir(parents=True)
    layer = write_layer(create_layout(cache / "work"), [render_tar([file("usr/bin/python3", b"snake")])])
    (cache / "work/blobs" / layer.descriptor.digest.replace(":", "/")).rename(folder / "layer")
    (folder / "layer.json").write_text(
        f'{{"media_type":"{layer.descriptor.media_type}","digest":"{layer.descriptor.digest}",'
        f'"size":{layer.descriptor.size},"diff_id":"{layer.diff_id}"}}'
    )
    return folder


def test_versions_share_the_root_from_the_cache(tmp_path: Path) -> None:
    make_cached(tmp_path / "cache", DEBIAN_12)

    for version in ("1", "2"):
        build_debian_image(
            tmp_path / "layout", name="os/debian", version=version, cache=tmp_path / "cache",
            extra=[file("usr/libexec/elemental-checker/10-ok.sh", "exit 0\n", mode=0o755)],
        )  # fmt: skip

    layout = OciLayout(tmp_path / "layout")
    one, two = (image_layers(layout, layout.find(f"os/debian:{version}")) for version in "12")
    assert one[0] == two[0]
    assert one[0].media_type.endswith("tar+gzip")
    assert one[1] != two[1]


def test_a_damaged_cache_is_not_used(tmp_path: Path) -> None:
    folder = make_cached(tmp_path, DEBIAN_12)
    (folder / "layer").write_bytes(b"damaged")

    with pytest.raises(RecipeFailed, match="damaged") as refusal:
        build_debian_image(tmp_path / "layout", name="os/debian", version="1", cache=tmp_path)

    assert str(folder) in refusal.value.hint


@pytest.mark.parametrize(
    ("user", "program", "what"), [(1000, "/usr/bin/mmdebstrap", "root"), (0, None, "mmdebstrap")]
)
def test_who_cannot_build_is_told_why(user: int, program: str | None, what: str) -> None:
    with pytest.raises(RecipeFailed, match=what):
        check_builder(user=user, program=program)


@pytest.mark.system
def test_an_archive_that_does_not_answer_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    recipe = dataclasses.replace(DEBIAN_12, mirror="http://127.0.0.1:1/debian")

    with pytest.raises(RecipeFailed, match=r"127\.0\.0\.1"):
        build_debian_image(
            tmp_path / "layout", name="os/debian", version="1", recipe=recipe, cache=tmp_path / "cache"
        )

    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.system
def test_a_real_debian_is_laid_out_to_boot(tmp_path: Path) -> None:
    build_debian_image(tmp_path / "layout", name="debian", version="12.1")
    subprocess.run(
        ["skopeo", "copy", "--quiet", f"oci:{tmp_path}/layout:debian:12.1", f"oci:{tmp_path}/plain:latest"],
        check=True,
    )
    subprocess.run(
        ["umoci", "unpack", "--image", f"{tmp_path}/plain:latest", str(tmp_path / "out")],
        check=True,
        capture_output=True,
    )
    root = tmp_path / "out/rootfs"

    assert (root / "boot/vmlinuz").read_bytes()[0x1FE:0x200] == b"\x55\xaa"  # an x86 boot sector
    assert (root / "boot/initrd").stat().st_size > 1_000_000
    assert 'IMAGE_TAG="12.1"' in (root / "etc/os-release").read_text()
    assert "elemental.mode" in (root / "etc/elemental/bootargs.cfg").read_text()
    assert (root / "etc/machine-id").read_bytes() == b""
    assert not (root / "etc/resolv.conf").exists()
    for path in (
        "dev",
        "proc",
        "sys",
        "run",
        "oem",
        "usr/bin/python3",
        "usr/lib/systemd/systemd",
        "usr/sbin/sfdisk",
        "usr/sbin/mkfs.ext4",
    ):
        assert (root / path).exists(), path
    version = subprocess.run(
        ["chroot", str(root), "/usr/bin/python3", "--version"], check=True, capture_output=True, text=True
    ).stdout
    assert version.startswith("Python 3.11")
    initrd = gzip.decompress((root / "boot/initrd").read_bytes())
    for module in ("loop", "overlay", "squashfs", "ext4", "virtio_blk"):
        assert f"/{module}.ko".encode() in initrd, module
