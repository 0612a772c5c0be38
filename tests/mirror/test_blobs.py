"""Content by digest: whole, verified and read-only, or not there."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.blobs import COPY_BYTES, BlobStore
from mirror.errors import BlobUnknown, DigestInvalid, NoSpace
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


def test_a_file_is_copied_in_once(blobs: BlobStore, tmp_path: Path) -> None:
    content = os.urandom(COPY_BYTES + 5)
    source = tmp_path / "source"
    source.write_bytes(content)
    seen: list[int] = []

    assert blobs.copy_in(source, digest_of(content), on_copied=seen.append)
    assert not blobs.copy_in(source, digest_of(content), on_copied=seen.append)

    assert seen == [COPY_BYTES, 5]
    assert blobs.size(digest_of(content)) == len(content)


def test_a_copy_that_is_cancelled_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")

    def cancel(count: int) -> None:
        raise InterruptedError("cancelled")

    with pytest.raises(InterruptedError):
        blobs.copy_in(source, digest_of(b"content"), on_copied=cancel)

    assert staged_names(blobs) == []
    assert not blobs.has(digest_of(b"content"))


def test_a_file_that_cannot_fit_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "root", floor=2**62)
    source = tmp_path / "source"
    source.write_bytes(b"content")

    with pytest.raises(NoSpace):
        blobs.copy_in(source, digest_of(b"content"), on_copied=lambda count: None)

    assert staged_names(blobs) == []
    blobs.close()


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
    blobs.create_staged("copy-dead.part", "sha256").close()
    living = blobs.create_staged("put-living.part", "sha256")
    later = living.path.stat().st_mtime + 3600

    assert blobs.sweep(later) == 1

    assert staged_names(blobs) == ["put-living.part"]
    living.discard()
