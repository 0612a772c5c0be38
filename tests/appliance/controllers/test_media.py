"""What medium a SeedImage asks for, and what it may not ask for."""

from typing import Any

import msgspec
import pytest

from appliance.controllers.media import InvalidMedium, Medium, choose_medium, parse_quantity
from appliance.resources.machine_registration import MachineRegistration
from appliance.resources.meta import ObjectMeta, ObjectReference
from appliance.resources.seed_image import BuildContainer, SeedImage, SeedImageSpec

SPEC = SeedImageSpec(registration_ref=ObjectReference(name="plant"), base_image="edge/iso:1")


def medium(document: bytes = b"registration", build: str = "", **spec: object) -> Medium:
    image = SeedImage(metadata=ObjectMeta(name="stick", uid="u1"), spec=msgspec.structs.replace(SPEC, **spec))
    registration = MachineRegistration(metadata=ObjectMeta(name="plant", namespace="fleet"))
    return choose_medium(image, registration, document, build=build)


def test_the_same_wishes_are_the_same_medium() -> None:
    assert medium() == medium()
    assert medium().name.startswith("plant-")
    assert medium().name.endswith(".iso")
    assert set(medium().name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")


@pytest.mark.parametrize(
    "other",
    [
        medium(b"another CA"),
        medium(build="1"),
        medium(base_image="edge/iso:2"),
        medium(cloud_config={"users": []}),
        medium(target_platform="linux/arm64"),
    ],
    ids=["registration", "retriggered", "base", "cloud-config", "platform"],
)
def test_whatever_goes_onto_it_makes_another_medium(other: Medium) -> None:
    assert other.name != medium().name


def test_how_long_it_is_kept_does_not() -> None:
    assert medium(cleanup_after_minutes=5).name == medium().name


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"type": "raw"}, "spec.type"),
        ({"base_image": ""}, "spec.baseImage"),
        ({"build_container": BuildContainer(image="mine")}, "spec.buildContainer"),
        ({"size": "much"}, "spec.size"),
    ],
    ids=["raw", "base", "container", "size"],
)
def test_what_cannot_be_built_names_the_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidMedium) as refused:
        medium(**spec)
    assert str(refused.value).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("6Gi", 6 * 2**30),
        ("1500M", 1_500_000_000),
        ("1.5Gi", 3 * 2**29),
        (7, 7),
        ("7", 7),
        ("6e9", 6_000_000_000),
        ("+.5k", 500),
        ("6000000000000m", 6_000_000_000),
        ("2Pi", 2**51),
        ("9" * 30, 2**63 - 1),
        (10**25, 2**63 - 1),
        ("0", 6 * 2**30),
        (-1, 6 * 2**30),
    ],
)
def test_quantities_are_read(text: int | str, number: int) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["9" * 400, "-6Gi", "6 Gi", "6GiB", "1e999", ""])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(InvalidMedium, match=r"spec\.size"):
        parse_quantity(text)
