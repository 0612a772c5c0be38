"""containerd's own daemon, of Debian's version 1.6, pulling what nodes pull: by every registry's own names.

It is asked by its own program and, through CRI, as a kubelet asks. Its newest resolver is in
`test_go_clients.py`.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.nodes import Login, render_certs_d
from tests.go_builds import build_program, has_go
from tests.mirror.boxes import FLOOR, Box, blobs_of, make_layout, open_closed_box, run
from tests.mirror.containerd import Containerd, open_containerd
from tests.mirror.go_clients import FOLDER

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(os.geteuid() != 0, reason="containerd mounts what it unpacks"),
]


@pytest.fixture
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    with open_containerd(tmp_path_factory.mktemp("c")) as running:
        yield running


def point(
    containerd: Containerd, box: Box, *, upstreams: tuple[str, ...] = (), login: Login | None = None
) -> None:
    url = f"{'https' if box.ca else 'http'}://{box.address}"
    ca = box.ca.read_text() if box.ca else ""
    for name, text in render_certs_d(url, upstreams=upstreams, ca=ca, login=login).items():
        path = containerd.certs_d / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def point_to_itself(containerd: Containerd, box: Box) -> None:
    """For pushes, which no node's files are for; without one, loopback is plain HTTP whatever is said."""
    own = containerd.certs_d / f"{box.address.replace(':', '_')}_"
    own.mkdir()
    scheme, ca = ("https", f'ca = "{box.ca}"') if box.ca else ("http", "")
    (own / "hosts.toml").write_text(f'server = "{scheme}://{box.address}"\n{ca}\n[host]\n')


def push(box: Box, layout: Path, name: str, *options: str) -> None:
    box.push(f"oci:{layout}:v1", name, "--all", "--preserve-digests", *options)


def test_images_of_many_registries_come_out_of_the_one_mirror(
    box: Box, containerd: Containerd, tmp_path: Path
) -> None:
    names = {
        "docker.io/library/x:v1": ("amd64",),
        "registry.k8s.io/y:v1": ("amd64", "arm64"),
        "quay.io/org/z:v1": ("amd64", "riscv64"),
    }
    layouts = {name: tmp_path / str(number) for number, name in enumerate(names)}
    digests = {name: make_layout(layouts[name], platforms=names[name]) for name in names}
    for name, layout in layouts.items():
        push(box, layout, name)
    point(containerd, box)

    for name in names:
        containerd.pull(name)

    assert containerd.images() == digests
    assert containerd.content() == {name for layout in layouts.values() for name in blobs_of(layout)}


def test_the_plain_name_answers_for_any_registry_that_is_pointed_here(
    box: Box, containerd: Containerd, tmp_path: Path
) -> None:
    digest = make_layout(tmp_path / "in")
    push(box, tmp_path / "in", "rancher/pause:3.6")
    point(containerd, box, upstreams=("docker.io", "box.local:5000"))

    containerd.pull("docker.io/rancher/pause:3.6")
    containerd.pull(f"box.local:5000/rancher/pause@{digest}")

    assert set(containerd.images().values()) == {digest}
    with pytest.raises(AssertionError, match="not found"):
        containerd.pull("docker.io/rancher/pause:3.7")


def test_it_pushes_what_it_pulled(box: Box, containerd: Containerd, tmp_path: Path) -> None:
    digest = make_layout(tmp_path / "in", platforms=("amd64", "arm64"))
    push(box, tmp_path / "in", "quay.io/org/z:v1")
    point(containerd, box)
    containerd.pull("quay.io/org/z:v1")
    copy = f"{box.address}/copies/z:v2"

    point_to_itself(containerd, box)
    containerd.ctr("images", "tag", "quay.io/org/z:v1", copy)
    containerd.ctr("images", "push", "--hosts-dir", str(containerd.certs_d), copy)

    box.pull(f"copies/z@{digest}", f"oci:{tmp_path / 'out'}:v2", "--all", "--preserve-digests")
    assert blobs_of(tmp_path / "out") == blobs_of(tmp_path / "in")


@pytest.mark.skipif(not has_go(), reason="building the kubelet's client needs Go")
def test_a_kubelets_images_come_by_the_names_of_its_pods(
    box: Box, containerd: Containerd, tmp_path: Path
) -> None:
    kubelet = build_program("kubelet", FOLDER / "kubelet")
    stored = {
        "nginx:v1": "docker.io/library/nginx",
        "rancher/pause:v1": "docker.io/rancher/pause",
        "registry.k8s.io/pause:v1": "registry.k8s.io/pause",
    }
    digests = {}
    for number, (name, repository) in enumerate(stored.items()):
        layout = tmp_path / str(number)
        digests[name] = make_layout(layout, platforms=["amd64", "arm64", "riscv64"][: number + 1])
        push(box, layout, f"{repository}:v1")
    point(containerd, box)

    for name, repository in stored.items():
        pulled = run([str(kubelet), "-socket", str(containerd.socket), name])
        assert f"{repository}@{digests[name]}" in json.loads(pulled)


def test_a_closed_repository_opens_to_what_its_files_say(containerd: Containerd, tmp_path: Path) -> None:
    digest = make_layout(tmp_path / "in")
    with open_closed_box(tmp_path) as box:
        push(box, tmp_path / "in", "closed/app:v1", f"--dest-creds={FLOOR.username}:{FLOOR.password}")

        point(containerd, box)
        with pytest.raises(AssertionError, match="401"):
            containerd.pull("quay.io/closed/app:v1")
        point(containerd, box, login=FLOOR)
        containerd.pull("quay.io/closed/app:v1")

    assert containerd.images() == {"quay.io/closed/app:v1": digest}
