"""Content for tests of what happens after a push: blobs and images straight into a registry."""

from typing import Any

import msgspec

from mirror.oci import OCI_INDEX, OCI_MANIFEST, Digest, digest_of
from mirror.registry import Registry
from tests.mirror.running import descriptor, image_manifest

CONFIG = b"{}"


def push_blob(registry: Registry, repository: str, content: bytes) -> Digest:
    upload = registry.open_upload(repository)
    upload.write(content)
    return upload.commit(digest_of(content))


def push_image(registry: Registry, repository: str, layer: bytes, *tags: str, **fields: Any) -> Digest:
    for content in (CONFIG, layer):
        push_blob(registry, repository, content)
    manifest = image_manifest(CONFIG, layer, **fields)
    digest = digest_of(manifest)
    registry.push_manifest(repository, manifest, OCI_MANIFEST, digest=digest, tags=tags)
    return digest


def push_index(registry: Registry, repository: str, *children: Digest, tag: str) -> Digest:
    stored = [registry.get_manifest(repository, child) for child in children]
    content = msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [descriptor(each.content, each.media_type) for each in stored],
        }
    )
    return registry.put_manifest(repository, content, OCI_INDEX, reference=tag)
