"""The names that a bundle's images get."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.jobs.os_versions import choose_name, label_value, render_version


@pytest.mark.parametrize(
    ("repository", "version", "name"),
    [
        ("skerry/demo-os", "v2", "demo-os-v2"),
        ("os", "1.2.3+build.7", "os-1.2.3-build.7"),
        ("a/b/Sys_Img", "2026 Spring", "sys-img-2026-spring"),
    ],
)
def test_a_version_is_named_as_people_say_it(repository: str, version: str, name: str) -> None:
    assert choose_name(repository, version) == name


@given(st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)*", fullmatch=True), st.text(max_size=300))
def test_every_version_has_a_name_that_kubernetes_takes(repository: str, version: str) -> None:
    name = choose_name(repository, version)

    assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name)
    assert len(name) <= 253


@given(st.text(max_size=200))
def test_every_bundle_name_makes_a_label(text: str) -> None:
    assert re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", label_value(text))


def test_a_version_points_to_the_mirror_by_digest() -> None:
    document = render_version(
        reference="skerry/os:v2",
        digest="sha256:22",
        version="",
        display_name="",
        bundle="spring",
        mirror="box:5000",
    )

    assert document["metadata"]["name"] == "os-v2"
    assert document["spec"]["version"] == "v2"
    assert document["spec"]["metadata"] == {
        "upgradeImage": "box:5000/skerry/os@sha256:22",
        "displayName": "skerry/os:v2",
    }
