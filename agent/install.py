"""Install: put the OS on a disk and arrange its first boot (host-os.md 1.5, 2).

The disk is marked before it is touched, and grub.cfg is the last thing written: until then a machine that
loses power starts its medium again, finds the mark, and begins anew. The installed system is a
candidate like any other: it is good once it has come up.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from agent.bootloader import BootLoader
from agent.devices import choose_device, list_devices
from agent.disk import check_overwrite, mark, unmark
from agent.durable import make_directories, write_durably
from agent.errors import DiskRefused
from agent.host import now_text
from agent.image import remove_blobs, resolve
from agent.installation import Installation
from agent.journal import Fault, Record, Step, no_fault
from agent.layers import find_inside
from agent.protocol.client_config import Install
from agent.reference import ImageReference
from agent.registry import Registry
from agent.snapshots import build_image
from agent.staging import build_step, check_step, pull_step, switch_steps, unpack_step
from agent.state import RecoverySystem, RecoveryVolume, Snapshotter, State, write_state

FIRST = 1
DEFAULT_TITLE = "Skerry"
RECOVERY_LABEL = "COS_SYSTEM"
RECOVERY_FILES = {
    "kernel": "boot/vmlinuz",
    "initrd": "boot/initrd",
    "bootargs.cfg": "etc/elemental/bootargs.cfg",
}


@dataclass(frozen=True, slots=True)
class OemFile:
    """A file for the OEM volume. Not shown: it may hold a token."""

    content: bytes = field(repr=False)
    mode: int = 0o600


def install(
    installation: Installation,
    reference: ImageReference,
    *,
    options: Install,
    registry: Registry,
    oem: Mapping[str, OemFile],
    overwrite: bool = False,
    fault: Fault = no_fault,
) -> Record:
    """Format the chosen disk and put the image on it. Refusals come before anything is written."""
    host, config = installation.host, installation.config
    if options.no_format:
        raise DiskRefused("this agent always formats the disk; no-format cannot be kept")
    devices = list_devices(host, allow_loop=config.disk.allow_loop)
    device = choose_device(devices, device=options.device, selector=options.device_selector)
    check_overwrite(host, device, told=overwrite or bool(options.device))
    digest, _ = resolve(reference, registry)
    fault("install.format.started")
    mark(host, device)
    installation.disk.unmount()
    installation.disk.format(device)
    fault("install.format.acted")
    installation.disk.mount()
    record = installation.journal.begin(
        Record(
            id=uuid.uuid4().hex,
            action="install",
            reference=str(reference),
            digest=digest,
            version=reference.tag,
            snapshot=FIRST,
            slot="a",
        )
    )
    fault("install.format.recorded")
    steps = [
        Step("state", "pending", lambda: _put_state(installation, options)),
        pull_step(installation, record, registry),
        unpack_step(installation, record),
        Step("binaries", "writing", lambda: _put_boot_files(installation)),
        Step("recovery", "writing", lambda: _put_recovery(installation, record)),
        build_step(installation, record),
        check_step(installation, record),
        Step("oem", "writing", lambda: _put_oem(installation, oem)),
        *switch_steps(installation, record),
        Step("bootable", "armed", installation.boot.write_configuration),
        Step("unmark", "armed", lambda: unmark(host, device.node)),
    ]
    record = installation.journal.run(record, steps)
    remove_blobs(installation.pull_directory)
    host.request_reboot()
    return record


def _put_state(installation: Installation, options: Install) -> None:
    config = installation.config.snapshot
    wanted = options.snapshotter
    if wanted.type not in ("", "loopdevice"):
        raise DiskRefused(
            f"snapshotter {wanted.type!r} is not supported", hint="leave it out or write loopdevice"
        )
    snapshotter = Snapshotter(max_snaps=wanted.max_snaps or config.max_snaps, config={"fs": config.format})
    write_state(installation.host, State(snapshotter=snapshotter))


def _put_boot_files(installation: Installation) -> None:
    """Copy shim and GRUB from the image. An image without them boots only where another loader is."""
    tree = installation.snapshots.tree(FIRST)
    boot: BootLoader = installation.boot
    boot.copy_binaries(tree)
    boot.write_labels(_read_title(tree))


def _put_recovery(installation: Installation, record: Record) -> None:
    """The recovery system is the installed image once more, on its own volume."""
    host, config = installation.host, installation.config.snapshot
    tree = installation.snapshots.tree(FIRST)
    directory = host.volume("recovery") / "boot"
    make_directories(directory)
    for name, source in RECOVERY_FILES.items():
        write_durably(directory / name, find_inside(tree, source).read_bytes())
    build_image(host, tree, directory / "recovery.img", label=RECOVERY_LABEL, config=config)
    recovery = RecoverySystem(
        source=f"oci://{record.reference}",
        digest=record.digest,
        fs=config.format,
        date=now_text(),
        from_action="install",
        label=RECOVERY_LABEL,
    )
    state = msgspec.structs.replace(
        installation.state(), recovery=RecoveryVolume(label="COS_RECOVERY", recovery=recovery)
    )
    write_state(host, state)


def _put_oem(installation: Installation, oem: Mapping[str, OemFile]) -> None:
    volume = installation.host.volume("oem")
    for name, file in oem.items():
        make_directories((volume / name).parent, mode=0o700)
        write_durably(volume / name, file.content, mode=file.mode)


def _read_title(tree: Path) -> str:
    """The menu's title is the image's own: GRUB_ENTRY_NAME in its os-release (host-os.md 1.5, step 10)."""
    path = find_inside(tree, "etc/os-release")
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    names = dict(line.split("=", 1) for line in lines if "=" in line)
    return (names.get("GRUB_ENTRY_NAME") or names.get("NAME") or DEFAULT_TITLE).strip("\"'")
