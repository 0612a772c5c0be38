"""What a bundle says it holds. A value and its rules; nothing here opens a file.

`bundle.json` is canonical JSON: sorted keys, no spaces, one newline at the end. The signature is over those
bytes, and a manifest that is spelled in any other way is refused.
"""

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from bundles.errors import NotABundle, UnsafeEntry, UnsupportedFormat
from mirror.errors import MirrorError
from mirror.oci import check_repository, check_tag, parse_digest, parse_reference

FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 16 * 1024 * 1024  # about 100,000 blobs
MAX_IMAGE_MANIFEST_BYTES = 4 * 1024 * 1024  # what the mirror takes; distribution-spec 1.1 asks for 4 MiB
MAX_NAME_LENGTH = 128

ImageKind = Literal["os", "image"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class BundledImage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`reference` is repository:tag, with no registry host; `size` is what its blobs take together.

    `kind` is `os` for what a host can boot and `image` for everything else.
    """

    reference: str
    digest: str
    media_type: str
    size: int
    version: str = ""
    display_name: str = ""
    kind: ImageKind = "image"

    @property
    def repository(self) -> str:
        return self.reference.rpartition(":")[0]

    @property
    def tag(self) -> str:
        return self.reference.rpartition(":")[2]


class BundledBlob(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    digest: str
    size: int

    @property
    def path(self) -> str:
        return blob_path(self.digest)


class BundledFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A file beside the blobs, as `index.json`; `path` is relative to the bundle."""

    path: str
    digest: str
    size: int


class BundleManifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`sequence` only grows among the bundles of one name; `created` is RFC 3339 text, UTC."""

    format_version: int = FORMAT_VERSION
    name: str
    created: str
    sequence: int = 0
    images: list[BundledImage]
    blobs: list[BundledBlob]
    files: list[BundledFile] = []

    @property
    def size(self) -> int:
        return sum(blob.size for blob in self.blobs)


def blob_path(digest: str) -> str:
    algorithm, _, encoded = digest.partition(":")
    return f"blobs/{algorithm}/{encoded}"


def render_manifest(manifest: BundleManifest) -> bytes:
    return msgspec.json.encode(manifest, order="sorted") + b"\n"


class _Format(msgspec.Struct, rename="camel"):
    format_version: int


def parse_manifest(content: bytes) -> BundleManifest:
    """Decode a manifest that is signed; raise NotABundle, UnsupportedFormat or UnsafeEntry."""
    try:
        version = msgspec.json.decode(content, type=_Format).format_version
        if version != FORMAT_VERSION:
            raise UnsupportedFormat(
                f"the bundle has format {version}, this Skerry reads format {FORMAT_VERSION}",
                hint="update this appliance first",
            )
        manifest = msgspec.json.decode(content, type=BundleManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotABundle(f"bundle.json cannot be read: {error}") from error
    check_manifest(manifest)
    if render_manifest(manifest) != content:
        raise NotABundle("bundle.json is not in canonical form", hint="make it with: skerry bundle pack")
    return manifest


def check_manifest(manifest: BundleManifest) -> None:
    """Raise unless every name in the manifest is safe to use and the lists agree with each other."""
    if not is_bundle_name(manifest.name):
        raise NotABundle(f"bundle.json has an unusable bundle name: {manifest.name[:80]!r}")
    if not _CREATED.fullmatch(manifest.created):
        raise NotABundle(f"bundle.json has an unusable time: {manifest.created[:80]!r}")
    if manifest.sequence < 0:
        raise NotABundle("bundle.json has a negative sequence")
    for image in manifest.images:
        check_image(image)
    for blob in manifest.blobs:
        _check_content(blob.digest, blob.size)
    for file in manifest.files:
        _check_content(file.digest, file.size)
        if not _PATH.fullmatch(file.path) or file.path.startswith(("blobs/", "bundle.json")):
            raise UnsafeEntry(f"bundle.json lists a file under an unusable path: {file.path[:200]!r}")
    _check_distinct("image", (image.reference for image in manifest.images))
    _check_distinct("blob", (blob.digest for blob in manifest.blobs))
    _check_distinct("file", (file.path for file in manifest.files))
    held = {blob.digest for blob in manifest.blobs}
    for image in manifest.images:
        if image.digest not in held:
            raise NotABundle(
                f"bundle.json names image {image.reference} ({image.digest}) but lists no such blob"
            )


def check_image(image: BundledImage) -> None:
    check_reference(image.reference)
    _check_content(image.digest, image.size)


def check_reference(reference: str) -> None:
    """Raise unless `reference` is repository:tag and would not be taken for a registry host."""
    repository, _, tag = reference.rpartition(":")
    try:
        check_repository(repository)
        check_tag(tag)
        parsed = parse_reference(reference)
    except MirrorError as error:
        raise UnsafeEntry(f"{reference[:300]!r} is not a repository and tag", hint=error.hint) from error
    if parsed.registry:
        raise UnsafeEntry(
            f"{reference[:300]!r} begins with a registry host",
            hint="name the image as it shall be called in the mirror: repository:tag",
        )


def is_bundle_name(name: str) -> bool:
    return len(name) <= MAX_NAME_LENGTH and _NAME.fullmatch(name) is not None


def _check_content(digest: str, size: int) -> None:
    try:
        parse_digest(digest)
    except MirrorError as error:
        raise UnsafeEntry(
            f"bundle.json holds an unusable digest: {digest[:200]!r}", hint=error.hint
        ) from error
    if size < 0:
        raise NotABundle(f"bundle.json gives {digest} a negative size")


def _check_distinct(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise NotABundle(f"bundle.json lists {what} {name} twice")
        seen.add(name)
