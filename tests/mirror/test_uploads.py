"""Upload sessions: pieces, several processes, cancelling, expiry."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.blobs import BlobStore
from mirror.errors import DigestInvalid, TooLarge, TooManyUploads, UploadUnknown
from mirror.limits import DEFAULT_LIMITS
from mirror.oci import digest_of
from mirror.uploads import Uploads

LIMITS = replace(DEFAULT_LIMITS, blob_bytes=100, open_uploads=3)


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[BlobStore]:
    store = BlobStore(tmp_path / "root", floor=0)
    yield store
    store.close()


@pytest.fixture
def uploads(blobs: BlobStore) -> Uploads:
    return Uploads(blobs, LIMITS)


def is_clean(blobs: BlobStore) -> bool:
    return not list(blobs.staging.iterdir())


def test_pieces_become_a_blob(uploads: Uploads, blobs: BlobStore) -> None:
    upload = uploads.start("a")
    upload.write(b"one ")
    upload.pause()
    upload = uploads.resume("a", upload.id)
    upload.write(b"two")

    upload.commit(digest_of(b"one two"))

    assert blobs.path(digest_of(b"one two")).read_bytes() == b"one two"
    assert is_clean(blobs)


def test_another_process_can_go_on(uploads: Uploads, blobs: BlobStore) -> None:
    upload = uploads.start("a")
    upload.write(b"one ")
    upload.pause()

    elsewhere = Uploads(blobs, LIMITS).resume("a", upload.id)
    assert elsewhere.offset == 4
    elsewhere.write(b"two ")
    elsewhere.pause()
    again = uploads.resume("a", upload.id)
    again.write(b"three")

    assert again.commit(digest_of(b"one two three"))


def test_the_offset_can_be_asked_while_another_writes(uploads: Uploads) -> None:
    """It is what a restart would find, which may be less than what has been written."""
    first = uploads.start("a")
    first.write(b"12345")
    first.pause()
    second = uploads.resume("a", first.id)
    second.write(b"678")

    assert uploads.offset("a", first.id) == 5
    second.pause()
    assert uploads.offset("a", first.id) == 8


def test_wrong_content_ends_the_session_and_stores_nothing(uploads: Uploads, blobs: BlobStore) -> None:
    upload = uploads.start("a")
    upload.write(b"content")

    with pytest.raises(DigestInvalid):
        upload.commit(digest_of(b"other"))

    assert is_clean(blobs)
    assert not blobs.has(digest_of(b"other"))


def test_too_large_a_blob_ends_the_session(uploads: Uploads, blobs: BlobStore) -> None:
    upload = uploads.start("a")
    upload.write(b"x" * 100)

    with pytest.raises(TooLarge, match="100"):
        upload.write(b"x")

    assert is_clean(blobs)


def test_what_comes_after_the_end_does_nothing(uploads: Uploads, blobs: BlobStore) -> None:
    upload = uploads.start("a")
    upload.write(b"content")
    upload.commit(digest_of(b"content"))

    upload.abort()
    upload.pause()

    assert blobs.has(digest_of(b"content"))


@pytest.mark.parametrize("id", ["", "x", "../../etc/passwd", "0" * 32, "g" * 33, "." * 32, "a/" * 16])
def test_a_session_nobody_started_is_unknown(uploads: Uploads, id: str) -> None:
    for ask in (uploads.resume, uploads.offset, uploads.cancel):
        with pytest.raises(UploadUnknown):
            ask("a", id)


def test_a_session_belongs_to_its_repository(uploads: Uploads) -> None:
    upload = uploads.start("a")
    upload.pause()

    with pytest.raises(UploadUnknown):
        uploads.resume("b", upload.id)


def test_a_cancelled_session_is_gone(uploads: Uploads, blobs: BlobStore) -> None:
    upload = uploads.start("a")
    upload.pause()

    uploads.cancel("a", upload.id)

    assert is_clean(blobs)
    with pytest.raises(UploadUnknown):
        uploads.resume("a", upload.id)


def test_a_damaged_session_record_is_unknown(uploads: Uploads, blobs: BlobStore) -> None:
    upload = uploads.start("a")
    upload.pause()
    (blobs.staging / f"{upload.id}.json").write_bytes(b"{")

    with pytest.raises(UploadUnknown):
        uploads.resume("a", upload.id)


def test_open_sessions_are_limited(uploads: Uploads) -> None:
    held = [uploads.start("a") for _ in range(3)]

    with pytest.raises(TooManyUploads):
        uploads.start("a")

    for upload in held:
        upload.abort()
    uploads.start("a").abort()


def test_old_sessions_expire_and_held_ones_do_not(uploads: Uploads, blobs: BlobStore) -> None:
    old, held = uploads.start("a"), uploads.start("a")
    old.pause()
    now = (blobs.staging / f"{old.id}.part").stat().st_mtime

    assert uploads.sweep(now + LIMITS.upload_age_seconds - 10) == 0
    assert uploads.sweep(now + LIMITS.upload_age_seconds + 10) == 1

    with pytest.raises(UploadUnknown):
        uploads.offset("a", old.id)
    assert uploads.offset("a", held.id) == 0
    held.abort()
