"""What is written of collections and verifications, and what is read when it is damaged."""

from pathlib import Path

import pytest

from mirror.care import MAX_BYTES, Care, read_care, write_care


def test_what_was_written_last_is_read_and_each_chore_has_its_own(tmp_path: Path) -> None:
    write_care(tmp_path, "collection", Care(at=1.0, is_sound=True, bytes=5))
    write_care(tmp_path, "collection", Care(at=2.0, is_sound=False))

    assert read_care(tmp_path, "collection") == Care(at=2.0, is_sound=False)
    assert read_care(tmp_path, "verification") is None
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b'{"at": 1}', b'{"at": 1, "is_sound": true, "more": 1}', b" " * MAX_BYTES + b"{}"],
)
def test_what_cannot_be_read_was_never_done(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last-collection.json").write_bytes(content)

    assert read_care(tmp_path, "collection") is None


def test_a_folder_that_is_gone_is_an_error_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_care(tmp_path / "gone", "collection", Care(at=1.0, is_sound=True))
