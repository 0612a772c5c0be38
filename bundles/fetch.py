"""Bring an image from a registry into a layout folder, ready to be packed. Connected side only."""

from pathlib import Path

from bundles.errors import SourceError
from bundles.pack import Source
from bundles.progress import Phase, Progress, ProgressEvent, ignore_progress
from mirror import copying
from mirror.errors import MirrorError
from mirror.layout import Layout

_PHASE: Phase = "copying"


def fetch_image(
    origin: copying.Source,
    reference: str,
    *,
    into: Path,
    name: str,
    progress: Progress = ignore_progress,
) -> Source:
    """Copy what `reference` (a tag or digest) names at `origin` into the layout `into`, and name it `name`.

    `name` is repository:tag, as the image shall be called in the mirror. How much there is to copy is not
    known before, so the events' total is 0. Blobs that an earlier fetch left in the layout are not asked for.
    """
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        progress(ProgressEvent(_PHASE, done, 0, name))

    layout = Layout(into)
    try:
        copying.copy_image(origin, layout, reference, tag=name, progress=tell)
    except MirrorError as error:
        raise SourceError(f"{reference} could not be fetched: {error}", hint=error.hint) from error
    finally:
        layout.close()
    return Source(into, name, name=name)
