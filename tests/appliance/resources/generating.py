"""Documents made from a kind's schema, and all the ways to break one value of such a document."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import setitem
from string import ascii_lowercase
from typing import Any, TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from appliance.resources.meta import Document, Kind
from appliance.resources.schemas import INT_OR_STRING, MAP_KEYS, Schema, object_schema

JSON: TypeAlias = Any  # a JSON value of any shape, made and walked here

_LONG = 2**63
_WORDS = st.text(ascii_lowercase, min_size=1, max_size=6)
_ANYTHING: SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers(-_LONG, _LONG - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=5,
)


def documents(kind: Kind) -> SearchStrategy[Document]:
    """Objects of a kind that its schema allows, with a plain name."""
    schema = object_schema(kind)
    parts = {name: part for name, part in schema["properties"].items() if name not in _IDENTITY}
    identity: Document = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "a", "namespace": "b"},
    }
    return _object({**schema, "properties": parts}).map(lambda body: identity | body)


@dataclass(frozen=True)
class Wrong:
    """What to put where, and how the refusal begins."""

    apply: Callable[[], object]
    refusal: str


def mutations(document: Document, kind: Kind) -> list[Wrong]:
    """Every way to make one value of the document wrong; `apply` changes the document itself."""
    schema = object_schema(kind)
    body = {name: part for name, part in schema["properties"].items() if name not in _IDENTITY}
    return list(_wrongs(document, {**schema, "properties": body}, ""))


_IDENTITY = ("apiVersion", "kind", "metadata")


def _values(schema: Schema) -> SearchStrategy[JSON]:
    if schema.get("nullable"):
        return st.none() | _values({**schema, "nullable": False})
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if INT_OR_STRING in schema:
        return st.integers(0, _LONG - 1) | _texts(schema)
    match schema.get("type"):
        case "object" if "properties" in schema:
            return _object(schema)
        case "object" if "additionalProperties" in schema:
            return st.dictionaries(_WORDS, _values(schema["additionalProperties"]), max_size=3)
        case "object":
            return st.dictionaries(_WORDS, _ANYTHING, max_size=3)
        case "array":
            keys = schema.get(MAP_KEYS)
            return st.lists(
                _values(schema["items"]),
                max_size=min(3, schema.get("maxItems", 3)),
                unique_by=(lambda item: tuple(item[key] for key in keys)) if keys else None,
            )
        case "string":
            return _texts(schema)
        case "integer":
            return st.integers(schema.get("minimum", -_LONG), schema.get("maximum", _LONG - 1))
        case "boolean":
            return st.booleans()
    return _ANYTHING


def _object(schema: Schema) -> SearchStrategy[Document]:
    values = {name: _values(part) for name, part in schema["properties"].items()}
    required = {name: values.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=values)


def _texts(schema: Schema) -> SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 1000)
    if "pattern" not in schema:
        return st.text(min_size=least, max_size=least + 8)
    pattern = schema["pattern"].replace("$", r"\Z")
    return st.from_regex(pattern, alphabet=st.characters(max_codepoint=126)).filter(
        lambda text: least <= len(text) <= most
    )


def _wrongs(value: JSON, schema: Schema, path: str) -> Iterator[Wrong]:
    """The wrong values for what is inside; each value's own are made by what holds it."""
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _broken(value, index, schema["items"], f"{path}[{index}]")
            yield from _wrongs(item, schema["items"], f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    for name in schema.get("required", ()):
        where = f"{path}.{name}".lstrip(".")
        yield Wrong(partial(value.pop, name), f"{where}: Required value")
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    for name, child in list(value.items()):
        if (part := known.get(name, rest)) is not None:
            where = f"{path}.{name}".lstrip(".") if name in known else f"{path}[{name}]"
            yield from _broken(value, name, part, where)
            yield from _wrongs(child, part, where)


def _broken(holder: Document | list[JSON], key: str | int, schema: Schema, path: str) -> Iterator[Wrong]:
    for wrong, problem in _wrong_values(schema):
        yield Wrong(partial(setitem, holder, key, wrong), f"{path}: {problem}")


def _wrong_values(schema: Schema) -> Iterator[tuple[JSON, str]]:
    wanted = "integer,string" if INT_OR_STRING in schema else schema.get("type")
    if wanted is None:
        return  # anything is right
    yield (2.5 if wanted == "boolean" else True), "Invalid value: "
    yield ([] if wanted == "object" else {"a": 1}), "Invalid value: "
    if "enum" in schema:
        yield "none of these", "Unsupported value: "
        return
    if wanted in ("integer", "boolean", "object", "array"):
        yield "text", 'Invalid value: "string": '
    if "pattern" in schema:
        yield "?? ", "Invalid value: "
    if "minLength" in schema:
        yield "", "Invalid value: "
    if "maxLength" in schema:
        yield "a" * (schema["maxLength"] + 1), "Too long: "
    if "minimum" in schema:
        yield schema["minimum"] - 1, "Invalid value: "
