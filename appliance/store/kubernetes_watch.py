"""A watch that lives longer than a connection: one kind's changes in order, resumed where they broke off.

A server ends every watch after some minutes, and connections break; the reader sees neither. It is told when
the version to resume from is Gone, and, by Unavailable, when the server was out of reach for too long.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from appliance.resources.meta import Document, Kind
from appliance.store.base import Event, StoreError, Unavailable
from appliance.store.kubernetes_api import KubernetesApi, Query
from appliance.store.kubernetes_errors import Status, error_of

log = logging.getLogger(__name__)

STEADY_SECONDS = 1.0  # a watch that was held for so long was not refused in some other way


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How watches hold on to the server.

    It is asked to end them after `seconds`, and then sends a bookmark. One that is silent for
    `idle_seconds` is taken for dead: a server sends a bookmark every minute. After `patience` seconds without
    the server a reader is told.
    """

    seconds: float = 300.0
    idle_seconds: float = 90.0
    first_pause: float = 0.1
    longest_pause: float = 5.0
    patience: float = 30.0
    jitter: Callable[[], float] = field(default=random.random)

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        full = min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 1, 30))
        return full * (0.5 + self.jitter() / 2)


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: msgspec.Raw


async def follow(
    api: KubernetesApi, kind: Kind, path: str, *, query: Query, since: str, settings: WatchSettings
) -> AsyncGenerator[Event, None]:
    """Yield what changes after version `since`, for ever. Raises StoreError's children."""
    failures, well = 0, time.monotonic()
    while True:
        asked = {
            **query,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(max(1, round(settings.seconds))),
        }
        opened, broken = math.inf, None
        try:
            async with api.stream(path, query=asked, idle_seconds=settings.idle_seconds) as lines:
                opened = time.monotonic()
                async for line in lines:
                    event = _event(kind, line)
                    since = event.document["metadata"]["resourceVersion"]
                    failures, well = 0, time.monotonic()
                    yield event
        except Unavailable as error:
            broken = error
        if time.monotonic() - opened > STEADY_SECONDS:
            failures, well = 0, time.monotonic()
            if broken is None:
                continue
        failures += 1
        if broken is not None and time.monotonic() - well > settings.patience:
            raise broken
        log.info("%s: the watch broke off (%s); going on from version %s", kind, broken or "at once", since)
        await asyncio.sleep(settings.pause(failures))


def _event(kind: Kind, line: bytes) -> Event:
    try:
        parsed = msgspec.json.decode(line, type=_Line)
        if parsed.type == "ERROR":
            raise _refusal(parsed.object)
        document: Document = msgspec.json.decode(parsed.object, type=dict[str, Any])
        if not isinstance(document["metadata"]["resourceVersion"], str):
            raise TypeError("the resourceVersion is no text")
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise Unavailable(f"{kind}: the server sent an event that cannot be read: {error}") from error
    return Event(parsed.type, kind, document, bytes(parsed.object))


def _refusal(body: msgspec.Raw) -> StoreError:
    return error_of(msgspec.json.decode(body, type=Status))
