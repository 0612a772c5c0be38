"""The four writes, each one story inside one transaction: find, check, decide, put.

The rules are in `rules`, `patches`, `apply`, `validation` and `deletion`; the rows in `tables`. The same
functions serve every write, so that no way in is checked less than another.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime

from appliance.resources.core import NAMESPACE
from appliance.resources.meta import Document, Kind
from appliance.store import deletion, invariants, rules, validation
from appliance.store.apply import apply_intent, record_update
from appliance.store.base import (
    AlreadyExists,
    Conflict,
    Invalid,
    Malformed,
    NotFound,
    Patch,
    Preconditions,
    Propagation,
    Subresource,
)
from appliance.store.patches import json_patch, merge_patch
from appliance.store.strategic import has_strategy, strategic_patch
from appliance.store.tables import Key, Stored, Transaction

UNNAMED_MANAGER = "skerry"
_NAME_ATTEMPTS = 8


def prepare(kind: Kind, document: Document) -> Document:
    """What can be checked and completed before the writer's thread is asked. Raises Invalid."""
    validation.check_shape(kind, document)
    return validation.normalized(kind, document)


def prepare_intent(kind: Kind, intent: Document) -> Document:
    """The same of what somebody applies; what it leaves out is not filled in. Raises Invalid."""
    validation.check_shape(kind, intent)
    return validation.normalized_intent(kind, intent)


def check_patch(kind: Kind, patch: Patch) -> None:
    """Check the shape of a patch. Raises Malformed."""
    is_list = isinstance(patch.body, list)
    if is_list != (patch.type == "json") or not isinstance(patch.body, dict | list):
        raise Malformed(
            f"a {patch.type} patch of a {kind} is a JSON {'list' if patch.type == 'json' else 'object'}"
        )
    if patch.type == "strategic" and not has_strategy(kind):
        raise Malformed(f"a {kind} has no strategic merge patches", hint="send a merge patch")
    validation.check_depth(patch.body)


def check_new(document: Document) -> None:
    """Raise Invalid when what is to be made was read from somewhere."""
    if document["metadata"].get("resourceVersion"):
        raise Invalid("metadata.resourceVersion: a new object has no version yet", hint="leave it out")


def create(tables: Transaction, kind: Kind, document: Document, *, uid: str, now: datetime) -> Document:
    """Put a new object. One whose owners are all gone already goes after them."""
    check_new(document)
    named = _named(tables, kind, document)
    validation.check_document(kind, named)
    invariants.check_object(kind, named)
    namespace, name = key = _key(kind, named)
    if tables.find(kind, *key) is not None:
        raise AlreadyExists(
            f"{kind} {name} exists already" + (f" in namespace {namespace}" if namespace else "")
        )
    if kind is NAMESPACE:
        named = _active(named)
    _ensure_namespace(tables, namespace, now=now)
    owners = named["metadata"].get("managedFields")
    created = rules.new_document(kind, named, uid=uid, now=now)
    if owners:
        created["metadata"]["managedFields"] = owners
    created = tables.insert(kind, created)
    if deletion.is_orphan(tables, created):
        deletion.delete(tables, _found(tables, kind, key), now=now)
    return created


def update(
    tables: Transaction, kind: Kind, document: Document, *, subresource: Subresource, now: datetime
) -> Document:
    """Put the next version of an object; custom kinds must say which version they replace, as upstream."""
    stored = _found(tables, kind, _key(kind, document))
    if kind.group and not document["metadata"].get("resourceVersion"):
        raise Invalid(
            "metadata.resourceVersion: an update must say which version it replaces",
            hint="read the object first, or send a patch",
        )
    return _put(tables, stored, document, subresource=subresource, manager="", now=now)


def patch(
    tables: Transaction,
    kind: Kind,
    key: Key,
    patch: Patch,
    *,
    subresource: Subresource,
    uid: str,
    now: datetime,
) -> Document:
    """Change an object by a patch of any type."""
    if isinstance(patch.body, dict) and patch.type == "apply":
        return _apply(tables, kind, key, patch, intent=patch.body, subresource=subresource, uid=uid, now=now)
    stored = _found(tables, kind, key)
    if isinstance(patch.body, list):
        patched = json_patch(stored.document, patch.body)
    elif patch.type == "strategic":
        patched = strategic_patch(kind, stored.document, patch.body)
    else:
        patched = merge_patch(stored.document, patch.body)
    return _put(
        tables, stored, prepare(kind, patched), subresource=subresource, manager=patch.manager, now=now
    )


def delete(
    tables: Transaction,
    kind: Kind,
    key: Key,
    *,
    preconditions: Preconditions | None,
    propagation: Propagation,
    now: datetime,
) -> Document:
    """Delete an object, if it is the one that was meant."""
    stored = _found(tables, kind, key)
    if preconditions is not None:
        rules.check_preconditions(kind, stored.document, preconditions)
    return deletion.delete(tables, stored, now=now, propagation=propagation)


def adopt(tables: Transaction, documents: Sequence[tuple[Kind, Document]], *, above: int) -> None:
    """Put documents of another store as they are, uids and times too, under versions that it never gave.

    All or nothing, and only into a store that holds nothing.
    """
    if not tables.is_blank():
        raise AlreadyExists("the store holds objects already", hint="bring objects back into an empty folder")
    tables.revision = max(tables.revision, above)
    for kind, document in documents:
        validation.check_shape(kind, document)
        tables.insert(kind, document)


