"""Loading: what arrives, what is refused, and that a refusal leaves the mirror as it was."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from bundles.errors import (
    BadSignature,
    Cancelled,
    DigestMismatch,
    IncompleteImage,
    MissingBlob,
    NoSpace,
    NotABundle,
    Refused,
    SizeMismatch,
    TooLarge,
    UnexpectedFile,
    UnsafeEntry,
    Unsigned,
    UntrustedSigner,
)
from bundles.load import load
from bundles.manifest import BundleManifest, render_manifest
from bundles.progress import ProgressEvent
from bundles.signing import sign
from mirror.limits import Limits
from mirror.registry import Registry
from tests.bundles.factories import KEY, STRANGER, TRUST, files_of, flip_bit, make_bundle, picture


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path)


@pytest.fixture
def untouched(registry: Registry, tmp_path: Path) -> Iterator[None]:
    """The mirror holds something before the test and exactly that after it."""
    other = make_bundle(tmp_path, versions=("0",), payload_bytes=500, name="earlier")
    load(other, trust=TRUST, registry=registry)
    before = picture(tmp_path / "mirror")
    yield
    assert picture(tmp_path / "mirror") == before


def resign(bundle: Path, change: Callable[[BundleManifest], BundleManifest]) -> None:
    """What a trusted signer with bad intentions, or a faulty packer, could make."""
    manifest = msgspec.json.decode((bundle / "bundle.json").read_bytes(), type=BundleManifest)
    content = render_manifest(change(manifest))
    (bundle / "bundle.json").write_bytes(content)
    (bundle / "bundle.json.sig").write_bytes(sign(content, KEY))


def blobs_of(bundle: Path) -> list[Path]:
    return sorted((bundle / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)


def test_the_mirror_holds_what_the_bundle_held(bundle: Path, registry: Registry) -> None:
    loaded = load(bundle, trust=TRUST, registry=registry)

    assert [image.reference for image in loaded.images] == ["os/demo:1", "os/demo:2"]
    assert registry.list_tags("os/demo") == ["1", "2"]
    for image in loaded.images:
        assert registry.get_manifest("os/demo", image.reference.partition(":")[2]).digest == image.digest
        assert registry.get_manifest("os/demo", image.digest).digest == image.digest
    for blob in blobs_of(bundle):
        assert registry.has_blob(f"sha256:{blob.name}")
    assert loaded.signer == KEY.public.key_id
    assert (loaded.blobs_written, loaded.blobs_present) == (5, 0)


def test_loading_twice_changes_nothing(bundle: Path, registry: Registry, tmp_path: Path) -> None:
    load(bundle, trust=TRUST, registry=registry)
    before = picture(tmp_path / "mirror")
    written = (tmp_path / "mirror/index.db-wal").read_bytes()

    again = load(bundle, trust=TRUST, registry=registry)

    assert picture(tmp_path / "mirror") == before
    assert (tmp_path / "mirror/index.db-wal").read_bytes() == written
    assert (again.blobs_written, again.bytes_written, again.blobs_present) == (0, 0, 5)
    assert all(image.was_present for image in again.images)


def test_a_blob_that_the_mirror_lost_is_brought_back(bundle: Path, registry: Registry) -> None:
    load(bundle, trust=TRUST, registry=registry)
    digest = f"sha256:{blobs_of(bundle)[-1].name}"
    registry.delete_blob("os/demo", digest)

    load(bundle, trust=TRUST, registry=registry)

    assert registry.has_blob(digest, "os/demo")


def test_a_tag_that_points_elsewhere_is_moved(bundle: Path, registry: Registry) -> None:
    loaded = load(bundle, trust=TRUST, registry=registry)
    registry.put_tags("os/demo", ["1"], loaded.images[1].digest)

    again = load(bundle, trust=TRUST, registry=registry)

    assert [image.was_present for image in again.images] == [False, True]
    assert registry.get_manifest("os/demo", "1").digest == loaded.images[0].digest


def test_a_flipped_bit_in_any_file_is_refused(bundle: Path, registry: Registry, untouched: None) -> None:
    names = files_of(bundle)
    assert {"bundle.json", "bundle.json.sig", "index.json", "oci-layout"} < set(names)

    for name in names:
        size = (bundle / name).stat().st_size
        for position in {0, size // 2, size - 1}:
            flip_bit(bundle / name, position)
            with pytest.raises(Refused):
                load(bundle, trust=TRUST, registry=registry)
            flip_bit(bundle / name, position)


def test_a_damaged_blob_is_named_with_its_digest(bundle: Path, registry: Registry, untouched: None) -> None:
    blob = blobs_of(bundle)[-1]
    flip_bit(blob, 5_000, bit=3)

    with pytest.raises(DigestMismatch, match=f"blobs/sha256/{blob.name}.*sha256:{blob.name}"):
        load(bundle, trust=TRUST, registry=registry)


@pytest.mark.parametrize(("name", "refusal"), [("bundle.json", BadSignature), ("index.json", DigestMismatch)])
def test_a_damaged_list_has_its_own_refusal(
    bundle: Path, registry: Registry, untouched: None, name: str, refusal: type[Refused]
) -> None:
    flip_bit(bundle / name, 20)

    with pytest.raises(refusal, match=name):
        load(bundle, trust=TRUST, registry=registry)


def test_an_unknown_signer_is_refused(tmp_path: Path, registry: Registry, untouched: None) -> None:
    bundle = make_bundle(tmp_path, key=STRANGER)

    with pytest.raises(UntrustedSigner, match=STRANGER.public.key_id):
        load(bundle, trust=TRUST, registry=registry)


def test_an_appliance_that_trusts_nobody_loads_nothing(
    bundle: Path, registry: Registry, untouched: None
) -> None:
    with pytest.raises(UntrustedSigner):
        load(bundle, trust={}, registry=registry)


def test_an_unsigned_bundle_is_refused(bundle: Path, registry: Registry, untouched: None) -> None:
    (bundle / "bundle.json.sig").unlink()

    with pytest.raises(Unsigned, match="demo"):
        load(bundle, trust=TRUST, registry=registry)


def test_a_signature_from_another_bundle_is_refused(
    tmp_path: Path, bundle: Path, registry: Registry, untouched: None
) -> None:
    other = make_bundle(tmp_path, versions=("9",), name="other")
    shutil.copy(other / "bundle.json.sig", bundle / "bundle.json.sig")

    with pytest.raises(BadSignature):
        load(bundle, trust=TRUST, registry=registry)


def test_any_missing_blob_is_refused_by_name(bundle: Path, registry: Registry, untouched: None) -> None:
    for blob in blobs_of(bundle):
        aside = bundle.parent / "aside"
        blob.rename(aside)
        with pytest.raises(MissingBlob, match=blob.name):
            load(bundle, trust=TRUST, registry=registry)
        aside.rename(blob)


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
def test_a_missing_file_is_refused_by_name(
    bundle: Path, registry: Registry, untouched: None, name: str
) -> None:
    (bundle / name).unlink()

    with pytest.raises(MissingBlob, match=name):
        load(bundle, trust=TRUST, registry=registry)


@pytest.mark.parametrize("change", [-1, -9_000, 1])
def test_a_blob_of_another_length_is_refused(
    bundle: Path, registry: Registry, untouched: None, change: int
) -> None:
    blob = blobs_of(bundle)[-1]
    os.truncate(blob, blob.stat().st_size + change)

    with pytest.raises(SizeMismatch, match=blob.name):
        load(bundle, trust=TRUST, registry=registry)


@pytest.mark.parametrize(
    "name", ["notes.txt", "blobs/sha256/extra", "blobs/extra", ".DS_Store", "deep/er/file"]
)
def test_an_extra_file_is_refused(bundle: Path, registry: Registry, untouched: None, name: str) -> None:
    (bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / name).write_text("surprise")

    with pytest.raises(UnexpectedFile, match=name.partition("/")[0]):
        load(bundle, trust=TRUST, registry=registry)


@pytest.mark.parametrize(
    "name", ["bundle.json", "bundle.json.sig", "index.json", "blobs", "blobs/sha256", "blob"]
)
def test_a_symbolic_link_is_refused(bundle: Path, registry: Registry, untouched: None, name: str) -> None:
    path = blobs_of(bundle)[0] if name == "blob" else bundle / name
    path.rename(bundle.parent / "elsewhere")
    path.symlink_to(bundle.parent / "elsewhere")

    with pytest.raises(UnsafeEntry):
        load(bundle, trust=TRUST, registry=registry)


def test_a_link_that_appears_during_the_load_is_refused(
    bundle: Path, registry: Registry, untouched: None
) -> None:
    def swap(event: ProgressEvent) -> None:
        for blob in blobs_of(bundle):
            if not blob.is_symlink() and blob.name not in event.what:
                blob.rename(bundle.parent / blob.name)
                blob.symlink_to(bundle.parent / blob.name)

    with pytest.raises(UnsafeEntry):
        load(bundle, trust=TRUST, registry=registry, progress=swap)


def test_a_pipe_is_refused_without_waiting_for_it(bundle: Path, registry: Registry, untouched: None) -> None:
    (bundle / "bundle.json.sig").unlink()
    os.mkfifo(bundle / "bundle.json.sig")

    with pytest.raises(UnsafeEntry, match=r"bundle\.json\.sig"):
        load(bundle, trust=TRUST, registry=registry)


@pytest.mark.parametrize("name", ["bundle.json", "bundle.json.sig"])
def test_an_oversized_list_is_not_read(bundle: Path, registry: Registry, untouched: None, name: str) -> None:
    with (bundle / name).open("r+b") as file:
        file.truncate(10 * 1024 * 1024 * 1024)

    with pytest.raises(TooLarge, match=name):
        load(bundle, trust=TRUST, registry=registry)


def test_what_is_no_bundle_is_refused(tmp_path: Path, registry: Registry, untouched: None) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")

    for name in ("empty", "file", "nothing"):
        with pytest.raises(NotABundle, match=name):
            load(tmp_path / name, trust=TRUST, registry=registry)


def test_a_signed_path_that_leaves_the_bundle_is_refused(
    bundle: Path, registry: Registry, untouched: None
) -> None:
    resign(
        bundle,
        lambda manifest: msgspec.structs.replace(
            manifest,
            files=[msgspec.structs.replace(each, path=f"../{each.path}") for each in manifest.files],
        ),
    )

    with pytest.raises(UnsafeEntry, match=r"\.\./index\.json"):
        load(bundle, trust=TRUST, registry=registry)


def test_a_signed_bundle_without_all_of_an_image_is_refused(
    bundle: Path, registry: Registry, untouched: None
) -> None:
    layer = blobs_of(bundle)[-1]
    layer.unlink()
    resign(
        bundle,
        lambda manifest: msgspec.structs.replace(
            manifest, blobs=[each for each in manifest.blobs if layer.name not in each.digest]
        ),
    )

    with pytest.raises(IncompleteImage, match=layer.name):
        load(bundle, trust=TRUST, registry=registry)


def test_a_signed_blob_that_no_image_uses_is_refused(
    bundle: Path, registry: Registry, untouched: None
) -> None:
    resign(bundle, lambda manifest: msgspec.structs.replace(manifest, images=manifest.images[:1]))

    with pytest.raises(NotABundle, match="no image uses"):
        load(bundle, trust=TRUST, registry=registry)


def test_a_bundle_that_will_not_fit_is_refused_before_it_is_read(bundle: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "full", limits=Limits(free_space=2**60))
    before = picture(tmp_path / "full")

    with pytest.raises(NoSpace, match="demo"):
        load(bundle, trust=TRUST, registry=registry)

    assert picture(tmp_path / "full") == before
    registry.close()


def test_a_disk_that_fills_up_during_the_copy_leaves_nothing(
    tmp_path: Path, registry: Registry, untouched: None
) -> None:
    bundle = make_bundle(tmp_path, payload_bytes=3_000_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(NoSpace):
            load(bundle, trust=TRUST, registry=registry)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_blob_over_the_mirrors_limit_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "small", limits=Limits(blob_bytes=5_000))
    before = picture(tmp_path / "small")

    with pytest.raises(TooLarge):
        load(bundle, trust=TRUST, registry=registry)

    assert picture(tmp_path / "small") == before
    registry.close()


def test_cancelling_at_any_event_leaves_nothing_or_completes(
    bundle: Path, registry: Registry, untouched: None
) -> None:
    events: list[ProgressEvent] = []

    for stop_at in range(1, 7):
        events.clear()

        def follow(event: ProgressEvent, limit: int = stop_at) -> None:
            events.append(event)
            if len(events) == limit:
                raise Cancelled("stopped by the technician")

        with pytest.raises(Cancelled):
            load(bundle, trust=TRUST, registry=registry, progress=follow)
    assert events[-1].phase == "publishing"


def test_progress_counts_every_byte_once_and_never_backwards(bundle: Path, registry: Registry) -> None:
    events: list[ProgressEvent] = []

    loaded = load(bundle, trust=TRUST, registry=registry, progress=events.append)

    copying = [event for event in events if event.phase == "copying"]
    assert [event.done for event in copying] == sorted(event.done for event in copying)
    assert copying[-1].done == copying[-1].total == loaded.bytes_written


KILLED = """
import os, signal, sys
from pathlib import Path
from bundles.load import load
from bundles.signing import load_trust
from mirror.registry import Registry

count = 0
def follow(event):
    global count
    count += 1
    if count == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

bundle, root = Path(sys.argv[1]), Path(sys.argv[2])
load(bundle, trust=load_trust(bundle.parent), registry=Registry(root), progress=follow)
"""


@pytest.mark.parametrize("event", [1, 3, 6])
def test_a_load_that_was_killed_can_be_run_again(bundle: Path, tmp_path: Path, event: int) -> None:
    (tmp_path / "site.pub").write_bytes(KEY.public.render())
    command = [sys.executable, "-c", KILLED, str(bundle), str(tmp_path / "mirror"), str(event)]

    killed = subprocess.run(command, check=False)
    assert killed.returncode == -9
    registry = Registry(tmp_path / "mirror")
    assert registry.list_repositories() == []
    loaded = load(bundle, trust=TRUST, registry=registry)

    assert loaded.bytes_written > 0
    assert registry.list_tags("os/demo") == ["1", "2"]
    registry.close()
