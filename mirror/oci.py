"""The words of OCI: digests, names, references, descriptors, manifests and their media types.

Values and grammar only; nothing here opens a file. Manifests are decoded to be looked into, never to be
written back: what is stored and served is always the bytes that were pushed.
Sources: image-spec and distribution-spec 1.1.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NewType

import msgspec

from mirror.errors import DigestInvalid, ManifestInvalid, NameInvalid

Digest = NewType("Digest", str)

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFEST_TYPES: Final = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES: Final = (OCI_INDEX, DOCKER_LIST)
FOREIGN_LAYER_TYPES: Final = frozenset(
    {
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
)

HEX_LENGTHS: Final = {"sha256": 64, "sha512": 128}
MAX_NAME_LENGTH: Final = 255  # many clients limit host + "/" + name to this

_DIGEST = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")
_HEX = re.compile(r"[0-9a-f]+")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A pointer to content: what it is, its digest and its length."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: dict[str, str] = {}
    urls: list[str] = []

    @property
    def is_foreign(self) -> bool:
        """Content that its owner does not let registries hold; it is fetched from `urls`."""
        return bool(self.urls) or self.media_type in FOREIGN_LAYER_TYPES


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An image or artifact manifest (OCI or Docker schema 2)."""

    config: Descriptor
    layers: list[Descriptor] = []
    media_type: str = ""
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A list of manifests (an OCI index or a Docker manifest list)."""

    manifests: list[Descriptor] = []
    media_type: str = ""
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class OtherManifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A manifest of a type the mirror does not know: kept verbatim, its blobs are its own affair."""

    media_type: str = ""
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """`registry` is host:port or empty; `tag` and `digest` may both be empty, or both be there."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        name = f"{self.registry}/{self.repository}" if self.registry else self.repository
        return name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_digest(text: str) -> Digest:
    """Return `text` as a digest of an algorithm that the mirror can compute."""
    match = _DIGEST.fullmatch(text) if len(text) <= 256 else None
    if match is None:
        raise DigestInvalid(f"{text[:80]!r} is not a digest", hint="write algorithm:hex, as in sha256:0123…")
    algorithm, encoded = match.groups()
    length = HEX_LENGTHS.get(algorithm)
    if length is None:
        raise DigestInvalid(
            f"digest algorithm {algorithm} is not supported", hint=f"use one of {', '.join(HEX_LENGTHS)}"
        )
    if len(encoded) != length or not _HEX.fullmatch(encoded):
        raise DigestInvalid(
            f"{text[:160]!r} is not a {algorithm} digest: {length} small hex digits are needed"
        )
    return Digest(text)


def digest_of(content: bytes, algorithm: str = "sha256") -> Digest:
    return Digest(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")


def algorithm_of(digest: Digest) -> str:
    return digest.partition(":")[0]


def check_algorithm(algorithm: str) -> None:
    if algorithm not in HEX_LENGTHS:
        raise DigestInvalid(
            f"digest algorithm {algorithm[:40]!r} is not supported",
            hint=f"use one of {', '.join(HEX_LENGTHS)}",
        )


def check_repository(name: str) -> None:
    if len(name) > MAX_NAME_LENGTH or not _REPOSITORY.fullmatch(name):
        raise NameInvalid(
            f"{name[:80]!r} is not a repository name",
            hint="use small letters and digits, parted by single . _ - or /, at most 255 characters",
        )


def check_tag(tag: str) -> None:
    if not _TAG.fullmatch(tag):
        raise NameInvalid(
            f"{tag[:80]!r} is not a tag",
            hint="use up to 128 letters, digits, _ . or -, not starting with . or -",
        )


def is_media_type(text: str) -> bool:
    return _MEDIA_TYPE.fullmatch(text) is not None


def parse_reference(text: str) -> Reference:
    """Parse `[host[:port]/]repository[:tag][@digest]`.

    The first part is a host if it has a dot or a colon, or is localhost.
    """
    name, _, digest = text.partition("@")
    first, slash, remainder = name.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, path = (first, remainder) if has_host else ("", name)
    if has_host and not _HOST.fullmatch(registry):
        raise NameInvalid(f"{registry[:80]!r} is not a registry's host:port")
    repository, _, tag = path.partition(":")
    check_repository(repository)
    if tag or path.endswith(":"):
        check_tag(tag)
    if digest or text.endswith("@"):
        parse_digest(digest)
    return Reference(registry, repository, tag, digest)


def parse_manifest(content: bytes, media_type: str) -> Manifest | Index | OtherManifest:
    """Decode what the mirror must know of a manifest, and check the digests it names."""
    kind: type[Manifest] | type[Index] | type[OtherManifest] = OtherManifest
    if media_type in MANIFEST_TYPES:
        kind = Manifest
    elif media_type in INDEX_TYPES:
        kind = Index
    try:
        manifest = msgspec.convert(_without_nulls(msgspec.json.decode(content)), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestInvalid(f"the manifest is not a readable {media_type}: {error}") from error
    if manifest.media_type and manifest.media_type != media_type:
        raise ManifestInvalid(
            f"the manifest says it is {manifest.media_type[:200]}, but it was pushed as {media_type}",
            hint="push it with the Content-Type that its mediaType field names",
        )
    for descriptor in descriptors_of(manifest):
        parse_digest(descriptor.digest)
        if descriptor.size < 0:
            raise ManifestInvalid(f"the manifest gives {descriptor.digest} a negative size")
    return manifest


def _without_nulls(value: object, depth: int = 4) -> object:
    """Go writes an absent list or map as null; nothing deeper than a descriptor is looked at."""
    if depth and isinstance(value, dict):
        return {key: _without_nulls(item, depth - 1) for key, item in value.items() if item is not None}
    if depth and isinstance(value, list):
        return [_without_nulls(item, depth - 1) for item in value]
    return value


def descriptors_of(manifest: Manifest | Index | OtherManifest) -> Iterator[Descriptor]:
    """Everything a manifest points to, its subject included."""
    match manifest:
        case Manifest():
            yield manifest.config
            yield from manifest.layers
        case Index():
            yield from manifest.manifests
        case OtherManifest():
            pass
    if manifest.subject is not None:
        yield manifest.subject


class _Declared(msgspec.Struct, rename="camel"):
    media_type: str = ""


def declared_media_type(content: bytes) -> str:
    """The `mediaType` field of a manifest whose pusher gave no Content-Type, or nothing."""
    try:
        return msgspec.json.decode(content, type=_Declared).media_type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
