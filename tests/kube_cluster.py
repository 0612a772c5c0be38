"""A real Kubernetes control plane on loopback: kube-apiserver over kine on SQLite, and a few controllers.

One cluster a test process, made by the `kube_cluster` fixture of `tests/conftest.py` and ended with it by
process id; nothing of it is ever outside its own folder and 127.0.0.1. It has no nodes and runs no pods. What
its programs said is part of the error when one of them does not start.
"""

import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.credentials import Authority
from appliance.resources.crds import MANIFESTS
from appliance.resources.meta import Document
from tests.kube_programs import KubePrograms, build_kube_programs

START_SECONDS = 180.0  # on a machine that builds and tests other things meanwhile
STOP_SECONDS = 10.0
ADMINISTRATORS = "system:masters"
CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
)
STOP_ORDER = ("kube-controller-manager", "kube-apiserver", "kine")  # clients first: servers wait for them
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(slots=True)
class KubeCluster:
    """A running cluster: where it answers, and a kubeconfig whose bearer may do everything."""

    url: str
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"

    def write_kubeconfig(self, path: Path, *, user: str, group: str = "") -> Path:
        """A kubeconfig with a client certificate for `user`, who is in `group`."""
        authority = Authority.load_or_create(self.folder / "pki")
        certificate, key, _ = authority.issue_client_certificate(
            user, group or user, expires=datetime.now(UTC) + timedelta(days=1)
        )
        for suffix, content in ((".crt", certificate), (".key", key)):
            path.with_suffix(suffix).write_bytes(content)
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": user,
                    "contexts": [{"name": user, "context": {"cluster": "test", "user": user}}],
                    "clusters": [
                        {
                            "name": "test",
                            "cluster": {
                                "server": self.url,
                                "certificate-authority": str(self.folder / "pki" / "ca.crt"),
                            },
                        }
                    ],
                    "users": [
                        {
                            "name": user,
                            "user": {
                                "client-certificate": str(path.with_suffix(".crt")),
                                "client-key": str(path.with_suffix(".key")),
                            },
                        }
                    ],
                }
            )
        )
        return path

    def request(self, method: str, path: str, body: Document | None = None) -> bytes:
        """One request as the administrator. Raises urllib's errors."""
        context = ssl.create_default_context(cafile=str(self.folder / "pki" / "ca.crt"))
        context.load_cert_chain(self.kubeconfig.with_suffix(".crt"), self.kubeconfig.with_suffix(".key"))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        asked = urllib.request.Request(
            self.url + path,
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"},
        )
        with opener.open(asked, timeout=30) as response:
            content: bytes = response.read()
        return content

    def start(self, program: str, command: Sequence[str | Path]) -> None:
        with (self.folder / f"{program}.log").open("ab") as log:
            self.processes[program] = subprocess.Popen(
                [str(word) for word in command], cwd=self.folder, stdout=log, stderr=log
            )

    def stop(self, program: str) -> None:
        process = self.processes.pop(program)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait(self, what: str, is_so: Callable[[], bool]) -> None:
        """Ask until it is so. Raises AssertionError with the end of every program's log."""
        deadline = time.monotonic() + START_SECONDS
        while not is_so():
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(
                    f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
                    for path in self.folder.glob("*.log")
                )
                raise AssertionError(f"waited in vain for {what}; ended: {ended}\n{logs}")
            time.sleep(0.1)


@contextmanager
def running_cluster(*, definitions: Path | None = MANIFESTS) -> Iterator[KubeCluster]:
    """Start a cluster, by default one that serves our custom kinds, and stop it at the end."""
    programs = build_kube_programs()
    # Not below pytest's folder: a socket's path has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="kube-"))
    with _reserved_port() as port:
        cluster = KubeCluster(f"https://127.0.0.1:{port}", folder)
        try:
            _write_identities(cluster)
            start_kine(cluster, programs)
            start_api_server(cluster, programs)
            if definitions is not None:
                load_definitions(cluster, definitions)
            # Only now: at its start the garbage collector looks which kinds there are.
            _start_controllers(cluster, programs)
            yield cluster
        finally:
            for program in STOP_ORDER:
                if program in cluster.processes:
                    cluster.stop(program)
            shutil.rmtree(folder, ignore_errors=True)


