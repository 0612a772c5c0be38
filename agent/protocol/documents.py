"""YAML and JSON from the other end, decoded within limits into plain values.

The two are read through one door because the wire's YAML may be JSON: ours is, since JSON is a subset
that Elemental's reader takes and ours reads fast. A document can be too large, too deep, or use
aliases (which make little text into much memory); each of these is refused before anything is built.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import msgspec
import yaml

from agent.protocol.errors import Malformed, TooLarge

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"

MAX_DEPTH = 64

# libyaml's parser when the wheel has it, PyYAML's own otherwise: the same documents, slower.
_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BaseLoader):  # type: ignore[misc]  # the base is chosen at import
    """Plain words mean what they mean to Go's reader, which wrote or will read the same document.

    PyYAML by itself follows YAML 1.1: `on` a boolean, 12:30 a number, 2026-11-20 a date.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


class _Dumper(yaml.SafeDumper):
    """Blocks for text of several lines; indented list items, as Go's encoder writes them.

    It quotes what either dialect, ours or YAML 1.1's, would read as anything but text.
    """

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0b[01]+|0x[0-9a-fA-F]+|0o?[0-7]*|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    for _dialect in (_Loader, _Dumper):
        _dialect.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


def parse_json(payload: bytes, *, what: str, limit: int) -> JSON:
    """Decode one JSON value; `what` names it in errors. Raises TooLarge, Malformed."""
    check_size(payload, what=what, limit=limit)
    try:
        value: JSON = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise Malformed(f"{what} is not JSON: {error}") from error
    return value


def parse_yaml(payload: bytes, *, what: str, limit: int) -> JSON:
    """Decode one YAML (or JSON) document; an empty one is None. Raises TooLarge, Malformed."""
    check_size(payload, what=what, limit=limit)
    if payload.lstrip()[:1] == b"{":
        try:
            value: JSON = msgspec.json.decode(payload)
        except (msgspec.DecodeError, RecursionError, ValueError):
            pass  # a flow mapping of YAML proper looks the same at its first byte
        else:
            return value
    try:
        check_shape(payload, what=what)
        document: object = yaml.load(payload, Loader=_Loader)  # noqa: S506 - a child of SafeLoader
    except (yaml.YAMLError, ValueError, ArithmeticError, TypeError, AttributeError, LookupError) as error:
        # Beyond YAMLError: PyYAML's scalar constructors let theirs through on odd numbers and tags.
        raise Malformed(f"{what} is not YAML: {_first_line(error)}") from error
    return to_json(document, what=what)


def render_json(value: object) -> bytes:
    """Compact JSON, keys as they come."""
    return msgspec.json.encode(value)


def render_yaml(value: object) -> bytes:
    """Block-style YAML with four spaces, text of several lines as a literal block, like the real server's."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, indent=4, allow_unicode=True, width=4096)
    return text.encode()


def check_size(payload: bytes, *, what: str, limit: int) -> None:
    if len(payload) > limit:
        raise TooLarge(f"{what} has {len(payload)} bytes; at most {limit} are accepted")


def check_shape(payload: bytes, *, what: str) -> None:
    """Refuse aliases and deep nesting on the event stream, before the tree exists."""
    depth = 0
    for event in yaml.parse(payload, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise Malformed(f"{what} uses a YAML alias, which is not accepted")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed(f"{what} is nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def to_json(value: object, *, what: str) -> JSON:
    """Check that a decoded YAML tree holds nothing that JSON could not: keys become text."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {_key(key, what): to_json(item, what=what) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [to_json(item, what=what) for item in value]
    raise Malformed(f"{what} holds a {type(value).__name__}, which has no place in it")


def as_object(value: JSON, *, what: str) -> dict[str, JSON]:
    """The value as a mapping; None is an empty one, as Elemental's reader has it."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"{what} is not a mapping")
    return value


def _key(key: object, what: str) -> str:
    if isinstance(key, str):
        return key
    if key is None:
        return "null"
    if isinstance(key, (bool, int, float)):
        return str(key).lower()
    raise Malformed(f"{what} has a key that is not text")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # YAML counts these as line breaks too, and PyYAML folds them away in every other style.
    if any(line_break in text for line_break in "\r\x85\u2028\u2029"):
        style: str | None = '"'
    else:
        style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
