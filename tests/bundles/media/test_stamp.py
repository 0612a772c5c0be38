"""Files put into finished images: by our own and by other readers, and what is refused."""

import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import pytest

from bundles.errors import IsoUnusable
from bundles.media.iso import BootImage, build_iso, read_iso_file
from bundles.media.stamp import stamp_iso

CONFIG = {"livecd-cloud-config.yaml": b"registration", "iso-config/cloud-config.yaml": b"cloud"}


def make(place: Path, files: dict[str, bytes | Path] | None = None) -> Path:
    image = place / "base.iso"
    build_iso(
        {"boot/loader.img": b"\x55" * 4096, "etc/release": b"v1", **(files or {})},
        image,
        boot_images=[BootImage("boot/loader.img", "uefi")],
    )
    return image


def stamp(image: Path, files: dict[str, bytes]) -> None:
    with image.open("r+b") as file:
        stamp_iso(file, files)


def test_the_files_are_there_and_what_was_there_has_not_moved(tmp_path: Path) -> None:
    image = make(tmp_path)
    before = image.read_bytes()
    stamp(image, CONFIG)

    after = image.read_bytes()
    changed = {at // 2048 for at in range(0, len(before), 2) if before[at : at + 2] != after[at : at + 2]}
    assert read_iso_file(image, "livecd-cloud-config.yaml") == b"registration"
    assert read_iso_file(image, "iso-config/cloud-config.yaml") == b"cloud"
    assert read_iso_file(image, "etc/release") == b"v1"
    assert changed == {16}  # the volume descriptor
    assert int.from_bytes(after[16 * 2048 + 80 : 16 * 2048 + 84], "little") * 2048 == len(after)


def test_stamping_again_replaces(tmp_path: Path) -> None:
    image = make(tmp_path, {"iso-config/other.yaml": b"kept"})
    stamp(image, CONFIG)
    stamp(image, {"livecd-cloud-config.yaml": b"another", "iso-config/cloud-config.yaml": b"x" * 5000})

    assert read_iso_file(image, "livecd-cloud-config.yaml") == b"another"
    assert read_iso_file(image, "iso-config/cloud-config.yaml") == b"x" * 5000
    assert read_iso_file(image, "iso-config/other.yaml") == b"kept"


def test_a_root_directory_of_many_sectors_keeps_every_file(tmp_path: Path) -> None:
    names = [f"file-number-{number:03}.txt" for number in range(100)]
    image = make(tmp_path, {name: name.encode() for name in names})
    stamp(image, CONFIG)

    assert [read_iso_file(image, name) for name in names] == [name.encode() for name in names]
    assert read_iso_file(image, "livecd-cloud-config.yaml") == b"registration"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100_000,
        b"\0" * 32768 + b"\x01CD001" + b"\0" * 2041,
        b"\0" * 32768 + b"\xffCD001" + b"\0" * 2041,
    ],
    ids=["empty", "zeros", "no blocks", "no primary"],
)
def test_what_is_no_iso_image_is_refused(content: bytes) -> None:
    with pytest.raises(IsoUnusable):
        stamp_iso(BytesIO(content), CONFIG)


def test_a_damaged_directory_is_refused(tmp_path: Path) -> None:
    content = bytearray(make(tmp_path).read_bytes())
    root = int.from_bytes(content[16 * 2048 + 158 : 16 * 2048 + 162], "little")
    content[root * 2048] = 7

    with pytest.raises(IsoUnusable, match="damaged"):
        stamp_iso(BytesIO(bytes(content)), CONFIG)


def test_a_path_of_two_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsoUnusable, match="too deep"):
        stamp(make(tmp_path), {"a/b/c": b""})


@pytest.mark.interop
def test_xorriso_reads_and_makes_such_images(tmp_path: Path) -> None:
    """An image of xorriso's with a boot image and a partition table, stamped, then read by xorriso."""
    program = shutil.which("xorriso")
    assert program, "xorriso is needed: apt-get install xorriso"
    tree = tmp_path / "tree"
    (tree / "boot").mkdir(parents=True)
    (tree / "boot" / "efi.img").write_bytes(b"\x55" * 65536)
    image, out = tmp_path / "base.iso", tmp_path / "out"
    subprocess.run(
        [
            *(program, "-as", "mkisofs", "-R", "-J", "-V", "COS_LIVE", "-o", str(image)),
            *("-append_partition", "2", "0xef", str(tree / "boot" / "efi.img"), "-appended_part_as_gpt"),
            *("-e", "--interval:appended_partition_2:all::", "-no-emul-boot", str(tree)),
        ],
        check=True,
        capture_output=True,
    )
    before = image.read_bytes()
    stamp(image, CONFIG)
    subprocess.run(
        [program, "-osirrox", "on", "-indev", str(image), "-extract", "/", str(out)],
        check=True,
        capture_output=True,
    )
    report = subprocess.run(
        [program, "-indev", str(image), "-report_el_torito", "plain"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert (out / "livecd-cloud-config.yaml").read_bytes() == b"registration"
    assert (out / "iso-config" / "cloud-config.yaml").read_bytes() == b"cloud"
    assert (out / "boot" / "efi.img").read_bytes() == b"\x55" * 65536
    assert "UEFI" in report.stdout
    assert image.read_bytes()[: 16 * 2048] == before[: 16 * 2048]
