"""Strategic merge patches: what kubectl sends for Kubernetes' own kinds. Custom kinds have none, as upstream.

Pure. A merge patch whose lists may merge too: by a key, or as sets of values, where upstream's Go types are
marked so (`patchStrategy`, `patchMergeKey`). Directives: `$patch` (replace, merge, delete), `$retainKeys`,
`$deleteFromPrimitiveList/FIELD`, `$setElementOrder/FIELD`.
"""

from collections.abc import Mapping
from typing import TypeAlias

from appliance.resources.meta import Document, Kind
from appliance.store.base import Malformed
from appliance.store.patches import JSON

Path: TypeAlias = tuple[str, ...]

DIRECTIVE = "$patch"
RETAIN = "$retainKeys"
ORDER, REMOVE = "$setElementOrder/", "$deleteFromPrimitiveList/"

# Where a list merges, and by which key; by the values themselves where that is empty.
_METADATA: Mapping[Path, str] = {("metadata", "ownerReferences"): "uid", ("metadata", "finalizers"): ""}
_OF_KIND: Mapping[str, Mapping[Path, str]] = {
    "Namespace": {("status", "conditions"): "type"},
    "ServiceAccount": {("secrets",): "name"},
}


def has_strategy(kind: Kind) -> bool:
    """Whether the kind is Kubernetes' own: those patches need marks that custom kinds do not have."""
    return not kind.group or (kind.group.endswith(".k8s.io") and not kind.group.endswith(".x-k8s.io"))


def strategic_patch(kind: Kind, document: Document, patch: Document) -> Document:
    """Apply a strategic merge patch. Raises Malformed for a directive that cannot be."""
    lists = {**_METADATA, **_OF_KIND.get(kind.kind, {})}
    return _merge(document, patch, (), lists)


def _merge(current: Document, patch: Document, path: Path, lists: Mapping[Path, str]) -> Document:
    match patch.get(DIRECTIVE, "merge"):
        case "replace":
            return {key: value for key, value in patch.items() if key != DIRECTIVE}
        case "delete":
            return {}
        case "merge":
            pass
        case other:
            raise Malformed(f"{DIRECTIVE}: {other!r} is none of replace, merge, delete")
    merged = dict(current)
    if RETAIN in patch:
        retained = _list(patch[RETAIN], RETAIN)
        merged = {key: value for key, value in merged.items() if key in retained}
    for key, value in patch.items():
        if key in (DIRECTIVE, RETAIN) or key.startswith(ORDER):
            continue
        if key.startswith(REMOVE):
            field, gone = key.removeprefix(REMOVE), _list(value, key)
            if isinstance(merged.get(field), list):
                merged[field] = [each for each in merged[field] if each not in gone]
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_value(merged.get(key), value, (*path, key), lists)
    for key, order in patch.items():
        field = key.removeprefix(ORDER)
        if key.startswith(ORDER) and isinstance(merged.get(field), list):
            merge_key = lists.get((*path, field), "")
            merged[field] = _ordered(merged[field], _list(order, key), merge_key)
    return merged


def _merge_value(current: JSON, value: JSON, path: Path, lists: Mapping[Path, str]) -> JSON:
    if isinstance(value, dict):
        return _merge(current if isinstance(current, dict) else {}, value, path, lists)
    if isinstance(value, list) and path in lists:
        present = current if isinstance(current, list) else []
        key = lists[path]
        return _merge_items(present, value, key) if key else [*present, *_new(value, present)]
    return value


def _merge_items(present: list[JSON], items: list[JSON], key: str) -> list[JSON]:
    """Objects of a list, matched by their key: changed where they are, added at the end."""
    if {DIRECTIVE: "replace"} in items:
        return [item for item in items if item != {DIRECTIVE: "replace"}]
    merged = list(present)
    for item in items:
        if not isinstance(item, dict) or key not in item:
            raise Malformed(f"an item of a list that merges by {key!r} has no {key!r}")
        places = [n for n, each in enumerate(merged) if isinstance(each, dict) and each.get(key) == item[key]]
        if item.get(DIRECTIVE) == "delete":
            merged = [each for n, each in enumerate(merged) if n not in places]
        elif places:
            there = merged[places[0]]
            merged[places[0]] = _merge(there if isinstance(there, dict) else {}, item, (), {})
        else:
            merged.append(_merge({}, item, (), {}))
    return merged


def _new(values: list[JSON], present: list[JSON]) -> list[JSON]:
    return [value for number, value in enumerate(values) if value not in (*present, *values[:number])]


def _ordered(items: list[JSON], order: list[JSON], key: str) -> list[JSON]:
    """The items that the order names in its order; the others keep their place after their neighbours."""

    def name(item: JSON) -> JSON:
        return item.get(key) if key and isinstance(item, dict) else item

    ranks = [name(item) for item in order]
    named = iter(
        sorted((item for item in items if name(item) in ranks), key=lambda item: ranks.index(name(item)))
    )
    return [next(named) if name(item) in ranks else item for item in items]


def _list(value: JSON, where: str) -> list[JSON]:
    if not isinstance(value, list):
        raise Malformed(f"{where}: expected a list")
    return value
