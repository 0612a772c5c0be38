"""The quota: pushes are refused before they are sent, while they come, and no longer once there is room."""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.collection import collect
from mirror.errors import NoSpace
from mirror.limits import DEFAULT_LIMITS
from mirror.oci import digest_of
from mirror.registry import Registry
from mirror.serve import parse_size
from mirror.space import COUNT_EVERY_SECONDS, Quota, bytes_below
from tests.mirror.pushing import push_blob
from tests.mirror.running import RunningMirror
from tests.mirror.serving import ServingMirror

SMALL = replace(DEFAULT_LIMITS, quota=1000)


def test_a_push_over_the_quota_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with RunningMirror(tmp_path / "root", limits=SMALL) as mirror:
        mirror.push_blob("a", b"x" * 600)
        content = b"y" * 600

        answer = mirror.ask("POST", f"/v2/a/blobs/uploads/?digest={digest_of(content)}", content)

        assert (answer.status, answer.code) == (507, "INSUFFICIENT_STORAGE")
        message = answer.json["errors"][0]
        assert "600 bytes more" in message["message"]
        assert "skerry mirror gc" in message["detail"]["hint"]
        mirror.push_blob("a", b"z" * 300)


def test_a_stream_of_unknown_length_is_cut_off_at_the_quota(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "root", limits=SMALL)
    upload = registry.open_upload("a")
    upload.write(b"x" * 900)

    with pytest.raises(NoSpace, match="more are too many"):
        upload.write(b"x" * 200)

    assert bytes_below(registry.blobs.staging) == 0
    registry.close()


def test_room_that_others_make_is_seen(tmp_path: Path) -> None:
    now = [0.0]
    quota = Quota(tmp_path, limit=100, clock=lambda: now[0])
    (tmp_path / "blob").write_bytes(b"x" * 90)
    with pytest.raises(NoSpace):
        quota.take(20)

    (tmp_path / "blob").unlink()
    now[0] += 2
    quota.take(20)

    with pytest.raises(NoSpace):
        quota.take(90)


def test_bytes_that_others_write_are_seen_in_time(tmp_path: Path) -> None:
    now = [0.0]
    quota = Quota(tmp_path, limit=100, clock=lambda: now[0])
    quota.take(10)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/blob").write_bytes(b"x" * 90)

    now[0] += COUNT_EVERY_SECONDS + 1

    with pytest.raises(NoSpace):
        quota.check(20)


def test_no_quota_costs_nothing_and_refuses_nothing(tmp_path: Path) -> None:
    quota = Quota(tmp_path / "missing", limit=0)

    quota.take(2**60)


def test_a_folder_that_vanishes_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    shutil.rmtree(tmp_path / "a")

    assert bytes_below(tmp_path / "a") == 0


def test_collecting_makes_room_under_the_quota(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "root", limits=replace(SMALL, renewal_seconds=0))
    push_blob(registry, "a", b"x" * 900)
    collect(registry, grace_seconds=0)
    fresh = Registry(tmp_path / "root", limits=SMALL)

    push_blob(fresh, "a", b"y" * 900)

    registry.close()
    fresh.close()


def test_sizes_are_written_as_people_write_them() -> None:
    assert [parse_size(text) for text in ("0", "1000", "64M", "2T")] == [0, 1000, 2**26, 2**41]


@pytest.mark.parametrize("text", ["", "G", "-1", "1.5G", "64m", "64MB", "\u0663", "9" * 16])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not a size"):
        parse_size(text)


def test_the_program_holds_its_quota(tmp_path: Path) -> None:
    with ServingMirror(tmp_path / "root", "--quota", "1K") as serving:
        content = b"x" * 2000

        answer = serving.ask("POST", f"/v2/a/blobs/uploads/?digest={digest_of(content)}", content)

        assert answer.status == 507
