"""Independent clients against the mirror, both ways, with TLS and without: the same digests out as in."""

import json
import tarfile
from pathlib import Path

import oras.client
import pytest

from mirror.oci import DOCKER_LIST, DOCKER_MANIFEST, digest_of
from tests.mirror.boxes import Box, blobs_of, make_layout, run

pytestmark = pytest.mark.interop


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


def test_skopeo_syncs_a_repository_out_and_in_again(box: Box, tmp_path: Path) -> None:
    digests = {
        "v1": make_layout(tmp_path / "one"),
        "v2": make_layout(tmp_path / "two", platforms=("amd64", "arm64")),
    }
    for tag, layout in (("v1", "one"), ("v2", "two")):
        box.push(f"oci:{tmp_path / layout}:v1", f"demo:{tag}", "--all", "--preserve-digests")
    whole = ["--all", "--preserve-digests"]

    box.skopeo(
        *("sync", *whole, *box.tls_options("src-"), "--src", "docker", "--dest", "dir"),
        *(f"{box.address}/demo", str(tmp_path / "out")),
    )
    box.skopeo(
        *("sync", *whole, *box.tls_options("dest-"), "--src", "dir", "--dest", "docker"),
        *(str(tmp_path / "out"), f"{box.address}/synced"),
    )

    for tag, digest in digests.items():
        name = f"docker://{box.address}/synced/demo:{tag}"
        raw = box.skopeo("inspect", "--raw", *box.tls_options(""), name)
        assert digest_of(raw.encode()) == digest


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
