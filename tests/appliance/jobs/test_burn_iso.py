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

    kind = burn_iso_kind(refuse)
    with pytest.raises(DeviceRefused):
        kind.work(BurnIso(image=str(tmp_path / "missing"), target="/dev/skx"), Silence())  # type: ignore[arg-type]


def test_burning_is_not_started_again_by_itself() -> None:
    assert not burn_iso_kind().is_resumable
