"""crane, oras, helm, regctl, containerd and k3s, with TLS and without: the same digests out as in.

They are built from `clients/*/go.mod`. skopeo, umoci and oras-py are in `test_interop.py`.
"""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from mirror.nodes import render_hosts_toml, render_registries_yaml
from mirror.oci import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, digest_of
from tests.go_builds import has_go
from tests.mirror.boxes import Box, blobs_of, make_layout, tar_of
from tests.mirror.go_clients import Client, make_clients

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not has_go(), reason="building the clients needs Go"),
]


@pytest.fixture
def clients(box: Box, tmp_path: Path) -> dict[str, Client]:
    return make_clients(box, tmp_path)


@pytest.fixture
def crane(clients: dict[str, Client]) -> Client:
    return clients["crane"]


@pytest.fixture
def oras(clients: dict[str, Client], box: Box) -> Client:
    """A copy names the sides that are a registry with --from-plain-http and --to-plain-http itself."""
    if box.ca is not None:
        return clients["oras"]
    return lambda *words: clients["oras"](*words, *([] if words[0] == "cp" else ["--plain-http"]))


@pytest.fixture
def helm(clients: dict[str, Client], box: Box) -> Client:
    return lambda *words: clients["helm"](*words, *([] if box.ca else ["--plain-http"]))


@pytest.mark.parametrize("platforms", [("amd64",), ("amd64", "arm64")])
def test_crane_pushes_copies_and_pulls_unchanged(
    box: Box, crane: Client, tmp_path: Path, platforms: tuple[str, ...]
) -> None:
    digest = make_layout(tmp_path / "in", platforms=platforms)

    crane("push", "in", f"{box.address}/demo/os:v1")
    crane("copy", f"{box.address}/demo/os:v1", f"{box.address}/quay.io/org/os:v2")
    crane("pull", "--format", "oci", f"{box.address}/quay.io/org/os@{digest}", "out")

    assert crane("digest", f"{box.address}/demo/os:v1").strip() == digest
    assert crane("digest", f"{box.address}/quay.io/org/os:v2").strip() == digest
    assert digest_of(crane("manifest", f"{box.address}/quay.io/org/os:v2").encode()) == digest
    assert blobs_of(tmp_path / "out") == blobs_of(tmp_path / "in")


def test_crane_appends_a_layer_and_mutates_the_config(box: Box, crane: Client, tmp_path: Path) -> None:
    make_layout(tmp_path / "in")
    (tmp_path / "layer.tar.gz").write_bytes(gzip.compress(tar_of("amd64/three", b"three"), mtime=0))
    name = f"{box.address}/demo"
    crane("push", "in", f"{name}:v1")

    crane("append", "--base", f"{name}:v1", "--new_layer", "layer.tar.gz", "--new_tag", f"{name}:v2")
    crane("mutate", "--label", "floor=3", "--tag", f"{name}:v3", f"{name}:v2")

    assert len(json.loads(crane("manifest", f"{name}:v3"))["layers"]) == 3
    assert json.loads(crane("config", f"{name}:v3"))["config"]["Labels"] == {"floor": "3"}
    assert "PASS" in crane("validate", "--remote", f"{name}:v3")


def test_crane_lists_and_deletes(box: Box, crane: Client, tmp_path: Path) -> None:
    digest = make_layout(tmp_path / "in")
    for name in ("demo:v1", "demo:v2", "other/one:v1"):
        crane("push", "in", f"{box.address}/{name}")
    assert crane("ls", f"{box.address}/demo").split() == ["v1", "v2"]
    assert crane("catalog", box.address).split() == ["demo", "other/one"]

    crane("delete", f"{box.address}/demo:v1")
    assert crane("ls", f"{box.address}/demo").split() == ["v2"]
    crane("delete", f"{box.address}/demo@{digest}")

    assert crane("ls", f"{box.address}/demo").split() == []
    assert crane("digest", f"{box.address}/other/one:v1").strip() == digest


def test_oras_pushes_and_pulls_an_artifact(box: Box, oras: Client, tmp_path: Path) -> None:
    (tmp_path / "firmware.bin").write_bytes(b"firmware" * 100_000)
    name = f"{box.address}/artifacts/firmware"

    oras("push", f"{name}:v1,stable", "--artifact-type", "application/vnd.example.firmware", "firmware.bin")
    oras("pull", f"{name}:stable", "--output", "out")

    assert (tmp_path / "out" / "firmware.bin").read_bytes() == b"firmware" * 100_000
    assert oras("repo", "tags", name).split() == ["stable", "v1"]
    assert oras("repo", "ls", box.address).split() == ["artifacts/firmware"]
    manifest = json.loads(oras("manifest", "fetch", f"{name}:v1"))
    assert manifest["artifactType"] == "application/vnd.example.firmware"
    assert manifest["config"]["mediaType"] == OCI_EMPTY


