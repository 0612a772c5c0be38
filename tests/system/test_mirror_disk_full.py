"""A mirror on a real file system that is really full: pushes are refused, pulls go on, nothing is lost."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.collection import collect
from mirror.limits import DEFAULT_LIMITS
from mirror.oci import digest_of
from mirror.registry import Registry
from mirror.verification import verify
from tests.mirror.pushing import push_image
from tests.mirror.serving import ServingMirror

pytestmark = pytest.mark.system

MIB = 1024 * 1024
DISK_MIB = 16
NOTHING_KEPT = replace(DEFAULT_LIMITS, free_space=0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def push(mirror: ServingMirror, content: bytes) -> int:
    return mirror.ask("POST", f"/v2/a/blobs/uploads/?digest={digest_of(content)}", content).status


def stream(mirror: ServingMirror, content: bytes) -> int:
    """Of a length that is not announced, so that the disk itself is what refuses it."""
    path = f"/v2/a/blobs/uploads/?digest={digest_of(content)}"
    return mirror.ask("POST", path, iter([content])).status


def test_a_full_disk_refuses_serves_and_takes_again_once_there_is_room(small_disk: Path) -> None:
    root = small_disk / "root"
    kept: list[bytes] = []
    registry = Registry(root, limits=NOTHING_KEPT)
    push_image(registry, "a", b"tagged", "v1")
    registry.close()

    with ServingMirror(root, "--keep-free", "0") as mirror:
        while True:
            content = os.urandom(MIB)
            status = stream(mirror, content)
            if status != 201:
                break
            kept.append(content)

        assert status == 507
        assert len(kept) > DISK_MIB // 2
        for content in kept:
            assert mirror.ask("GET", f"/v2/a/blobs/{digest_of(content)}").body == content
        assert push(mirror, os.urandom(DISK_MIB * MIB)) == 507
        mirror.kill()

    registry = Registry(root, limits=NOTHING_KEPT)
    assert verify(registry).is_sound
    for content in kept:
        assert registry.has_blob(digest_of(content), "a")
        registry.delete_blob("a", digest_of(content))
    for file in list(registry.blobs.files()):
        os.utime(registry.blobs.path(file.digest), (0, 0))
    assert collect(registry).bytes >= len(kept) * MIB
    registry.close()

    with ServingMirror(root, "--keep-free", "0") as mirror:
        assert push(mirror, kept[0]) == 201
        assert mirror.ask("GET", "/v2/a/manifests/v1").status == 200


def test_what_is_kept_free_is_kept_free(small_disk: Path) -> None:
    with ServingMirror(small_disk / "root", "--keep-free", "8M") as mirror:
        while stream(mirror, os.urandom(MIB)) == 201:
            pass

        disk = os.statvfs(small_disk)
        assert 7 * MIB <= disk.f_bavail * disk.f_frsize <= 9 * MIB
