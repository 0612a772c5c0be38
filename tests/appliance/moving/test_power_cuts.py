"""kill -9 in the middle of a restore and of a move both ways, a disk that is full: never half, never lost.

Each command runs as its own process and is killed at a moment spread over the time that it takes.
"""

import asyncio
import base64
import fcntl
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from appliance.moving import folders
from appliance.moving.backup import read_backup
from appliance.moving.errors import TargetInUse
from appliance.moving.objects import for_another_store
from appliance.moving.place import find_place
from appliance.moving.stores import read_all
from appliance.resources.core import SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.store.base import merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.moving.filling import NAMESPACE, named
from tests.go_builds import has_go
from tests.kube_cluster import KubeCluster, running_cluster

HOSTS = 25
KILLS = 6
LARGE = 780_000  # bytes that are a megabyte in base64, as near to the limit as an object comes


@pytest.fixture
def fleet(data: Path) -> Path:
    """The folder with more in it, one object as large as objects get."""

    async def fill() -> None:
        async with SqliteStore.open(data / "skerry.db") as store:
            for number in range(HOSTS):
                name = f"lathe-{number}"
                await store.create(MACHINE_INVENTORY, named("MachineInventory", name, spec={"tpmHash": name}))
                status = merge({"status": {"plan": {"checksum": name}}})
                await store.patch(MACHINE_INVENTORY, name, status, namespace=NAMESPACE, subresource="status")
            large = {"large": base64.b64encode(random.Random(4).randbytes(LARGE)).decode()}
            await store.create(SECRET, {**named("Secret", "large"), "apiVersion": "v1", "data": large})

    asyncio.run(fill())
    return data


def contents(data: Path) -> dict[tuple[str, str], Document]:
    """What the folder holds, without what another store stamps anew."""

    async def read() -> list[Document]:
        async with SqliteStore.open(data / "skerry.db") as store:
            return await read_all(store)

    return {
        (document["kind"], document["metadata"]["name"]): comparable(document)
        for document in asyncio.run(read())
        if document["kind"] != "Namespace"
    }


def comparable(document: Document) -> Document:
    bare: Document = for_another_store(document, {})
    metadata = {key: value for key, value in bare["metadata"].items() if key != "annotations"}
    metadata["ownerReferences"] = [
        {**owner, "uid": ""} for owner in bare["metadata"].get("ownerReferences") or []
    ]
    return {**bare, "metadata": metadata}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "appliance", *map(str, words)]


def seconds_of(words: Sequence[str]) -> float:
    """How long the command takes when nobody disturbs it."""
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def kill_in_the_middle(words: Sequence[str], after: float) -> bool:
    """Start it, kill it that many seconds later; whether it was still at work."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


def test_a_restore_that_is_killed_leaves_no_folder_or_a_whole_one(fleet: Path, tmp_path: Path) -> None:
    saved, target = tmp_path / "saved", tmp_path / "places" / "restored"
    folders.back_up(fleet, saved, site="north")
    before = contents(fleet)
    whole = seconds_of(command("restore", saved, "--data", tmp_path / "undisturbed"))
    killed = 0

    for number in range(2 * KILLS):
        killed += kill_in_the_middle(
            command("restore", saved, "--data", target), whole * (0.4 + 0.6 * number / (2 * KILLS))
        )
        if target.exists():
            assert contents(target) == before
            target.rename(tmp_path / f"whole-{number}")
    folders.restore(saved, target)

    assert killed > 0
    assert contents(target) == before
    assert [path.name for path in target.parent.iterdir()] == ["restored"]


def test_a_disk_that_is_full_stops_a_restore_with_a_sentence_and_leaves_nothing(
    fleet: Path, tmp_path: Path
) -> None:
    saved, target = tmp_path / "saved", tmp_path / "places" / "restored"
    folders.back_up(fleet, saved, site="north")

    refusal = run_limited(command("restore", saved, "--data", target, "-o", "json"), 300_000)

    assert "defect" not in refusal["hint"]
    assert list(target.parent.iterdir()) == []


def test_a_disk_that_is_full_stops_a_backup_with_a_sentence_and_leaves_nothing(
    fleet: Path, tmp_path: Path
) -> None:
    (tmp_path / "stick").mkdir()

    refusal = run_limited(command("backup", tmp_path / "stick/saved", "--data", fleet, "-o", "json"), 900_000)

    assert "defect" not in refusal["hint"]
    assert list((tmp_path / "stick").iterdir()) == []
    assert not (fleet / ".backup").exists()


def test_backups_that_are_killed_leave_nothing_behind_the_next(fleet: Path, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    words = command("backup", stick / "saved", "--data", fleet)
    whole = seconds_of(command("backup", tmp_path / "undisturbed", "--data", fleet))

    for number in range(KILLS):
        kill_in_the_middle(words, whole * (0.5 + 0.5 * number / KILLS))
        (stick / "saved").unlink(missing_ok=True)
    folders.back_up(fleet, stick / "saved", site="north")

    assert [path.name for path in stick.iterdir()] == ["saved"]
    assert not (fleet / ".backup").exists()
    assert read_backup(stick / "saved").contents.objects["MachineInventory"] == HOSTS + 1


def test_two_backups_at_once_do_not_get_into_each_others_way(fleet: Path, tmp_path: Path) -> None:
    (fleet / ".backup").mkdir()
    held = os.open(fleet / ".backup", os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TargetInUse, match="another backup"):
            folders.back_up(fleet, tmp_path / "saved", site="north")
    finally:
        os.close(held)

    assert (fleet / ".backup").exists()


def run_limited(words: Sequence[str], size: int) -> dict[str, str]:
    """Run it where no file may grow beyond `size`; what it says to the end."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    done = subprocess.run(words, capture_output=True, text=True, timeout=120, preexec_fn=limit)
    assert done.returncode not in (0, -25), done.stdout
    said: dict[str, str] = json.loads(done.stderr.splitlines()[-1])
    return said


@pytest.mark.interop
@pytest.mark.skipif(not has_go(), reason="building kube-apiserver and kine needs Go")
class TestWithACluster:
    @pytest.fixture
    def cluster(self) -> Iterator[KubeCluster]:
        with running_cluster() as cluster:
            yield cluster

    def until_it_arrives(self, words: list[str], has_arrived: Callable[[], bool]) -> int:
        """Kill it again and again, each time a little later; how often it took."""
        for number in range(60):
            kill_in_the_middle(words, 0.6 + 0.15 * number)
            if has_arrived():
                return number
        raise AssertionError("it never arrives")

    def test_moves_that_are_killed_both_ways_end_with_every_object(
        self, cluster: KubeCluster, fleet: Path, tmp_path: Path
    ) -> None:
        before = contents(fleet)
        reach = ("--data", str(fleet), "--kubeconfig", str(cluster.kubeconfig))
        there = command("store", "migrate", "--to", "kubernetes", *reach)
        home = command("store", "migrate", "--to", "sqlite", *reach)
        saved = tmp_path / "saved"

        kills = [self.until_it_arrives(there, lambda: find_place(fleet) == "kubernetes")]
        folders.back_up(fleet, saved, site="north", kubeconfig=cluster.kubeconfig)
        os.replace(fleet / "skerry.db", tmp_path / "left-behind.db")
        kills.append(self.until_it_arrives(home, lambda: find_place(fleet) == "sqlite"))
        folders.restore(saved, tmp_path / "restored")

        assert min(kills) > 0
        assert contents(fleet) == before
        assert contents(tmp_path / "restored") == before
        assert folders.check(fleet)[1] == folders.check(tmp_path / "restored")[1] == []
