"""What the mirror holds, counted from its files."""

import shutil
from pathlib import Path

import pytest

from mirror.census import Census, take_census
from mirror.registry import Registry


def test_blobs_their_bytes_and_open_uploads_are_counted(registry: Registry, tmp_path: Path) -> None:
    for content in (b"one", b"two two"):
        (tmp_path / "file").write_bytes(content)
        upload = registry.open_upload("a", "sha512" if content == b"one" else "sha256")
        upload.write(content)
        upload.pause()

    assert take_census(tmp_path / "root") == Census(blobs=0, blob_bytes=0, uploads=2)

    (tmp_path / "root/blobs/sha256/a").write_bytes(b"123")
    (tmp_path / "root/blobs/sha512/b").write_bytes(b"4567")
    assert take_census(tmp_path / "root") == Census(blobs=2, blob_bytes=7, uploads=2)


def test_a_folder_that_is_gone_is_an_error(registry: Registry, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "root/blobs/sha512")

    with pytest.raises(FileNotFoundError):
        take_census(tmp_path / "root")