def test_oras_attaches_discovers_and_copies_what_refers_to_an_image(
    box: Box, oras: Client, tmp_path: Path
) -> None:
    (tmp_path / "sbom.json").write_text('{"sbom": true}')
    (tmp_path / "signature").write_text("signed")
    digest = make_layout(tmp_path / "in")
    plain = [] if box.ca else ["--to-plain-http"]
    both = [] if box.ca else ["--from-plain-http", "--to-plain-http"]
    first, second = f"{box.address}/demo:v1", f"{box.address}/quay.io/org/demo:v1"
    oras("cp", "--from-oci-layout", "in:v1", first, *plain)
    for name in ("sbom.json", "signature"):
        oras("attach", first, "--artifact-type", f"application/vnd.example.{name}", name)

    oras("cp", "--recursive", first, second, *both)

    assert oras("resolve", second).strip() == digest
    found = json.loads(oras("discover", second, "--format", "json"))["referrers"]
    assert sorted(entry["artifactType"] for entry in found) == [
        "application/vnd.example.sbom.json",
        "application/vnd.example.signature",
    ]
    only = oras(
        "discover", second, "--format", "json", "--artifact-type", "application/vnd.example.signature"
    )
    assert [entry["artifactType"] for entry in json.loads(only)["referrers"]] == [
        "application/vnd.example.signature"
    ]


@pytest.mark.parametrize("platforms", [("amd64",), ("amd64", "arm64")])
def test_oras_copies_a_layout_in_and_out_unchanged(
    box: Box, oras: Client, tmp_path: Path, platforms: tuple[str, ...]
) -> None:
    digest = make_layout(tmp_path / "in", platforms=platforms)
    to_plain, from_plain = ([], []) if box.ca else (["--to-plain-http"], ["--from-plain-http"])

    oras("cp", "--from-oci-layout", "in:v1", f"{box.address}/demo:v1", *to_plain)
    oras("cp", "--to-oci-layout", f"{box.address}/demo@{digest}", "out:v1", *from_plain)

    kind = OCI_MANIFEST if len(platforms) == 1 else OCI_INDEX
    described = json.loads(oras("manifest", "fetch", "--descriptor", f"{box.address}/demo:v1"))
    assert (described["digest"], described["mediaType"]) == (digest, kind)
    assert blobs_of(tmp_path / "out") == blobs_of(tmp_path / "in")


