"""A mirror's folder that holds a k3s artifact and the appliance's image, both small, both real."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles.artifact import write_artifact
from bundles.images.small import build_small_image
from mirror.copying import LocalRepository, copy_image
from mirror.layout import Layout
from mirror.registry import Registry

K3S = "skerry/k3s:v1.31.4-k3s1"
APPLIANCE = "skerry/appliance:1.0"


def elf(machine: int) -> bytes:
    """The first bytes of a 64-bit little-endian program for that machine."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, machine) + bytes(44)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def registry(tmp_path: Path, data: Path) -> Iterator[Registry]:
    data.mkdir()
    binary = tmp_path / "k3s"
    binary.write_bytes(elf(62) + b"k3s" * 1000)
    images = tmp_path / "k3s-airgap-images-amd64.tar.zst"
    images.write_bytes(b"images" * 50_000)
    layout = tmp_path / "layout"
    write_artifact(
        layout,
        {"k3s": binary, images.name: images},
        name=K3S,
        artifact_type="application/vnd.skerry.k3s.v1",
        annotations={"org.opencontainers.image.version": "v1.31.4+k3s1"},
    )
    build_small_image(layout, name="skerry/appliance", version="1.0", healthy=True, payload_bytes=100_000)
    mirror = Registry(data / "mirror")
    source = Layout(layout)
    try:
        for reference in (K3S, APPLIANCE):
            repository, _, tag = reference.rpartition(":")
            digest = source.read_manifest(reference).digest
            copy_image(source, LocalRepository(mirror, repository), digest, tag=tag)
        yield mirror
    finally:
        source.close()
        mirror.close()
