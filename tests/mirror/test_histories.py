"""Nothing acknowledged is ever lost: thousands of random steps, crashes and races, and then the proof."""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.collection import collect
from mirror.limits import DEFAULT_LIMITS
from mirror.oci import OCI_MANIFEST, digest_of
from mirror.rebuilding import rebuild
from mirror.registry import Registry
from mirror.space import bytes_below
from mirror.verification import verify
from tests.mirror.histories import LIMITS, History
from tests.mirror.pushing import push_blob
from tests.mirror.running import image_manifest

STEPS = 1500
KILLS = 4
QUOTA = 20_000
IMPATIENT = replace(DEFAULT_LIMITS, renewal_seconds=0.0)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder whose syncs cost nothing, where there is one: these histories end no power, only programs."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("seed", range(5))
def test_no_history_loses_what_it_acknowledged(memory: Path, seed: int) -> None:
    root = memory / "root"
    history = History(root, seed)
    for number in range(STEPS):
        history.step()
        if number % 250 == 249:
            history.check()

    history.check()
    before = history.tags()
    history.close()
    rebuild(root)
    again = History(root, seed)
    again.model = history.model
    again.check()
    assert again.tags() == before
    again.close()


def test_a_history_in_too_little_room_loses_nothing_either(memory: Path) -> None:
    history = History(memory / "root", 99, limits=replace(LIMITS, quota=QUOTA))
    for number in range(STEPS):
        history.step()
        assert number % 50 or bytes_below(memory / "root/blobs") <= QUOTA
        if number % 250 == 249:
            history.check()

    assert history.refused > 0
    assert history.model.tags
    history.check()
    history.close()


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    for seed in range(KILLS):
        root = tmp_path / f"root-{seed}"
        told = play_and_kill(root, seed, lines=5 + 17 * seed)
        registry = Registry(root)
        try:
            verified = verify(registry)
            assert verified.is_sound, (seed, verified.findings)
            lost = [line for line in told if not is_there(registry, *line)]
            # The step that was under way when it was killed may have been a delete or a new tag.
            assert len(lost) <= 3, (seed, lost)
        finally:
            registry.close()


def play_and_kill(root: Path, seed: int, *, lines: int) -> list[tuple[str, str, str, list[str]]]:
    """The tags that it had acknowledged when it was killed."""
    playing = subprocess.Popen(
        [sys.executable, "-m", "tests.mirror.histories", str(root), str(seed)], stdout=subprocess.PIPE
    )
    assert playing.stdout is not None
    last = b"[]"
    for _ in range(lines):
        last = playing.stdout.readline()
    playing.kill()
    rest = playing.stdout.read().splitlines(keepends=True)
    playing.stdout.close()
    playing.wait()
    whole = [line for line in rest if line.endswith(b"\n")]
    return [tuple(each) for each in json.loads(whole[-1] if whole else last)]


def is_there(registry: Registry, place: str, tag: str, digest: str, needs: list[str]) -> bool:
    return registry.has_manifest(place, tag) and all(registry.has_blob(blob) for blob in needs)


def test_pushers_and_a_collector_race_and_no_push_is_refused_or_lost(memory: Path) -> None:
    """Registries as of three processes over one folder, short leases, and content that comes again."""
    root = memory / "root"
    Registry(root).close()
    deadline = time.monotonic() + 4
    failures: list[BaseException] = []
    pushed = [0, 0]
    collected: list[int] = []

    def push(number: int) -> None:
        registry = Registry(root, limits=IMPATIENT)
        chance = random.Random(number)
        try:
            while time.monotonic() < deadline:
                config, layer = b"config %d" % chance.randrange(9), b"layer %d" % chance.randrange(400)
                place = f"place-{number}"
                for content in (config, layer):
                    if not registry.has_blob(digest_of(content), place):
                        push_blob(registry, place, content)
                manifest = image_manifest(config, layer)
                registry.put_manifest(place, manifest, OCI_MANIFEST, reference=digest_of(manifest))
                registry.put_tags(place, ["now"], digest_of(manifest))
                assert registry.get_manifest(place, "now").digest == digest_of(manifest)
                registry.delete_tag(place, "now")
                pushed[number] += 1
        except BaseException as error:
            failures.append(error)
        finally:
            registry.close()

    def sweep() -> None:
        registry = Registry(root, limits=IMPATIENT)
        try:
            while time.monotonic() < deadline:
                collected.append(len(collect(registry, grace_seconds=1.0).garbage))
        except BaseException as error:
            failures.append(error)
        finally:
            registry.close()

    threads = [threading.Thread(target=push, args=(number,)) for number in (0, 1)]
    threads.append(threading.Thread(target=sweep))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert min(pushed) > 20
    assert sum(collected) > 0
    registry = Registry(root, limits=IMPATIENT)
    assert verify(registry).is_sound
    registry.close()
