"""Kubernetes' protobuf bodies, read into the documents that JSON would have given.

Newer kubectl sends the core kinds that it knows only this way (`create secret`, `auth can-i`, typed deletes).
Field numbers are from k8s.io/api and apimachinery's generated.proto. Reading only: answers are JSON, which
every client that sends protobuf accepts as well. Fields not listed here are ones we do not keep.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from appliance.resources.meta import Document
from appliance.store.base import Malformed

MAGIC = b"k8s\x00"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_Scalar: TypeAlias = Literal["text", "bytes", "integer", "boolean", "time"]


@dataclass(frozen=True, slots=True)
class _Field:
    """`shape` is how often it comes: once, as a list, or as a map's entries."""

    name: str
    type: "_Scalar | Mapping[int, _Field]" = "text"
    shape: Literal["one", "list", "map"] = "one"


_OWNER = {
    1: _Field("kind"),
    3: _Field("name"),
    4: _Field("uid"),
    5: _Field("apiVersion"),
    6: _Field("controller", "boolean"),
    7: _Field("blockOwnerDeletion", "boolean"),
}
_METADATA = {
    1: _Field("name"),
    2: _Field("generateName"),
    3: _Field("namespace"),
    5: _Field("uid"),
    6: _Field("resourceVersion"),
    7: _Field("generation", "integer"),
    8: _Field("creationTimestamp", "time"),
    9: _Field("deletionTimestamp", "time"),
    11: _Field("labels", shape="map"),
    12: _Field("annotations", shape="map"),
    13: _Field("ownerReferences", _OWNER, "list"),
    14: _Field("finalizers", shape="list"),
}
_REFERENCE = {
    1: _Field("kind"),
    2: _Field("namespace"),
    3: _Field("name"),
    4: _Field("uid"),
    5: _Field("apiVersion"),
    6: _Field("resourceVersion"),
    7: _Field("fieldPath"),
}
_ATTRIBUTES = {
    1: _Field("namespace"),
    2: _Field("verb"),
    3: _Field("group"),
    4: _Field("version"),
    5: _Field("resource"),
    6: _Field("subresource"),
    7: _Field("name"),
}
_MESSAGES: Mapping[tuple[str, str], Mapping[int, _Field]] = {
    ("v1", "Namespace"): {1: _Field("metadata", _METADATA)},
    ("v1", "Secret"): {
        1: _Field("metadata", _METADATA),
        2: _Field("data", "bytes", "map"),
        3: _Field("type"),
        4: _Field("stringData", shape="map"),
        5: _Field("immutable", "boolean"),
    },
    ("v1", "ConfigMap"): {
        1: _Field("metadata", _METADATA),
        2: _Field("data", shape="map"),
        3: _Field("binaryData", "bytes", "map"),
        4: _Field("immutable", "boolean"),
    },
    ("v1", "Event"): {
        1: _Field("metadata", _METADATA),
        2: _Field("involvedObject", _REFERENCE),
        3: _Field("reason"),
        4: _Field("message"),
        5: _Field("source", {1: _Field("component"), 2: _Field("host")}),
        6: _Field("firstTimestamp", "time"),
        7: _Field("lastTimestamp", "time"),
        8: _Field("count", "integer"),
        9: _Field("type"),
        12: _Field("action"),
        14: _Field("reportingComponent"),
        15: _Field("reportingInstance"),
    },
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): {
        1: _Field("metadata", _METADATA),
        2: _Field("spec", {1: _Field("resourceAttributes", _ATTRIBUTES)}),
    },
    ("v1", "DeleteOptions"): {
        1: _Field("gracePeriodSeconds", "integer"),
        2: _Field("preconditions", {1: _Field("uid"), 2: _Field("resourceVersion")}),
        3: _Field("orphanDependents", "boolean"),
        4: _Field("propagationPolicy"),
        5: _Field("dryRun", shape="list"),
    },
}


def parse_protobuf(content: bytes) -> Document:
    """Read an enveloped object. Raises Malformed, also for kinds that are only read as JSON."""
    if not content.startswith(MAGIC):
        raise Malformed("the body is not Kubernetes' protobuf: it does not begin with its mark")
    envelope = {1: _Field("type", {1: _Field("apiVersion"), 2: _Field("kind")}), 2: _Field("raw", "bytes")}
    unknown = _message(content[len(MAGIC) :], envelope)
    type_meta = unknown.get("type", {})
    api_version, kind = type_meta.get("apiVersion", ""), type_meta.get("kind", "")
    # Every group has its own DeleteOptions, all alike.
    fields = _MESSAGES.get(("v1" if kind == "DeleteOptions" else api_version, kind))
    if fields is None:
        raise Malformed(
            f"a {kind or 'body'} of {api_version or 'no version'} is not read as protobuf; send JSON"
        )
    raw = base64.b64decode(unknown.get("raw", ""))
    return {"apiVersion": api_version, "kind": kind, **_message(raw, fields)}


def _message(content: bytes, fields: Mapping[int, _Field]) -> Document:
    document: Document = {}
    for number, value in _wire_fields(content):
        field = fields.get(number)
        if field is None:
            continue
        match field.shape:
            case "one":
                document[field.name] = _value(value, field)
            case "list":
                document.setdefault(field.name, []).append(_value(value, field))
            case "map":
                entry = _message(_bytes(value), {1: _Field("key"), 2: _Field("value", field.type)})
                empty = "" if field.type in ("text", "bytes") else None
                document.setdefault(field.name, {})[entry.get("key", "")] = entry.get("value", empty)
    # Go writes empty texts out; JSON leaves them out.
    return {name: value for name, value in document.items() if value not in ("", None)}


def _value(value: int | bytes, field: _Field) -> object:
    match field.type:
        case "integer":
            return _integer(value)
        case "boolean":
            return bool(_integer(value))
        case "text":
            return _text(value)
        case "bytes":
            return base64.b64encode(_bytes(value)).decode()
        case "time":
            return _time(_bytes(value))
        case fields:
            return _message(_bytes(value), fields)


def _time(content: bytes) -> str | None:
    seconds = _message(content, {1: _Field("seconds", "integer")}).get("seconds")
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None  # Go's zero time: long before any calendar here


def _wire_fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in wire order: varints as int, the rest as bytes."""
    position = 0
    while position < len(content):
        tag, position = _varint(content, position)
        match tag & 7:
            case 0:
                value, position = _varint(content, position)
                yield tag >> 3, value
                continue
            case 1:
                length = 8
            case 2:
                length, position = _varint(content, position)
            case 5:
                length = 4
            case other:
                raise Malformed(f"the protobuf body has a field of the unknown wire type {other}")
        if position + length > len(content):
            raise Malformed("the protobuf body ends in the middle of a field")
        yield tag >> 3, content[position : position + length]
        position += length


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(content):
            raise Malformed("the protobuf body ends in the middle of a number")
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise Malformed("the protobuf body has a number that is too long")


def _integer(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise Malformed("the protobuf body has bytes where a number belongs")
    return value - (1 << 64) if value >= 1 << 63 else value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise Malformed("the protobuf body has a number where bytes belong")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as error:
        raise Malformed("the protobuf body has a text that is not UTF-8") from error
