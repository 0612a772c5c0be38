"""Layers that take minutes to make, kept below a folder under the hash of all that goes into them.

A layer is in the cache whole or not at all, and its digest is compared whenever it is taken out.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from bundles.errors import RecipeFailed
from bundles.layout import Compression, Layer, OciLayout, create_layout, write_file, write_layer
from mirror.oci import Digest

READ_BYTES = 1024 * 1024

MakeTar = Callable[[Path], Iterable[bytes]]  # given a folder to work in, which is removed afterwards


class CachedLayer(msgspec.Struct, frozen=True):
    media_type: str
    digest: str
    size: int
    diff_id: str


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skerry" / "os"


def take_layer(layout: OciLayout, cached: Path, make: MakeTar, *, compression: Compression = "gzip") -> Layer:
    """Put the layer of the folder `cached` into `layout`, made first if it never was.

    Raises RecipeFailed when what is cached is damaged, and whatever `make` raises.
    """
    if not (cached / "layer.json").exists():
        _make_into(cached, make, compression)
    known = msgspec.json.decode((cached / "layer.json").read_bytes(), type=CachedLayer)
    with (cached / "layer").open("rb") as content:
        stored = write_layer(layout, iter(lambda: content.read(READ_BYTES), b""), compression="none")
    if stored.descriptor.digest != known.digest:
        raise RecipeFailed(f"the cached layer {cached} is damaged", hint=f"remove it: rm -r {cached}")
    descriptor = msgspec.structs.replace(stored.descriptor, media_type=known.media_type)
    return Layer(descriptor, Digest(known.diff_id))


def _make_into(cached: Path, make: MakeTar, compression: Compression) -> None:
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent, prefix=f".{cached.name}-") as folder:
        work = Path(folder)
        layer = write_layer(create_layout(work / "layout"), make(work), compression=compression)
        finished = work / "finished"
        finished.mkdir(mode=0o755)
        descriptor = layer.descriptor
        (work / "layout" / "blobs" / descriptor.digest.replace(":", "/")).rename(finished / "layer")
        known = CachedLayer(descriptor.media_type, descriptor.digest, descriptor.size, layer.diff_id)
        write_file(finished / "layer.json", msgspec.json.encode(known))
        shutil.rmtree(cached, ignore_errors=True)
        finished.rename(cached)
