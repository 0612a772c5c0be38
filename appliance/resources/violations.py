"""How a value breaks a schema, in Kubernetes' words: the field's path, what is wrong, what would be right.

Pure and slow on purpose: msgspec decides in microseconds whether a document fits its struct, and this
explains a refusal to a person who knows kubectl's messages.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from appliance.resources.schemas import FREE, INT_OR_STRING, LIST_TYPE, MAP_KEYS, Schema

_JSON: TypeAlias = Any  # a JSON value of any shape, walked here
_SHOWN = 80


def violations(value: _JSON, schema: Schema, path: str = "") -> Iterator[str]:
    """Each violation as a sentence that begins with the field's path. Unknown fields are none."""
    if (value is None and schema.get("nullable")) or (FREE in schema and "type" not in schema):
        return
    if wrong := _wrong_type(value, schema):
        yield f'{path}: Invalid value: "{wrong}": {path} in body must be of type {_wanted(schema)}: "{wrong}"'
    elif "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(json.dumps(choice) for choice in schema["enum"])
        yield f"{path}: Unsupported value: {_shown(value)}: supported values: {supported}"
    elif isinstance(value, str):
        yield from _text_violations(value, schema, path)
    elif isinstance(value, dict):
        yield from _object_violations(value, schema, path)
    elif isinstance(value, list):
        yield from _list_violations(value, schema, path)
    elif not isinstance(value, bool):
        yield from _number_violations(value, schema, path)


def _object_violations(value: dict[str, _JSON], schema: Schema, path: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{_below(path, name)}: Required value"
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    for name, child in value.items():
        if name in known:
            yield from violations(child, known[name], _below(path, name))
        elif isinstance(rest, dict):
            yield from violations(child, rest, f"{path}[{name}]")


def _list_violations(value: list[_JSON], schema: Schema, path: str) -> Iterator[str]:
    if len(value) > schema.get("maxItems", len(value)):
        yield f"{path}: Too many: {len(value)}: must have at most {schema['maxItems']} items"
    for index, item in enumerate(value):
        yield from violations(item, schema["items"], f"{path}[{index}]")
    if schema.get(LIST_TYPE) == "map":
        yield from duplicates(value, schema[MAP_KEYS], path)


def duplicates(items: list[_JSON], keys: list[str], path: str) -> Iterator[str]:
    """The items of a list that is a map which repeat the key of an earlier one."""
    seen = set()
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        key = json.dumps({name: item.get(name) for name in keys}, separators=(",", ":"))
        if key in seen:
            yield f"{path}[{index}]: Duplicate value: {key}"
        seen.add(key)


def _text_violations(value: str, schema: Schema, path: str) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        least = schema["minLength"]
        yield f"{path}: Invalid value: {_shown(value)}: {path} in body should be at least {least} chars long"
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{path}: Too long: may not be more than {schema['maxLength']} bytes"
    pattern = schema.get("pattern")
    if pattern and not re.search(pattern.replace("$", r"\Z"), value):
        yield f"{path}: Invalid value: {_shown(value)}: {path} in body should match '{pattern}'"


def _number_violations(value: float, schema: Schema, path: str) -> Iterator[str]:
    least, most = schema.get("minimum", value), schema.get("maximum", value)
    if value < least:
        yield f"{path}: Invalid value: {value}: {path} in body should be greater than or equal to {least}"
    if value > most:
        yield f"{path}: Invalid value: {value}: {path} in body should be less than or equal to {most}"


def _wrong_type(value: _JSON, schema: Schema) -> str:
    """The name of the value's type, if it is not one of those that the schema wants."""
    wanted, found = _wanted(schema).split(","), _type_name(value)
    fits = found in wanted or (found == "integer" and "number" in wanted)
    return "" if fits else found


def _wanted(schema: Schema) -> str:
    return "integer,string" if INT_OR_STRING in schema else str(schema["type"])


def _type_name(value: _JSON) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: _JSON) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
