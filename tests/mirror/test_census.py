"""What the mirror holds, counted from its files."""

import shutil
from pathlib import Path

import pytest

from mirror.care import Care, write_care
from mirror.census import take_census
from mirror.registry import Registry


def counted(root: Path) -> tuple[int, int, int]:
    census = take_census(root)
    return census.blobs, census.blob_bytes, census.uploads


def test_blobs_their_bytes_and_open_uploads_are_counted(registry: Registry, tmp_path: Path) -> None:
    for content in (b"one", b"two two"):
        (tmp_path / "file").write_bytes(content)
        upload = registry.open_upload("a", "sha512" if content == b"one" else "sha256")
        upload.write(content)
        upload.pause()

    assert counted(tmp_path / "root") == (0, 0, 2)

    (tmp_path / "root/blobs/sha256/a").write_bytes(b"123")
    (tmp_path / "root/blobs/sha512/b").write_bytes(b"4567")
    assert counted(tmp_path / "root") == (2, 7, 2)


def test_room_and_care_are_told(registry: Registry, tmp_path: Path) -> None:
    care = Care(at=1000.0, is_sound=False, bytes=7, findings=2)
    write_care(tmp_path / "root", "verification", care)

    census = take_census(tmp_path / "root", quota=100, floor=10)

    assert (census.quota, census.floor) == (100, 10)
    assert 0 < census.free_bytes <= shutil.disk_usage(tmp_path).total
    assert (census.collection, census.verification) == (None, care)


def test_a_folder_that_is_gone_is_an_error(registry: Registry, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "root/blobs/sha512")

    with pytest.raises(FileNotFoundError):
        take_census(tmp_path / "root")
