"""Core Events: what happened to an object, for `describe` and the console. One per thing, counted.

An event is a courtesy: it is written after what it tells of, and if the appliance dies in between it is
missing. Nothing may depend on it.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

from appliance.controllers.writes import render_time
from appliance.resources.core import EVENT
from appliance.resources.meta import Condition, Document, find_condition
from appliance.store.base import AlreadyExists, NotFound, Store, merge

MESSAGE_LIMIT = 1024  # core/v1's own


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
        await self._store.patch(EVENT, name, merge(changes), namespace=namespace)

    async def record_condition(
        self, document: Document, type: str, before: Sequence[Condition], after: Sequence[Condition]
    ) -> None:
        """Tell of a condition whose status or reason is new; only a failure is a warning."""
        was, now = find_condition([*before], type), find_condition([*after], type)
        if now is None or (was and (was.status, was.reason) == (now.status, now.reason)):
            return
        failed = now.status == "False" and not now.reason.startswith("Waiting")
        message = now.message or f"{type} is {now.status}"
        await self.record(document, "Warning" if failed else "Normal", now.reason, message)


def _name_event(metadata: Document, reason: str, message: str) -> str:
    thing = "\0".join((metadata.get("uid", ""), reason, message))
    return f"{metadata['name']}.{hashlib.sha256(thing.encode()).hexdigest()[:16]}"


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
        "type": type,
        "reason": reason,
        "message": message[:MESSAGE_LIMIT],
        "count": 1,
        "firstTimestamp": seen,
        "lastTimestamp": seen,
    }
