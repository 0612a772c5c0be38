"""What a write makes of a document: identity, generation, deletion, the status subresource.

Pure: documents and the time in, a new document or a StoreError out. Nothing that comes in is changed.
Schemas are `appliance.store.validation`'s, the resource version is the transaction's.
"""

import secrets
from datetime import UTC, datetime

import msgspec

from appliance.resources.meta import Document, Kind
from appliance.store.base import Conflict, Invalid, Malformed, Preconditions, Subresource

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own: no vowels, no words
_MAX_GENERATED_BASE = 58
# What only the server writes; a client's word on these is not heard.
_SERVER_OWNED = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "selfLink",
    "managedFields",
)


def timestamp(now: datetime) -> str:
    """RFC 3339 in UTC, to the second, as metav1.Time is written."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def generate_name(base: str) -> str:
    """Make the name that `metadata.generateName` asks for."""
    return base[:_MAX_GENERATED_BASE] + "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(5))


def new_document(kind: Kind, document: Document, *, uid: str, now: datetime) -> Document:
    """The first version of an object, from what a client sent. It has a name already."""
    metadata = _client_owned(document["metadata"])
    metadata |= {"uid": uid, "creationTimestamp": timestamp(now)}
    if kind.group:
        metadata["generation"] = 1
    created = {**document, "metadata": metadata}
    if kind.has_status and kind.group:
        created.pop("status", None)
    return created


def next_document(kind: Kind, current: Document, proposed: Document, *, subresource: Subresource) -> Document:
    """The next version of `current` when a client proposes another. Raises Conflict, Invalid or Malformed."""
    check_identity(kind, current, proposed)
    if subresource == "status":
        return _replace_part(current, proposed, "status")
    updated = _replace_part(proposed, current, "status") if kind.has_status and kind.group else dict(proposed)
    updated["metadata"] = _next_metadata(kind, current["metadata"], proposed["metadata"])
    if kind.group and _changes_specification(kind, current, updated):
        updated["metadata"]["generation"] = current["metadata"].get("generation", 0) + 1
    return updated


def check_identity(kind: Kind, current: Document, proposed: Document) -> None:
    """Check that `proposed` is a successor of `current`. Raises Conflict, Invalid or Malformed."""
    name, metadata, known = current["metadata"]["name"], proposed["metadata"], current["metadata"]
    if metadata.get("name") != name or metadata.get("namespace", "") != known.get("namespace", ""):
        raise Malformed(f"metadata.name: {kind} {name} cannot be renamed or moved to another namespace")
    check_preconditions(
        kind,
        current,
        Preconditions(uid=metadata.get("uid") or "", resource_version=metadata.get("resourceVersion") or ""),
    )


def check_preconditions(kind: Kind, current: Document, preconditions: Preconditions) -> None:
    """Raise Conflict when the object is not the one, or not the version, that the writer had in mind."""
    metadata = current["metadata"]
    if preconditions.uid and preconditions.uid != metadata["uid"]:
        raise Conflict(
            f"{kind} {metadata['name']} has uid {metadata['uid']}, not {preconditions.uid}:"
            " it was deleted and made again"
        )
    if preconditions.resource_version and preconditions.resource_version != metadata["resourceVersion"]:
        raise Conflict(
            f"{kind} {metadata['name']} is at version {metadata['resourceVersion']},"
            f" not {preconditions.resource_version}: somebody wrote first",
            hint="read it again and repeat the change",
        )


def is_unchanged(current: Document, proposed: Document) -> bool:
    """Say whether a write would change nothing. Python's equality alone holds True and 1 to be the same."""
    return current == proposed and _canonical(current) == _canonical(proposed)


def marked_for_deletion(document: Document, *, now: datetime) -> Document:
    """The object as it waits for its finalizers; the mark and the generation are set once."""
    if is_being_deleted(document):
        return document
    metadata = {
        **document["metadata"],
        "deletionTimestamp": timestamp(now),
        "deletionGracePeriodSeconds": 0,
    }
    if "generation" in metadata:
        metadata["generation"] += 1
    return {**document, "metadata": metadata}


def is_being_deleted(document: Document) -> bool:
    return bool(document["metadata"].get("deletionTimestamp"))


def has_finalizers(document: Document) -> bool:
    return bool(document["metadata"].get("finalizers"))


def _replace_part(document: Document, source: Document, part: str) -> Document:
    replaced = {key: value for key, value in document.items() if key != part}
    return {**replaced, part: source[part]} if part in source else replaced


def _next_metadata(kind: Kind, current: Document, proposed: Document) -> Document:
    metadata = _client_owned(proposed)
    metadata |= {key: current[key] for key in _SERVER_OWNED if key in current}
    added = set(proposed.get("finalizers") or ()) - set(current.get("finalizers") or ())
    if added and current.get("deletionTimestamp"):
        raise Invalid(
            f"metadata.finalizers: {kind} {current['name']} is being deleted;"
            f" no finalizer can be added ({', '.join(sorted(added))})"
        )
    return metadata


def _client_owned(metadata: Document) -> Document:
    """What a client may say of an object; an empty list or map is as good as none."""
    return {
        key: value for key, value in metadata.items() if key not in _SERVER_OWNED and value not in ({}, [])
    }


def _changes_specification(kind: Kind, current: Document, updated: Document) -> bool:
    ignored = {"metadata", "status"} if kind.has_status else {"metadata"}
    return not is_unchanged(
        {key: value for key, value in current.items() if key not in ignored},
        {key: value for key, value in updated.items() if key not in ignored},
    )


def _canonical(document: Document) -> bytes:
    return msgspec.json.encode(document, order="deterministic")
