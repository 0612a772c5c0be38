"""How objects are shown: what the client accepts, ages, columns."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance.api.kubernetes.representations import Shape, choose_representation, render_age, value_at
from appliance.api.kubernetes.statuses import NotAcceptable

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("accept", "shape", "version"),
    [
        ("", "object", "v1"),
        ("*/*", "object", "v1"),
        ("application/json", "object", "v1"),
        ("application/vnd.kubernetes.protobuf, application/json", "object", "v1"),
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io",
            "table",
            "v1",
        ),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json", "table", "v1beta1"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io, application/json", "object", "v1"),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", "metadata", "v1"),
    ],
)
def test_the_first_thing_accepted_that_we_can_write_is_chosen(
    accept: str, shape: Shape, version: str
) -> None:
    chosen = choose_representation(accept)

    assert (chosen.shape, chosen.version) == (shape, version)


@pytest.mark.parametrize("accept", ["application/cbor", "text/html", "application/json;as=Hologram"])
def test_what_we_cannot_write_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        choose_representation(accept)


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=-60), "<invalid>"),
        (timedelta(seconds=0), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(minutes=3, seconds=12), "3m12s"),
        (timedelta(minutes=59), "59m"),
        (timedelta(hours=3), "3h"),
        (timedelta(hours=5, minutes=7), "5h7m"),
        (timedelta(hours=30), "30h"),
        (timedelta(days=2, hours=4), "2d4h"),
        (timedelta(days=9, hours=4), "9d"),
        (timedelta(days=800), "2y70d"),
    ],
)
def test_ages_are_said_as_kubectl_says_them(age: timedelta, text: str) -> None:
    assert render_age((NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ"), NOW) == text


def test_a_time_that_is_none_is_said_to_be_invalid() -> None:
    assert render_age("yesterday", NOW) == "<invalid>"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.image", "x"),
        ("spec.missing.deeper", None),
        ("status.conditions[Ready].status", "True"),
        ("status.conditions[Other].status", None),
        ("spec.image[Ready].status", None),
    ],
)
def test_a_column_finds_its_value_or_nothing(path: str, value: object) -> None:
    document = {
        "spec": {"image": "x"},
        "status": {"conditions": ["odd", {"type": "Ready", "status": "True"}]},
    }

    assert value_at(document, path) == value
