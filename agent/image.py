"""Pull an image by digest: manifest and blobs on disk, every byte checked, interrupted pulls resumed.

Blobs are kept by digest under one directory, so a pull may be repeated at will: what is there is not fetched
again. This ends at verified files; making a tree of them is `agent.layers`.
"""

import errno
import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import msgspec

from agent.durable import make_directories, sync_directory, write_durably
from agent.errors import AgentError, DigestMismatch, ImageInvalid, NoSpace, Unreachable
from agent.host import check_space
from agent.reference import DIGEST, ImageReference
from agent.registry import MAX_MANIFEST_BYTES, Registry

CHUNK = 256 * 1024
MAX_LAYERS = 500
MAX_CONFIG_BYTES = 4 * 1024 * 1024
ATTEMPTS = 4
SPARE_BYTES = 4 * 1024 * 1024
VERSION_LABEL = "org.opencontainers.image.version"
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}

T = TypeVar("T")

# Called with percent of the bytes that the pull needs.
Progress = Callable[[int], None]


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    architecture: str = ""
    os: str = ""


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    digest: str
    size: int
    media_type: str = ""
    platform: Platform | None = None

    def __post_init__(self) -> None:
        if not DIGEST.fullmatch(self.digest):
            raise ValueError(f"unsupported digest {self.digest[:80]!r}")
        if self.size < 0:
            raise ValueError("negative size")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    config: Descriptor
    layers: list[Descriptor]
    media_type: str = ""


class Index(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    manifests: list[Descriptor]
    media_type: str = ""


class RootFs(msgspec.Struct, frozen=True, kw_only=True):
    diff_ids: list[str] = msgspec.field(default_factory=list)


class ContainerConfig(msgspec.Struct, frozen=True, kw_only=True):
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True):
    rootfs: RootFs = RootFs()
    config: ContainerConfig | None = None


