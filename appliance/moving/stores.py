"""From one store into another: everything read, made anew in order, read back and compared.

It can be repeated: what an earlier move brought is known by the uid it came from, and brought up to date. The
source is only read. Objects that the target cannot keep stop the move before anything is written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.moving.errors import MoveIncomplete, TargetInUse
from appliance.moving.objects import (
    AUTOMATIC,
    MOVED_FROM,
    OUR_GROUPS,
    difference,
    for_another_store,
    in_order,
    is_being_deleted,
    kind_of,
)
from appliance.resources.core import EVENT, NAMESPACE
from appliance.resources.kinds import KINDS
from appliance.resources.meta import Document, Kind
from appliance.store.base import AlreadyExists, Conflict, Invalid, Selection, Store

PAGE = 500
ATTEMPTS = 4

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Moved:
    """How many objects the target now holds of the source's, and how many of them this run brought."""

    objects: int
    brought: int


async def read_all(store: Store, *, kinds: Sequence[Kind] = KINDS) -> list[Document]:
    """Every object of every kind that the store keeps."""
    documents: list[Document] = []
    for kind in kinds:
        if not await store.has_kind(kind):
            continue
        token = ""
        while True:
            page = await store.list(kind, Selection(), limit=PAGE, continue_token=token)
            documents += [
                {"apiVersion": kind.api_version, "kind": kind.kind, **document} for document in page.items
            ]
            token = page.continue_token
            if not token:
                break
    return documents


def ours(documents: Sequence[Document]) -> list[Document]:
    """What belongs to Skerry among a cluster's objects: its kinds, and what shares their namespaces."""
    namespaces = {
        document["metadata"].get("namespace", "")
        for document in documents
        if document["apiVersion"].partition("/")[0] in OUR_GROUPS
    } - {""}
    return [
        document
        for document in documents
        if (document["kind"], document["metadata"]["name"]) not in AUTOMATIC
        and _namespace_of(document) in namespaces
    ]


def _namespace_of(document: Document) -> str:
    metadata = document["metadata"]
    return str(metadata["name"] if document["kind"] == NAMESPACE.kind else metadata.get("namespace", ""))


async def move(documents: Sequence[Document], target: Store, *, told: Told) -> Moved:
    """Bring documents into another store. Raises MoveIncomplete, TargetInUse and StoreError's children."""
    kinds = {document["metadata"]["uid"]: kind_of(document) for document in documents}
    await _check_kept(documents, target)
    uids: dict[str, str] = {}
    ordered = in_order(documents)
    brought = 0
    for number, document in enumerate(ordered):
        kind = kinds[document["metadata"]["uid"]]
        assert kind is not None
        made, is_new = await _bring(target, kind, for_another_store(document, uids))
        uids[document["metadata"]["uid"]] = made["metadata"]["uid"]
        brought += is_new
        told(number + 1, 2 * len(ordered))
    for number, document in enumerate(ordered):
        kind = kinds[document["metadata"]["uid"]]
        assert kind is not None
        await _finish(target, kind, document, for_another_store(document, uids))
        told(len(ordered) + number + 1, 2 * len(ordered))
    return Moved(len(ordered), brought)


async def _check_kept(documents: Sequence[Document], target: Store) -> None:
    kept: dict[str, bool] = {}
    for document in documents:
        kind = kind_of(document)
        name = f"{document['kind']} ({document['apiVersion']})"
        if name not in kept:
            kept[name] = kind is not None and await target.has_kind(kind)
    missing = sorted(name for name, is_kept in kept.items() if not is_kept)
    if missing:
        raise MoveIncomplete(
            f"the target cannot keep {', '.join(missing)}, of which there are objects",
            hint="apply the CRDs first (skerry k3s manifests), or delete those objects",
        )


async def _bring(target: Store, kind: Kind, document: Document) -> tuple[Document, bool]:
    """Make the object, or take up the one that an earlier move made. Its status follows in `_finish`."""
    metadata = document["metadata"]
    try:
        return await target.create(kind, document), True
    except AlreadyExists:
        found = await target.get(kind, metadata["name"], namespace=metadata.get("namespace", ""))
    came_from = (found["metadata"].get("annotations") or {}).get(MOVED_FROM)
    if came_from == metadata["annotations"][MOVED_FROM] or kind is NAMESPACE:
        return found, False
    raise TargetInUse(
        f"the target has a {kind} {metadata['name']} of its own ({metadata.get('namespace', '')})",
        hint="delete it there, if it is not needed; nothing of ours was lost",
    )


async def _finish(target: Store, kind: Kind, source: Document, wanted: Document) -> None:
    """Bring spec and status up to what they should be, mark what was being deleted, and compare."""
    name, namespace = source["metadata"]["name"], source["metadata"].get("namespace", "")
    for _ in range(ATTEMPTS):
        try:
            found = await target.get(kind, name, namespace=namespace)
            if kind is NAMESPACE:
                return
            found = await _update(target, kind, found, wanted)
            break
        except Conflict:
            continue
        except Invalid as error:
            raise MoveIncomplete(f"the target refuses {kind} {name}: {error}") from error
    else:
        raise MoveIncomplete(f"{kind} {name} is being changed in the target", hint="stop what writes there")
    if kind is not EVENT and (where := difference(_comparable(wanted), found)):
        raise MoveIncomplete(
            f"{kind} {name} differs in the target at {where}", hint="the source is unchanged; report this"
        )
    if is_being_deleted(source) and not is_being_deleted(found):
        await target.delete(kind, name, namespace=namespace)


async def _update(target: Store, kind: Kind, found: Document, wanted: Document) -> Document:
    if difference(_comparable({**wanted, "status": None}), found):
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        body = {**wanted, "metadata": {**wanted["metadata"], **version}}
        found = await target.update(kind, body)
    if (
        kind.has_status
        and kind.group
        and wanted.get("status")
        and difference(_status(wanted), _status(found))
    ):
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        body = {**wanted, "metadata": {**wanted["metadata"], **version}}
        found = await target.update(kind, body, subresource="status")
    return found


def _status(document: Document) -> Document:
    return {"metadata": {}, "status": document.get("status") or {}}


def _comparable(document: Document) -> Document:
    return {key: value for key, value in document.items() if value is not None}
