"""A bundle on disk: a directory that is opened with suspicion and never written to.

    oci-layout  index.json         so that skopeo, oras and crane read it as an OCI image layout
    blobs/<algorithm>/<hex>        content, manifests too
    bundle.json                    what all of that is (`bundles.manifest`)
    bundle.json.sig                who says so (`bundles.signing`)

`open_bundle` believes nothing before the signature is checked, and nothing after that is not listed in the
signed manifest. Links are never followed. What it returns has the right names and sizes; the content of the
blobs is checked where they are read.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bundles.errors import (
    DigestMismatch,
    MissingBlob,
    NotABundle,
    Refused,
    SizeMismatch,
    TooLarge,
    UnexpectedFile,
    Unreadable,
    UnsafeEntry,
    Unsigned,
)
from bundles.graph import ImageGraph, check_held, walk_image
from bundles.manifest import (
    MAX_IMAGE_MANIFEST_BYTES,
    MAX_MANIFEST_BYTES,
    BundledBlob,
    BundledFile,
    BundledImage,
    BundleManifest,
    parse_manifest,
)
from bundles.signing import MAX_SIGNATURE_BYTES, Trust, verify
from mirror.oci import Descriptor

MANIFEST_NAME = "bundle.json"
SIGNATURE_NAME = "bundle.json.sig"
INDEX_NAME = "index.json"
LAYOUT_NAME = "oci-layout"
LAYOUT_CONTENT = b'{"imageLayoutVersion":"1.0.0"}'
MAX_FILE_BYTES = 64 * 1024 * 1024
COPY_AGAIN = "copy the bundle again from its source"


@dataclass(frozen=True, slots=True)
class BlobReader:
    """Gives a blob's bytes; what the medium does not give back is Unreadable, not an OSError."""

    _fd: int
    _name: str

    def read_into(self, buffer: memoryview) -> int:
        try:
            return os.readv(self._fd, [buffer])
        except OSError as error:
            raise _unreadable(self._name, error) from error


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. `signer` is the id of the key that signed it."""

    path: Path
    manifest: BundleManifest
    signer: str

    @contextmanager
    def open_blob(self, blob: BundledBlob) -> Iterator["BlobReader"]:
        """A reader of a blob whose content is not yet checked."""
        fd = _open(self.path, blob.path)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            yield BlobReader(fd, blob.path)
        finally:
            os.close(fd)

    def read_manifest(self, descriptor: Descriptor) -> bytes:
        """The checked bytes of one of the image manifests inside."""
        blob = self.blobs.get(descriptor.digest)
        if blob is None:
            raise MissingBlob(f"bundle {self.manifest.name} does not list manifest {descriptor.digest}")
        content = _read(self.path, blob.path, limit=MAX_IMAGE_MANIFEST_BYTES)
        check_content(blob.path, content, digest=blob.digest)
        return content

    def graph(self, image: BundledImage) -> ImageGraph:
        """What an image in the bundle is made of; raise IncompleteImage unless the bundle holds all of it."""
        root = Descriptor(
            media_type=image.media_type, digest=image.digest, size=self.blobs[image.digest].size
        )
        graph = walk_image(root, self.read_manifest)
        check_held(
            image.reference,
            graph,
            lambda digest: self.blobs[digest].size if digest in self.blobs else None,
        )
        return graph

    def graphs(self) -> list[tuple[BundledImage, ImageGraph]]:
        """All images; raise NotABundle if the bundle holds a blob that none of them uses."""
        graphs = [(image, self.graph(image)) for image in self.manifest.images]
        used = set[str]().union(*(graph.digests for _, graph in graphs))
        for digest in self.blobs.keys() - used:
            raise NotABundle(f"bundle.json lists blob {digest}, which no image uses")
        return graphs

    @cached_property
    def blobs(self) -> Mapping[str, BundledBlob]:
        return {blob.digest: blob for blob in self.manifest.blobs}


def open_bundle(path: Path, trust: Trust) -> Bundle:
    """Check the signature, then that exactly the listed files are there, then the small ones' content."""
    if not path.is_dir():
        raise NotABundle(f"{path} is not a bundle: it is not a directory")
    content = _read_if_there(path, MANIFEST_NAME, limit=MAX_MANIFEST_BYTES)
    if content is None:
        raise NotABundle(f"{path} is not a bundle: it has no {MANIFEST_NAME}")
    signature = _read_if_there(path, SIGNATURE_NAME, limit=MAX_SIGNATURE_BYTES)
    if signature is None:
        raise Unsigned(
            f"bundle {path.name} is not signed: it has no {SIGNATURE_NAME}",
            hint="sign it where it is made: skerry bundle pack --key FILE",
        )
    signer = verify(content, signature, trust)
    bundle = Bundle(path, parse_manifest(content), signer)
    check_listing(bundle)
    for file in bundle.manifest.files:
        check_content(file.path, _read(path, file.path, limit=MAX_FILE_BYTES), digest=file.digest)
    return bundle


