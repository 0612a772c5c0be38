"""Verification without a mirror: every bit counts."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.errors import DigestMismatch, Refused, Unsigned
from bundles.progress import ProgressEvent
from bundles.verify import check_bundle
from tests.bundles.factories import TRUST, files_of, flip_bit, make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("verify"), payload_bytes=2_000)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bit_of_no_file_can_change_unnoticed(bundle: Path, data: st.DataObject) -> None:
    path = bundle / data.draw(st.sampled_from(files_of(bundle)))
    position = data.draw(st.integers(0, path.stat().st_size - 1))
    bit = data.draw(st.integers(0, 7))

    flip_bit(path, position, bit=bit)
    try:
        with pytest.raises(Refused):
            check_bundle(bundle, TRUST)
    finally:
        flip_bit(path, position, bit=bit)


def test_a_whole_bundle_gives_its_manifest_and_counts_every_byte(bundle: Path) -> None:
    events: list[ProgressEvent] = []

    manifest = check_bundle(bundle, TRUST, events.append)

    assert [image.reference for image in manifest.images] == ["os/demo:1", "os/demo:2"]
    assert events[-1].done == events[-1].total == manifest.size


def test_an_unsigned_bundle_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, versions=("1",))
    (bundle / "bundle.json.sig").unlink()

    with pytest.raises(Unsigned):
        check_bundle(bundle, TRUST)


def test_a_damaged_layer_is_named(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, versions=("1",))
    layer = max((bundle / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    flip_bit(layer, 100)

    with pytest.raises(DigestMismatch, match=layer.name):
        check_bundle(bundle, TRUST)
