"""Server-side apply: one manager's intent merged into an object, with a record of who owns which field.

Pure. Ownership is kept in `metadata.managedFields` as upstream writes it (FieldsV1), with one simplification:
a list is one value, owned whole. An object that nobody ever applied to carries no record, and costs none.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from appliance.resources.meta import Document
from appliance.store.base import Conflict, Malformed, Subresource
from appliance.store.patches import JSON

Path: TypeAlias = tuple[str, ...]
Fields: TypeAlias = frozenset[Path]

MAX_MANAGER_LENGTH = 128
BEFORE_FIRST_APPLY = "before-first-apply"

_IDENTITY = frozenset(
    {
        "name",
        "namespace",
        "generateName",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
    }
)
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Owner:
    """One entry of `managedFields`."""

    manager: str
    operation: str
    subresource: str
    fields: Fields
    time: str

    def is_same(self, other: "Owner") -> bool:
        return (self.manager, self.operation, self.subresource) == (
            other.manager,
            other.operation,
            other.subresource,
        )


def apply_intent(
    live: Document,
    intent: Document,
    *,
    manager: str,
    time: str,
    force: bool = False,
    subresource: Subresource = "",
) -> Document:
    """Merge `intent` into `live` and record what `manager` now owns.

    Fields the manager applied before and left out now are removed, unless another owns them too. Raises
    Conflict when it would change what another manager owns; `force` takes those fields over.
    """
    _check_manager(manager)
    mine = Owner(manager, "Apply", subresource, _leaves(intent), time)
    owners = _load_owners(live) or _first_owners(live, time)
    before = next((owner for owner in owners if owner.is_same(mine)), None)
    others = [owner for owner in owners if not owner.is_same(mine)]
    merged = _merge(live, intent)
    contested = [(owner, _contested(owner, mine.fields, live, merged)) for owner in others]
    if not force and any(fields for _, fields in contested):
        raise _conflict(live, contested)
    others = [replace(owner, fields=owner.fields - fields) for owner, fields in contested]
    kept = frozenset[Path]().union(mine.fields, *(owner.fields for owner in others))
    for path in sorted((before.fields if before else frozenset()) - mine.fields):
        if not any(other[: len(path)] == path for other in kept):
            merged = _without(merged, path, kept)
    if before is not None and before.fields == mine.fields:
        mine = before  # the time of an entry is when it last changed
    return with_owners(merged, [*others, mine])


def record_update(
    before: Document, after: Document, *, manager: str, time: str, subresource: Subresource = ""
) -> Document:
    """Note in a tracked object that a write by other means now owns what it changed."""
    owners = _load_owners(before)
    if not owners:
        return after
    changed = frozenset(_differing(before, after))
    if not changed:
        return with_owners(after, owners)
    mine = Owner(manager or "unknown", "Update", subresource, changed, time)
    kept = [
        replace(owner, fields=frozenset(path for path in owner.fields if not _is_within(path, changed)))
        for owner in owners
    ]
    present = frozenset(path for path in changed if _at(after, path) is not _ABSENT)
    earlier = next((owner.fields for owner in kept if owner.is_same(mine)), frozenset())
    others = [owner for owner in kept if not owner.is_same(mine)]
    return with_owners(after, [*others, replace(mine, fields=earlier | present)])


def with_owners(document: Document, owners: Iterable[Owner]) -> Document:
    """The document with `managedFields` written from `owners`; those that own nothing are left out."""
    entries = [
        _entry(document, owner) for owner in sorted(owners, key=lambda owner: owner.manager) if owner.fields
    ]
    metadata = {key: value for key, value in document["metadata"].items() if key != "managedFields"}
    return {**document, "metadata": {**metadata, "managedFields": entries} if entries else metadata}


def _check_manager(manager: str) -> None:
    if not manager or len(manager) > MAX_MANAGER_LENGTH or not manager.isprintable():
        raise Malformed(
            "fieldManager: server-side apply needs the name of the one who applies",
            hint=f"printable, at most {MAX_MANAGER_LENGTH} characters",
        )


def _first_owners(live: Document, time: str) -> list[Owner]:
    fields = _leaves(live)
    return [Owner(BEFORE_FIRST_APPLY, "Update", "", fields, time)] if fields else []


def _merge(live: Document, intent: Document) -> Document:
    merged = dict(live)
    for key, value in intent.items():
        current = merged.get(key)
        is_map = isinstance(value, dict)
        merged[key] = _merge(current if isinstance(current, dict) else {}, value) if is_map else value
    return merged


def _contested(owner: Owner, applied: Fields, live: Document, merged: Document) -> Fields:
    """The fields of `owner` that the intent would give another value."""
    prefixes = {path[:length] for path in applied for length in range(1, len(path) + 1)}
    touched = {path for path in owner.fields if path in prefixes or _is_within(path, applied)}
    return frozenset(path for path in touched if _is_replaced(_at(live, path), _at(merged, path)))


def _is_replaced(before: object, after: object) -> bool:
    """An object that only gains fields is still the object that its owner put there."""
    if isinstance(before, dict) and isinstance(after, dict):
        return False
    return not _is_same(before, after)


def _conflict(live: Document, contested: Sequence[tuple[Owner, Fields]]) -> Conflict:
    parts = [
        f"{owner.manager!r} owns {', '.join(sorted('.' + '.'.join(path) for path in fields))}"
        for owner, fields in contested
        if fields
    ]
    return Conflict(
        f"applying to {live.get('kind')} {live['metadata'].get('name')} conflicts: {'; '.join(parts)}",
        hint="leave these fields out, or apply with force to take them over",
    )


def _is_within(path: Path, fields: Fields) -> bool:
    return any(path[:length] in fields for length in range(1, len(path) + 1))


def _leaves(document: Document) -> Fields:
    """Paths of every value that is not a non-empty object, without what identifies the object."""
    return frozenset(
        path
        for path in _walk(document, ())
        if path not in (("apiVersion",), ("kind",), ("metadata",))
        and not (path[0] == "metadata" and path[1] in _IDENTITY)
    )


def _walk(value: JSON, path: Path) -> Iterator[Path]:
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _walk(child, (*path, key))
    elif path:
        yield path


def _differing(before: Document, after: Document) -> Iterator[Path]:
    for path in _leaves(before) | _leaves(after):
        if not _is_same(_at(before, path), _at(after, path)):
            yield path


def _at(document: Document, path: Path) -> object:
    value: object = document
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return _ABSENT
        value = value[step]
    return value


def _is_same(left: object, right: object) -> bool:
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _without(document: Document, path: Path, kept: Fields, *, above: Path = ()) -> Document:
    """Remove a value, and the objects that are empty without it and that nobody owns."""
    step, here = path[0], (*above, path[0])
    rest = {key: value for key, value in document.items() if key != step}
    if len(path) == 1:
        return rest
    child = document.get(step)
    if not isinstance(child, dict):
        return document
    shrunk = _without(child, path[1:], kept, above=here)
    return rest if not shrunk and child and here not in kept else {**document, step: shrunk}


def _load_owners(document: Document) -> list[Owner]:
    return [
        Owner(
            entry.get("manager", ""),
            entry.get("operation", ""),
            entry.get("subresource", ""),
            frozenset(_parse_fields(entry.get("fieldsV1") or {}, ())),
            entry.get("time", ""),
        )
        for entry in document["metadata"].get("managedFields") or []
    ]


def _parse_fields(fields: Document, path: Path) -> Iterator[Path]:
    named = {key[2:]: child for key, child in fields.items() if key.startswith("f:")}
    if not named and path:
        yield path
    for key, child in named.items():
        yield from _parse_fields(child, (*path, key))


def _entry(document: Document, owner: Owner) -> Document:
    tree: Document = {}
    for path in sorted(owner.fields):
        branch = tree
        for step in path:
            branch = branch.setdefault(f"f:{step}", {})
    entry: Document = {
        "manager": owner.manager,
        "operation": owner.operation,
        "apiVersion": document.get("apiVersion", ""),
        "time": owner.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": tree,
    }
    return entry | ({"subresource": owner.subresource} if owner.subresource else {})
