"""A serving mirror with what independent clients must be told to reach it, and images to give to them."""

import gzip
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import bcrypt

from mirror.index import StoredManifest
from mirror.layout import Layout
from mirror.nodes import Login
from mirror.oci import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, Digest, digest_of
from tests.mirror.certificates import make_certificate
from tests.mirror.running import descriptor
from tests.mirror.serving import ServingMirror

FLOOR = Login("floor", "pa ss'wörd")
RULES = """
[[rule]]
repository = "closed/**"
pull = ["floor"]
"""


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


@contextmanager
def open_box(folder: Path, *options: str, is_tls: bool) -> Iterator[Box]:
    if not is_tls:
        with ServingMirror(folder / "root", *options) as mirror:
            yield Box(mirror, ca=None)
        return
    certificate = make_certificate(folder / "pki")
    clients = folder / "clients"
    clients.mkdir()
    (clients / "ca.crt").write_bytes(certificate.certificate.read_bytes())
    tls = ("--tls-cert", str(certificate.certificate), "--tls-key", str(certificate.key))
    with ServingMirror(folder / "root", *options, *tls) as mirror:
        yield Box(mirror, ca=clients / "ca.crt")


@contextmanager
def open_closed_box(folder: Path) -> Iterator[Box]:
    """With TLS. A push needs FLOOR's name and password, and below `closed/` a pull does too."""
    hashed = bcrypt.hashpw(FLOOR.password.encode(), bcrypt.gensalt(rounds=4)).decode()
    (folder / "htpasswd").write_text(f"{FLOOR.username}:{hashed}\n")
    (folder / "rules.toml").write_text(RULES)
    options = ("--htpasswd", str(folder / "htpasswd"), "--access", str(folder / "rules.toml"))
    with open_box(folder, *options, is_tls=True) as box:
        yield box


def run(
    command: Sequence[str], *, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """What the program says on stdout; it fails the test if it fails, with what it said on stderr."""
    env = None if environment is None else {**os.environ, **environment}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )
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
