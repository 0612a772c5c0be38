"""What a load would change."""

from dataclasses import replace
from pathlib import Path

import pytest

from bundles.errors import NoSpace, UntrustedSigner
from bundles.load import load
from bundles.preview import preview_load
from mirror.limits import DEFAULT_LIMITS
from mirror.registry import Registry
from tests.bundles.factories import TRUST, make_bundle, picture


def test_an_empty_mirror_would_get_everything(tmp_path: Path, registry: Registry) -> None:
    bundle = make_bundle(tmp_path)
    before = picture(tmp_path / "mirror")

    preview = preview_load(bundle, trust=TRUST, registry=registry)

    assert [image.change for image in preview.images] == ["new", "new"]
    loaded = load(bundle, trust=TRUST, registry=registry)
    assert (preview.blobs_to_copy, preview.bytes_to_copy) == (loaded.blobs_written, loaded.bytes_written)
    assert picture(tmp_path / "mirror") != before


def test_only_what_is_missing_is_counted(tmp_path: Path, registry: Registry) -> None:
    first = load(make_bundle(tmp_path, versions=("1",)), trust=TRUST, registry=registry)
    registry.put_tags("os/demo", ["2"], first.images[0].digest)

    preview = preview_load(make_bundle(tmp_path, name="next"), trust=TRUST, registry=registry)

    assert [(image.reference, image.change) for image in preview.images] == [
        ("os/demo:1", "same"),
        ("os/demo:2", "moved"),
    ]
    assert preview.images[1].previous == first.images[0].digest
    assert (preview.blobs_to_copy, preview.blobs_present) == (2, 3)


def test_what_would_not_fit_is_refused_as_a_load_refuses_it(tmp_path: Path) -> None:
    small = Registry(tmp_path / "small", limits=replace(DEFAULT_LIMITS, quota=10))
    bundle = make_bundle(tmp_path)
    refusals = []
    for ask in (preview_load, load):
        with pytest.raises(NoSpace, match=r"does not fit: .* bytes more are too many") as refused:
            ask(bundle, trust=TRUST, registry=small)
        refusals.append(str(refused.value))

    assert refusals[0] == refusals[1]
    assert list((tmp_path / "small/staging").iterdir()) == []
    small.close()


def test_a_preview_trusts_no_one_that_a_load_would_not(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(UntrustedSigner):
        preview_load(make_bundle(tmp_path), trust={}, registry=registry)