def missing(kind: Kind, key: Key) -> NotFound:
    namespace, name = key
    return NotFound(f"there is no {kind} {name}" + (f" in namespace {namespace}" if kind.namespaced else ""))


def _apply(
    tables: Transaction,
    kind: Kind,
    key: Key,
    patch: Patch,
    *,
    intent: Document,
    subresource: Subresource,
    uid: str,
    now: datetime,
) -> Document:
    intent = _intended(kind, key, prepare_intent(kind, intent), subresource=subresource)
    time = rules.timestamp(now)
    stored = tables.find(kind, *key)
    if stored is None:
        if subresource:
            raise missing(kind, key)
        nothing: Document = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {}}
        applied = apply_intent(nothing, intent, manager=patch.manager, time=time)
        return create(tables, kind, validation.normalized(kind, applied), uid=uid, now=now)
    applied = apply_intent(
        stored.document, intent, manager=patch.manager, time=time, force=patch.force, subresource=subresource
    )
    completed = validation.normalized(kind, applied)
    return _put(tables, stored, completed, subresource=subresource, manager=None, now=now)


def _intended(kind: Kind, key: Key, intent: Document, *, subresource: Subresource) -> Document:
    metadata = intent["metadata"]
    if metadata.get("managedFields"):
        raise Malformed("metadata.managedFields: an applied object has none", hint="leave it out")
    named = {"namespace": key[0], "name": key[1]} if key[0] else {"name": key[1]}
    if any(metadata.get(field, value) != value for field, value in named.items()):
        raise Malformed(f"metadata.name: the applied {kind} is not called {key[1]}")
    if subresource == "status":
        return {"metadata": named, **({"status": intent["status"]} if "status" in intent else {})}
    drop = "status" if kind.has_status and kind.group else ""
    return {**{part: intent[part] for part in intent if part != drop}, "metadata": {**metadata, **named}}


def _put(
    tables: Transaction,
    stored: Stored,
    proposed: Document,
    *,
    subresource: Subresource,
    manager: str | None,
    now: datetime,
) -> Document:
    """Put the next version, if it differs. `manager` is None when the proposal carries its owners already."""
    kind, current = stored.kind, stored.document
    if subresource and not kind.has_status:
        raise NotFound(f"a {kind} has no status of its own")
    updated = rules.next_document(kind, current, proposed, subresource=subresource)
    if manager is None:
        updated["metadata"] = {**updated["metadata"], **_owners(proposed)}
    elif proposed["metadata"].get("managedFields") in ([], [{}]):  # upstream's way to forget the owners
        updated["metadata"] = {
            key: value for key, value in updated["metadata"].items() if key != "managedFields"
        }
    else:
        time = rules.timestamp(now)
        updated = record_update(
            current, updated, manager=manager or UNNAMED_MANAGER, time=time, subresource=subresource
        )
    if rules.is_unchanged(current, updated):
        return current
    if rules.is_being_deleted(updated) and not rules.has_finalizers(updated):
        return deletion.remove(tables, stored, updated, now=now)
    validation.check_document(kind, updated)
    invariants.check_object(kind, updated)
    invariants.check_change(kind, current, updated)
    return tables.replace(stored, updated)


def _owners(document: Document) -> Document:
    owners = document["metadata"].get("managedFields")
    return {"managedFields": owners} if owners else {}


def _named(tables: Transaction, kind: Kind, document: Document) -> Document:
    metadata = document["metadata"]
    base = metadata.get("generateName")
    if metadata.get("name") or not base:
        return document
    if not isinstance(base, str):
        raise Invalid("metadata.generateName: expected text")
    for _ in range(_NAME_ATTEMPTS):
        named = {**document, "metadata": {**metadata, "name": rules.generate_name(base)}}
        if tables.find(kind, *_key(kind, named)) is None:
            return named
    raise AlreadyExists(f"no free name was found for a {kind} called {base}…", hint="try again")


def _ensure_namespace(tables: Transaction, namespace: str, *, now: datetime) -> None:
    """Namespaces come with what is put in them: manifests for fleet-default apply to an empty box."""
    if not namespace:
        return
    stored = tables.find(NAMESPACE, "", namespace)
    if stored is None:
        document = _active({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        tables.insert(NAMESPACE, rules.new_document(NAMESPACE, document, uid=str(uuid.uuid4()), now=now))
    elif rules.is_being_deleted(stored.document):
        raise Conflict(f"namespace {namespace} is being deleted: nothing new can be made in it")


def _active(namespace: Document) -> Document:
    metadata = namespace["metadata"]
    labels = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}
    return {**namespace, "metadata": {**metadata, "labels": labels}, "status": {"phase": "Active"}}


def _found(tables: Transaction, kind: Kind, key: Key) -> Stored:
    stored = tables.find(kind, *key)
    if stored is None:
        raise missing(kind, key)
    return stored


def _key(kind: Kind, document: Document) -> Key:
    metadata = document["metadata"]
    namespace, name = metadata.get("namespace", "") if kind.namespaced else "", metadata.get("name", "")
    if not isinstance(namespace, str) or not isinstance(name, str):
        raise Invalid("metadata: name and namespace are texts")
    return namespace, name
