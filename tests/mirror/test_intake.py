"""Blobs that come in together or not at all."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirror.errors import DigestInvalid, TooLarge
from mirror.intake import ReadInto, sweep_intakes
from mirror.limits import Limits
from mirror.oci import digest_of
from mirror.registry import Registry


def reader(content: bytes) -> ReadInto:
    return io.BytesIO(content).readinto


def staged(registry_root: Path) -> list[str]:
    return sorted(path.name for path in (registry_root / "staging").iterdir())


@contextmanager
def opened(root: Path, limits: Limits) -> Iterator[Registry]:
    registry = Registry(root, limits=limits)
    try:
        yield registry
    finally:
        registry.close()


def test_nothing_is_there_before_all_is_published(registry: Registry, tmp_path: Path) -> None:
    contents = [b"one", b"two" * 1000, b"", b"x" * 9_000_000]

    with registry.open_intake() as intake:
        for content in contents:
            intake.add(reader(content), digest_of(content))
        assert not any(registry.has_blob(digest_of(content)) for content in contents)
        intake.publish()

    for content in contents:
        registry.link_blob("a/b", digest_of(content))
        with open(registry.open_blob("a/b", digest_of(content)), "rb") as file:
            assert file.read() == content
    assert staged(tmp_path / "root") == []


def test_one_damaged_blob_stops_all(registry: Registry, tmp_path: Path) -> None:
    with registry.open_intake() as intake:
        intake.add(reader(b"good"), digest_of(b"good"))
        with pytest.raises(DigestInvalid, match=digest_of(b"bad")):
            intake.add(reader(b"bad"), digest_of(b"other"))

    assert not registry.has_blob(digest_of(b"good"))
    assert staged(tmp_path / "root") == []


def test_a_blob_over_the_limit_is_refused(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "small", Limits(blob_bytes=10)) as registry,
        registry.open_intake() as intake,
        pytest.raises(TooLarge),
    ):
        intake.add(reader(b"eleven bytes"), digest_of(b"eleven bytes"))


def test_more_blobs_than_a_process_may_open_files(registry: Registry) -> None:
    contents = [str(number).encode() for number in range(1500)]

    with registry.open_intake() as intake:
        for content in contents:
            intake.add(reader(content), digest_of(content))
        intake.publish()

    assert all(registry.has_blob(digest_of(content)) for content in contents)


def test_the_same_blob_twice_is_read_once(registry: Registry) -> None:
    with registry.open_intake() as intake:
        intake.add(reader(b"same"), digest_of(b"same"))
        intake.add(reader(b"not read"), digest_of(b"same"))
        intake.publish()

    assert registry.has_blob(digest_of(b"same"))


def test_what_a_dead_writer_left_is_swept_and_what_a_living_one_writes_is_not(
    registry: Registry, tmp_path: Path
) -> None:
    staging = tmp_path / "root/staging"
    dead = staging / "intake-dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "blob").write_bytes(b"half")
    unborn = staging / "intake-unborn"
    unborn.mkdir()
    later = os.stat(dead / "lock").st_mtime + 120

    with registry.open_intake() as intake:
        intake.add(reader(b"alive"), digest_of(b"alive"))
        assert sweep_intakes(staging, now=later) == 2
        intake.publish()

    assert registry.has_blob(digest_of(b"alive"))
    assert staged(tmp_path / "root") == []


def test_a_young_intake_is_left_alone(registry: Registry, tmp_path: Path) -> None:
    young = tmp_path / "root/staging/intake-young"
    young.mkdir()

    assert sweep_intakes(young.parent, now=young.stat().st_mtime + 1) == 0
