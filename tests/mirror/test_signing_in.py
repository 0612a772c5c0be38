"""Independent clients at a mirror that asks who they are: to push, and to pull from a closed repository."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.nodes import render_hosts_toml, render_registries_yaml
from tests.go_builds import has_go
from tests.mirror.boxes import FLOOR, Box, blobs_of, make_layout, open_closed_box
from tests.mirror.go_clients import Client, make_clients

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not has_go(), reason="building the clients needs Go"),
]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_closed_box(tmp_path) as box:
        yield box


@pytest.fixture
def clients(box: Box, tmp_path: Path) -> dict[str, Client]:
    return make_clients(box, tmp_path)


def sign_in(clients: dict[str, Client], box: Box, name: str) -> None:
    words = {
        "crane": ("auth", "login", box.address),
        "oras": ("login", box.address),
        "helm": ("registry", "login", box.address),
        "regctl": ("registry", "login", box.address),
    }[name]
    options = {"regctl": ("--user", FLOOR.username, "--pass", FLOOR.password)}
    clients[name](*words, *options.get(name, ("--username", FLOOR.username, "--password", FLOOR.password)))


def push(clients: dict[str, Client], name: str, target: str) -> None:
    match name:
        case "crane":
            clients[name]("push", "in", target)
        case "oras":
            clients[name]("cp", "--from-oci-layout", "in:v1", target)
        case _:
            clients[name]("image", "copy", "ocidir://in:v1", target)


@pytest.mark.parametrize("name", ["crane", "oras", "regctl"])
def test_a_push_needs_a_name_and_a_pull_does_not(
    box: Box, clients: dict[str, Client], tmp_path: Path, name: str
) -> None:
    digest = make_layout(tmp_path / "in")
    with pytest.raises(AssertionError, match=r"(?i)unauthorized|credential not found"):
        push(clients, name, f"{box.address}/demo:v1")

    sign_in(clients, box, name)
    push(clients, name, f"{box.address}/demo:v1")

    other = "oras" if name == "crane" else "crane"
    verb = "resolve" if other == "oras" else "digest"
    assert clients[other](verb, f"{box.address}/demo:v1").strip() == digest


def test_helm_pushes_and_pulls_in_a_closed_repository(
    box: Box, clients: dict[str, Client], tmp_path: Path
) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "tiny" / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 1.0.0\n")
    helm = clients["helm"]
    helm("package", "tiny")

    sign_in(clients, box, "helm")
    helm("push", "tiny-1.0.0.tgz", f"oci://{box.address}/closed")
    helm("pull", f"oci://{box.address}/closed/tiny", "--version", "1.0.0", "--destination", "out")

    assert (tmp_path / "out" / "tiny-1.0.0.tgz").read_bytes() == (tmp_path / "tiny-1.0.0.tgz").read_bytes()
    with pytest.raises(AssertionError, match=r"(?i)unauthorized"):
        clients["crane"]("ls", f"{box.address}/closed/tiny")


def test_containerd_pulls_a_closed_repository_with_what_its_file_says(
    box: Box, clients: dict[str, Client], tmp_path: Path
) -> None:
    digest = make_layout(tmp_path / "in")
    sign_in(clients, box, "crane")
    clients["crane"]("push", "in", f"{box.address}/closed/app:v1")
    for folder, login in (("known", FLOOR), ("unknown", None)):
        (tmp_path / folder / "_default").mkdir(parents=True)
        text = render_hosts_toml(f"https://{box.address}", ca_file=str(box.ca), login=login)
        (tmp_path / folder / "_default" / "hosts.toml").write_text(text)

    pulled = clients["containerd"]("-hosts", "known", "-out", "out", "quay.io/closed/app:v1")

    assert json.loads(pulled)["digest"] == digest
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == blobs_of(
        tmp_path / "in"
    )
    with pytest.raises(AssertionError, match="401"):
        clients["containerd"]("-hosts", "unknown", "-out", "out2", "quay.io/closed/app:v1")


def test_k3s_pulls_a_closed_repository_with_what_its_file_says(
    box: Box, clients: dict[str, Client], tmp_path: Path
) -> None:
    digest = make_layout(tmp_path / "in")
    sign_in(clients, box, "crane")
    clients["crane"]("push", "in", f"{box.address}/closed/app:v1")
    for name, login in (("known", FLOOR), ("unknown", None)):
        text = render_registries_yaml(f"https://{box.address}", ca_file=str(box.ca), login=login)
        (tmp_path / f"{name}.yaml").write_text(text)
    pull = ("-out", "out", "box.invalid/closed/app:v1")
    (tmp_path / "home" / "config.json").unlink()  # what crane knows, every program of its library would use

    pulled = clients["k3s"]("-registries", "known.yaml", *pull)

    assert json.loads(pulled)["digest"] == digest
    with pytest.raises(AssertionError, match="UNAUTHORIZED"):
        clients["k3s"]("-registries", "unknown.yaml", *pull)


def test_skopeo_pushes_with_a_name(box: Box, tmp_path: Path) -> None:
    make_layout(tmp_path / "in")

    with pytest.raises(AssertionError, match=r"(?i)unauthorized|authentication required"):
        box.push(f"oci:{tmp_path / 'in'}:v1", "demo:v1")
    box.push(f"oci:{tmp_path / 'in'}:v1", "demo:v1", f"--dest-creds={FLOOR.username}:{FLOOR.password}")
    box.pull("demo:v1", f"oci:{tmp_path / 'out'}:v1", "--preserve-digests")
