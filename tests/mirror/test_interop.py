"""Independent clients against the mirror, both ways, with TLS and without: the same digests out as in."""

import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import oras.client
import pytest

from mirror.index import StoredManifest
from mirror.layout import Layout
from mirror.oci import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Digest,
    digest_of,
)
from tests.mirror.certificates import make_certificate
from tests.mirror.running import descriptor
from tests.mirror.serving import ServingMirror

pytestmark = pytest.mark.interop


class Box:
    """A serving mirror with what its clients must be told to reach it."""

    def __init__(self, mirror: ServingMirror, *, ca: Path | None) -> None:
        self.address = mirror.address
        self.ca = ca

    def tls_options(self, side: str) -> list[str]:
        if self.ca is None:
            return [f"--{side}tls-verify=false"]
        return [f"--{side}cert-dir={self.ca.parent}"]

    def skopeo(self, *arguments: str) -> str:
        return run(["skopeo", "--insecure-policy", *arguments])

    def push(self, source: str, name: str, *options: str) -> None:
        self.skopeo("copy", *self.tls_options("dest-"), *options, source, f"docker://{self.address}/{name}")

    def pull(self, name: str, target: str, *options: str) -> None:
        self.skopeo("copy", *self.tls_options("src-"), *options, f"docker://{self.address}/{name}", target)


@pytest.fixture(params=["plain", "tls"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Box]:
    if request.param == "plain":
        with ServingMirror(tmp_path / "root") as mirror:
            yield Box(mirror, ca=None)
        return
    certificate = make_certificate(tmp_path / "pki")
    clients = tmp_path / "clients"
    clients.mkdir()
    (clients / "ca.crt").write_bytes(certificate.certificate.read_bytes())
    options = ("--tls-cert", str(certificate.certificate), "--tls-key", str(certificate.key))
    with ServingMirror(tmp_path / "root", *options) as mirror:
        yield Box(mirror, ca=clients / "ca.crt")


def run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def make_layout(folder: Path, *, platforms: Sequence[str] = ("amd64",)) -> Digest:
    """An image with two gzip layers, under the name v1; with more platforms, an index of such images."""
    layout = Layout(folder)
    images = [put_image(layout, platform) for platform in platforms]
    named = images[0]
    if len(images) > 1:
        children = [
            {**descriptor(image.content, OCI_MANIFEST), "platform": {"os": "linux", "architecture": platform}}
            for image, platform in zip(images, platforms, strict=True)
        ]
        content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).encode()
        named = StoredManifest(content, OCI_INDEX, digest_of(content))
        layout.put_manifest(named)
    layout.put_tag("v1", named)
    layout.close()
    return named.digest


def put_image(layout: Layout, platform: str) -> StoredManifest:
    tars = [tar_of(f"{platform}/{name}", name.encode() * 200_000) for name in ("one", "two")]
    layers = [gzip.compress(tar, mtime=0) for tar in tars]
    config = json.dumps(
        {
            "architecture": platform,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
            "history": [{"created_by": "test"}] * 2,
        }
    ).encode()
    content = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, OCI_CONFIG),
            "layers": [descriptor(layer, OCI_LAYER_GZIP) for layer in layers],
        },
        indent=1,
    ).encode()
    for blob in (config, *layers):
        layout._blobs.put(blob, digest_of(blob))
    manifest = StoredManifest(content, OCI_MANIFEST, digest_of(content))
    layout.put_manifest(manifest)
    return manifest


