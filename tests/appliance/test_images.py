"""From what people call an image to what hosts pull."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.controllers.settings import ImageUnresolved
from appliance.images import MirrorImages
from bundles.load import load
from bundles.signing import parse_public_key, trust_of
from mirror.registry import Registry
from tests.appliance.bundling import Made, make_bundle

BOX = "10.0.0.1:5000"
ELSEWHERE = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MirrorImages, Made]]:
    place: Path = tmp_path_factory.mktemp("images")
    made = make_bundle(place)
    registry = Registry(place / "mirror")
    load(made.path, trust=trust_of(parse_public_key(made.public_key.encode())), registry=registry)
    yield MirrorImages(registry, BOX), made
    registry.close()


@pytest.mark.parametrize(
    "form", ["{name}:v1", "{box}/{name}:v1", "oci:{box}/{name}:v1", "oci://{name}:v1", "{name}@{digest}"]
)
def test_every_way_to_name_an_image_ends_at_its_digest(loaded: tuple[MirrorImages, Made], form: str) -> None:
    images, made = loaded

    reference = form.format(box=BOX, name="skerry/spring-os", digest=made.digest)

    assert images.resolve(reference) == f"{BOX}/skerry/spring-os@{made.digest}"


def test_another_registrys_image_passes_by_digest_only(loaded: tuple[MirrorImages, Made]) -> None:
    images, _ = loaded

    assert images.resolve(f"other.plant:5000/os:v1@{ELSEWHERE}") == f"other.plant:5000/os@{ELSEWHERE}"
    with pytest.raises(ImageUnresolved, match="no digest"):
        images.resolve("other.plant:5000/os:v1")


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "skerry/spring-os",
        "skerry/spring-os:v2",
        "skerry/nothing:v1",
        f"skerry/spring-os@{ELSEWHERE}",
        "UPPER/Case:v1",
        "a b",
    ],
)
def test_what_the_mirror_does_not_hold_is_named(loaded: tuple[MirrorImages, Made], reference: str) -> None:
    images, _ = loaded

    with pytest.raises(ImageUnresolved):
        images.resolve(reference)
