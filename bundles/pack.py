"""Make a bundle on the connected side: images out of OCI layouts, into one signed directory.

The bundle appears under its name only when it is whole, signed and on the disk. What is copied is checked on
the way, so a damaged layout cannot become a bundle with a good signature.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bundles.archive import INDEX_NAME, LAYOUT_CONTENT, LAYOUT_NAME, MANIFEST_NAME, SIGNATURE_NAME
from bundles.errors import BundleError, NoSpace, OutputExists, SourceError
from bundles.graph import LABEL_KIND, LABEL_TITLE, LABEL_VERSION, ImageGraph, parse_labels, walk_image
from bundles.layout import REF_NAME, OciLayout, render_index, sync_directory, write_file
from bundles.manifest import (
    MAX_IMAGE_MANIFEST_BYTES,
    BundledBlob,
    BundledFile,
    BundledImage,
    BundleManifest,
    ImageKind,
    check_manifest,
    check_reference,
    is_bundle_name,
    render_manifest,
)
from bundles.progress import Meter, Progress, ignore_progress
from bundles.signing import PrivateKey, sign
from mirror.errors import MirrorError
from mirror.oci import Descriptor

COPY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """An image in an OCI layout, and what it shall be called in the mirror (repository:tag).

    `name` is its name in the layout and may be empty if the layout holds one image. What is left empty of
    the rest is taken from the image's labels.
    """

    layout: Path
    reference: str
    name: str = ""
    display_name: str = ""
    kind: ImageKind | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    source: Source
    layout: OciLayout
    root: Descriptor
    graph: ImageGraph


def pack(
    sources: Sequence[Source],
    output: Path,
    *,
    key: PrivateKey,
    name: str,
    sequence: int = 0,
    created: datetime | None = None,
    progress: Progress = ignore_progress,
) -> BundleManifest:
    """Write a bundle of `sources` to the new directory `output` and return its manifest."""
    if not is_bundle_name(name):
        raise SourceError(f"{name[:80]!r} is not a bundle name", hint="use letters, digits, . _ and -")
    if output.exists() or output.is_symlink():
        raise OutputExists(f"{output} exists already", hint="choose another name or remove it")
    if not sources:
        raise SourceError(f"bundle {name} would be empty", hint="name at least one image")
    found = [_find(source) for source in sources]
    origins = _blob_origins(found)
    manifest = BundleManifest(
        name=name,
        created=(created or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        sequence=sequence,
        images=[_describe(each) for each in found],
        blobs=[BundledBlob(digest=digest, size=size) for digest, (_, size) in sorted(origins.items())],
        files=[_listed(INDEX_NAME, _index_of(found)), _listed(LAYOUT_NAME, LAYOUT_CONTENT)],
    )
    check_manifest(manifest)
    output.parent.mkdir(parents=True, exist_ok=True)
    _check_room(output, manifest)
    temporary = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name[:80]}."))
    try:
        _write_content(temporary, origins, manifest=manifest, progress=progress)
        write_file(temporary / INDEX_NAME, _index_of(found))
        write_file(temporary / LAYOUT_NAME, LAYOUT_CONTENT)
        content = render_manifest(manifest)
        write_file(temporary / MANIFEST_NAME, content)
        write_file(temporary / SIGNATURE_NAME, sign(content, key))
        temporary.chmod(0o755)
        os.rename(temporary, output)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, BundleError):
            raise _explained(error, output) from error
        raise
    sync_directory(output.parent)
    return manifest


def _find(source: Source) -> _Found:
    check_reference(source.reference)
    layout = OciLayout(source.layout)
    try:
        root = layout.find(source.name)
        return _Found(source, layout, root, walk_image(root, layout.read_manifest))
    except MirrorError as error:
        raise SourceError(f"{source.layout} cannot be packed: {error}", hint=error.hint) from error


def _blob_origins(found: Sequence[_Found]) -> dict[str, tuple[Path, int]]:
    """Where each blob is to be copied from, and its size; each digest once."""
    origins: dict[str, tuple[Path, int]] = {}
    for each in found:
        for descriptor in [*(part.descriptor for part in each.graph.manifests), *each.graph.blobs]:
            path = each.layout.blob_path(descriptor.digest)
            try:
                size = path.stat().st_size
            except FileNotFoundError as error:
                raise SourceError(
                    f"image {each.source.reference} needs {descriptor.digest},"
                    f" which {each.source.layout} lacks",
                    hint="copy the image again with all its platforms, or choose one platform",
                ) from error
            if size != descriptor.size:
                raise SourceError(
                    f"{path} has {size} bytes, but its image says {descriptor.size}",
                    hint="copy the image again",
                )
            origins[descriptor.digest] = (path, size)
    return origins


def _describe(each: _Found) -> BundledImage:
    labels = _labels(each)
    repository, _, tag = each.source.reference.rpartition(":")
    return BundledImage(
        reference=each.source.reference,
        digest=each.root.digest,
        media_type=each.root.media_type,
        size=each.graph.size,
        version=labels.get(LABEL_VERSION, "") or tag,
        display_name=each.source.display_name or labels.get(LABEL_TITLE, "") or repository,
        kind=each.source.kind or ("os" if labels.get(LABEL_KIND) == "os" else "image"),
    )


def _labels(each: _Found) -> dict[str, str]:
    config = each.graph.config
    if config is None or config.size > MAX_IMAGE_MANIFEST_BYTES:
        return {}
    return parse_labels(each.layout.read_blob(config, limit=MAX_IMAGE_MANIFEST_BYTES))


def _index_of(found: Sequence[_Found]) -> bytes:
    return render_index(
        [
            Descriptor(
                media_type=each.root.media_type,
                digest=each.root.digest,
                size=each.root.size,
                annotations={REF_NAME: each.source.reference},
            )
            for each in found
        ]
    )


def _listed(path: str, content: bytes) -> BundledFile:
    return BundledFile(path=path, digest=f"sha256:{hashlib.sha256(content).hexdigest()}", size=len(content))


def _write_content(
    target: Path, origins: dict[str, tuple[Path, int]], *, manifest: BundleManifest, progress: Progress
) -> None:
    meter = Meter(progress, "copying", total=manifest.size)
    folders = {(target / blob.path).parent for blob in manifest.blobs}
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for blob in manifest.blobs:
        _copy(origins[blob.digest][0], target / blob.path, blob=blob, meter=meter)
    for folder in (*folders, target / "blobs"):
        sync_directory(folder)


def _copy(source: Path, target: Path, *, blob: BundledBlob, meter: Meter) -> None:
    algorithm, _, encoded = blob.digest.partition(":")
    state = hashlib.new(algorithm)
    buffer = memoryview(bytearray(COPY_BYTES))
    with source.open("rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
        while count := reader.readinto(buffer):
            state.update(buffer[:count])
            _write_all(writer.fileno(), buffer[:count])
            meter.advance(count, blob.path)
        os.fsync(writer.fileno())
    if state.hexdigest() != encoded:
        raise SourceError(f"{source} is damaged: its content has another digest", hint="copy the image again")


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _check_room(output: Path, manifest: BundleManifest) -> None:
    disk = os.statvfs(output.parent)
    free = disk.f_bavail * disk.f_frsize
    if free < manifest.size:
        raise NoSpace(
            f"bundle {manifest.name} needs {manifest.size} bytes, but {output.parent} has {free} free",
            hint="choose a larger disk or fewer images",
        )


def _explained(error: OSError, output: Path) -> BundleError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return NoSpace(
            f"{output} cannot be written: {error.strerror}", hint="choose a larger disk or fewer images"
        )
    return SourceError(f"{output} cannot be packed: {error}")
