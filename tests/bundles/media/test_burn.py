"""Burning: onto files that stand for media, and in the system tier onto a real block device."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles.errors import Cancelled, DeviceRefused, DeviceTooSmall, MediaError, ReadBackMismatch
from bundles.media.burn import BLOCK_BYTES, burn
from bundles.media.devices import Device
from bundles.progress import ProgressEvent


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.iso"
    path.write_bytes(hashlib.shake_128(b"image").digest(2 * BLOCK_BYTES + 12_345))
    return path


def make_medium(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_the_medium_holds_the_image_and_nothing_else_changed(tmp_path: Path, image: Path) -> None:
    medium = make_medium(tmp_path / "medium", 4 * BLOCK_BYTES)

    burned = burn(image, medium)

    content = image.read_bytes()
    assert medium.read_bytes() == content + bytes(4 * BLOCK_BYTES - len(content))
    assert burned.sha256 == hashlib.sha256(content).hexdigest()
    assert burned.size == len(content)


@pytest.mark.parametrize(
    "size", [1, 511, 4096, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES]
)
def test_any_length_arrives_whole(tmp_path: Path, size: int) -> None:
    (tmp_path / "image").write_bytes(hashlib.shake_128(b"x").digest(size))

    burn(tmp_path / "image", tmp_path / "new")

    assert (tmp_path / "new").read_bytes() == (tmp_path / "image").read_bytes()


def test_every_byte_is_counted_twice_once_each_way(tmp_path: Path, image: Path) -> None:
    events: list[ProgressEvent] = []

    burn(image, tmp_path / "new", progress=events.append)

    size = image.stat().st_size
    for phase in ("writing", "reading back"):
        counts = [event.done for event in events if event.phase == phase]
        assert counts == sorted(counts)
        assert counts[-1] == size


def test_a_medium_that_is_too_small_is_refused_before_a_byte_is_written(tmp_path: Path, image: Path) -> None:
    medium = make_medium(tmp_path / "medium", BLOCK_BYTES)

    with pytest.raises(DeviceTooSmall, match="medium"):
        burn(image, medium)

    assert medium.read_bytes() == bytes(BLOCK_BYTES)


def test_a_medium_that_forgets_is_found_out(tmp_path: Path, image: Path) -> None:
    medium = make_medium(tmp_path / "medium", 4 * BLOCK_BYTES)

    def forget(event: ProgressEvent) -> None:
        """Like a worn stick: what was written is not what comes back."""
        if event.phase == "writing" and event.done == event.total:
            with medium.open("r+b") as file:
                file.seek(BLOCK_BYTES + 7)
                file.write(b"\0")

    with pytest.raises(ReadBackMismatch, match=f"at {BLOCK_BYTES}"):
        burn(image, medium, progress=forget)


def test_an_image_with_another_digest_than_it_should_have_is_an_error(tmp_path: Path, image: Path) -> None:
    with pytest.raises(MediaError, match="damaged"):
        burn(image, tmp_path / "new", sha256="0" * 64)

    assert not (tmp_path / "new").exists()


def test_cancelling_removes_a_file_that_was_made_here(tmp_path: Path, image: Path) -> None:
    def stop(event: ProgressEvent) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        burn(image, tmp_path / "new", progress=stop)

    assert not (tmp_path / "new").exists()


def test_an_image_cannot_be_burned_onto_itself(tmp_path: Path, image: Path) -> None:
    (tmp_path / "link").symlink_to(image)

    for target in (image, tmp_path / "link"):
        with pytest.raises(DeviceRefused):
            burn(image, target)


def test_odd_targets_are_refused(tmp_path: Path, image: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")

    for target in (tmp_path, Path("/dev/null"), tmp_path / "dangling", tmp_path / "no/such/folder"):
        with pytest.raises(DeviceRefused):
            burn(image, target)


def test_odd_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")

    for name in ("empty", "pipe", "nothing", "."):
        with pytest.raises(MediaError):
            burn(tmp_path / name, tmp_path / "target")

    assert not (tmp_path / "target").exists()


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Path]:
    backing = make_medium(tmp_path / "backing", 5 * BLOCK_BYTES)
    name = subprocess.run(
        ["losetup", "--find", "--show", str(backing)], check=True, capture_output=True, text=True
    ).stdout.strip()
    yield Path(name)
    subprocess.run(["losetup", "--detach", name], check=True)


def allow(path: Path) -> None:
    """A loop device is not a stick; what is tested with it is the writing."""


@pytest.mark.system
def test_a_block_device_holds_the_image(loop: Path, image: Path, tmp_path: Path) -> None:
    burned = burn(image, loop, check_device=allow)

    content = image.read_bytes()
    assert (tmp_path / "backing").read_bytes()[: len(content)] == content
    assert burned.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.system
def test_a_loop_device_is_not_taken_for_a_stick(loop: Path, image: Path) -> None:
    with pytest.raises(DeviceRefused, match="built in"):
        burn(image, loop)


@pytest.mark.system
def test_a_mounted_device_is_refused(loop: Path, image: Path, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", str(loop)], check=True)
    (tmp_path / "mnt").mkdir()
    subprocess.run(["mount", str(loop), str(tmp_path / "mnt")], check=True)
    try:
        with pytest.raises(DeviceRefused, match="in use"):
            burn(image, loop, check_device=allow)
        with pytest.raises(DeviceRefused, match="mounted on"):
            burn(image, loop)
    finally:
        subprocess.run(["umount", str(tmp_path / "mnt")], check=True)


@pytest.mark.system
def test_a_device_that_is_too_small_is_refused(loop: Path, tmp_path: Path) -> None:
    large = make_medium(tmp_path / "large", 6 * BLOCK_BYTES)

    with pytest.raises(DeviceTooSmall):
        burn(large, loop, check_device=allow)


@pytest.mark.system
def test_another_device_than_the_chosen_one_is_refused(loop: Path, image: Path) -> None:
    chosen = Device(
        name="sdb",
        path=loop,
        bus="usb",
        vendor="ACME",
        model="Stick",
        serial="1",
        port="2-3",
        size=1,
        refusals=(),
    )

    with pytest.raises(DeviceRefused, match="not the device that was chosen"):
        burn(image, loop, chosen=chosen, check_device=allow)
