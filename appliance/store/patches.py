"""RFC 7396 merge patches and RFC 6902 JSON patches over plain JSON values.

Pure: the document that comes in is never changed, a new one goes out (parts that did not change may be
shared between the two). Server-side apply has its own file, `appliance.store.apply`.
"""

import copy
from typing import TypeAlias

import msgspec

from appliance.resources.meta import Document
from appliance.store.base import Invalid, Malformed, TooLarge

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"

MAX_OPERATIONS = 10_000  # Kubernetes' own limit on a JSON patch
MAX_COPIED_BYTES = 3 * 1024 * 1024  # and on what its copies come to: twenty of them can make a million of one


def merge_patch(document: Document, patch: Document) -> Document:
    """Apply an RFC 7396 merge patch: null removes, objects merge, everything else replaces."""
    merged = dict(document)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            current = merged.get(key)
            merged[key] = merge_patch(current if isinstance(current, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def json_patch(document: Document, operations: list[Document]) -> Document:
    """Apply an RFC 6902 patch whole or not at all.

    Raises Malformed, Invalid if it does not fit, and TooLarge if it copies without measure.
    """
    if len(operations) > MAX_OPERATIONS:
        raise Malformed(f"the JSON patch has more than {MAX_OPERATIONS} operations")
    patched: JSON = copy.deepcopy(document)
    copied = 0
    for index, operation in enumerate(operations):
        where = f"operation {index} of the JSON patch"
        if isinstance(operation, dict) and operation.get("op") == "copy":
            copied += _size_of_source(patched, operation, where=where)
            if copied > MAX_COPIED_BYTES:
                raise TooLarge(f"{where}: the patch copies more than {MAX_COPIED_BYTES} bytes")
        patched = _apply_operation(patched, operation, where=where)
    if not isinstance(patched, dict):
        raise Invalid("the JSON patch replaces the whole object by something that is no object")
    return patched


def _size_of_source(target: JSON, operation: Document, *, where: str) -> int:
    source = _parse_pointer(_text(operation, "from", where), where)
    return len(msgspec.json.encode(_find(target, source, where=where)))


def _apply_operation(target: JSON, operation: Document, *, where: str) -> JSON:
    path = _parse_pointer(_text(operation, "path", where), where)
    match operation.get("op"):
        case "add":
            return _add(target, path, copy.deepcopy(_value(operation, where)), where=where)
        case "remove":
            return _remove(target, path, where=where)
        case "replace":
            value = copy.deepcopy(_value(operation, where))
            return _add(_remove(target, path, where=where), path, value, where=where) if path else value
        case "move":
            source = _parse_pointer(_text(operation, "from", where), where)
            if path[: len(source)] == source and path != source:
                raise Invalid(f"{where} moves a value into itself")
            moved = _find(target, source, where=where)
            return _add(_remove(target, source, where=where), path, moved, where=where)
        case "copy":
            source = _parse_pointer(_text(operation, "from", where), where)
            return _add(target, path, copy.deepcopy(_find(target, source, where=where)), where=where)
        case "test":
            if not _equal(_find(target, path, where=where), _value(operation, where)):
                raise Invalid(f"{where} tested {operation['path']!r} and found another value")
            return target
        case other:
            raise Invalid(f"{where} has the unknown op {other!r}")


def _add(target: JSON, path: list[str], value: JSON, *, where: str) -> JSON:
    if not path:
        return value
    parent = _find(target, path[:-1], where=where)
    match parent:
        case dict():
            parent[path[-1]] = value
        case list():
            parent.insert(len(parent) if path[-1] == "-" else _index(path[-1], len(parent), where), value)
        case _:
            raise Invalid(f"{where}: there is nothing that can hold {_pointer(path)!r}")
    return target


def _remove(target: JSON, path: list[str], *, where: str) -> JSON:
    if not path:
        raise Invalid(f"{where} removes the whole object")
    _find(target, path, where=where)
    parent = _find(target, path[:-1], where=where)
    if isinstance(parent, dict):
        del parent[path[-1]]
    elif isinstance(parent, list):
        del parent[_index(path[-1], len(parent) - 1, where)]
    return target


def _find(target: JSON, path: list[str], *, where: str) -> JSON:
    for step in path:
        if isinstance(target, dict) and step in target:
            target = target[step]
        elif isinstance(target, list):
            target = target[_index(step, len(target) - 1, where)]
        else:
            raise Invalid(f"{where}: {_pointer(path)!r} does not exist")
    return target


def _index(step: str, highest: int, where: str) -> int:
    is_index = step.isascii() and step.isdigit() and len(step) < 10 and (step == "0" or step[0] != "0")
    if not is_index or int(step) > highest:
        raise Invalid(f"{where}: there is no list element {step!r}")
    return int(step)


def _equal(left: JSON, right: JSON) -> bool:
    """Python holds True and 1 to be equal; JSON does not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return left == right


def _parse_pointer(text: str, where: str) -> list[str]:
    if not text:
        return []
    if not text.startswith("/"):
        raise Malformed(f"{where} has the path {text!r}; a path is empty or starts with a slash")
    return [step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")]


def _pointer(path: list[str]) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


def _text(operation: Document, key: str, where: str) -> str:
    value = operation.get(key) if isinstance(operation, dict) else None
    if not isinstance(value, str):
        raise Malformed(f"{where} has no {key!r}")
    return value


def _value(operation: Document, where: str) -> JSON:
    if "value" not in operation:
        raise Malformed(f"{where} has no 'value'")
    value: JSON = operation["value"]
    return value
