"""burn-iso: an image onto a stick, read back and compared. The one job that destroys what was there.

A device is burned only if its caller names the end of its serial number, so that nobody burns `sdb` because
it was `sdb` yesterday. It is never started again by itself after a crash.
"""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import Refused
from appliance.jobs.places import check_image
from appliance.operations import OperationContext, OperationKind
from bundles.media.burn import burn
from bundles.media.devices import Device, check_target

SERIAL_TAIL = 4


class BurnIso(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`target` is a device or a plain file; `confirm` is the last four or more characters of its serial."""

    image: str
    target: str
    confirm: str = ""
    sha256: str = ""


def burn_iso_kind(
    data: Path, check_device: Callable[[Path], Device] = check_target
) -> OperationKind[BurnIso]:
    """The kind; `check_device` finds the device behind a path and refuses unsafe ones.

    `data` is the appliance's own folder, of which nothing but media is burned.
    """

    def work(params: BurnIso, context: OperationContext) -> dict[str, Any]:
        image, target = Path(params.image), Path(params.target)
        check_image(image, data=data, may_be_downloaded=True)
        if not _is_device(target):
            check_image(target, data=data, may_be_downloaded=False)
        chosen = check_device(target) if _is_device(target) else None
        if chosen is not None:
            check_confirmed(chosen, params.confirm)
        burned = burn(image, target, sha256=params.sha256, chosen=chosen, progress=context.progress)
        return {"target": str(burned.target), "size": burned.size, "sha256": burned.sha256}

    return OperationKind("burn-iso", BurnIso, work)


def check_confirmed(device: Device, confirm: str) -> None:
    """Raise Refused unless `confirm` is the end of the device's serial number."""
    wanted = device.serial[-SERIAL_TAIL:]
    if len(confirm) < len(wanted) or not device.serial.endswith(confirm) or not wanted:
        name = " ".join(filter(None, (device.vendor, device.model, f"at {device.path}")))
        raise Refused(
            f"{name} would be overwritten, and its serial number was not confirmed.",
            hint=f"Say --confirm with the last {SERIAL_TAIL} characters of the serial on its label."
            if wanted
            else "It has no serial number to confirm; use another stick.",
        )


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISBLK(path.stat().st_mode)
    except OSError:
        return path.is_relative_to("/dev")
