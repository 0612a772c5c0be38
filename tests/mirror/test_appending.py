"""Appending past the page cache gives the same file as appending the plain way, whatever the sizes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.appending import ALIGNMENT, BLOCK_BYTES, Appender, Writers

SIZES = [0, 1, ALIGNMENT - 1, ALIGNMENT, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 7]


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    writers = Writers()
    yield writers
    writers.close()


def append(path: Path, writers: Writers, *pieces: bytes) -> None:
    """Each piece by an appender of its own, as the requests of one upload do."""
    for piece in pieces:
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        appender = Appender(fd, offset=os.fstat(fd).st_size, writers=writers)
        appender.append(piece)
        appender.flush()
        appender.close()
        os.close(fd)


@pytest.mark.parametrize("first", SIZES)
@pytest.mark.parametrize("second", SIZES)
def test_two_pieces_of_any_size(tmp_path: Path, writers: Writers, first: int, second: int) -> None:
    pieces = os.urandom(first), os.urandom(second)

    append(tmp_path / "file", writers, *pieces)

    assert (tmp_path / "file").read_bytes() == b"".join(pieces)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 400_000), max_size=12), st.integers(0, 2**32))
def test_many_pieces_with_flushes_between(
    tmp_path_factory: pytest.TempPathFactory, writers: Writers, sizes: list[int], seed: int
) -> None:
    path = tmp_path_factory.mktemp("append") / "file"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    appender = Appender(fd, offset=0, writers=writers)
    content = b""
    for number, size in enumerate(sizes):
        piece = bytes([(seed + number) % 256]) * size
        appender.append(piece)
        content += piece
        if (seed >> number) % 2:
            appender.flush()
            assert path.read_bytes() == content
    appender.flush()
    appender.close()
    os.close(fd)

    assert path.read_bytes() == content


def test_a_file_system_without_o_direct_is_written_the_ordinary_way(writers: Writers) -> None:
    fd = os.memfd_create("memory")
    appender = Appender(fd, offset=0, writers=writers)
    content = os.urandom(2 * BLOCK_BYTES + 5)

    appender.append(content)
    appender.flush()
    appender.close()

    assert os.pread(fd, len(content) + 1, 0) == content
    os.close(fd)


def test_an_error_is_raised_by_a_later_call(writers: Writers, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    appender = Appender(fd, offset=0, writers=writers)
    os.close(fd)

    appender.append(b"x" * BLOCK_BYTES)
    with pytest.raises(OSError):
        appender.flush()
    appender.close()
