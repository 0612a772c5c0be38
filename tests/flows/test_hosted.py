"""Moving house with a fleet in it: from the box's store into a real cluster and back, between upgrades.

In the cluster the appliance has only the rights of the ServiceAccount that its manifests make. The hosts
notice nothing: same URL, same CA, same token.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from appliance.demo import (
    NAMESPACE,
    Teller,
    approve_all,
    load_images,
    register_fleet,
    roll_out,
    simulated_hosts,
    wait_for_phase,
    wait_until,
)
from appliance.resources.meta import Document
from tests.appliance.running import Appliance, running
from tests.flows.hosting import PATHS, request_account_token, skerry
from tests.flows.test_faults import box_of, find_addresses
from tests.go_builds import has_go
from tests.kube_cluster import KubeCluster, running_cluster

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not has_go(), reason="building kube-apiserver and kine needs Go"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KubeCluster]:
    """A cluster of this test's own, which knows nothing of us before our manifests are applied."""
    with running_cluster(definitions=None) as cluster:
        for document in yaml.safe_load_all(skerry("k3s", "manifests")):
            cluster.request("POST", PATHS[document["kind"]], document)
        yield cluster


@pytest.fixture
def kubeconfig(cluster: KubeCluster, tmp_path: Path) -> Path:
    """What the pod has: the token of its ServiceAccount, and no more."""
    document: Document = yaml.safe_load(cluster.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": request_account_token(cluster)}
    path = tmp_path / "pod.kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


@contextmanager
def hosted(data: Path, kubeconfig: Path, ports: list[str]) -> Iterator[Appliance]:
    with running(data, "--store", "kubernetes", "--kubeconfig", str(kubeconfig), *ports) as appliance:
        yield appliance


def test_a_fleet_is_upgraded_before_in_and_after_the_cluster(
    cluster: KubeCluster, kubeconfig: Path, tmp_path: Path
) -> None:
    data, ports = tmp_path / "box", find_addresses()
    teller = Teller(sys.stderr)
    with running(data, *ports) as embedded:
        images = load_images(embedded.client(), box_of(embedded), tmp_path, teller)
        url = register_fleet(embedded.client(), box_of(embedded), images[0])
        place = box_of(embedded)
    with running(data, *ports) as embedded, simulated_hosts(place, tmp_path, 2, url):
        names = approve_all(embedded.client(), 2, teller)
        wait_until("both run v1", lambda: versions(embedded) == {images[0].digest})
        assert embedded.stop() == 0

        moved = json.loads(
            skerry(
                *("store", "migrate", "--to", "kubernetes", "--data", str(data), "-o", "json"),
                *("--kubeconfig", str(cluster.kubeconfig)),
            )
        )
        assert moved["objects"] == moved["brought"]

        with hosted(data, kubeconfig, ports) as appliance:
            roll_out(appliance.client(), "to-v2", images[1], sizes=["1", "100%"])
            status = wait_for_phase(appliance.client(), "to-v2", "Completed")
            assert status.updated == 2
            assert versions(appliance) == {images[1].digest}
            assert appliance.stop() == 0

        skerry(
            *("store", "migrate", "--to", "sqlite", "--data", str(data)),
            *("--kubeconfig", str(cluster.kubeconfig)),
        )
        with running(data, *ports) as home:
            roll_out(home.client(), "to-v3", images[2], sizes=["1", "100%"])
            paused = wait_for_phase(home.client(), "to-v3", "Paused")
            wait_until("both run v2 again", lambda: versions(home) == {images[1].digest})

    assert "rolled back" in paused.reason, paused
    assert names == sorted(names)


def versions(appliance: Appliance) -> set[str]:
    return {host.digest for host in appliance.client().hosts(NAMESPACE)}
