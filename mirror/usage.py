"""What takes how much room: by repository, by tag, and all together. It counts and decides nothing."""

import os
from collections import Counter
from dataclasses import dataclass

from mirror.marking import References, mark
from mirror.oci import Digest
from mirror.registry import Registry
from mirror.space import bytes_below


@dataclass(frozen=True, slots=True)
class RepositoryUsage:
    """`bytes` counts what is reachable; `own_bytes` the part of it that no other repository shares."""

    name: str
    tags: int
    manifests: int
    bytes: int
    own_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """`bytes` is what the files take; `unreachable_bytes` of it waits for collection."""

    repositories: list[RepositoryUsage]
    blobs: int
    bytes: int
    unreachable_bytes: int
    staged_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class TagUsage:
    """`bytes` counts the manifest and all that it names, each once."""

    tag: str
    digest: Digest
    media_type: str
    bytes: int


def usage(registry: Registry) -> Usage:
    holdings = registry.index.holdings()
    reached = mark(holdings, References(registry.index.content))
    sizes = {file.digest: file.size for file in registry.blobs.files()}
    content: dict[int, set[Digest]] = {number: set() for number in holdings.repositories}
    for number, digest in reached.manifests | reached.blobs:
        content[number].add(digest)
    sharing = Counter(digest for digests in content.values() for digest in digests)
    tags = Counter(number for number, _, _ in holdings.tags)
    manifests = Counter(number for number, _ in holdings.manifests)
    repositories = [
        RepositoryUsage(
            name=name,
            tags=tags[number],
            manifests=manifests[number],
            bytes=sum(sizes.get(digest, 0) for digest in content[number]),
            own_bytes=sum(sizes.get(digest, 0) for digest in content[number] if sharing[digest] == 1),
        )
        for number, name in holdings.repositories.items()
    ]
    disk = os.statvfs(registry.blobs.staging)
    return Usage(
        repositories=sorted(repositories, key=lambda each: (-each.own_bytes, each.name)),
        blobs=len(sizes),
        bytes=sum(sizes.values()),
        unreachable_bytes=sum(size for digest, size in sizes.items() if digest not in reached.contents),
        staged_bytes=bytes_below(registry.blobs.staging),
        free_bytes=disk.f_bavail * disk.f_frsize,
    )


def list_tags(registry: Registry, repository: str) -> list[TagUsage]:
    """A repository's tags with what they take. Raises NameUnknown."""
    references = References(registry.index.content)
    return [
        TagUsage(
            tag,
            stored.digest,
            stored.media_type,
            _reachable_bytes(registry, repository, stored.digest, references),
        )
        for tag in registry.list_tags(repository)
        for stored in [registry.get_manifest(repository, tag)]
    ]


def _reachable_bytes(registry: Registry, repository: str, root: Digest, references: References) -> int:
    seen: set[Digest] = set()
    ahead = [root]
    while ahead:
        digest = ahead.pop()
        if digest in seen:
            continue
        seen.add(digest)
        if registry.index.has_manifest(repository, digest):
            media_type = registry.index.manifest(repository, digest).media_type
            ahead.extend(references.of(digest, media_type))
    found = (registry.blobs.stat(digest) for digest in seen)
    return sum(file.size for file in found if file is not None)
