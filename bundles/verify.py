"""Check every byte of a bundle, without a mirror. What a load checks, and nothing less."""

import hashlib
from pathlib import Path

from bundles.archive import Bundle, damaged, open_bundle
from bundles.manifest import BundledBlob, BundleManifest
from bundles.progress import Meter, Progress, ignore_progress
from bundles.signing import Trust

READ_BYTES = 4 * 1024 * 1024


def check_bundle(path: Path, trust: Trust, progress: Progress = ignore_progress) -> BundleManifest:
    """Return the manifest of a bundle that is whole and signed by a trusted key, or raise a Refused."""
    bundle = open_bundle(path, trust)
    bundle.graphs()
    meter = Meter(progress, "checking", total=bundle.manifest.size)
    for blob in bundle.manifest.blobs:
        _check_blob(bundle, blob, meter)
    return bundle.manifest


def _check_blob(bundle: Bundle, blob: BundledBlob, meter: Meter) -> None:
    state = hashlib.new(blob.digest.partition(":")[0])
    buffer = memoryview(bytearray(min(READ_BYTES, blob.size + 1)))
    with bundle.open_blob(blob) as reader:
        while count := reader.read_into(buffer):
            state.update(buffer[:count])
            meter.advance(count, blob.path)
    if state.hexdigest() != blob.digest.partition(":")[2]:
        raise damaged(blob.path, digest=blob.digest)
