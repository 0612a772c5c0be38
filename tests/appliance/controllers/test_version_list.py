"""What a channel asks for and what its list says, good and bad."""

from datetime import timedelta

import msgspec
import pytest

from appliance.controllers.version_list import (
    MAX_LIST_BYTES,
    InvalidChannel,
    InvalidList,
    ListAddress,
    parse_duration,
    parse_list,
    read_address,
    read_interval,
)
from appliance.resources.managed_os_version_channel import ManagedOSVersionChannelSpec
from appliance.resources.meta import Document


def spec(**given: object) -> ManagedOSVersionChannelSpec:
    return msgspec.convert(given, ManagedOSVersionChannelSpec)


def entry(name: object = "v2", **given: object) -> Document:
    return {
        "metadata": {"name": name},
        "spec": {"version": "v2", "type": "container", "metadata": {"upgradeImage": "os:2"}, **given},
    }


def parsed(*entries: object, **given: object) -> tuple[dict[str, Document], list[str]]:
    found = parse_list(msgspec.json.encode(entries), spec(**given))
    return dict(found.versions), list(found.problems)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h", 3600), ("1h30m", 5400), ("90s", 90), ("1.5h", 5400), ("500ms", 0.5), (".5s", 0.5), ("2us", 2e-6)],
)
def test_go_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "1", "h", "1 h", "1h ", "-1h", "1d", "1e3s", "9" * 300 + "h"], ids=range(9)
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises((ValueError, OverflowError)):
        parse_duration(text)


@pytest.mark.parametrize("interval", ["0s", "soon", "10ms"])
def test_an_interval_that_makes_no_sense_names_its_field(interval: str) -> None:
    with pytest.raises(InvalidChannel, match=r"spec\.syncInterval: "):
        read_interval(spec(syncInterval=interval))


def test_options_are_read_whatever_their_case() -> None:
    json = read_address(spec(type="JSON", options={"URI": "https://box/list", "Timeout": "5s"}))
    custom = read_address(
        spec(type="custom", options={"image": "chan:1", "outputFile": "/data/list", "args": ["x"]})
    )

    assert json == ListAddress("https://box/list", timeout=timedelta(seconds=5))
    assert custom == ListAddress("chan:1", is_image=True, args=("x",), output_file="/data/list")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "spec.type"),
        ({"type": "pod"}, "spec.type"),
        ({"type": "json"}, "spec.options.uri"),
        ({"type": "json", "options": {"uri": 7}}, "spec.options"),
        ({"type": "json", "options": {"uri": "http://x", "timeout": "never"}}, "spec.options"),
        ({"type": "json", "options": {"uri": "http://x", "timeout": "20m"}}, "spec.options.timeout"),
        ({"type": "custom", "options": {"uri": "http://x"}}, "spec.options.image"),
    ],
    ids=range(7),
)
def test_a_channel_that_makes_no_sense_names_the_field(given: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidChannel) as refused:
        read_address(spec(**given))
    assert str(refused.value).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("registry", "image", "whole"),
    [
        ("", "os:2", "os:2"),
        ("box:5000", "os:2", "box:5000/os:2"),
        ("box:5000/", "os:2", "box:5000/os:2"),
        ("box:5000", "/os:2", "box:5000/os:2"),
        ("box:5000", "https://box/os.iso", "https://box/os.iso"),
    ],
    ids=range(5),
)
def test_the_registry_comes_in_front_of_images_and_never_of_urls(
    registry: str, image: str, whole: str
) -> None:
    versions, problems = parsed(
        entry("a", metadata={"upgradeImage": image}),
        entry("b", type="ISO", metadata={"uri": image}),
        entry("c", type="other", metadata={"uri": image}),
        registry=registry,
    )

    assert problems == []
    assert versions["a"]["metadata"]["upgradeImage"] == whole
    assert versions["b"]["metadata"]["uri"] == whole
    assert versions["c"]["metadata"]["uri"] == image


def test_the_channels_container_is_every_versions() -> None:
    versions, _ = parsed(entry(upgradeContainer={"image": "theirs"}), upgradeContainer={"image": "ours"})

    assert versions["v2"]["upgradeContainer"] == {"image": "ours"}


@pytest.mark.parametrize(
    "bad",
    [
        *(7, {}, {"metadata": {}}, entry("UPPER"), entry("a" * 300)),
        *({"metadata": {"name": "a"}, "spec": []}, entry(type=7), entry(metadata=[])),
    ],
    ids=range(8),
)
def test_an_entry_that_makes_no_sense_costs_only_itself(bad: object) -> None:
    versions, problems = parsed(bad, entry("good"))

    assert list(versions) == ["good"]
    assert problems[0].startswith("entry 0: ")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[", b"\xff", b"[" * 100_000, b" " * (MAX_LIST_BYTES + 1), b"[" + b"1," * 5001 + b"1]"],
    ids=range(7),
)
def test_what_is_no_list_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidList):
        parse_list(content, spec())
