"""burn-iso never overwrites a device whose serial number nobody named."""

from pathlib import Path

import pytest

from appliance.errors import Refused
from appliance.jobs.burn_iso import BurnIso, burn_iso_kind, check_confirmed
from bundles.errors import DeviceRefused
from bundles.media.devices import Device
from bundles.progress import ProgressEvent


def device(serial: str) -> Device:
    return Device(
        name="skx", path=Path("/dev/skx"), bus="usb", vendor="Acme", model="Stick", serial=serial,
        port="1-2", size=8_000_000_000, refusals=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("serial", "confirm"), [("A1B2C3", "B2C3"), ("A1B2C3", "A1B2C3"), ("A1B2C3", "1B2C3"), ("12", "12")]
)
def test_the_end_of_the_serial_confirms(serial: str, confirm: str) -> None:
    check_confirmed(device(serial), confirm)


@pytest.mark.parametrize(
    ("serial", "confirm"),
    [
        ("A1B2C3", ""),
        ("A1B2C3", "3"),
        ("A1B2C3", "2C3"),
        ("A1B2C3", "XXXX"),
        ("A1B2C3", "A1B2"),
        ("", ""),
        ("", "x"),
        ("12", "2"),
    ],
)
def test_anything_else_does_not(serial: str, confirm: str) -> None:
    with pytest.raises(Refused) as refused:
        check_confirmed(device(serial), confirm)

    assert "Acme Stick at /dev/skx" in str(refused.value)
    assert refused.value.hint


class Silence:
    def progress(self, event: ProgressEvent, /) -> None:
        """Nobody listens."""

    def on_loop(self, coroutine: object, /) -> object:
        raise AssertionError("burning asks the store nothing")


def test_a_device_is_checked_before_a_byte_of_the_image_is_read(tmp_path: Path) -> None:
    def refuse(path: Path) -> Device:
        raise DeviceRefused(f"{path} is the system disk")

    kind = burn_iso_kind(tmp_path / "data", refuse)
    with pytest.raises(DeviceRefused):
        kind.work(BurnIso(image=str(tmp_path / "missing.iso"), target="/dev/skx"), Silence())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "target"),
    [
        ("data/admin.token", "stick.img"),
        ("data/pki/ca.img", "stick.img"),
        ("etc/shadow", "stick.img"),
        ("link.iso", "stick.img"),
        ("some.iso", "etc/passwd"),
        ("some.iso", "data/pki/users.img"),
        ("some.iso", "data/seed-images/u1/plant.iso"),
    ],
    ids=["token", "key", "file", "link to a key", "to a file", "to the keys", "to a download"],
)
def test_nothing_but_images_is_read_or_overwritten_and_nothing_of_the_appliances_own(
    tmp_path: Path, image: str, target: str
) -> None:
    (tmp_path / "some.iso").write_bytes(b"i" * 512)
    (tmp_path / "link.iso").symlink_to(tmp_path / "data/admin.token")
    wanted = BurnIso(image=str(tmp_path / image), target=str(tmp_path / target))

    with pytest.raises(Refused):
        burn_iso_kind(tmp_path / "data").work(wanted, Silence())  # type: ignore[arg-type]

    assert not (tmp_path / target).exists()


def test_a_finished_medium_is_burned_from_where_it_lies(tmp_path: Path) -> None:
    medium = tmp_path / "data/seed-images/u1/plant.iso"
    medium.parent.mkdir(parents=True)
    medium.write_bytes(b"i" * 512)
    wanted = BurnIso(image=str(medium), target=str(tmp_path / "stick.img"))

    burn_iso_kind(tmp_path / "data").work(wanted, Silence())  # type: ignore[arg-type]

    assert (tmp_path / "stick.img").read_bytes()[:512] == b"i" * 512


def test_burning_is_not_started_again_by_itself(tmp_path: Path) -> None:
    assert not burn_iso_kind(tmp_path).is_resumable