def test_oras_deletes_a_manifest_and_a_blob(box: Box, oras: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    name = f"{box.address}/artifacts/demo"
    oras("push", f"{name}:v1", "file")

    oras("manifest", "delete", "--force", f"{name}:v1")
    oras("blob", "delete", "--force", f"{name}@{digest_of(b'content')}")

    assert oras("repo", "tags", name).split() == []
    with pytest.raises(AssertionError, match="not found"):
        oras("blob", "fetch", "--output", "out", f"{name}@{digest_of(b'content')}")


def test_helm_pushes_and_pulls_a_chart(
    box: Box, clients: dict[str, Client], helm: Client, tmp_path: Path
) -> None:
    chart = tmp_path / "tiny"
    (chart / "templates").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 0.1.0+floor.3\n")
    (chart / "templates" / "map.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: tiny}\n")
    clients["helm"]("package", "tiny")

    helm("push", "tiny-0.1.0+floor.3.tgz", f"oci://{box.address}/charts")
    helm("pull", f"oci://{box.address}/charts/tiny", "--version", "0.1.0+floor.3", "--destination", "out")
    newest = helm("show", "chart", f"oci://{box.address}/charts/tiny", "--version", ">=0.1.0")

    archives = [tmp_path / "tiny-0.1.0+floor.3.tgz", tmp_path / "out" / "tiny-0.1.0+floor.3.tgz"]
    pushed, pulled = (hashlib.sha256(path.read_bytes()).hexdigest() for path in archives)
    assert pushed == pulled
    assert "version: 0.1.0+floor.3" in newest


@pytest.fixture
def containerd(box: Box, clients: dict[str, Client], tmp_path: Path) -> Client:
    """Pulls a reference into a folder; the mirror is all it knows of any registry."""
    rendered = render_hosts_toml(
        f"{'https' if box.ca else 'http'}://{box.address}", ca_file=str(box.ca) if box.ca else ""
    )
    (tmp_path / "certs.d" / "_default").mkdir(parents=True)
    (tmp_path / "certs.d" / "_default" / "hosts.toml").write_text(rendered)
    return lambda reference, out: clients["containerd"]("-hosts", "certs.d", "-out", out, reference)


def test_containerd_pulls_each_registrys_own_image_by_its_own_name(
    box: Box, containerd: Client, crane: Client, tmp_path: Path
) -> None:
    digests = {
        "docker.io": make_layout(tmp_path / "docker.io", platforms=("amd64",)),
        "quay.io": make_layout(tmp_path / "quay.io", platforms=("arm64",)),
        "box.local_5000": make_layout(tmp_path / "box.local_5000", platforms=("amd64", "arm64")),
    }
    for registry in digests:
        crane("push", registry, f"{box.address}/{registry}/library/x:v1")

    for registry, name in [
        ("docker.io", "docker.io/library/x:v1"),
        ("quay.io", "quay.io/library/x:v1"),
        ("quay.io", f"quay.io/library/x@{digests['quay.io']}"),
        ("box.local_5000", "box.local:5000/library/x:v1"),
    ]:
        out = f"out-{name.replace('/', '-')}"
        assert json.loads(containerd(name, out))["digest"] == digests[registry]
        pulled = {path.name: path.read_bytes() for path in (tmp_path / out).iterdir()}
        assert pulled == blobs_of(tmp_path / registry)


def test_containerd_pulls_a_plain_name_as_any_registrys(
    box: Box, containerd: Client, crane: Client, tmp_path: Path
) -> None:
    digest = make_layout(tmp_path / "in")
    crane("push", "in", f"{box.address}/rancher/pause:3.6")

    assert json.loads(containerd("docker.io/rancher/pause:3.6", "out"))["digest"] == digest
    with pytest.raises(AssertionError, match="not found"):
        containerd("docker.io/rancher/pause:3.7", "out2")


def test_k3s_pulls_by_its_registries_yaml(
    box: Box, clients: dict[str, Client], crane: Client, tmp_path: Path
) -> None:
    """A registry with no entry of its own comes to the mirror too."""
    mirror_url = f"{'https' if box.ca else 'http'}://{box.address}"
    rendered = render_registries_yaml(mirror_url, ca_file=str(box.ca) if box.ca else "")
    (tmp_path / "registries.yaml").write_text(rendered)
    names = ["docker.io/library/nginx", "registry.k8s.io/pause", "box.invalid/app"]
    digests = {name: make_layout(tmp_path / name, platforms=("amd64",)) for name in names}
    for name in names:
        crane("push", name, f"{box.address}/{name}:v1")

    for name, digest in digests.items():
        pulled = clients["k3s"]("-registries", "registries.yaml", "-out", f"out/{name}", f"{name}:v1")
        assert json.loads(pulled)["digest"] == digest
        blobs = {path.name: path.read_bytes() for path in (tmp_path / "out" / name).iterdir()}
        assert blobs == blobs_of(tmp_path / name)


@pytest.fixture
def regctl(box: Box, clients: dict[str, Client]) -> Client:
    """Pushes blobs of more than 1000 bytes in chunks, which no other client here does."""
    tls = "enabled" if box.ca else "disabled"
    clients["regctl"](
        "registry", "set", box.address, "--tls", tls, "--blob-max", "1000", "--blob-chunk", "300"
    )
    return clients["regctl"]


def test_regctl_pushes_in_chunks_and_pulls_unchanged(box: Box, regctl: Client, tmp_path: Path) -> None:
    digest = make_layout(tmp_path / "in", platforms=("amd64", "arm64"))
    name = f"{box.address}/demo"

    regctl("image", "copy", "ocidir://in:v1", f"{name}:v1")
    regctl("image", "copy", f"{name}@{digest}", "ocidir://out:v1")

    assert regctl("image", "digest", f"{name}:v1").strip() == digest
    assert blobs_of(tmp_path / "out") == blobs_of(tmp_path / "in")


def test_regctl_rewrites_an_image_with_sha512(box: Box, regctl: Client, tmp_path: Path) -> None:
    make_layout(tmp_path / "in")
    name = f"{box.address}/demo"
    regctl("image", "copy", "ocidir://in:v1", f"{name}:v1")

    regctl("image", "mod", f"{name}:v1", "--digest-algo", "sha512", "--create", f"{name}:v2")

    digest = regctl("image", "digest", f"{name}:v2").strip()
    assert digest.startswith("sha512:")
    content = regctl("manifest", "get", "--format", "raw-body", f"{name}@{digest}").encode()
    assert digest_of(content, "sha512") == digest
    layers = json.loads(content)["layers"]
    assert {layer["digest"].partition(":")[0] for layer in layers} == {"sha512"}
    regctl("image", "copy", f"{name}@{digest}", "ocidir://out:v2")


def test_regctl_lists_and_deletes_a_tag_alone(box: Box, regctl: Client, tmp_path: Path) -> None:
    digest = make_layout(tmp_path / "in")
    name = f"{box.address}/demo"
    for tag in ("v1", "v2"):
        regctl("image", "copy", "ocidir://in:v1", f"{name}:{tag}")

    regctl("tag", "delete", f"{name}:v1")

    assert regctl("tag", "ls", name).split() == ["v2"]
    assert regctl("image", "digest", f"{name}@{digest}").strip() == digest
