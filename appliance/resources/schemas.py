"""Structural schemas (OpenAPI v3, as CRDs want them) from the kinds' structs.

An own walk over msgspec's type information rather than `msgspec.json.schema`: a CRD may hold no `$ref` and no
`anyOf`, says `nullable`, and marks free objects with `x-kubernetes-preserve-unknown-fields`. A default is
written only where it is more than nothing: an empty text or list filled in by the server would be noise.
"""

from functools import cache
from typing import Any, TypeAlias

import msgspec
from msgspec import inspect

from appliance.resources.meta import Open

# A JSON schema as a plain document; what reads it walks it.
Schema: TypeAlias = dict[str, Any]

_FREE = "x-kubernetes-preserve-unknown-fields"


@cache
def schema_of(struct: type[msgspec.Struct]) -> Schema:
    """The schema of a struct. Shared between callers: do not change it."""
    return _schema(inspect.type_info(struct))


def _schema(type: inspect.Type) -> Schema:
    match type:
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
            return {"type": "array", "items": _schema(type.item_type)}
        case inspect.StrType():
            return {"type": "string"}
        case inspect.IntType():
            return {"type": "integer", "format": "int64"}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.FloatType():
            return {"type": "number"}
        case inspect.AnyType():
            return {_FREE: True}
    raise TypeError(f"a resource has a field of {type}, which no schema is known for")


def _object(type: inspect.StructType) -> Schema:
    properties: Schema = {}
    for field in type.fields:
        properties[field.encode_name] = _schema(field.type) | _default(field)
    schema: Schema = {"type": "object", "properties": properties}
    if type.cls.__doc__:
        schema["description"] = " ".join(type.cls.__doc__.split())
    if issubclass(type.cls, Open):
        schema[_FREE] = True
    if required := [field.encode_name for field in type.fields if field.required]:
        schema["required"] = required
    return schema


def _map(type: inspect.DictType) -> Schema:
    if isinstance(type.value_type, inspect.AnyType):
        return {"type": "object", _FREE: True}
    return {"type": "object", "additionalProperties": _schema(type.value_type)}


def _union(type: inspect.UnionType) -> Schema:
    members = [member for member in type.types if not isinstance(member, inspect.NoneType)]
    nullable: Schema = {"nullable": True} if len(members) < len(type.types) else {}
    if {member.__class__ for member in members} == {inspect.IntType, inspect.StrType}:
        return {"x-kubernetes-int-or-string": True} | nullable
    if len(members) != 1:
        raise TypeError(f"a structural schema has no unions but of numbers and texts: {type}")
    return _schema(members[0]) | nullable


def _default(field: inspect.Field) -> Schema:
    is_plain = isinstance(field.default, (str, int, bool)) and bool(field.default)
    return {"default": field.default} if is_plain else {}
