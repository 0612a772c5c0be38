"""Verification: a sound mirror has no findings, and each kind of damage has its own."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from mirror.oci import Digest, digest_of
from mirror.registry import Registry
from mirror.verification import Verified, verify
from tests.mirror.pushing import CONFIG, push_blob, push_image, push_index

LAYER = b"layer"


def problems(verified: Verified) -> set[tuple[str, str]]:
    return {(finding.problem, finding.what) for finding in verified.findings}


def rewrite(registry: Registry, digest: Digest, content: bytes) -> None:
    path = registry.blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_sound_mirror_is_proved_byte_by_byte(registry: Registry) -> None:
    child = push_image(registry, "a", LAYER)
    push_index(registry, "a", child, tag="v1")
    push_blob(registry, "a", b"loose")
    read: list[int] = []

    verified = verify(registry, progress=read.append)

    assert verified.is_sound, verified.findings
    assert (verified.blobs, verified.manifests, verified.tags) == (5, 2, 1)
    assert (verified.collectable, verified.collectable_bytes) == (1, 5)
    assert sum(read) == verified.bytes == sum(file.size for file in registry.blobs.files())


def test_a_flipped_bit_is_found(registry: Registry) -> None:
    push_image(registry, "a", LAYER, "v1")
    rewrite(registry, digest_of(LAYER), b"lazer")

    assert problems(verify(registry)) == {("damaged", digest_of(LAYER))}


def test_a_blob_cut_short_is_found_twice(registry: Registry) -> None:
    push_image(registry, "a", LAYER, "v1")
    rewrite(registry, digest_of(LAYER), b"lay")

    assert problems(verify(registry)) == {("damaged", digest_of(LAYER)), ("wrong size", digest_of(LAYER))}


def test_a_missing_blob_is_found(registry: Registry) -> None:
    push_image(registry, "a", LAYER, "v1")
    registry.blobs.delete(digest_of(LAYER))

    assert problems(verify(registry)) == {("missing", digest_of(LAYER))}


def test_a_blob_that_its_repository_lost_is_found(registry: Registry) -> None:
    push_image(registry, "a", LAYER, "v1")
    registry.delete_blob("a", digest_of(LAYER))

    assert problems(verify(registry)) == {("missing", digest_of(LAYER))}


def test_a_manifest_without_its_file_is_found(registry: Registry) -> None:
    image = push_image(registry, "a", LAYER, "v1")
    registry.blobs.delete(image)

    assert problems(verify(registry)) == {("missing", image)}


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE contents SET content = x'7b7d'", "contradiction"),
        ("DELETE FROM contents", "contradiction"),
        ("UPDATE manifests SET size = 1", "contradiction"),
        ("UPDATE manifests SET media_type = 'application/vnd.oci.image.index.v1+json'", "contradiction"),
        ("UPDATE manifests SET subject = 'sha256:00'", "contradiction"),
    ],
)
def test_an_index_that_contradicts_the_content_is_found(
    registry: Registry, tmp_path: Path, statement: str, problem: str
) -> None:
    image = push_image(registry, "a", LAYER, "v1")
    with sqlite3.connect(tmp_path / "root/index.db") as connection:
        connection.execute(statement)
    connection.close()

    assert problems(verify(registry)) == {(problem, image)}


def test_a_tag_that_points_nowhere_is_found(registry: Registry, tmp_path: Path) -> None:
    push_image(registry, "a", LAYER, "v1")
    with sqlite3.connect(tmp_path / "root/index.db") as connection:
        connection.execute("DELETE FROM manifests")
    connection.close()

    assert ("dangling tag", "v1") in problems(verify(registry))


@pytest.mark.parametrize(
    "make",
    [lambda path: path.write_bytes(b"?"), lambda path: path.mkdir(), lambda path: path.symlink_to("/")],
)
def test_what_is_no_blob_is_found_and_left_alone(
    registry: Registry, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    stray = tmp_path / "root/blobs/sha256/notes.txt"
    make(stray)

    assert problems(verify(registry)) == {("stray", str(stray))}
    assert stray.exists()


def test_what_is_deleted_while_it_is_checked_is_no_finding(registry: Registry) -> None:
    image = push_image(registry, "a", LAYER, "v1")

    def delete(count: int) -> None:
        if registry.has_manifest("a", image):
            registry.delete_manifest("a", image)
            registry.blobs.delete(image)

    assert verify(registry, threads=1, progress=delete).is_sound


def test_it_can_be_stopped(registry: Registry) -> None:
    push_image(registry, "a", LAYER, "v1")

    class Stopped(Exception):
        pass

    def stop(count: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        verify(registry, progress=stop)


def test_what_is_found_goes_into_json(registry: Registry) -> None:
    push_image(registry, "a", LAYER, "v1")
    registry.blobs.delete(digest_of(CONFIG))

    told = msgspec.json.decode(msgspec.json.encode(verify(registry)))

    assert told["findings"][0]["what"] == digest_of(CONFIG)
