"""Structural schemas (OpenAPI v3, as CRDs want them) from the kinds' structs.

An own walk over msgspec's type information rather than `msgspec.json.schema`: a CRD may hold no `$ref` and no
`anyOf`, says `nullable`, and marks free objects with `x-kubernetes-preserve-unknown-fields`. A default is
written only where it is more than nothing: an empty text or list filled in by the server would be noise.
"""

from functools import cache
from inspect import cleandoc
from typing import Any, TypeAlias

import msgspec
from msgspec import inspect

from appliance.resources.meta import Condition, Kind, Open, Resource

# A JSON schema as a plain document; what reads it walks it.
Schema: TypeAlias = dict[str, Any]

FREE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
LIST_TYPE = "x-kubernetes-list-type"
MAP_KEYS = "x-kubernetes-list-map-keys"


@cache
def schema_of(struct: type[msgspec.Struct]) -> Schema:
    """The schema of a struct. Shared between callers: do not change it."""
    return _schema(inspect.type_info(struct))


@cache
def object_schema(kind: Kind) -> Schema:
    """The schema of a kind's whole object; a status that no struct reads is a free one. Do not change it."""
    schema = schema_of(kind.struct)
    if not kind.has_status or "status" in schema["properties"]:
        return schema
    status = {"type": "object", FREE: True, "description": "What the controllers found."}
    return {**schema, "properties": {**schema["properties"], "status": status}}


def _schema(type: inspect.Type) -> Schema:
    match type:
        case inspect.Metadata():
            return _schema(type.type) | (type.extra_json_schema or {})
        case inspect.StructType():
            return _object(type)
        case inspect.UnionType():
            return _union(type)
        case inspect.LiteralType():
            values = sorted(type.values, key=str)
            return {"type": "integer" if isinstance(values[0], int) else "string", "enum": values}
        case inspect.DictType():
            return _map(type)
        case inspect.ListType():
            return _list(type)
        case inspect.StrType():
            # Python's `$` also matches before a last line break; RE2 knows `$` alone.
            pattern = type.pattern.replace(r"\Z", "$") if type.pattern else None
            return {"type": "string"} | _limits(
                minLength=type.min_length, maxLength=type.max_length, pattern=pattern
            )
        case inspect.IntType():
            return {"type": "integer", "format": "int64"} | _limits(minimum=type.ge, maximum=type.le)
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.FloatType():
            return {"type": "number"}
        case inspect.AnyType():
            return {FREE: True}
    raise TypeError(f"a resource has a field of {type}, which no schema is known for")


def _object(type: inspect.StructType) -> Schema:
    is_resource, texts = issubclass(type.cls, Resource), _described(type.cls)
    properties: Schema = {}
    for field in type.fields:
        described = {"description": texts[field.name]} if field.name in texts else {}
        default = _default(field, is_part=is_resource)
        properties[field.encode_name] = _schema(field.type) | described | default
    schema: Schema = {"type": "object", "properties": properties}
    if texts[""]:
        schema["description"] = texts[""]
    if issubclass(type.cls, Open):
        schema[FREE] = True
    if required := [field.encode_name for field in type.fields if field.required]:
        schema["required"] = required
    return schema


def _described(struct: type[msgspec.Struct]) -> dict[str, str]:
    """What the docstring says: of the struct under "", of each field (a line `name: text`) under its name."""
    texts: dict[str, str] = {}
    for cls in reversed(struct.__mro__):
        name, texts[""] = "", ""
        for line in cleandoc(cls.__dict__.get("__doc__") or "").splitlines():
            head, colon, rest = line.partition(": ")
            if colon and head in struct.__struct_fields__:
                name, line, texts[head] = head, rest, ""
            texts[name] = f"{texts[name]} {line.strip()}".strip()
    return texts


def _map(type: inspect.DictType) -> Schema:
    if isinstance(type.value_type, inspect.AnyType):
        return {"type": "object", FREE: True}
    return {"type": "object", "additionalProperties": _schema(type.value_type)}


def _list(type: inspect.ListType) -> Schema:
    schema: Schema = {"type": "array", "items": _schema(type.item_type)} | _limits(maxItems=type.max_length)
    if isinstance(type.item_type, inspect.StructType) and type.item_type.cls is Condition:
        schema |= {LIST_TYPE: "map", MAP_KEYS: ["type"]}
    return schema


def _union(type: inspect.UnionType) -> Schema:
    members = [member for member in type.types if not isinstance(member, inspect.NoneType)]
    nullable: Schema = {"nullable": True} if len(members) < len(type.types) else {}
    if {member.__class__ for member in members} == {inspect.IntType, inspect.StrType}:
        texts = [_schema(member) for member in members if isinstance(member, inspect.StrType)]
        limits = {name: limit for name, limit in texts[0].items() if name != "type"}
        return {INT_OR_STRING: True} | limits | nullable
    if len(members) != 1:
        raise TypeError(f"a structural schema has no unions but of numbers and texts: {type}")
    schema = _schema(members[0])
    # An API server takes no null for an enum, whatever the schema says: there it counts as left out.
    return schema if "enum" in schema else schema | nullable


def _limits(**limits: str | float | None) -> Schema:
    return {name: limit for name, limit in limits.items() if limit is not None}


def _default(field: inspect.Field, *, is_part: bool) -> Schema:
    """A missing `spec` or `status` stays missing; a missing part of one may be filled in."""
    default = field.default
    if isinstance(default, msgspec.Struct) and not is_part:
        default = {key: value for key, value in msgspec.to_builtins(default).items() if value}
    is_plain = isinstance(default, str | int | bool | dict)
    return {"default": default} if is_plain and default else {}
