"""Kubernetes' protobuf: a body that kubectl 1.32 sent, and anything that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.api.kubernetes.protobuf import MAGIC, parse_protobuf
from appliance.store.base import Malformed


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes((number << 3 | 2, len(content))) + content


def number_field(number: int, value: int) -> bytes:
    return bytes((number << 3, value))


def envelope(api_version: str, kind: str, message: bytes) -> bytes:
    return MAGIC + field(1, field(1, api_version.encode()) + field(2, kind.encode())) + field(2, message)


METADATA = field(1, b"plan") + field(3, b"fleet-default") + field(11, field(1, b"a") + field(2, b"b"))


def test_a_secret_is_read_with_its_bytes_as_base64() -> None:
    message = (
        field(1, METADATA + field(14, b"one/two"))
        + field(2, field(1, b"k") + field(2, b"\x00\xff"))
        + field(3, b"T")
    )

    assert parse_protobuf(envelope("v1", "Secret", message)) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "plan",
            "namespace": "fleet-default",
            "labels": {"a": "b"},
            "finalizers": ["one/two"],
        },
        "data": {"k": "AP8="},
        "type": "T",
    }


def test_owners_times_and_numbers_are_read() -> None:
    owner = field(1, b"Node") + field(3, b"n") + field(4, b"u") + field(5, b"v1") + number_field(6, 1)
    metadata = field(8, number_field(1, 60)) + field(13, owner) + number_field(7, 3)

    document = parse_protobuf(envelope("v1", "ConfigMap", field(1, metadata)))

    assert document["metadata"] == {
        "creationTimestamp": "1970-01-01T00:01:00Z",
        "generation": 3,
        "ownerReferences": [
            {"kind": "Node", "name": "n", "uid": "u", "apiVersion": "v1", "controller": True},
        ],
    }


def test_every_groups_delete_options_are_read() -> None:
    message = field(2, field(1, b"uid-1")) + field(4, b"Orphan") + field(5, b"All")

    options = parse_protobuf(envelope("elemental.cattle.io/v1beta1", "DeleteOptions", message))

    assert (options["preconditions"], options["propagationPolicy"], options["dryRun"]) == (
        {"uid": "uid-1"},
        "Orphan",
        ["All"],
    )


def test_an_empty_value_of_a_map_is_an_empty_text() -> None:
    message = field(2, field(1, b"k")) + field(3, field(1, b"b"))

    document = parse_protobuf(envelope("v1", "ConfigMap", message))

    assert (document["data"], document["binaryData"]) == ({"k": ""}, {"b": ""})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "mark"),
        (b"{}", "mark"),
        (MAGIC + b"\x0a\x7f", "middle of a field"),
        (MAGIC + b"\x0a", "middle of a number"),
        (MAGIC + b"\xff" * 20, "too long"),
        (MAGIC + b"\x0b", "wire type 3"),
        (MAGIC, "not read as protobuf"),
        (envelope("apps/v1", "Deployment", b""), "Deployment of apps/v1 is not read as protobuf"),
        (envelope("v1", "Secret", number_field(1, 1)), "number where bytes"),
        (envelope("v1", "ConfigMap", field(1, field(1, b"\xff"))), "UTF-8"),
        (envelope("v1", "ConfigMap", field(1, field(7, b"x"))), "bytes where a number"),
    ],
)
def test_what_is_no_protobuf_is_malformed(content: bytes, complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        parse_protobuf(content)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        document = parse_protobuf(MAGIC + field(1, field(1, b"v1") + field(2, b"Secret")) + field(2, content))
    except Malformed:
        return
    assert document["kind"] == "Secret"