def start_kine(cluster: KubeCluster, programs: KubePrograms) -> None:
    """Start the datastore and wait until it listens."""
    listener = cluster.folder / "kine.sock"
    database = "kine.db?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate"  # as k3s has it
    cluster.start(
        "kine",
        [
            programs.kine,
            f"--listen-address=unix://{listener}",
            f"--endpoint=sqlite://{cluster.folder}/{database}",
            "--metrics-bind-address=0",
        ],
    )
    cluster.wait("kine to listen", listener.exists)


def start_api_server(cluster: KubeCluster, programs: KubePrograms) -> None:
    """Start kube-apiserver and wait until it says that it is ready."""
    pki = cluster.folder / "pki"
    cluster.start(
        "kube-apiserver",
        [
            programs.control_plane,
            "kube-apiserver",
            f"--etcd-servers=unix://{cluster.folder}/kine.sock",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={cluster.url.rpartition(':')[2]}",
            "--permit-port-sharing",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.43.0.0/24",
            "--authorization-mode=RBAC",
            "--anonymous-auth=false",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/server.crt",
            f"--tls-private-key-file={pki}/server.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/accounts.pub",
            f"--service-account-signing-key-file={pki}/accounts.key",
            "--shutdown-delay-duration=0s",
        ],
    )
    cluster.wait("kube-apiserver to be ready", lambda: _is_ready(cluster))


def restart_controllers(cluster: KubeCluster) -> None:
    """For whoever took a kind away: a garbage collector that knew it collects nothing any more."""
    cluster.stop("kube-controller-manager")
    _start_controllers(cluster, build_kube_programs())


def load_definitions(cluster: KubeCluster, folder: Path) -> None:
    """Create every CustomResourceDefinition of a folder and wait until their kinds are served."""
    documents = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))]
    for document in documents:
        cluster.request("POST", DEFINITIONS, document)
    for document in documents:
        name = document["metadata"]["name"]
        cluster.wait(f"{name} to be served", lambda name=name: _is_established(cluster, name))  # type: ignore[misc]


def find_conditions(cluster: KubeCluster, definition: str) -> dict[str, str]:
    """The conditions of a CustomResourceDefinition, their status by their type."""
    found = json.loads(cluster.request("GET", f"{DEFINITIONS}/{definition}"))
    return {item["type"]: item["status"] for item in found.get("status", {}).get("conditions") or []}


def _is_established(cluster: KubeCluster, definition: str) -> bool:
    return find_conditions(cluster, definition).get("Established") == "True"


def _is_ready(cluster: KubeCluster) -> bool:
    with suppress(urllib.error.URLError, ConnectionError):
        return cluster.request("GET", "/readyz") == b"ok"
    return False


def _start_controllers(cluster: KubeCluster, programs: KubePrograms) -> None:
    pki = cluster.folder / "pki"
    kubeconfig = cluster.write_kubeconfig(
        cluster.folder / "controllers.kubeconfig", user="controllers", group=ADMINISTRATORS
    )
    cluster.start(
        "kube-controller-manager",
        [
            programs.control_plane,
            "kube-controller-manager",
            f"--kubeconfig={kubeconfig}",
            f"--controllers={','.join(CONTROLLERS)}",
            "--leader-elect=false",
            "--secure-port=0",
            f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/accounts.key",
        ],
    )


def _write_identities(cluster: KubeCluster) -> None:
    """The cluster's CA, its certificate, the key that signs service accounts' tokens, an administrator."""
    pki = cluster.folder / "pki"
    Authority.load_or_create(pki).keep_server_certificate(
        pki, ["127.0.0.1", "localhost", "kubernetes.default.svc"]
    )
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (pki / "accounts.key").write_bytes(private)
    (pki / "accounts.pub").write_bytes(public)
    cluster.write_kubeconfig(cluster.kubeconfig, user="admin", group=ADMINISTRATORS)


@contextmanager
def _reserved_port() -> Iterator[int]:
    """A free port that nobody else is given meanwhile: kube-apiserver is told to share it with us."""
    with socket.socket() as reserving:
        reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserving.bind(("127.0.0.1", 0))
        yield reserving.getsockname()[1]
