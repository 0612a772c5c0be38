"""Firmware and boot loader of a simulated machine: what happens between power-on and the agent's first line.

It reads the same environment block as GRUB and follows the same ladder (`agent.slots.choose_boot`, which
`agent.bootloader` writes into grub.cfg). A snapshot is "mounted" by unpacking it: the root is made anew at
every boot, so nothing but the volumes survives, as on an immutable host.
"""

import os
import shutil
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.bootloader import BootLoader
from agent.config import AgentConfig, render_config
from agent.errors import ImageInvalid, StateInvalid
from agent.grubenv import read_variables, write_variables
from agent.host import Host
from agent.layers import TreeLimits, unpack_archive
from agent.layout import SECTOR
from agent.slots import choose_boot

DISK_NAME = "vda"
MAX_IMAGE_BYTES = 1024 * 1024 * 1024
KEPT = ("dev", "run")
LIVE_OS_RELEASE = 'NAME="Skerry live"\nID=skerry-live\nVERSION_ID=1\n'


@dataclass(frozen=True, slots=True)
class Hardware:
    """What stays the same whatever is installed. `disk_bytes` is the sparse disk's size."""

    name: str
    serial: str
    system_uuid: str
    disk_bytes: int

    @staticmethod
    def of(name: str, seed: int, *, disk_bytes: int) -> "Hardware":
        """Return the hardware of the machine with this seed: always the same."""
        identity = uuid.uuid5(uuid.NAMESPACE_URL, f"skerry-simulation/{name}/{seed}")
        return Hardware(name, f"SIM{seed:08d}", str(identity), disk_bytes)


@dataclass(frozen=True, slots=True)
class Boot:
    """What the boot loader picked: a snapshot, recovery, or the live medium."""

    mode: str
    snapshot: int | None = None


def power_on(directory: Path, hardware: Hardware, medium: AgentConfig) -> Boot:
    """Start the machine: pick, make the root anew, and leave it ready for the agent."""
    directory.mkdir(parents=True, exist_ok=True)
    root = directory / "root"
    host = Host(root)
    _plug_in_disk(directory, hardware)
    boot = pick(host)
    _clear_root(root)
    if boot.mode == "live":
        _write(root, "/etc/os-release", LIVE_OS_RELEASE)
        _write(root, "/etc/skerry/agent.toml", render_config(medium).decode())
    else:
        _mount_image(_image_of(host, boot), root)
    _fill_kernel_files(root, hardware, boot)
    _put_agent(root)
    return boot


def pick(host: Host) -> Boot:
    """Follow the ladder: a disk without grub.cfg does not boot, so the medium does."""
    if not BootLoader(host).is_installed():
        return Boot("live")
    loader = BootLoader(host)
    picked, after = choose_boot(loader.choice())
    environment = host.volume("efi") / "grub_oem_env"
    if after.tries != loader.choice().tries:
        write_variables(environment, {"ab_try": str(after.tries)})
    if picked is None:
        return Boot("recovery")
    active = read_variables(environment).get("active_snap") == str(picked)
    return Boot("active" if active else "passive", picked)


def _image_of(host: Host, boot: Boot) -> Path:
    """Return the image, following upstream's rule: active goes by the link, passive by its number."""
    snapshots = host.volume("state") / ".snapshots"
    if boot.mode == "recovery":
        return host.volume("recovery") / "boot" / "recovery.img"
    if boot.mode == "active":
        return snapshots / os.readlink(snapshots / "active")
    return snapshots / str(boot.snapshot) / "snapshot.img"


def _mount_image(image: Path, root: Path) -> None:
    """Unpack the image; one that is cut off or damaged does not boot."""
    try:
        unpack_archive(image, root, limits=TreeLimits(bytes=MAX_IMAGE_BYTES))
    except (ImageInvalid, OSError) as error:
        raise StateInvalid(f"{image} does not boot: {error}") from error
    for needed in ("boot/vmlinuz", "boot/initrd", "etc/os-release"):
        if not (root / needed).is_file():
            raise StateInvalid(f"{image} does not boot: it has no {needed}")


def _plug_in_disk(directory: Path, hardware: Hardware) -> None:
    disk = directory / "disk.img"
    if not disk.exists():
        with disk.open("wb") as file:
            file.truncate(hardware.disk_bytes)
    devices = directory / "root" / "dev"
    devices.mkdir(parents=True, exist_ok=True)
    node = devices / DISK_NAME
    if not node.is_symlink():
        node.symlink_to(os.path.relpath(disk, devices))


def _clear_root(root: Path) -> None:
    """Everything in memory is gone: all of the root but the disk's node and the volumes."""
    for entry in root.iterdir():
        if entry.name not in KEPT:
            _remove(entry)
    run = root / "run"
    run.mkdir(exist_ok=True)
    for entry in run.iterdir():
        if entry.name != "elemental":
            _remove(entry)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def _fill_kernel_files(root: Path, hardware: Hardware, boot: Boot) -> None:
    words = [f"elemental.mode={boot.mode}"]
    if boot.snapshot is not None:
        words += [
            "root=LABEL=COS_STATE",
            f"elemental.image=/.snapshots/{boot.snapshot}/snapshot.img",
            f"skerry.snapshot={boot.snapshot}",
        ]
    block = f"/sys/block/{DISK_NAME}"
    files = {
        "/proc/cmdline": " ".join(words),
        "/proc/sys/kernel/random/boot_id": str(uuid.uuid4()),
        "/proc/mounts": "",
        "/proc/meminfo": "MemTotal:        4096000 kB",
        "/sys/class/dmi/id/sys_vendor": "Skerry",
        "/sys/class/dmi/id/product_name": "Simulated machine",
        "/sys/class/dmi/id/product_serial": hardware.serial,
        "/sys/class/dmi/id/product_uuid": hardware.system_uuid,
        f"{block}/size": str(hardware.disk_bytes // SECTOR),
        f"{block}/removable": "0",
        f"{block}/ro": "0",
        "/etc/hostname": hardware.name,
    }
    for path, content in files.items():
        _write(root, path, content + "\n")


def _put_agent(root: Path) -> None:
    """Plans call `skerry-agent`: give the machine one that runs this code over this root."""
    path = root / "usr/bin/skerry-agent"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(f'#!/bin/sh\nexec {_quote(sys.executable)} -m agent --root {_quote(str(root))} "$@"\n')
    path.chmod(0o755)


def _quote(text: str) -> str:
    quoted: Sequence[str] = text.split("'")
    return "'" + "'\\''".join(quoted) + "'"


def _write(root: Path, absolute: str, content: str) -> None:
    path = root / absolute.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()
    path.write_text(content)
