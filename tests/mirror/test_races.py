"""What many clients do at once over real sockets: a pull is whole or refused, and a blob is stored once."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mirror.collection import GRACE_SECONDS, collect
from mirror.oci import digest_of
from mirror.space import bytes_below
from mirror.verification import verify
from tests.mirror.running import RunningMirror

MIB = 1024 * 1024
ROUNDS = 25
MOST_ROUNDS = 1000
PULLERS = 3


def test_a_pull_that_races_deletes_and_collections_is_whole_or_refused(tmp_path: Path) -> None:
    layers = [bytes([number]) * MIB for number in range(3)]
    done = threading.Event()

    statuses: set[int] = set()

    def pull(mirror: RunningMirror) -> None:
        """Whatever says 200 has the digest that it was asked for."""
        while not done.is_set():
            for layer in layers:
                digest = digest_of(layer)
                answer = mirror.ask("GET", f"/v2/a/blobs/{digest}")
                statuses.add(answer.status)
                assert answer.status == 404 or digest_of(answer.body) == digest

    with RunningMirror(tmp_path / "root") as mirror, ThreadPoolExecutor(PULLERS) as pool:
        pulls = [pool.submit(pull, mirror) for _ in range(PULLERS)]
        try:
            number = 0
            while number < ROUNDS or (len(statuses) < 2 and number < MOST_ROUNDS):
                number += 1
                manifest = mirror.push_image("a", "v1", payload=layers[number % len(layers)])
                assert mirror.ask("DELETE", f"/v2/a/manifests/{manifest}").status == 202
                collect(mirror.registry, now=_when_all_leases_are_over)
        finally:
            done.set()
        for each in pulls:
            each.result(60)

        assert statuses == {200, 404}
        assert verify(mirror.registry).is_sound


def test_many_writers_of_one_blob_all_succeed_and_it_is_stored_once(tmp_path: Path) -> None:
    with RunningMirror(tmp_path / "root") as mirror:
        for number in range(5):
            content = bytes([number]) * (3 * MIB + number)
            start = threading.Barrier(6)

            def in_pieces(place: str, content: bytes = content, start: threading.Barrier = start) -> int:
                start.wait(30)
                return push_in_pieces(mirror, place, content)

            def in_one(place: str, content: bytes = content, start: threading.Barrier = start) -> int:
                start.wait(30)
                path = f"/v2/{place}/blobs/uploads/?digest={digest_of(content)}"
                return mirror.ask("POST", path, content).status

            writers: list[Callable[[str], int]] = [in_pieces, in_one] * 3
            with ThreadPoolExecutor(6) as pool:
                written = [pool.submit(each, f"place-{at % 2}") for at, each in enumerate(writers)]
                assert [each.result(60) for each in written] == [201] * 6

        assert len(list(mirror.registry.blobs.files())) == 5
        assert bytes_below(mirror.registry.blobs.staging) == 0
        assert verify(mirror.registry).is_sound


def push_in_pieces(mirror: RunningMirror, place: str, content: bytes) -> int:
    location = mirror.ask("POST", f"/v2/{place}/blobs/uploads/").headers["Location"]
    half = len(content) // 2
    assert mirror.ask("PATCH", location, content[:half]).status == 202
    return mirror.ask("PUT", f"{location}?digest={digest_of(content)}", content[half:]).status


def _when_all_leases_are_over() -> float:
    return time.time() + 2 * GRACE_SECONDS
