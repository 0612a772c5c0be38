"""A passphrase over a file: what opens it, and that no change to it goes unseen."""

import io
from collections.abc import Iterator

import pytest

from appliance.moving.errors import BackupUnusable, MovingError, WrongPassphrase
from appliance.moving.sealing import MAGIC, SALT_BYTES, SEGMENT_BYTES, TAG_BYTES, is_sealed, seal, unseal

PASSPHRASE = b"correct horse"
CONTENT = bytes(range(256)) * 10_000  # three segments, the last one short
SEGMENT = SEGMENT_BYTES + TAG_BYTES
HEAD = len(MAGIC) + SALT_BYTES


def pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


def sealed(content: bytes = CONTENT) -> bytes:
    output = io.BytesIO()
    seal(pieces(content), output, PASSPHRASE)
    return output.getvalue()


def opened(content: bytes, passphrase: bytes = PASSPHRASE) -> bytes:
    return b"".join(unseal(io.BytesIO(content), passphrase))


@pytest.mark.parametrize("size", [0, 1, SEGMENT_BYTES, SEGMENT_BYTES + 1])
def test_what_was_sealed_is_opened_by_its_passphrase(size: int) -> None:
    content = CONTENT[:size]

    assert opened(sealed(content)) == content


def test_the_same_content_is_sealed_differently_each_time() -> None:
    first, second = sealed(), sealed()

    assert is_sealed(first)
    assert first != second
    assert CONTENT[:64] not in first


def test_another_passphrase_opens_nothing() -> None:
    with pytest.raises(WrongPassphrase, match="does not open"):
        opened(sealed(), b"wrong horse")


def test_a_passphrase_too_short_to_help_is_refused() -> None:
    with pytest.raises(WrongPassphrase, match="at least 8"):
        seal(pieces(b"x"), io.BytesIO(), b"short")


@pytest.mark.parametrize("what", ["bit flipped", "cut at a segment", "cut inside", "swapped", "repeated"])
def test_any_change_is_seen(what: str) -> None:
    whole = sealed()
    first, second = whole[HEAD : HEAD + SEGMENT], whole[HEAD + SEGMENT : HEAD + 2 * SEGMENT]
    changed = {
        "bit flipped": whole[:-1] + bytes((whole[-1] ^ 1,)),
        "cut at a segment": whole[: HEAD + 2 * SEGMENT],
        "cut inside": whole[:-5],
        "swapped": whole[:HEAD] + second + first + whole[HEAD + 2 * SEGMENT :],
        "repeated": whole[: HEAD + SEGMENT] + first + whole[HEAD + SEGMENT :],
    }

    with pytest.raises(MovingError):
        opened(changed[what])


def test_what_was_never_sealed_says_so() -> None:
    with pytest.raises(BackupUnusable, match="no sealed backup"):
        opened(b"PK\x03\x04")
