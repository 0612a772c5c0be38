"""Tiny OS images for demonstrations and tests: what the agent looks for in an image, and a payload.

They install, upgrade and roll back like real ones but boot nothing. The same arguments give the same bytes.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from bundles.graph import LABEL_KIND, LABEL_TITLE, LABEL_VERSION
from bundles.images.bootargs import BOOTARGS_PATH, INITRD_PATH, KERNEL_PATH, render_bootargs
from bundles.images.release import OsRelease, render_os_release
from bundles.layout import ImageSettings, create_layout, write_image, write_layer
from bundles.tarball import Entry, directory, file, link, render_tar, with_parents
from mirror.oci import Digest

OS_ID = "skerry-demo"
CHECK_PATH = "usr/libexec/elemental-checker/50-demo.sh"
PAYLOAD_PATH = "usr/share/skerry/payload"
_GOOD_CHECK = "#!/bin/sh\nexit 0\n"
_BAD_CHECK = "#!/bin/sh\necho 'demo: the line controller does not answer' >&2\nexit 1\n"


def build_small_image(
    output_layout: Path, *, name: str, version: str, healthy: bool = True, payload_bytes: int = 64 * 1024
) -> Digest:
    """Add an image called `name`:`version` to the layout and return its manifest's digest.

    The payload and the directories are one layer that all versions of one name share; what differs
    between versions is the other.
    """
    layout = create_layout(output_layout)
    labels = {LABEL_KIND: "os", LABEL_TITLE: f"{name} {version}", LABEL_VERSION: version}
    layers = [
        write_layer(layout, [render_tar(with_parents(entries))])
        for entries in (_base(name, payload_bytes), _release(name, version, healthy=healthy))
    ]
    return write_image(layout, layers, name=f"{name}:{version}", settings=ImageSettings(labels=labels))


def _base(name: str, payload_bytes: int) -> list[Entry]:
    return [
        *(
            directory(path)
            for path in ("dev", "oem", "proc", "run", "sys", "var", "root", "home", "opt", "srv")
        ),
        directory("tmp", mode=0o1777),
        link("bin", "usr/bin"),
        directory("usr/bin"),
        file(PAYLOAD_PATH, _noise(f"{name} payload", payload_bytes)),
        file(INITRD_PATH, _noise(f"{name} initrd", 16 * 1024)),
    ]


def _release(name: str, version: str, *, healthy: bool) -> list[Entry]:
    release = OsRelease(
        name=f"Skerry demo {name}", id=OS_ID, version=version, image_repository=name, image_tag=version
    )
    return [
        file("etc/os-release", render_os_release(release)),
        file(BOOTARGS_PATH, render_bootargs()),
        file(KERNEL_PATH, _noise(f"{name} {version} kernel", 16 * 1024)),
        file(CHECK_PATH, _GOOD_CHECK if healthy else _BAD_CHECK, mode=0o755),
    ]


def _noise(seed: str, count: int) -> bytes:
    """Bytes that look random, do not compress, and are the same every time."""
    return b"".join(_noise_blocks(seed, count))


def _noise_blocks(seed: str, count: int) -> Iterator[bytes]:
    for number in range(0, count, 1024 * 1024):
        size = min(1024 * 1024, count - number)
        yield hashlib.shake_128(f"{seed} {number}".encode()).digest(size)
