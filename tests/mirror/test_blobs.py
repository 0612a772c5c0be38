"""Content by digest: whole, verified and read-only, or not there."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.blobs import BlobStore
from mirror.errors import BlobUnknown, DigestInvalid
from mirror.oci import digest_of


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[BlobStore]:
    store = BlobStore(tmp_path / "root", floor=0)
    yield store
    store.close()


def staged_names(blobs: BlobStore) -> list[str]:
    return [path.name for path in blobs.staging.iterdir()]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_lies_under_its_digest_as_in_an_image_layout(blobs: BlobStore, algorithm: str) -> None:
    digest = digest_of(b"content", algorithm)

    blobs.put(b"content", digest)

    path = blobs.path(digest)
    assert path.parts[-3:] == ("blobs", algorithm, digest.partition(":")[2])
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert staged_names(blobs) == []


def test_content_with_another_digest_leaves_nothing(blobs: BlobStore) -> None:
    with pytest.raises(DigestInvalid) as refusal:
        blobs.put(b"content", digest_of(b"other"))

    assert "send it again" in refusal.value.hint
    assert not blobs.has(digest_of(b"other"))
    assert not blobs.has(digest_of(b"content"))
    assert staged_names(blobs) == []


def test_a_blob_that_is_not_there_is_unknown(blobs: BlobStore) -> None:
    for ask in (blobs.size, blobs.open):
        with pytest.raises(BlobUnknown):
            ask(digest_of(b"nothing"))


def test_an_open_blob_outlives_its_name(blobs: BlobStore) -> None:
    digest = digest_of(b"content")
    blobs.put(b"content", digest)

    fd = blobs.open(digest)
    blobs.path(digest).unlink()

    assert os.read(fd, 100) == b"content"
    os.close(fd)


def test_what_dead_writers_left_is_swept_and_living_writers_are_not(blobs: BlobStore) -> None:
    blobs.create_staged("put-dead.part", "sha256").close()
    living = blobs.create_staged("put-living.part", "sha256")
    later = living.path.stat().st_mtime + 3600

    assert blobs.sweep(later) == 1

    assert staged_names(blobs) == ["put-living.part"]
    living.discard()
