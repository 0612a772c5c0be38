"""The appliance's own image from recipe to running container, as a k3s node comes by it. Root.

Built, bundled, loaded into a mirror, laid down by `skerry k3s install`, imported by a real containerd, and
run by runc exactly as the Deployment says, with a pod's credentials, against a real kube-apiserver. What
stands in for k3s is a file that only begins like a program: nothing here starts it.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from appliance.demo import NAMESPACE, wait_until
from appliance.k3s.documents import NAME, Hosted, documents
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.meta import Document
from tests.appliance.k3s.conftest import elf
from tests.appliance.running import PATIENCE, running
from tests.flows.hosting import PATHS, request_account_token, skerry
from tests.flows.test_faults import find_addresses
from tests.go_builds import has_go
from tests.kube_cluster import KubeCluster, running_cluster
from tests.mirror.containerd import Containerd, open_containerd

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="containers are made by root"),
    pytest.mark.skipif(not has_go(), reason="building kube-apiserver and kine needs Go"),
]

K3S = "skerry/k3s:v1.31.4-k3s1"
SOURCE = Path(__file__).parents[2]
ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
# What containerd gives to whoever does not say otherwise; `drop: ALL` takes each of them.
USUAL_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
)  # fmt: skip


@dataclass(frozen=True)
class Box:
    """A box whose mirror holds k3s and the image, and the root that an install laid its files down in."""

    data: Path
    root: Path
    image: str
    ports: list[str]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    place = tmp_path_factory.mktemp("box")
    layout, data, root = place / "layout", place / "data", place / "root"
    (image,) = skerry("k3s", "image", "--source", str(SOURCE), "--output", str(layout)).split()
    (place / "k3s").write_bytes(elf({"x86_64": 62, "aarch64": 183}[os.uname().machine]) + bytes(100_000))
    (place / "k3s-airgap-images.tar.zst").write_bytes(b"pause" * 1000)
    files = [str(place / "k3s"), str(place / "k3s-airgap-images.tar.zst")]
    skerry("k3s", "pack", *files, "--release", "v1.31.4+k3s1", "--output", str(layout))
    skerry("bundle", "keygen", str(place / "signer"))
    bundle = str(place / "house.bundle")
    sources = [f"{layout}#{name}={name}" for name in (K3S, image)]
    skerry(
        "bundle", "pack", *sources, *("--key", f"{place}/signer.key", "--output", bundle, "--name", "house")
    )
    ports = find_addresses()
    with running(data, *ports) as appliance:
        reach = ("--server", appliance.server)
        skerry("bundle", "trust", f"{place}/signer.pub", *reach)
        skerry("bundle", "load", bundle, *reach)
        client = appliance.client()
        client.apply_object(registration("before"))
        wait_until(
            "the registration has its URL",
            lambda: "status" in client.get_object(MACHINE_REGISTRATION, "before", NAMESPACE),
        )
        assert appliance.stop() == 0
    skerry("k3s", "install", K3S, "--data", str(data), "--root", str(root), "--no-start")
    return Box(data, root, image, ports)


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    with open_containerd(tmp_path_factory.mktemp("c")) as running:
        yield running


@pytest.fixture(scope="module")
def deployment(box: Box, containerd: Containerd) -> Document:
    """The Deployment of this box, whose image containerd was given as k3s does: from the archives' folder."""
    (archive,) = box.root.glob("var/lib/rancher/k3s/agent/images/*.tar")
    containerd.ctr("images", "import", "--snapshotter", "native", str(archive))
    _, control, _, mirror = box.ports
    hosted = Hosted(
        image=f"docker.io/{box.image}",
        data=str(box.data),
        port=int(control.rpartition(":")[2]),
        mirror_port=int(mirror.rpartition(":")[2]),
        advertise_url=f"https://{control}",
    )
    return next(each for each in documents(hosted) if each["kind"] == "Deployment")


@pytest.fixture(scope="module")
def cluster() -> Iterator[KubeCluster]:
    with running_cluster(definitions=None) as cluster:
        for document in yaml.safe_load_all(skerry("k3s", "manifests")):
            cluster.request("POST", PATHS[document["kind"]], document)
        yield cluster


def registration(name: str) -> Document:
    return {
        "apiVersion": MACHINE_REGISTRATION.api_version,
        "kind": MACHINE_REGISTRATION.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {},
    }


def pod_of(deployment: Document) -> Document:
    pod: Document = deployment["spec"]["template"]["spec"]
    return pod


