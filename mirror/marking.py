"""Which manifests and blobs are reachable: the rule of what must stay, as a pure walk over an index's names.

Roots are tags, manifests that the caller names, and manifests younger than a time. From a manifest the walk
goes to the children of an index, to config and layers, and to the referrers of what it reached. A subject is
not held by its referrers: a signature does not keep an image. Repositories are walked each for itself.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import msgspec

from mirror.errors import DigestInvalid, MirrorError
from mirror.index import Holdings
from mirror.oci import (
    Digest,
    Index,
    Manifest,
    OtherManifest,
    descriptors_of,
    parse_digest,
    parse_manifest,
)

Node = tuple[int, Digest]  # a repository's number, and content in it
MAX_DEPTH = 64  # of JSON that no known type describes


@dataclass(slots=True)
class Reached:
    """What must stay, by repository; `contents` are the digests of all of it."""

    manifests: set[Node] = field(default_factory=set)
    blobs: set[Node] = field(default_factory=set)

    @property
    def contents(self) -> set[Digest]:
        return {digest for _, digest in self.manifests} | {digest for _, digest in self.blobs}


class References:
    """What each manifest points to, read once: content of a digest never changes."""

    def __init__(self, read: Callable[[Digest], bytes | None]) -> None:
        self._read = read
        self._known: dict[tuple[Digest, str], frozenset[Digest]] = {}

    def of(self, digest: Digest, media_type: str) -> frozenset[Digest]:
        found = self._known.get((digest, media_type))
        if found is None:
            content = self._read(digest)
            found = frozenset(() if content is None else references_in(content, media_type))
            self._known[digest, media_type] = found
        return found


def mark(
    holdings: Holdings,
    references: References,
    *,
    keep: Collection[Digest] = (),
    is_young: Callable[[Digest], bool] = lambda digest: False,
) -> Reached:
    """Walk from the tags, from `keep` and from manifests that are young."""
    referrers: dict[Node, list[Digest]] = defaultdict(list)
    for (repository, digest), record in holdings.manifests.items():
        if record.subject:
            referrers[repository, Digest(record.subject)].append(digest)
    linked = set(holdings.blobs)
    reached = Reached()
    ahead = [(repository, digest) for repository, _, digest in holdings.tags]
    ahead.extend(node for node in holdings.manifests if node[1] in keep or is_young(node[1]))
    while ahead:
        node = ahead.pop()
        manifest = holdings.manifests.get(node)
        if manifest is None or node in reached.manifests:
            continue
        reached.manifests.add(node)
        repository, digest = node
        for target in references.of(digest, manifest.media_type):
            ahead.append((repository, target))
            if (repository, target) in linked:
                reached.blobs.add((repository, target))
        ahead.extend((repository, referrer) for referrer in referrers[node])
    return reached


def references_in(content: bytes, media_type: str) -> Iterator[Digest]:
    """What a manifest holds on to: its children and blobs, not its subject.

    Of a type that the mirror does not know, everything that looks like a digest counts: better to keep too
    much of another's content than to drop a part of it.
    """
    try:
        manifest = parse_manifest(content, media_type)
    except MirrorError:
        yield from _digests_in(content)
        return
    match manifest:
        case Manifest() | Index():
            subject = manifest.subject
            for descriptor in descriptors_of(manifest):
                if descriptor is not subject:
                    yield parse_digest(descriptor.digest)
        case OtherManifest():
            yield from _digests_in(content)


def _digests_in(content: bytes) -> Iterator[Digest]:
    try:
        ahead: list[tuple[object, int]] = [(msgspec.json.decode(content), 0)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    while ahead:
        value, depth = ahead.pop()
        if isinstance(value, dict) and depth < MAX_DEPTH:
            ahead.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list) and depth < MAX_DEPTH:
            ahead.extend((item, depth + 1) for item in value)
        elif isinstance(value, str):
            try:
                yield parse_digest(value)
            except DigestInvalid:
                continue
