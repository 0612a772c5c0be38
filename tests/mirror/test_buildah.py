"""buildah, whose way to registries is podman's and CRI-O's too: what it builds goes in and comes out."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mirror.boxes import Box, blobs_of, make_layout, run

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(os.geteuid() != 0, reason="buildah without root needs ids set aside for its user"),
]

Buildah = Callable[..., str]


@pytest.fixture
def buildah(box: Box, tmp_path: Path) -> Buildah:
    """With images of its own, and sent to the mirror for all of quay.io."""
    storage = ["--storage-driver", "vfs", "--root", str(tmp_path / "s"), "--runroot", str(tmp_path / "r")]
    registries = tmp_path / "registries.conf"
    registries.write_text(f'[[registry]]\nprefix = "quay.io"\nlocation = "{box.address}/quay.io"\n')
    environment = {"CONTAINERS_REGISTRIES_CONF": str(registries)}
    return lambda *words: run(["buildah", *storage, *words], environment=environment).strip()


def test_what_it_built_comes_back_as_it_was(box: Box, buildah: Buildah, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content" * 100_000)
    container = buildah("from", "scratch")
    buildah("copy", container, str(tmp_path / "file"), "/file")
    built = buildah("commit", container, "made:v1")

    buildah(
        *("push", *box.tls_options(""), "--digestfile", str(tmp_path / "digest")),
        *("localhost/made:v1", f"docker://{box.address}/made:v1"),
    )
    buildah("rm", container)
    buildah("rmi", built)
    digest = (tmp_path / "digest").read_text()
    pulled = buildah("pull", *box.tls_options(""), f"{box.address}/made@{digest}")

    assert pulled == built
    again = buildah("from", pulled)
    mounted = Path(buildah("mount", again))
    assert (mounted / "file").read_bytes() == b"content" * 100_000
    box.pull("made:v1", f"oci:{tmp_path / 'out'}:v1", "--preserve-digests")
    assert digest.removeprefix("sha256:") in blobs_of(tmp_path / "out")


def test_an_image_is_pulled_by_its_registrys_own_name(box: Box, buildah: Buildah, tmp_path: Path) -> None:
    digest = make_layout(tmp_path / "in", platforms=("amd64", "arm64"))
    box.push(f"oci:{tmp_path / 'in'}:v1", "quay.io/org/z:v1", "--all", "--preserve-digests")

    buildah("pull", *box.tls_options(""), "quay.io/org/z:v1")

    found = buildah("images", "--digests", "--format", "{{.Name}}:{{.Tag}} {{.Digest}}")
    assert found.split() == ["quay.io/org/z:v1", digest]
    with pytest.raises(AssertionError, match="manifest unknown"):
        buildah("pull", *box.tls_options(""), "quay.io/org/z:v2")
