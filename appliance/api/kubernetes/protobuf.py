"""Kubernetes' protobuf bodies, read into the documents that JSON would have given.

Newer kubectl sends the core kinds that it knows only this way (`create secret`, `auth can-i`, typed deletes).
Reading only: answers are JSON, which every client that sends protobuf accepts as well. What is read is in
`protobuf_fields`.
"""

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from appliance.api.kubernetes.protobuf_fields import MESSAGES, Field
from appliance.resources.meta import Document
from appliance.store.base import Malformed

MAGIC = b"k8s\x00"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"


def parse_protobuf(content: bytes) -> Document:
    """Read an enveloped object. Raises Malformed, also for kinds that are only read as JSON."""
    if not content.startswith(MAGIC):
        raise Malformed("the body is not Kubernetes' protobuf: it does not begin with its mark")
    envelope = {1: Field("type", {1: Field("apiVersion"), 2: Field("kind")}), 2: Field("raw", "bytes")}
    unknown = _message(content[len(MAGIC) :], envelope)
    type_meta = unknown.get("type", {})
    api_version, kind = type_meta.get("apiVersion", ""), type_meta.get("kind", "")
    # Every group has its own DeleteOptions, all alike.
    fields = MESSAGES.get(("v1" if kind == "DeleteOptions" else api_version, kind))
    if fields is None:
        raise Malformed(
            f"a {kind or 'body'} of {api_version or 'no version'} is not read as protobuf; send JSON"
        )
    raw = base64.b64decode(unknown.get("raw", ""))
    return {"apiVersion": api_version, "kind": kind, **_message(raw, fields)}


def _message(content: bytes, fields: Mapping[int, Field]) -> Document:
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
                entry = _message(_bytes(value), {1: Field("key"), 2: Field("value", field.type)})
                empty = "" if field.type in ("text", "bytes") else None
                document.setdefault(field.name, {})[entry.get("key", "")] = entry.get("value", empty)
    # Go writes empty texts out; JSON leaves them out.
    return {name: value for name, value in document.items() if value not in ("", None)}


def _value(value: int | bytes, field: Field) -> object:
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
    seconds = _message(content, {1: Field("seconds", "integer")}).get("seconds")
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
