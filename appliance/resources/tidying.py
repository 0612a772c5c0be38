"""What an API server makes of a document before it is stored: unknown fields dropped, defaults filled in.

Pure, and compiled once a schema: this is on the way of every write. Unknown fields go (Kubernetes calls it
pruning) because a real API server lets them go too: an object is the same in both stores, and moving house
loses nothing. Who sends them is told: see `unknown_fields`. They stay below free objects, in the metadata,
and in foreign kinds, whose structs are only the part that we read. A null where the schema has none counts
as left out; where it has, it stays, and no default takes its place.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, TypeAlias

from appliance.resources.meta import Document, Kind
from appliance.resources.schemas import FREE, Schema, object_schema

_JSON: TypeAlias = Any  # a JSON value of any shape, walked here
_Tidier: TypeAlias = Callable[[_JSON], _JSON]


def tidy(kind: Kind, document: Document) -> Document:
    """The document with its defaults, without what the schema does not know. Parts may be shared with it."""
    tidied: Document = _tidier(kind, fills=True)(document)
    return tidied


def prune(kind: Kind, document: Document) -> Document:
    """The same without defaults, for an intent: nobody becomes the owner of what they did not say."""
    pruned: Document = _tidier(kind, fills=False)(document)
    return pruned


def unknown_fields(kind: Kind, document: Document) -> list[str]:
    """Paths of the fields that will not be kept, for clients that ask to be told."""
    if kind.is_partial:
        return []
    passed_over = {"apiVersion", "kind", "metadata", *(("status",) if kind.has_status else ())}
    wanted = {part: value for part, value in document.items() if part not in passed_over}
    return list(_unknown(wanted, object_schema(kind), ""))


@cache
def _tidier(kind: Kind, *, fills: bool) -> _Tidier:
    schema = object_schema(kind)
    compiled = _Compiler(prunes=not kind.is_partial, fills=fills)
    parts = dict(schema["properties"])
    metadata = _Compiler(prunes=False, fills=False).object(parts.pop("metadata"))
    rest = compiled.object({**schema, "properties": {**parts, "metadata": {FREE: True}}})

    def tidied(document: Document) -> Document:
        kept: Document = rest(document)
        if isinstance(kept.get("metadata"), dict):
            kept["metadata"] = metadata(kept["metadata"])
        return kept

    return tidied


class _Compiler:
    """Makes a function of each part of a schema that has something to do; None of the rest."""

    def __init__(self, *, prunes: bool, fills: bool) -> None:
        self._prunes = prunes
        self._fills = fills

    def any(self, schema: Schema) -> _Tidier | None:
        if "properties" in schema:
            return self.object(schema)
        if isinstance(schema.get("additionalProperties"), dict):
            return self._map(schema["additionalProperties"])
        if isinstance(schema.get("items"), dict) and (item := self.any(schema["items"])):
            return lambda value: [item(child) for child in value] if isinstance(value, list) else value
        return None

    def object(self, schema: Schema) -> _Tidier:
        known: Mapping[str, tuple[bool, _Tidier | None]] = {
            name: (part.get("nullable", False), self.any(part)) for name, part in schema["properties"].items()
        }
        keeps = not self._prunes or FREE in schema
        defaults = [
            (name, part["default"], isinstance(part["default"], dict))
            for name, part in schema["properties"].items()
            if self._fills and "default" in part
        ]

        def tidied(value: _JSON) -> _JSON:
            if not isinstance(value, dict):
                return value
            kept = {}
            for name, child in value.items():
                if (part := known.get(name)) is None:
                    if keeps:
                        kept[name] = child
                elif child is None:
                    if part[0]:
                        kept[name] = None
                else:
                    kept[name] = part[1](child) if part[1] else child
            for name, default, is_nested in defaults:
                if name not in kept:
                    kept[name] = deepcopy(default) if is_nested else default
            return kept

        return tidied

    def _map(self, schema: Schema) -> _Tidier:
        each, is_nullable = self.any(schema), schema.get("nullable", False)

        def tidied(value: _JSON) -> _JSON:
            if not isinstance(value, dict) or (each is None and None not in value.values()):
                return value
            return {
                name: each(child) if each and child is not None else child
                for name, child in value.items()
                if child is not None or is_nullable
            }

        return tidied


def _unknown(value: _JSON, schema: Schema, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, schema.get("items") or {}, f"{path}[{index}]")
    elif isinstance(value, dict) and "properties" in schema:
        for key, child in value.items():
            where = f"{path}.{key}" if path else key
            if key in schema["properties"]:
                yield from _unknown(child, schema["properties"][key], where)
            elif FREE not in schema:
                yield where
    elif isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        for key, child in value.items():
            yield from _unknown(child, schema["additionalProperties"], f"{path}[{key}]")