class Hasher(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Layer:
    """A verified blob on disk. `diff_id` is the digest of its uncompressed bytes."""

    path: Path
    media_type: str
    size: int
    diff_id: str


@dataclass(frozen=True, slots=True)
class PulledImage:
    """`digest` is what the image is called by: of the index, if that is what was asked for."""

    digest: str
    version: str
    layers: list[Layer]


def resolve(reference: ImageReference, registry: Registry) -> tuple[str, Manifest]:
    """Return the digest the reference names now, and the manifest for this architecture, both checked."""
    content, media_type = registry.get_manifest(reference.repository, reference.version)
    digest = _digest_of(content)
    _check_digest(reference.digest or digest, digest, what=f"the manifest of {reference}")
    if _kind_of(content, media_type) in INDEXES:
        child = _choose_platform(_decode(content, Index, what=str(reference)), reference)
        content, _ = registry.get_manifest(reference.repository, child.digest)
        _check_digest(child.digest, _digest_of(content), what=f"the manifest of {reference}")
    manifest = _decode(content, Manifest, what=str(reference))
    if len(manifest.layers) > MAX_LAYERS:
        raise ImageInvalid(f"{reference} has {len(manifest.layers)} layers; at most {MAX_LAYERS} are taken")
    if manifest.config.size > MAX_CONFIG_BYTES:
        raise ImageInvalid(f"the configuration of {reference} is larger than {MAX_CONFIG_BYTES} bytes")
    return digest, manifest


def pull(
    reference: ImageReference,
    directory: Path,
    *,
    registry: Registry,
    progress: Progress = lambda percent: None,
) -> PulledImage:
    """Fetch what `directory` lacks of the image; refuse before fetching if that will not fit."""
    digest, manifest = resolve(reference, registry)
    make_directories(directory)
    wanted = {blob.digest: blob for blob in (manifest.config, *manifest.layers)}
    _remove_others(directory, wanted)
    missing = {name: blob for name, blob in wanted.items() if not _blob_path(directory, name).exists()}
    total = sum(blob.size for blob in missing.values())
    kept = sum(_size_of(_partial_path(directory, name)) for name in missing)
    check_space(directory, max(total - kept, 0) + SPARE_BYTES, what=f"pulling {reference}")
    fetched = 0
    for blob in missing.values():
        base = fetched

        def note(position: int, base: int = base) -> None:
            progress(min(99, 100 * (base + position) // max(total, 1)))

        _fetch(reference, blob, directory, registry=registry, note=note)
        fetched += blob.size
    return _describe(digest, manifest, directory, reference)


def _remove_others(directory: Path, wanted: Collection[str]) -> None:
    """What an earlier pull of another image left must not cost this one its space."""
    keep = {digest.partition(":")[2] for digest in wanted}
    for path in directory.iterdir():
        if path.name.partition(".")[0] not in keep:
            path.unlink()


def remove_blobs(directory: Path) -> None:
    """Forget what was pulled, whole and partial."""
    shutil.rmtree(directory, ignore_errors=True)


def _fetch(
    reference: ImageReference,
    blob: Descriptor,
    directory: Path,
    *,
    registry: Registry,
    note: Callable[[int], None],
) -> None:
    """Fetch one blob, going on where an earlier attempt ended, until it is whole or makes no headway."""
    partial = _partial_path(directory, blob.digest)
    failures = 0
    while True:
        before = _size_of(partial)
        try:
            _fetch_once(reference, blob, partial, registry=registry, note=note)
        except Unreachable:
            failures = 0 if _size_of(partial) > before else failures + 1
            if failures >= ATTEMPTS:
                raise
            continue
        except (NoSpace, ImageInvalid):
            partial.unlink(missing_ok=True)  # neither a full volume nor wrong bytes get better by keeping
            raise
        break
    partial.rename(_blob_path(directory, blob.digest))
    sync_directory(directory)


def _fetch_once(
    reference: ImageReference,
    blob: Descriptor,
    partial: Path,
    *,
    registry: Registry,
    note: Callable[[int], None],
) -> None:
    """One request. Returns when `partial` holds the whole blob, checked and synced; raises otherwise."""
    hasher, offset = _hash_partial(partial, blob.size)
    with partial.open("ab") as file:
        if offset < blob.size or blob.size == 0:
            with registry.open_blob(reference.repository, blob.digest, offset=offset) as (stream, start):
                if start != offset:
                    file.truncate(0)
                    hasher, offset = hashlib.sha256(), 0
                offset = _copy(stream, file, hasher, offset, blob=blob, note=note)
        if offset < blob.size:
            raise Unreachable(f"the mirror ended blob {blob.digest[:19]} after {offset} of {blob.size} bytes")
        _check_digest(blob.digest, f"sha256:{hasher.hexdigest()}", what=f"a blob of {reference}")
        _sync(file)


def _copy(
    stream: BinaryIO,
    file: BinaryIO,
    hasher: Hasher,
    offset: int,
    *,
    blob: Descriptor,
    note: Callable[[int], None],
) -> int:
    while chunk := stream.read(CHUNK):
        offset += len(chunk)
        if offset > blob.size:
            raise ImageInvalid(f"blob {blob.digest[:19]} is longer than the {blob.size} bytes announced")
        hasher.update(chunk)
        try:
            file.write(chunk)
        except OSError as error:
            raise describe_write_error(error, file.name) from error
        note(offset)
    return offset


def _sync(file: BinaryIO) -> None:
    try:
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise describe_write_error(error, file.name) from error


def describe_write_error(error: OSError, name: str) -> AgentError:
    """Return what to raise for a failed write: NoSpace where the volume (or a limit) is full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return NoSpace(
            f"no space left while writing {name}",
            hint="free space on the volume and try again; the running system is unchanged",
        )
    return AgentError(f"cannot write {name}: {error.strerror}", hint="check the disk")


def _hash_partial(partial: Path, size: int) -> tuple[Hasher, int]:
    """Hash what an earlier attempt left; more than the blob's size is worth nothing."""
    hasher = hashlib.sha256()
    if _size_of(partial) > size:
        partial.unlink()
    if not partial.exists():
        return hasher, 0
    with partial.open("rb") as file:
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
        return hasher, file.tell()


def _describe(digest: str, manifest: Manifest, directory: Path, reference: ImageReference) -> PulledImage:
    config_path = _blob_path(directory, manifest.config.digest)
    config = _decode(config_path.read_bytes(), ImageConfig, what=f"the configuration of {reference}")
    diff_ids = config.rootfs.diff_ids
    if len(diff_ids) != len(manifest.layers):
        raise ImageInvalid(f"{reference} names {len(diff_ids)} layers and holds {len(manifest.layers)}")
    labels = (config.config.labels if config.config else None) or {}
    layers = [
        Layer(_blob_path(directory, layer.digest), layer.media_type, layer.size, diff_id)
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
    ]
    image = PulledImage(digest, labels.get(VERSION_LABEL, "") or reference.tag, layers)
    write_durably(directory / "image.json", msgspec.json.encode(_Kept.of(image)))
    return image


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What `load_pulled` needs after a crash: names, no paths."""

    digest: str
    version: str
    layers: list[tuple[str, str, int, str]]

    @staticmethod
    def of(image: PulledImage) -> "_Kept":
        layers = [(layer.path.name, layer.media_type, layer.size, layer.diff_id) for layer in image.layers]
        return _Kept(digest=image.digest, version=image.version, layers=layers)


def load_pulled(directory: Path) -> PulledImage:
    """Return what the last finished pull into `directory` left there."""
    try:
        content = (directory / "image.json").read_bytes()
    except OSError as error:
        raise ImageInvalid("the pulled image is gone from the persistent volume") from error
    kept = _decode(content, _Kept, what="the pulled image's record")
    layers = [
        Layer(directory / name, media_type, size, diff_id) for name, media_type, size, diff_id in kept.layers
    ]
    return PulledImage(kept.digest, kept.version, layers)


def _choose_platform(index: Index, reference: ImageReference) -> Descriptor:
    machine = platform.machine()
    wanted = Platform(architecture=ARCHITECTURES.get(machine, machine), os="linux")
    for descriptor in index.manifests:
        if descriptor.platform is None or descriptor.platform == wanted:
            return descriptor
    raise ImageInvalid(f"{reference} has no image for {wanted.os}/{wanted.architecture}")


def _kind_of(content: bytes, media_type: str) -> str:
    """The document's own word, else the server's."""
    try:
        own = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).get("mediaType")
        return str(msgspec.json.decode(own, type=str)) if own is not None else media_type
    except msgspec.MsgspecError as error:
        raise ImageInvalid(f"a manifest is not JSON: {error}") from error


def _decode(content: bytes, type: type[T], *, what: str) -> T:
    if len(content) > max(MAX_MANIFEST_BYTES, MAX_CONFIG_BYTES):
        raise ImageInvalid(f"{what} is too large")
    try:
        return msgspec.json.decode(content, type=type)
    except msgspec.MsgspecError as error:
        raise ImageInvalid(f"{what} cannot be read: {error}") from error


def _digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _check_digest(wanted: str, found: str, *, what: str) -> None:
    if wanted != found:
        raise DigestMismatch(
            f"{what} should be {wanted} but is {found}",
            hint="the mirror's copy is damaged or was tampered with; load the bundle again",
        )


def _blob_path(directory: Path, digest: str) -> Path:
    return directory / digest.partition(":")[2]


def _partial_path(directory: Path, digest: str) -> Path:
    return directory / f"{digest.partition(':')[2]}.partial"


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
