"""A store whose appliance dies: the real one, until it made so many writes; then every write is a power cut.

A power cut is no Exception, so that nothing on the way can live through it.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable

from appliance.resources.meta import Document, Kind
from appliance.store.base import (
    EVERYTHING,
    Event,
    Page,
    Patch,
    Preconditions,
    Propagation,
    Selection,
    Store,
    Subresource,
)


class PowerCut(BaseException):
    """The appliance died before this write."""


class DyingStore:
    """`before_write` is awaited before each write: what the world does meanwhile."""

    def __init__(
        self, store: Store, *, writes: int = -1, before_write: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._store = store
        self._left = writes
        self._before_write = before_write

    async def has_kind(self, kind: Kind) -> bool:
        return await self._store.has_kind(kind)

    async def get(self, kind: Kind, name: str, *, namespace: str = "") -> Document:
        return await self._store.get(kind, name, namespace=namespace)

    async def list(
        self, kind: Kind, selection: Selection = EVERYTHING, *, limit: int = 0, continue_token: str = ""
    ) -> Page:
        return await self._store.list(kind, selection, limit=limit, continue_token=continue_token)

    async def create(self, kind: Kind, document: Document, *, dry_run: bool = False) -> Document:
        await self._spend()
        return await self._store.create(kind, document, dry_run=dry_run)

    async def update(
        self, kind: Kind, document: Document, *, subresource: Subresource = "", dry_run: bool = False
    ) -> Document:
        await self._spend()
        return await self._store.update(kind, document, subresource=subresource, dry_run=dry_run)

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Patch,
        *,
        namespace: str = "",
        subresource: Subresource = "",
        dry_run: bool = False,
    ) -> Document:
        await self._spend()
        return await self._store.patch(
            kind, name, patch, namespace=namespace, subresource=subresource, dry_run=dry_run
        )

    async def delete(
        self,
        kind: Kind,
        name: str,
        *,
        namespace: str = "",
        preconditions: Preconditions | None = None,
        propagation: Propagation = "Background",
        dry_run: bool = False,
    ) -> Document:
        await self._spend()
        return await self._store.delete(
            kind,
            name,
            namespace=namespace,
            preconditions=preconditions,
            propagation=propagation,
            dry_run=dry_run,
        )

    def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, since: str = ""
    ) -> AsyncGenerator[Event, None]:
        return self._store.watch(kind, selection, since=since)

    async def _spend(self) -> None:
        if self._before_write is not None:
            await self._before_write()
        if self._left == 0:
            raise PowerCut("the appliance died")
        self._left -= 1
