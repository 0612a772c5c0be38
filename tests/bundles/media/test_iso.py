"""ISO images: built by us, read back by us and by others."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles.errors import Cancelled, IsoUnusable
from bundles.media.iso import (
    CLOUD_CONFIG_PATH,
    REGISTRATION_PATH,
    BootImage,
    build_iso,
    choose_iso_names,
    read_iso_file,
)
from bundles.progress import ProgressEvent

REGISTRATION = b"elemental:\n  registration:\n    url: https://box:8443/elemental/registration/abc\n"


def test_an_image_gives_back_what_went_in(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"kernel" * 10_000)
    files: dict[str, bytes | Path] = {
        "boot/x86_64/loader/linux": tmp_path / "kernel",
        "README.long.name with spaces": b"hello",
        "empty": b"",
        "a/b/c/d/e/f/g/h/i/j/deep": b"deep",
    }

    iso = build_iso(
        files,
        tmp_path / "out.iso",
        registration=REGISTRATION,
        cloud_config=b"users: []\n",
        volume_id="SKERRY",
    )

    assert read_iso_file(iso.path, "boot/x86_64/loader/linux") == b"kernel" * 10_000
    assert read_iso_file(iso.path, "README.long.name with spaces") == b"hello"
    assert read_iso_file(iso.path, "empty") == b""
    assert read_iso_file(iso.path, "a/b/c/d/e/f/g/h/i/j/deep") == b"deep"
    assert read_iso_file(iso.path, REGISTRATION_PATH) == REGISTRATION
    assert read_iso_file(iso.path, CLOUD_CONFIG_PATH) == b"users: []\n"
    assert iso.sha256 == hashlib.sha256(iso.path.read_bytes()).hexdigest()
    assert iso.size == iso.path.stat().st_size
    assert iso.path.read_bytes()[0x8028:0x8048].rstrip() == b"SKERRY"


def test_a_boot_image_is_entered_for_its_firmware(tmp_path: Path) -> None:
    files: dict[str, bytes | Path] = {"boot/efi.img": b"E" * 65536, "boot/bios.img": b"B" * 4096}

    iso = build_iso(
        files,
        tmp_path / "out.iso",
        boot_images=[BootImage("boot/bios.img", "bios"), BootImage("boot/efi.img", "uefi")],
    )

    content = iso.path.read_bytes()
    assert content[0x8801:0x8806] == b"CD001"  # a boot record in the second descriptor (El Torito 1.0, 2.0)
    catalog = content[int.from_bytes(content[0x8847:0x884B], "little") * 2048 :]
    assert catalog[0] == 1  # validation entry
    assert catalog[1] == 0  # for x86 BIOS
    assert catalog[0x20] == 0x88  # bootable
    assert catalog[0x41] == 0xEF  # a section for UEFI


def test_names_that_become_equal_in_iso_9660_are_kept_apart(tmp_path: Path) -> None:
    files: dict[str, bytes | Path] = {
        f"folder/same-long-name-{number}.config": str(number).encode() for number in range(40)
    }

    iso = build_iso(files, tmp_path / "out.iso")

    for path, content in files.items():
        assert read_iso_file(iso.path, path) == content


@given(
    st.sets(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20),
            min_size=1,
            max_size=4,
        )
        .map("/".join)
        .filter(lambda path: not {".", ".."} & set(path.split("/"))),
        max_size=12,
    )
)
def test_iso_names_are_distinct_and_legal(paths: set[str]) -> None:
    try:
        names = choose_iso_names(sorted(paths))
    except IsoUnusable:
        return

    assert len(set(names.values())) == len(names)
    for path in paths:
        assert set(names[path]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./;")


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a//b", "", "a/", "x" * 300, "a/./b", "\0", "/".join("x" * 40)]
)
def test_an_unusable_path_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(IsoUnusable):
        build_iso({path: b""}, tmp_path / "out.iso")

    assert list(tmp_path.iterdir()) == []


def test_a_path_cannot_be_a_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsoUnusable, match="file and a folder"):
        build_iso({"a": b"", "a/b": b""}, tmp_path / "out.iso")


@pytest.mark.parametrize("volume_id", ["", "lower", "X" * 33, "A B", "Ä"])
def test_an_unusable_volume_id_is_refused(tmp_path: Path, volume_id: str) -> None:
    with pytest.raises(IsoUnusable, match="volume id"):
        build_iso({}, tmp_path / "out.iso", volume_id=volume_id)


def test_a_missing_file_a_missing_boot_image_and_a_double_registration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IsoUnusable, match="gone"):
        build_iso({"x": tmp_path / "gone"}, tmp_path / "out.iso")
    with pytest.raises(IsoUnusable, match=r"efi\.img"):
        build_iso({"x": b""}, tmp_path / "out.iso", boot_images=[BootImage("efi.img", "uefi")])
    with pytest.raises(IsoUnusable, match=REGISTRATION_PATH):
        build_iso({REGISTRATION_PATH: b""}, tmp_path / "out.iso", registration=REGISTRATION)
    with pytest.raises(IsoUnusable, match="bytes"):
        build_iso({}, tmp_path / "out.iso", registration=b"x" * 2_000_000)

    assert list(tmp_path.iterdir()) == []


def test_a_build_that_is_stopped_leaves_the_image_that_was_there(tmp_path: Path) -> None:
    before = build_iso({"x": b"old"}, tmp_path / "out.iso")

    def stop(event: ProgressEvent) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        build_iso({"x": b"new"}, tmp_path / "out.iso", progress=stop)

    assert read_iso_file(before.path, "x") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.iso"]


@pytest.mark.parametrize("content", [b"", b"junk" * 20_000])
def test_what_is_no_iso_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "junk.iso").write_bytes(content)

    with pytest.raises(IsoUnusable, match=r"junk\.iso"):
        read_iso_file(tmp_path / "junk.iso", "x")


def test_a_file_that_is_not_in_the_image_is_named(tmp_path: Path) -> None:
    iso = build_iso({"x": b""}, tmp_path / "out.iso")

    with pytest.raises(IsoUnusable, match="absent"):
        read_iso_file(iso.path, "absent")


@pytest.mark.interop
def test_xorriso_reads_it_and_sees_the_boot_entries(tmp_path: Path) -> None:
    files: dict[str, bytes | Path] = {"boot/Name With.Case": b"content", "boot/efi.img": b"E" * 65536}
    iso = build_iso(
        files,
        tmp_path / "out.iso",
        registration=REGISTRATION,
        boot_images=[BootImage("boot/efi.img", "uefi")],
    )

    report = subprocess.run(
        ["xorriso", "-indev", str(iso.path), "-report_el_torito", "plain",
         "-osirrox", "on", "-extract", "/", str(tmp_path / "tree")],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip

    assert (tmp_path / "tree/boot/Name With.Case").read_bytes() == b"content"
    assert (tmp_path / "tree" / REGISTRATION_PATH).read_bytes() == REGISTRATION
    assert "UEFI" in report
