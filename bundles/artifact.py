"""Files as an OCI artifact: what is no image still travels in bundles and lies in the mirror.

Each file is a layer as it is, named by its title annotation, as `oras push` writes and `oras pull` reads it.
Source: image-spec 1.1, "Guidelines for Artifact Usage".
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from bundles.errors import SourceError
from bundles.layout import REF_NAME, create_layout, render_index, write_blob, write_file, write_layer
from bundles.progress import Meter, Progress, ignore_progress
from mirror.oci import OCI_MANIFEST, Digest

TITLE = "org.opencontainers.image.title"
EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"
READ_BYTES = 1024 * 1024
MAX_FILES = 64
_TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,254}")


def write_artifact(
    output_layout: Path,
    files: Mapping[str, Path],
    *,
    name: str,
    artifact_type: str,
    annotations: Mapping[str, str],
    progress: Progress = ignore_progress,
) -> Digest:
    """Put an artifact called `name` (repository:tag) into the layout; `files` are title to path.

    Raises SourceError for a title that is no plain file name and for a file that cannot be read.
    """
    for title in files:
        check_title(title)
    layout = create_layout(output_layout)
    meter = Meter(progress, "copying", total=sum(_size(path) for path in files.values()))
    layers = []
    for title, path in files.items():
        layer = write_layer(layout, _chunks(path, title, meter), compression="none")
        descriptor = msgspec.structs.replace(
            layer.descriptor, media_type="application/octet-stream", annotations={TITLE: title}
        )
        layers.append(msgspec.to_builtins(descriptor))
    config = write_blob(layout, b"{}", media_type=EMPTY_CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": msgspec.to_builtins(config),
        "layers": layers,
        "annotations": dict(sorted(annotations.items())),
    }
    written = write_blob(layout, msgspec.json.encode(manifest), media_type=OCI_MANIFEST)
    others = [each for each in layout.index().manifests if each.annotations.get(REF_NAME) != name]
    named = msgspec.structs.replace(written, annotations={REF_NAME: name})
    write_file(layout.path / "index.json", render_index([*others, named]))
    return Digest(written.digest)


def check_title(title: str) -> None:
    """Raise SourceError unless a file of that name can be written safely into a folder of choice."""
    if not _TITLE.fullmatch(title):
        raise SourceError(
            f"{title[:80]!r} cannot be the name of a file in an artifact",
            hint="letters, digits and . _ + - only, beginning with a letter or digit",
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def _chunks(path: Path, title: str, meter: Meter) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(READ_BYTES):
                meter.advance(len(chunk), title)
                yield chunk
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
