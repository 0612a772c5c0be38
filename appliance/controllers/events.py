"""Core Events: what happened to an object, for `describe` and the console. One per thing, counted.

An event is a courtesy: it is written after what it tells of, and if the appliance dies in between it is
missing. Nothing may depend on it. `prune_events` takes the old ones away.
"""

import asyncio
import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from appliance.controllers.writes import parse_time, render_time
from appliance.resources.core import EVENT
from appliance.resources.meta import Condition, Document, find_condition
from appliance.store.base import (
    EVERYTHING,
    AlreadyExists,
    Conflict,
    NotFound,
    Preconditions,
    Store,
    StoreError,
    merge,
)

log = logging.getLogger(__name__)

COMPONENT = "skerry"
NAME_LIMIT = 230  # of the object's name in the event's, which may have 253 in all
MESSAGE_LIMIT = 1024  # core/v1's own
# Kubernetes forgets after an hour, having a log collector beside it. A box on a factory floor has none, and
# whoever is called because of a fault comes days later: a week, and the newest of each object.
KEPT_FOR = timedelta(days=7)
KEPT_PER_OBJECT = 50
PRUNE_SECONDS = 3600.0
# Reasons for which a condition is not True yet, without anything being wrong.
UNDERWAY = ("Waiting", "Reconciling", "Successfully")
PAGE = 500


class Recorder:
    def __init__(self, store: Store, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def record(
        self, document: Document, type: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        """Tell that something happened to the object; the same thing again only raises its count."""
        metadata = document["metadata"]
        namespace = metadata.get("namespace", "")
        seen = render_time(self._clock())
        name = _name_event(metadata, reason, message)
        try:
            present = await self._store.get(EVENT, name, namespace=namespace)
        except NotFound:
            try:
                await self._store.create(EVENT, _render(document, name, type, reason, message, seen))
                return
            except AlreadyExists:
                present = await self._store.get(EVENT, name, namespace=namespace)
        changes = {"count": int(present.get("count", 1)) + 1, "lastTimestamp": seen}
        try:
            await self._store.patch(EVENT, name, merge(changes), namespace=namespace)
        except NotFound:
            # It was pruned just now, and so did not happen for a long time.
            await self._store.create(EVENT, _render(document, name, type, reason, message, seen))

    async def record_condition(
        self, document: Document, type: str, before: Sequence[Condition], after: Sequence[Condition]
    ) -> None:
        """Tell of a condition whose status or reason is new; only a failure is a warning."""
        was, now = find_condition([*before], type), find_condition([*after], type)
        if now is None or (was and (was.status, was.reason) == (now.status, now.reason)):
            return
        failed = now.status == "False" and not now.reason.startswith(UNDERWAY)
        message = now.message or f"{type} is {now.status}"
        await self.record(document, "Warning" if failed else "Normal", now.reason, message)


async def keep_events_pruned(store: Store, *, clock: Callable[[], datetime]) -> None:
    """Prune at start and every hour, until cancelled."""
    while True:
        try:
            pruned = await prune_events(store, now=clock())
            log.info("events: %d old ones were taken away", pruned)
        except StoreError as error:
            log.warning("events: the old ones stay for now: %s", error)
        await asyncio.sleep(PRUNE_SECONDS)


async def prune_events(
    store: Store, *, now: datetime, kept_for: timedelta = KEPT_FOR, per_object: int = KEPT_PER_OBJECT
) -> int:
    """Delete our events that are too old or too many; answer how many. Others' events stay."""
    events: list[Document] = []
    token = ""
    while True:
        page = await store.list(EVENT, EVERYTHING, limit=PAGE, continue_token=token)
        events += [_sketch(event) for event in page.items if _is_ours(event)]
        token = page.continue_token
        if not token:
            break
    pruned = 0
    for event in choose_stale(events, before=now - kept_for, per_object=per_object):
        metadata = event["metadata"]
        # One that was counted up since it was listed is news again.
        unchanged = Preconditions(uid=metadata["uid"], resource_version=metadata["resourceVersion"])
        try:
            await store.delete(
                EVENT, metadata["name"], namespace=metadata.get("namespace", ""), preconditions=unchanged
            )
        except (NotFound, Conflict):
            continue
        pruned += 1
    return pruned


def choose_stale(events: Iterable[Document], *, before: datetime, per_object: int) -> list[Document]:
    """The events last seen before that time, and of each object all but the newest. Pure."""
    objects: defaultdict[str, list[Document]] = defaultdict(list)
    for event in events:
        involved = event.get("involvedObject") or {}
        objects[involved.get("uid") or event["metadata"]["uid"]].append(event)
    stale = []
    for of_one in objects.values():
        of_one.sort(key=_last_seen, reverse=True)
        for rank, event in enumerate(of_one):
            if rank >= per_object or parse_time(_last_seen(event), default=before) < before:
                stale.append(event)
    return stale


def _last_seen(event: Document) -> str:
    seen: str = event.get("lastTimestamp") or event["metadata"].get("creationTimestamp") or ""
    return seen


def _is_ours(event: Document) -> bool:
    """Ours say so; those of earlier versions name no component at all, which no other writer leaves out."""
    component = (event.get("source") or {}).get("component") or event.get("reportingComponent")
    return component in (None, "", COMPONENT)


def _sketch(event: Document) -> Document:
    """The part that pruning needs, so that a hundred thousand events do not fill the memory."""
    keys = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {key: event["metadata"][key] for key in keys if key in event["metadata"]}
    involved = {"uid": (event.get("involvedObject") or {}).get("uid")}
    return {"metadata": metadata, "involvedObject": involved, "lastTimestamp": event.get("lastTimestamp")}


def _name_event(metadata: Document, reason: str, message: str) -> str:
    thing = "\0".join((metadata.get("uid", ""), reason, message))
    return f"{metadata['name'][:NAME_LIMIT]}.{hashlib.sha256(thing.encode()).hexdigest()[:16]}"


def _render(document: Document, name: str, type: str, reason: str, message: str, seen: str) -> Document:
    metadata = document["metadata"]
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": name, "namespace": metadata.get("namespace", "")},
        "involvedObject": {
            "apiVersion": document.get("apiVersion", ""),
            "kind": document.get("kind", ""),
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
        },
        "source": {"component": COMPONENT},
        "type": type,
        "reason": reason,
        "message": message[:MESSAGE_LIMIT],
        "count": 1,
        "firstTimestamp": seen,
        "lastTimestamp": seen,
    }
