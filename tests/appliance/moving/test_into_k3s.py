"""From laid-down files to an appliance in the cluster, with a real API server and something in k3s' place."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.errors import DataDirectoryBusy, Refused
from appliance.k3s.documents import NAME, Hosted
from appliance.k3s.documents import NAMESPACE as SYSTEM
from appliance.k3s.files import APPLIANCE, PREPARATION, Node, NodeFile, node_files
from appliance.k3s.install import write_node_file
from appliance.k3s.starting import ClusterNotReady, Said
from appliance.moving.into_k3s import check_can_move, settle_in
from appliance.moving.place import find_place, lock_directory, write_place
from tests.appliance.api.kubernetes.kubectls import find_kubectl
from tests.appliance.moving import k3s_stand_in
from tests.appliance.moving.filling import NAMESPACE, objects
from tests.go_builds import has_go
from tests.kube_cluster import KubeCluster, running_cluster

NODE = Node(hosted=Hosted(image="docker.io/skerry/appliance:1.0"), mirror_url="http://192.0.2.7:5000")
TOLD = [
    "Waiting for k3s …",
    "Moving the objects into the cluster …",
    "Moved 4 objects into the cluster; each was read back and compared.",
    "Waiting for the appliance …",
    "The appliance runs in k3s.",
]
# Settles in, and dies as by a power cut when it has told so many things.
DRIVER = """
import os, signal, sys
from pathlib import Path
from appliance.moving.into_k3s import settle_in
from tests.appliance.moving.test_into_k3s import NODE

told = 0
def tell(text):
    global told
    told += 1
    print(text, flush=True)
    if told == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

settle_in(NODE, Path(sys.argv[2]), tell=tell, seconds=60, root=Path(sys.argv[1]))
"""


@pytest.fixture
def cluster() -> Iterator[KubeCluster]:
    """One that knows nothing of us."""
    with running_cluster(definitions=None) as cluster:
        yield cluster


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A node on which everything is laid down and nothing was started."""
    root = tmp_path / "root"
    for file in node_files(NODE):
        if file.path == PREPARATION or file.path.startswith("etc/rancher"):
            write_node_file(root, NodeFile(file.path, file.content, file.mode))
    yield root
    k3s_stand_in.end(root)


def settle(root: Path, data: Path, path: Path, *, dies_after: int = 0) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(root), str(data), str(dies_after)],
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.mark.interop
@pytest.mark.skipif(not has_go(), reason="building kube-apiserver and kine needs Go")
class TestWithACluster:
    def test_cut_off_after_each_step_and_run_again_it_ends_the_same(
        self, cluster: KubeCluster, root: Path, data: Path
    ) -> None:
        path = k3s_stand_in.lay_out(root, kubectl=find_kubectl("current"), kubeconfig=cluster.kubeconfig)
        ours = {each["metadata"]["name"]: each for each in objects(data) if "spec" in each}

        told = [settle(root, data, path, dies_after=step)[1][-1] for step in range(1, 4)]
        assert not (root / APPLIANCE).exists()
        assert find_place(data) == "kubernetes"
        told.append(settle(root, data, path, dies_after=3)[1][-1])
        ended = settle(root, data, path)
        again = settle(root, data, path)

        assert told == TOLD[:4]
        assert ended == again
        assert ended == (0, [TOLD[0], "The objects are in the cluster already.", *TOLD[3:]])
        kinds = f"/apis/elemental.cattle.io/v1beta1/namespaces/{NAMESPACE}"
        host = json.loads(cluster.request("GET", f"{kinds}/machineinventories/press-1"))
        assert host["spec"] == ours["press-1"]["spec"]
        assert host["status"]["plan"]["checksum"] == "c1"
        deployment = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/{NAME}"
        (container,) = json.loads(cluster.request("GET", deployment))["spec"]["template"]["spec"][
            "containers"
        ]
        assert container["image"] == NODE.hosted.image
        calls = (root / k3s_stand_in.CALLS).read_text().splitlines()
        assert calls == ["daemon-reload", "restart --no-block k3s.service"] * 6

    def test_objects_of_the_clusters_own_stop_the_move_and_the_appliance_stays_where_it_is(
        self, cluster: KubeCluster, root: Path, data: Path
    ) -> None:
        path = k3s_stand_in.lay_out(root, kubectl=find_kubectl("current"), kubeconfig=cluster.kubeconfig)
        settle(root, data, path, dies_after=2)
        before = objects(data)
        foreign = {"apiVersion": "elemental.cattle.io/v1beta1", "kind": "MachineRegistration"}
        body = {**foreign, "metadata": {"name": "line-4", "namespace": NAMESPACE}, "spec": {}}
        for kind, document in (
            ("namespaces", {"metadata": {"name": NAMESPACE}}),
            (f"namespaces/{NAMESPACE}/machineregistrations", body),
        ):
            root_path = "/api/v1" if kind == "namespaces" else "/apis/elemental.cattle.io/v1beta1"
            cluster.request("POST", f"{root_path}/{kind}", document)

        with pytest.raises(AssertionError, match="of its own"):
            settle(root, data, path)

        assert find_place(data) == "sqlite"
        assert objects(data) == before
        assert not (root / APPLIANCE).exists()


def test_an_appliance_that_still_runs_is_named_before_anything_is_started(data: Path) -> None:
    check_can_move(data)

    with lock_directory(data), pytest.raises(DataDirectoryBusy, match="still runs") as refusal:
        check_can_move(data)

    assert "systemctl disable --now skerry" in refusal.value.hint


def test_the_appliance_in_the_cluster_may_run_on_the_folder(data: Path) -> None:
    write_place(data, "kubernetes", at=datetime(2026, 1, 1, tzinfo=UTC))

    with lock_directory(data):
        check_can_move(data)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
def test_a_folder_of_another_user_would_be_shut_to_the_pod(data: Path) -> None:
    os.chown(data / "pki", 1234, 1234)

    with pytest.raises(Refused, match="belongs to another user"):
        check_can_move(data)


def test_a_node_that_joins_takes_nothing_with_it(root: Path, data: Path) -> None:
    node = Node(hosted=NODE.hosted, mirror_url=NODE.mirror_url, server_url="https://first:6443", token="t")
    told: list[str] = []

    settle_in(node, data, tell=told.append, seconds=1, root=root, run=lambda command: Said(0, ""))

    assert told[-1] == "This node has joined https://first:6443."
    assert find_place(data) == "sqlite"
    assert not (root / APPLIANCE).exists()


def test_a_k3s_that_does_not_come_up_leaves_the_objects_where_they_are(root: Path, data: Path) -> None:
    def refuse(command: object) -> Said:
        return Said(int("kubectl" in str(command)), "connection refused")

    with pytest.raises(ClusterNotReady, match="connection refused"):
        settle_in(NODE, data, tell=lambda text: None, seconds=0, root=root, run=refuse)

    assert find_place(data) == "sqlite"
