"""Images put straight into a mirror's files, as small as they can be."""

import gzip
import tarfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import msgspec

from mirror.oci import OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, Digest, digest_of
from mirror.registry import Registry

TITLE = "org.opencontainers.image.title"


def render_layer(files: Mapping[str, bytes]) -> bytes:
    """A gzipped tar of plain files."""
    output = BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    return gzip.compress(output.getvalue(), mtime=0)


def put_image(
    registry: Registry,
    repository: str,
    layers: Sequence[Mapping[str, bytes]],
    *,
    tag: str = "1",
    config: Mapping[str, Any] | None = None,
) -> Digest:
    """A container image; the last layer is the topmost."""
    packed = [render_layer(files) for files in layers]
    return put_layers(registry, repository, packed, tag=tag, config=config)


def put_layers(
    registry: Registry,
    repository: str,
    layers: Sequence[bytes],
    *,
    tag: str = "1",
    config: Mapping[str, Any] | None = None,
    said_size: int | None = None,
) -> Digest:
    """A container image of layers as they are; `said_size` is what the manifest says instead of the truth."""
    said = {} if said_size is None else {"size": said_size}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _put(registry, repository, msgspec.json.encode({"config": config or {}}), OCI_CONFIG)
        | said,
        "layers": [_put(registry, repository, layer, OCI_LAYER_GZIP) | said for layer in layers],
    }
    return registry.put_manifest(repository, msgspec.json.encode(manifest), OCI_MANIFEST, reference=tag)


def put_artifact(
    registry: Registry, repository: str, content: bytes, media_type: str, *, title: str = "", tag: str = "1"
) -> Digest:
    """An artifact of one file."""
    layer = _put(registry, repository, content, media_type)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": media_type,
        "config": _put(registry, repository, b"{}", OCI_EMPTY),
        "layers": [{**layer, "annotations": {TITLE: title}} if title else layer],
    }
    return registry.put_manifest(repository, msgspec.json.encode(manifest), OCI_MANIFEST, reference=tag)


def put_index(
    registry: Registry, repository: str, images: Mapping[str, Digest], *, tag: str = "many"
) -> Digest:
    """An index of images by platform, as `linux/amd64`."""
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": digest,
            "size": len(registry.get_manifest(repository, digest).content),
            "platform": {"os": platform.partition("/")[0], "architecture": platform.partition("/")[2]},
        }
        for platform, digest in images.items()
    ]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return registry.put_manifest(repository, msgspec.json.encode(index), OCI_INDEX, reference=tag)


def _put(registry: Registry, repository: str, content: bytes, media_type: str) -> dict[str, Any]:
    upload = registry.open_upload(repository)
    upload.write(content)
    return {"mediaType": media_type, "digest": upload.commit(digest_of(content)), "size": len(content)}
