"""Objects on their way from one store to another: the order they go in, and what they lose and keep. Pure.

Another store gives new uids and versions. What names an object by uid is made to name the new one, and a
MachineInventory remembers the uid that its host's token speaks of.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from appliance.api.contract import BundleImage
from appliance.jobs.os_versions import BUNDLE_LABEL
from appliance.resources.core import CONFIG_MAP, EVENT, NAMESPACE, SECRET
from appliance.resources.kinds import KINDS
from appliance.resources.machine_inventory import FIRST_UID, MACHINE_INVENTORY
from appliance.resources.meta import Document, Kind
from appliance.resources.service_account import SERVICE_ACCOUNT

# Stamped by every store for itself.
STAMPS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
DELETION = ("deletionTimestamp", "deletionGracePeriodSeconds")
MOVED_FROM = "skerry.dev/moved-from"  # the uid it had where it came from: how a move that was cut off goes on

OUR_GROUPS = frozenset(("elemental.cattle.io", "skerry.dev"))
# What a cluster makes by itself in every namespace.
AUTOMATIC = frozenset((("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")))

Uids = Mapping[str, str]


def kind_of(document: Document, kinds: Iterable[Kind] = KINDS) -> Kind | None:
    """The kind of ours that a document says it is."""
    named = (document.get("apiVersion"), document.get("kind"))
    return next((kind for kind in kinds if (kind.api_version, kind.kind) == named), None)


def in_order(documents: Sequence[Document]) -> list[Document]:
    """Namespaces, then what tokens need, then owners before what they own, then events."""
    known = {document["metadata"]["uid"]: document for document in documents}
    placed: dict[str, Document] = {}

    def place(document: Document, below: frozenset[str]) -> None:
        uid = document["metadata"]["uid"]
        if uid in placed or uid in below:
            return
        for owner in document["metadata"].get("ownerReferences") or []:
            if owner["uid"] in known:
                place(known[owner["uid"]], below | {uid})
        placed[uid] = document

    for document in sorted(documents, key=_rank):
        place(document, frozenset())
    return list(placed.values())


def _rank(document: Document) -> tuple[int, str, str]:
    first = {NAMESPACE.kind: 0, SERVICE_ACCOUNT.kind: 1, SECRET.kind: 2, EVENT.kind: 9}
    metadata = document["metadata"]
    return first.get(document["kind"], 5), metadata.get("namespace", ""), metadata["name"]


def for_another_store(document: Document, uids: Uids) -> Document:
    """The document as it is made anew: without the old store's stamps, its references mapped by `uids`."""
    moved: Document = _mapped(document, uids)
    metadata = {key: value for key, value in moved["metadata"].items() if key not in (*STAMPS, *DELETION)}
    annotations = {**(metadata.get("annotations") or {}), MOVED_FROM: document["metadata"]["uid"]}
    if document["kind"] == MACHINE_INVENTORY.kind:
        annotations.setdefault(FIRST_UID, document["metadata"]["uid"])
    return {**moved, "metadata": {**metadata, "annotations": annotations}}


def bundles_loaded(documents: Iterable[Document]) -> list[str]:
    """The bundles that were loaded, each with its edition and images: what an empty mirror lacks."""
    records = [
        document["data"]
        for document in documents
        if document["kind"] == CONFIG_MAP.kind
        and BUNDLE_LABEL in (document["metadata"].get("labels") or {})
        and isinstance(document.get("data"), dict)
    ]
    return sorted(
        f"{record.get('name', '')}, edition {record.get('sequence', '0')}: "
        + ", ".join(image.reference for image in _images_of(record))
        for record in records
    )


def _images_of(record: Mapping[str, str]) -> list[BundleImage]:
    try:
        return msgspec.json.decode(record.get("images", "[]"), type=list[BundleImage])
    except msgspec.MsgspecError:  # somebody edited it; the name alone helps too
        return []


def is_being_deleted(document: Document) -> bool:
    return bool(document["metadata"].get("deletionTimestamp"))


def difference(wanted: Document, found: Document) -> str:
    """Where a moved object differs from what it should be, as a path; empty when it does not.

    What the target adds (defaults, its own stamps) is no difference; what it lost or changed is.
    """
    ignored = {*STAMPS, *DELETION}
    left = {**wanted, "metadata": {k: v for k, v in wanted["metadata"].items() if k not in ignored}}
    return _difference(left, found, "")


def _difference(wanted: object, found: object, path: str) -> str:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            if _is_empty(value) and _is_empty(found.get(key)):
                continue
            if key not in found:
                return f"{path}.{key}".lstrip(".")
            if inside := _difference(value, found[key], f"{path}.{key}"):
                return inside
        return ""
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            if inside := _difference(one, other, f"{path}[{number}]"):
                return inside
        return ""
    return "" if wanted == found else path.lstrip(".") or "."


def _is_empty(value: object) -> bool:
    """A Role without rules comes back with a null, a Secret without data with nothing."""
    return value in (None, {}, [], "")


def _mapped(value: object, uids: Uids) -> "Document":
    """Every `uid` below that is a known one, replaced."""

    def walk(part: object) -> object:
        if isinstance(part, dict):
            return {
                key: uids.get(inner, inner) if key == "uid" and isinstance(inner, str) else walk(inner)
                for key, inner in part.items()
            }
        return [walk(each) for each in part] if isinstance(part, list) else part

    mapped = walk(value)
    assert isinstance(mapped, dict)
    return mapped