def check_listing(bundle: Bundle) -> None:
    """Raise unless exactly the files of the manifest are there, as plain files of the right size."""
    listed: dict[str, BundledFile | BundledBlob | None] = {MANIFEST_NAME: None, SIGNATURE_NAME: None}
    listed |= {file.path: file for file in bundle.manifest.files}
    listed |= {blob.path: blob for blob in bundle.manifest.blobs}
    folders = {str(parent) for name in listed for parent in Path(name).parents}
    found: set[str] = set()
    for name, status in _entries(bundle.path, folders):
        if not stat.S_ISREG(status.st_mode):
            raise UnsafeEntry(f"{name} in the bundle is not a plain file", hint=COPY_AGAIN)
        if name not in listed:
            raise UnexpectedFile(
                f"{name} in the bundle is not listed in the signed {MANIFEST_NAME}",
                hint="remove it if it is not meant to be there",
            )
        expected = listed[name]
        if expected is not None and status.st_size != expected.size:
            raise SizeMismatch(
                f"{name} in the bundle ({expected.digest}) has {status.st_size} bytes"
                f" instead of {expected.size}",
                hint=COPY_AGAIN,
            )
        found.add(name)
    for name, expected in listed.items():
        if name not in found and expected is not None:
            raise MissingBlob(f"{name} ({expected.digest}) is missing from the bundle", hint=COPY_AGAIN)


def check_content(name: str, content: bytes, *, digest: str) -> None:
    actual = hashlib.new(digest.partition(":")[0], content).hexdigest()
    if actual != digest.partition(":")[2]:
        raise damaged(name, digest=digest)


def damaged(name: str, *, digest: str) -> DigestMismatch:
    return DigestMismatch(
        f"{name} in the bundle is damaged: its content does not have digest {digest}", hint=COPY_AGAIN
    )


def _entries(root: Path, folders: set[str], inside: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Everything below `root` that is not one of `folders`, without following a link."""
    with os.scandir(root / inside) as entries:
        for entry in entries:
            name = f"{inside}/{entry.name}" if inside else entry.name
            if entry.is_dir(follow_symlinks=False) and name in folders:
                yield from _entries(root, folders, name)
            elif entry.is_dir(follow_symlinks=False):
                raise UnexpectedFile(
                    f"the folder {name} in the bundle is not part of it",
                    hint="remove it if it is not meant to be there",
                )
            else:
                yield name, entry.stat(follow_symlinks=False)


def _read_if_there(root: Path, name: str, *, limit: int) -> bytes | None:
    try:
        return _read(root, name, limit=limit)
    except MissingBlob:
        return None


def _read(root: Path, name: str, *, limit: int) -> bytes:
    fd = _open(root, name)
    try:
        with os.fdopen(fd, "rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise _unreadable(name, error) from error
    if len(content) > limit:
        raise TooLarge(f"{name} in the bundle is larger than the {limit} bytes that are read of it")
    return content


def _open(root: Path, name: str) -> int:
    """Open a plain file; the folders on the way were checked by `check_listing` where they are not `root`."""
    try:
        fd = os.open(root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise MissingBlob(f"{name} is missing from the bundle", hint=COPY_AGAIN) from error
    except OSError as error:
        if (root / name).is_symlink():
            raise UnsafeEntry(f"{name} in the bundle is not a plain file", hint=COPY_AGAIN) from error
        raise _unreadable(name, error) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnsafeEntry(f"{name} in the bundle is not a plain file", hint=COPY_AGAIN)
    return fd


def _unreadable(name: str, error: OSError) -> Refused:
    return Unreadable(
        f"{name} in the bundle cannot be read: {error.strerror}",
        hint="the medium may be failing or was pulled out; try again, or copy the bundle to another one",
    )