def tar_of(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def blobs_of(layout: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (layout / "blobs" / "sha256").iterdir()}


def test_skopeo_copies_an_image_in_and_out_unchanged(box: Box, tmp_path: Path) -> None:
    digest = make_layout(tmp_path / "in")

    box.push(f"oci:{tmp_path / 'in'}:v1", "demo/os:v1", "--preserve-digests")
    box.pull("demo/os:v1", f"oci:{tmp_path / 'out'}:v1", "--preserve-digests")
    box.pull(f"demo/os@{digest}", f"oci:{tmp_path / 'out2'}:v1", "--preserve-digests")

    assert blobs_of(tmp_path / "out") == blobs_of(tmp_path / "in")
    assert blobs_of(tmp_path / "out2") == blobs_of(tmp_path / "in")
    inspected = json.loads(box.skopeo("inspect", *box.tls_options(""), f"docker://{box.address}/demo/os:v1"))
    assert (inspected["Digest"], inspected["RepoTags"]) == (digest, ["v1"])


def test_skopeo_copies_all_platforms_and_one_of_them(box: Box, tmp_path: Path) -> None:
    digest = make_layout(tmp_path / "in", platforms=("amd64", "arm64"))

    box.push(f"oci:{tmp_path / 'in'}:v1", "demo:v1", "--all", "--preserve-digests")
    box.pull(f"demo@{digest}", f"oci:{tmp_path / 'all'}:v1", "--all", "--preserve-digests")
    box.pull("demo:v1", f"oci:{tmp_path / 'one'}:v1", "--preserve-digests")

    assert blobs_of(tmp_path / "all") == blobs_of(tmp_path / "in")
    assert len(blobs_of(tmp_path / "one")) == 4


def test_skopeo_copies_docker_types(box: Box, tmp_path: Path) -> None:
    make_layout(tmp_path / "in", platforms=("amd64", "arm64"))

    box.push(f"oci:{tmp_path / 'in'}:v1", "demo:docker", "--all", "--format", "v2s2")

    raw = json.loads(
        box.skopeo("inspect", "--raw", *box.tls_options(""), f"docker://{box.address}/demo:docker")
    )
    assert raw["mediaType"] == DOCKER_LIST
    assert {child["mediaType"] for child in raw["manifests"]} == {DOCKER_MANIFEST}
    box.pull("demo:docker", f"docker-archive:{tmp_path / 'out.tar'}:demo:docker")
    assert tarfile.is_tarfile(tmp_path / "out.tar")


def test_skopeo_lists_and_deletes(box: Box, tmp_path: Path) -> None:
    make_layout(tmp_path / "in")
    for tag in ("v1", "v2"):
        box.push(f"oci:{tmp_path / 'in'}:v1", f"demo:{tag}")
    name = f"docker://{box.address}/demo"
    assert json.loads(box.skopeo("list-tags", *box.tls_options(""), name))["Tags"] == ["v1", "v2"]

    box.skopeo("delete", *box.tls_options(""), f"{name}:v1")

    assert json.loads(box.skopeo("list-tags", *box.tls_options(""), name))["Tags"] == []


def test_skopeo_mounts_from_another_repository(box: Box, tmp_path: Path) -> None:
    make_layout(tmp_path / "in")
    box.push(f"oci:{tmp_path / 'in'}:v1", "first:v1")

    between = [*box.tls_options("src-"), *box.tls_options("dest-")]
    first, second = f"docker://{box.address}/first:v1", f"docker://{box.address}/second:v1"
    box.skopeo("copy", *between, first, second)
    box.pull("second:v1", f"oci:{tmp_path / 'out'}:v1", "--preserve-digests")

    assert len(blobs_of(tmp_path / "out")) == 4


def test_umoci_unpacks_what_was_pulled(box: Box, tmp_path: Path) -> None:
    make_layout(tmp_path / "in")
    box.push(f"oci:{tmp_path / 'in'}:v1", "demo:v1", "--preserve-digests")
    box.pull("demo:v1", f"oci:{tmp_path / 'out'}:v1")

    run(["umoci", "unpack", "--rootless", "--image", f"{tmp_path / 'out'}:v1", str(tmp_path / "bundle")])

    assert (tmp_path / "bundle" / "rootfs" / "amd64" / "two").read_bytes() == b"two" * 200_000


@pytest.mark.parametrize("do_chunked", [False, True])
def test_oras_py_pushes_and_pulls_files(
    box: Box, tmp_path: Path, do_chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"artifact" * 100_000
    (tmp_path / "file.bin").write_bytes(content)
    monkeypatch.chdir(tmp_path)  # oras refuses files outside of the working directory
    client = oras.client.OrasClient(
        hostname=box.address,
        insecure=box.ca is None,
        tls_verify=str(box.ca) if box.ca else True,
    )

    pushed = client.push(
        f"{box.address}/artifacts/demo:v1",
        files=["file.bin:application/vnd.example.file"],
        do_chunked=do_chunked,
        chunk_size=300_000,
    )
    pulled = client.pull(f"{box.address}/artifacts/demo:v1", outdir=str(tmp_path / "out"))

    assert pushed.status_code == 201
    assert [Path(path).read_bytes() for path in pulled] == [content]
    assert client.get_tags(f"{box.address}/artifacts/demo") == ["v1"]
    client.session.close()