def run_command(containerd: Containerd, deployment: Document, name: str, *, account: Path) -> list[str]:
    """The Deployment's container as words for ctr. Asserts that what it says is what this can carry out."""
    pod = pod_of(deployment)
    (container,) = pod["containers"]
    assert pod["hostNetwork"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,  # as ctr does by itself
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = [f"type=bind,src={account},dst={ACCOUNT_FOLDER},options=rbind:ro"]
    for mount in container["volumeMounts"]:
        match volumes[mount["name"]]:
            case {"hostPath": {"path": path}}:
                mounts.append(f"type=bind,src={path},dst={mount['mountPath']},options=rbind:rw")
            case {"emptyDir": {}}:
                mounts.append(f"type=tmpfs,src=tmpfs,dst={mount['mountPath']},options=nosuid:nodev")
    return [
        *("ctr", "--address", str(containerd.socket), "run", "--rm", "--snapshotter", "native"),
        *("--net-host", "--read-only"),
        *(word for each in USUAL_CAPABILITIES for word in ("--cap-drop", f"CAP_{each}")),
        *(word for mount in mounts for word in ("--mount", mount)),
        *("--env", "KUBERNETES_SERVICE_HOST=127.0.0.1"),
        *("--env", f"KUBERNETES_SERVICE_PORT={(account / 'port').read_text()}"),
        *(container["image"], name, *container["command"]),
    ]


@contextmanager
def running_pod(
    containerd: Containerd, deployment: Document, name: str, *, account: Path
) -> Iterator[tuple[subprocess.Popen[str], Document]]:
    """The container, started and ready by its own word; ended on the way out."""
    with (account.parent / f"{name}.log").open("w+") as log:
        process = subprocess.Popen(
            run_command(containerd, deployment, name, account=account),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (account.parent / f"{name}.log").read_text()[-2000:]
            yield process, json.loads(line)
        finally:
            process.terminate()
            process.wait(PATIENCE)
            process.stdout.close()


@pytest.fixture
def account(cluster: KubeCluster, tmp_path: Path) -> Path:
    """What a kubelet puts into a pod, and the port that its environment names."""
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text(request_account_token(cluster))
    (folder / "ca.crt").write_bytes((cluster.folder / "pki" / "ca.crt").read_bytes())
    (folder / "namespace").write_text("skerry-system")
    (folder / "port").write_text(cluster.url.rpartition(":")[2])
    return folder


def ask(url: str, box: Box) -> str:
    """A probe's question, as the kubelet asks it."""
    command = ["curl", "--silent", "--fail", "--noproxy", "*", "--cacert", str(box.data / "pki/ca.crt"), url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def find_url(cluster: KubeCluster, name: str) -> str:
    path = f"/apis/{MACHINE_REGISTRATION.api_version}/namespaces/{NAMESPACE}/machineregistrations/{name}"
    found = json.loads(cluster.request("GET", path))
    return str(found.get("status", {}).get("registrationURL", ""))


def test_containerd_knows_the_image_by_the_name_that_the_deployment_says(
    containerd: Containerd, deployment: Document
) -> None:
    assert set(containerd.images()) == {pod_of(deployment)["containers"][0]["image"]}


def test_the_image_holds_no_build_tool_and_nothing_of_its_builder(
    box: Box, containerd: Containerd, deployment: Document, tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    image = pod_of(deployment)["containers"][0]["image"]
    containerd.ctr("images", "mount", "--snapshotter", "native", image, str(tmp_path / "root"))
    try:
        inside = tmp_path / "root"
        packages = inside / "usr/local/lib/python3.11/dist-packages"
        programs = {path.name for path in (inside / "usr/bin").iterdir()}
        texts = [
            path.read_text() for path in packages.rglob("*.dist-info/*") if path.name == "direct_url.json"
        ]
        owned = sorted(path.name for path in packages.glob("*.dist-info/RECORD"))

        assert "skerry" in programs
        assert not programs & {"gcc", "cc", "ld", "pip", "pip3", "apt-get", "perl5.36-x86_64-linux-gnu"}
        assert not (packages / "pip").exists()
        assert (texts, owned) == ([], [])
        assert not any(
            (inside / path).exists() for path in ("etc/resolv.conf", "etc/hostname", "root/.cache")
        )
        assert list((inside / "tmp").iterdir()) == []
    finally:
        containerd.ctr("images", "unmount", "--rm", str(tmp_path / "root"))


def test_the_pod_takes_over_the_box(
    box: Box, containerd: Containerd, deployment: Document, cluster: KubeCluster, account: Path
) -> None:
    admin = ("--data", str(box.data), "--kubeconfig", str(cluster.kubeconfig))
    skerry("store", "migrate", "--to", "kubernetes", *admin)
    before = find_url(cluster, "before")

    with running_pod(containerd, deployment, NAME, account=account) as (process, ready):
        pid = containerd.ctr("tasks", "ls").splitlines()[1].split()[1]
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        cluster.request(
            "POST",
            f"/apis/{MACHINE_REGISTRATION.api_version}/namespaces/{NAMESPACE}/machineregistrations",
            registration("after"),
        )
        wait_until("the new registration has its URL", lambda: bool(find_url(cluster, "after")))
        answers = [ask(f"{ready['url']}{path}", box) for path in ("/readyz", "/healthz")]
        fetched = ask(find_url(cluster, "before"), box)
        images = ask(f"https://{ready['mirror']}/v2/skerry/appliance/tags/list", box)

        process.terminate()
        code = process.wait(pod_of(deployment)["terminationGracePeriodSeconds"])

    assert before == find_url(cluster, "before") != ""
    assert before.partition("/elemental")[0] == find_url(cluster, "after").partition("/elemental")[0]
    assert {status[name].strip() for name in ("CapEff", "CapBnd", "CapPrm")} == {"0" * 16}
    assert status["NoNewPrivs"].strip() == "1"
    assert all(answers)
    assert "registration" in fetched
    assert json.loads(images)["tags"] == [box.image.rpartition(":")[2]]
    assert code == 0
