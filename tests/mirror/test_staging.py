"""Files on their way in: hashed, locked, put back when the disk is full."""

import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.appending import BLOCK_BYTES, Writers
from mirror.errors import NoSpace, UploadBusy, UploadUnknown
from mirror.staging import Hashed, StagedFile, is_abandoned


@pytest.fixture
def writers() -> Iterator[Writers]:
    writers = Writers()
    yield writers
    writers.close()


def test_small_and_large_writes_are_hashed_in_order(tmp_path: Path, writers: Writers) -> None:
    staged = StagedFile.create(tmp_path / "x.part", algorithm="sha256", writers=writers, floor=0)
    parts = [b"a" * 10, os.urandom(BLOCK_BYTES * 2 + 5), b"", b"z"]

    for part in parts:
        staged.write(part)
    staged.move_to(tmp_path / "final")

    content = b"".join(parts)
    assert (tmp_path / "final").read_bytes() == content
    assert staged.digest("sha256") == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert not (tmp_path / "x.part").exists()


def test_another_algorithm_than_the_one_begun_with_reads_the_file_again(
    tmp_path: Path, writers: Writers
) -> None:
    staged = StagedFile.create(tmp_path / "x.part", algorithm="sha256", writers=writers, floor=0)
    staged.write(b"content")

    assert staged.digest("sha512") == f"sha512:{hashlib.sha512(b'content').hexdigest()}"
    staged.discard()


def test_a_hash_that_does_not_fit_the_file_is_not_believed(tmp_path: Path, writers: Writers) -> None:
    (tmp_path / "x.part").write_bytes(b"content")
    wrong = Hashed(3, hashlib.sha256(b"con"))

    staged = StagedFile.reopen(tmp_path / "x.part", algorithm="sha256", known=wrong, writers=writers, floor=0)

    assert staged.offset == 7
    assert staged.digest("sha256") == f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    staged.close()


def test_two_writers_cannot_have_one_file(tmp_path: Path, writers: Writers) -> None:
    def reopen() -> StagedFile:
        return StagedFile.reopen(
            tmp_path / "x.part",
            algorithm="sha256",
            known=None,
            writers=writers,
            floor=0,
            patience_seconds=0.0,
        )

    staged = StagedFile.create(tmp_path / "x.part", algorithm="sha256", writers=writers, floor=0)

    with pytest.raises(UploadBusy, match="x"):
        reopen()

    staged.close()
    reopen().close()


def test_a_file_that_is_gone_is_unknown(tmp_path: Path, writers: Writers) -> None:
    with pytest.raises(UploadUnknown):
        StagedFile.reopen(tmp_path / "x.part", algorithm="sha256", known=None, writers=writers, floor=0)


def test_a_write_that_would_go_below_the_floor_is_refused_before_it_begins(
    tmp_path: Path, writers: Writers
) -> None:
    staged = StagedFile.create(tmp_path / "x.part", algorithm="sha256", writers=writers, floor=0)
    staged._floor = 2**62

    with pytest.raises(NoSpace, match="MiB free"):
        staged.write(b"content")

    assert (tmp_path / "x.part").stat().st_size == 0
    staged.discard()


@pytest.mark.parametrize("size", [1000, BLOCK_BYTES * 3])
def test_a_write_that_the_disk_cuts_short_leaves_a_beginning(tmp_path: Path, size: int) -> None:
    """In a child, whose largest file is limited to one block and a bit."""
    script = (
        "import os, resource\n"
        "from pathlib import Path\n"
        "from mirror.appending import Writers\n"
        "from mirror.errors import NoSpace\n"
        "from mirror.staging import StagedFile\n"
        f"path = Path({str(tmp_path / 'x.part')!r})\n"
        "staged = StagedFile.create(path, algorithm='sha256', writers=Writers(), floor=0)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({BLOCK_BYTES + 500}, {resource.RLIM_INFINITY}))\n"
        "try:\n"
        f"    staged.write(b'a' * {BLOCK_BYTES})\n"
        f"    staged.write(b'b' * {size})\n"
        "    staged.pause()\n"
        "except NoSpace as error:\n"
        "    staged.close()\n"
        "    print(error, flush=True)\n"
        "os._exit(0)\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("the mirror cannot write to"), done.stderr
    content = (tmp_path / "x.part").read_bytes()
    assert content == (b"a" * BLOCK_BYTES + b"b" * size)[: len(content)]
    assert len(content) >= BLOCK_BYTES


def test_a_file_is_abandoned_when_it_is_old_and_nobody_holds_it(tmp_path: Path, writers: Writers) -> None:
    path = tmp_path / "x.part"
    staged = StagedFile.create(path, algorithm="sha256", writers=writers, floor=0)
    later = path.stat().st_mtime + 3600

    assert not is_abandoned(path, now=later)
    staged.pause()
    assert not is_abandoned(path, now=path.stat().st_mtime + 1)
    assert is_abandoned(path, now=later)
    assert not is_abandoned(tmp_path / "other", now=later)
