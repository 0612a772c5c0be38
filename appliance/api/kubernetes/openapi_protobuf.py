"""The OpenAPI version 2 document as protobuf, the only form that kubectl below 1.27 reads.

Field numbers are from gnostic's openapiv2 messages; what those clients do not look at is left out.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from appliance.resources.meta import Document
from appliance.resources.schemas import Schema


def render(document: Document) -> bytes:
    """Encode a document made of `info`, `definitions`, and `paths` whose patches carry parameters."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    definitions = _named(1, document["definitions"], _schema)
    return (
        _text(1, document["swagger"])
        + _field(2, info)
        + _field(8, _named(2, document["paths"], _path))
        + _field(9, definitions)
    )


def _path(path: Document) -> bytes:
    return _field(8, _operation(path["patch"])) if "patch" in path else b""


def _operation(operation: Document) -> bytes:
    parameters = (_text(2, each["in"]) + _text(4, each["name"]) for each in operation["parameters"])
    # An item is a parameter, which is none of a body, which is one of the query.
    items = (_field(8, _field(1, _field(2, _field(3, each)))) for each in parameters)
    return _text(5, operation["operationId"]) + b"".join(items) + _extensions(13, operation)


def _schema(schema: Schema) -> bytes:
    encoded = b"".join(
        _text(number, schema[name])
        for name, number in (("$ref", 1), ("format", 2), ("description", 4), ("pattern", 13))
        if name in schema
    )
    if "default" in schema:
        encoded += _field(5, _any(schema["default"]))
    encoded += b"".join(_text(19, name) for name in schema.get("required", ()))
    encoded += b"".join(_field(20, _any(value)) for value in schema.get("enum", ()))
    if "additionalProperties" in schema:
        encoded += _field(21, _field(1, _schema(schema["additionalProperties"])))
    if "type" in schema:
        encoded += _field(22, _text(1, schema["type"]))
    if "items" in schema:
        encoded += _field(23, _field(1, _schema(schema["items"])))
    if "properties" in schema:
        encoded += _field(25, _named(1, schema["properties"], _schema))
    return encoded + _extensions(31, schema)


def _extensions(number: int, document: Mapping[str, object]) -> bytes:
    marks = {name: value for name, value in document.items() if name.startswith("x-")}
    return _named(number, marks, _any)


def _named(number: int, values: Mapping[str, object], encode: Callable[..., bytes]) -> bytes:
    """Names and values as the repeated pairs that gnostic keeps instead of maps."""
    pairs: Iterable[bytes] = (_text(1, name) + _field(2, encode(value)) for name, value in values.items())
    return b"".join(_field(number, pair) for pair in pairs)


def _any(value: object) -> bytes:
    return _field(2, msgspec.json.encode(value))  # as YAML, which JSON is


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
