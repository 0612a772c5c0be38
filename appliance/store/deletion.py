"""How an object goes: finalizers first, then the object, then what it owns or contains.

Kubernetes leaves owner references to a garbage collector that comes later; here the whole cascade is one
transaction, so nothing is ever seen half gone. A dependent goes when the last of its owners does; in the
foreground the owner stays, held by a finalizer, until those that block it are gone. Owners in a circle are
not untied: their finalizers are taken off by hand.
"""

from datetime import datetime

from appliance.resources.core import NAMESPACE
from appliance.resources.meta import Document
from appliance.store.base import Propagation
from appliance.store.rules import has_finalizers, is_being_deleted, marked_for_deletion
from appliance.store.tables import Stored, Transaction

FOREGROUND = "foregroundDeletion"


def delete(
    transaction: Transaction, stored: Stored, *, now: datetime, propagation: Propagation = "Background"
) -> Document:
    """Delete an object, or mark it while its finalizers hold it. Returns its last or marked state."""
    if propagation == "Orphan":
        _release_dependents(transaction, stored)
    if stored.kind is NAMESPACE:
        return _delete_namespace(transaction, stored, now=now)
    if propagation == "Foreground" and transaction.dependents(stored.uid):
        return _delete_after_dependents(transaction, stored, now=now)
    if not has_finalizers(stored.document):
        return remove(transaction, stored, stored.document, now=now)
    return _mark(transaction, stored, now=now)


def remove(transaction: Transaction, stored: Stored, last: Document, *, now: datetime) -> Document:
    """Remove an object whose last finalizer is gone, and what depended on it."""
    removed = transaction.remove(stored, dict(last))
    for dependent in transaction.dependents(stored.uid):
        _release(transaction, dependent, stored.uid, now=now)
    for owner in _blocked_owners(removed):
        _finish_foreground(transaction, owner, now=now)
    if namespace := removed["metadata"].get("namespace"):
        _finish_namespace(transaction, namespace, now=now)
    return removed


def is_orphan(transaction: Transaction, document: Document) -> bool:
    """Say whether every owner of a new object is already gone."""
    owners = document["metadata"].get("ownerReferences") or []
    return bool(owners) and not any(map(transaction.has_owner, owners))


def _mark(transaction: Transaction, stored: Stored, *, now: datetime) -> Document:
    marked = marked_for_deletion(stored.document, now=now)
    return stored.document if marked is stored.document else transaction.replace(stored, marked)


def _delete_after_dependents(transaction: Transaction, stored: Stored, *, now: datetime) -> Document:
    finalizers = stored.document["metadata"].get("finalizers") or []
    if FOREGROUND in finalizers:
        return stored.document
    metadata = {**stored.document["metadata"], "finalizers": [*finalizers, FOREGROUND]}
    waiting = transaction.replace(
        stored, marked_for_deletion({**stored.document, "metadata": metadata}, now=now)
    )
    for dependent in transaction.dependents(stored.uid):
        _release(transaction, dependent, stored.uid, now=now, propagation="Foreground")
    return _finish_foreground(transaction, stored.uid, now=now) or waiting


def _finish_foreground(transaction: Transaction, uid: str, *, now: datetime) -> Document | None:
    """Let an owner go that no dependent blocks any more. Returns its last state if it went."""
    owner = transaction.find_by_uid(uid)
    if owner is None or FOREGROUND not in (owner.document["metadata"].get("finalizers") or ()):
        return None
    if any(uid in _blocked_owners(dependent.document) for dependent in transaction.dependents(uid)):
        return None
    finalizers = [name for name in owner.document["metadata"]["finalizers"] if name != FOREGROUND]
    freed = {**owner.document, "metadata": {**owner.document["metadata"], "finalizers": finalizers}}
    return transaction.replace(owner, freed) if finalizers else remove(transaction, owner, freed, now=now)


def _blocked_owners(document: Document) -> list[str]:
    references = document["metadata"].get("ownerReferences") or []
    return [reference["uid"] for reference in references if reference.get("blockOwnerDeletion")]


def _release(
    transaction: Transaction,
    dependent: Stored,
    owner: str,
    *,
    now: datetime,
    propagation: Propagation = "Background",
) -> None:
    references = [
        reference
        for reference in dependent.document["metadata"]["ownerReferences"]
        if reference["uid"] != owner and transaction.has_owner(reference)
    ]
    if references:
        transaction.replace(dependent, _with_owners(dependent.document, references))
    else:
        delete(transaction, dependent, now=now, propagation=propagation)


def _release_dependents(transaction: Transaction, stored: Stored) -> None:
    for dependent in transaction.dependents(stored.uid):
        references = dependent.document["metadata"]["ownerReferences"]
        kept = [reference for reference in references if reference["uid"] != stored.uid]
        transaction.replace(dependent, _with_owners(dependent.document, kept))


def _with_owners(document: Document, references: list[Document]) -> Document:
    metadata = {**document["metadata"], "ownerReferences": references}
    if not references:
        del metadata["ownerReferences"]
    return {**document, "metadata": metadata}


def _delete_namespace(transaction: Transaction, stored: Stored, *, now: datetime) -> Document:
    """Delete what is in it; the namespace itself stays, marked, until its last object is gone."""
    marked = _mark(transaction, stored, now=now)
    name = stored.document["metadata"]["name"]
    for content in transaction.contents(name):
        # An earlier one may have taken this one along.
        if current := transaction.find(content.kind, name, content.document["metadata"]["name"]):
            delete(transaction, current, now=now)
    _finish_namespace(transaction, name, now=now)
    return marked


def _finish_namespace(transaction: Transaction, namespace: str, *, now: datetime) -> None:
    stored = transaction.find(NAMESPACE, "", namespace)
    if stored is None or not is_being_deleted(stored.document) or has_finalizers(stored.document):
        return
    if transaction.is_empty(namespace):
        remove(transaction, stored, stored.document, now=now)
