"""Debian 12 as an OS image: kernel, initrd, systemd and Python, built by mmdebstrap. Root only.

The root filesystem is one layer, kept below a cache folder under the hash of all that goes into it; what
tells versions apart is a second, small layer, so another version costs no more than its own files. The
kernel and the initrd lie at fixed names, where `bundles.images.bootargs` says. It installs no agent by
itself: what a site adds goes into `extra`.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from bundles.errors import RecipeFailed
from bundles.graph import LABEL_KIND, LABEL_TITLE, LABEL_VERSION
from bundles.images.bootargs import BOOTARGS_PATH, INITRD_PATH, KERNEL_PATH, render_bootargs
from bundles.images.layer_cache import READ_BYTES, default_cache, take_layer
from bundles.images.release import OsRelease, render_os_release
from bundles.layout import (
    Compression,
    ImageSettings,
    Layer,
    OciLayout,
    create_layout,
    write_image,
    write_layer,
)
from bundles.progress import Progress, ProgressEvent, ignore_progress
from bundles.tarball import Entry, directory, file, render_tar, with_parents
from mirror.oci import Digest

OS_ID = "skerry"
ERROR_LINES = 8
PACKAGES = (
    "systemd", "systemd-sysv", "udev", "dbus", "kmod", "libpam-systemd",
    "linux-image-cloud-amd64", "initramfs-tools", "busybox",
    "shim-signed", "grub-efi-amd64-signed", "grub-efi-amd64-bin", "efibootmgr",
    "e2fsprogs", "dosfstools", "fdisk", "mount", "util-linux",
    "iproute2", "ca-certificates", "python3",
)  # fmt: skip
INITRD_MODULES = (
    "loop",
    "overlay",
    "squashfs",
    "ext4",
    "vfat",
    "nls_ascii",
    "nls_cp437",
    "virtio_pci",
    "virtio_blk",
)

# Before the packages: what the initrd is made with. Each hook is a shell line; $1 is the root.
BEFORE = (
    'mkdir -p "$1/usr/share/initramfs-tools/modules.d"',
    f"printf '%s\\n' {' '.join(INITRD_MODULES)} > \"$1/usr/share/initramfs-tools/modules.d/skerry\"",
)
# After them: fixed names, and nothing of the machine that built it.
AFTER = (
    f'mv "$1"/boot/vmlinuz-* "$1/{KERNEL_PATH}"',
    f'mv "$1"/boot/initrd.img-* "$1/{INITRD_PATH}"',
    'rm -f "$1"/vmlinuz* "$1"/initrd.img*',
    'chroot "$1" systemctl enable systemd-networkd.service',
    "printf '[Match]\\nType=ether\\n\\n[Network]\\nDHCP=yes\\nMulticastDNS=yes\\n'"
    ' > "$1/etc/systemd/network/80-dhcp.network"',
    'rm -rf "$1"/etc/apt/sources.list* "$1"/etc/apt/preferences.d "$1"/var/log/*',
    'rm -rf "$1"/usr/share/doc "$1"/usr/share/man',
    'rm -f "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/var/lib/dbus/machine-id "$1"/etc/os-release',
    ': > "$1/etc/machine-id"',
)


@dataclass(frozen=True, slots=True)
class RootRecipe:
    """All that goes into the large layer. No `mirror` means Debian's own; no file is newer than `epoch`."""

    suite: str = "bookworm"
    mirror: str = ""
    packages: Sequence[str] = PACKAGES
    before: Sequence[str] = BEFORE
    after: Sequence[str] = AFTER
    epoch: int = 1_767_225_600  # 2026-01-01
    compression: Compression = "gzip"

    @property
    def key(self) -> str:
        return hashlib.sha256(msgspec.json.encode(asdict(self), order="sorted")).hexdigest()[:16]


DEBIAN_12 = RootRecipe()


def build_debian_image(
    output_layout: Path,
    *,
    name: str,
    version: str,
    recipe: RootRecipe = DEBIAN_12,
    extra: Sequence[Entry] = (),
    cache: Path | None = None,
    progress: Progress = ignore_progress,
) -> Digest:
    """Add an image called `name`:`version` to the layout; return its digest, or raise RecipeFailed.

    `extra` are files for the small layer, over whatever the packages brought.
    """
    layout = create_layout(output_layout)
    root = build_root_layer(layout, recipe, cache=cache or default_cache(), progress=progress)
    release = write_layer(layout, [render_tar(_release(name, version, extra), time=recipe.epoch)])
    labels = {LABEL_KIND: "os", LABEL_TITLE: f"Skerry Debian {version}", LABEL_VERSION: version}
    return write_image(
        layout, [root, release], name=f"{name}:{version}", settings=ImageSettings(labels=labels)
    )


def build_root_layer(layout: OciLayout, recipe: RootRecipe, *, cache: Path, progress: Progress) -> Layer:
    """Put the large layer into `layout`, from the cache if it was built before."""

    def make(work: Path) -> Iterator[bytes]:
        check_builder(user=os.geteuid(), program=shutil.which("mmdebstrap"))
        return _run_mmdebstrap(recipe, work, progress=progress)

    return take_layer(layout, cache / f"{recipe.suite}-{recipe.key}", make, compression=recipe.compression)


def check_builder(*, user: int, program: str | None) -> None:
    if user != 0:
        raise RecipeFailed("an OS image can only be built by root", hint="run the same command with sudo")
    if program is None:
        raise RecipeFailed("mmdebstrap is not installed", hint="apt-get install mmdebstrap")


def mmdebstrap_command(recipe: RootRecipe) -> list[str]:
    """The command that writes the root filesystem as a tar to standard output."""
    hooks = [f"--essential-hook={line}" for line in recipe.before]
    hooks += [f"--customize-hook={line}" for line in recipe.after]
    return [
        "mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "--skip=output/dev", "--format=tar",
        f"--include={','.join(recipe.packages)}", *hooks, recipe.suite, "-",
        *([recipe.mirror] if recipe.mirror else []),
    ]  # fmt: skip


def _release(name: str, version: str, extra: Sequence[Entry]) -> list[Entry]:
    release = render_os_release(
        OsRelease(
            name="Skerry Debian",
            id=OS_ID,
            id_like="debian",
            version=version,
            image_repository=name,
            image_tag=version,
        )
    )
    ours = [
        directory("dev"),
        directory("oem"),
        file("etc/os-release", release),
        file("usr/lib/os-release", release),
        file(BOOTARGS_PATH, render_bootargs()),
    ]
    theirs = {entry.path for entry in extra}
    return with_parents([*(entry for entry in ours if entry.path not in theirs), *extra])


def _run_mmdebstrap(recipe: RootRecipe, work: Path, *, progress: Progress) -> Iterator[bytes]:
    """Its tar as it comes; how large it will be is not known before, so the events' total is 0."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(recipe.epoch), "TMPDIR": str(work)}
    log = work / "log"
    done = 0
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            mmdebstrap_command(recipe), stdout=subprocess.PIPE, stderr=errors, env=environment
        ) as running,
    ):
        assert running.stdout is not None
        try:
            while chunk := running.stdout.read(READ_BYTES):
                done += len(chunk)
                progress(ProgressEvent("building", done, 0, recipe.suite))
                yield chunk
        except BaseException:
            running.terminate()
            raise
    if running.returncode != 0 or not done:
        last = log.read_text(errors="replace").splitlines()[-ERROR_LINES:]
        raise RecipeFailed(
            f"mmdebstrap could not build {recipe.suite} {recipe.mirror}: {' | '.join(last)}",
            hint="the Debian archive must be reachable while an OS image is built",
        )
