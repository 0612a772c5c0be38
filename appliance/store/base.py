"""The store: what controllers and edges may ask of it, whichever engine is underneath.

It keeps `Document`s (JSON objects as clients sent them) with Kubernetes' rules: resource versions that
only grow, conflicts, generation, finalizers, owner references, the status subresource, watches that
resume. `appliance.store.sqlite` is the embedded engine; both engines pass `tests/conformance`.

StoreError
├── NotFound         no such object
├── AlreadyExists    the name is taken
├── Conflict         somebody wrote first; read again and retry
├── Invalid          the document breaks its schema; the message holds the field's path
│   └── Malformed    the request itself cannot be read: a selector, a patch, a continue token
├── Gone             a watch or page asked for a version that is no longer kept; list again
├── TooLarge         over the object size limit
├── Unavailable      the engine cannot do it now: closed, in use by another program, disk full
└── Damaged          the database is not sound; nothing was changed
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from appliance.resources.meta import Document, Kind

MAX_DOCUMENT_BYTES = 1024 * 1024  # Kubernetes' own practical limit on an object


class StoreError(Exception):
    """A sentence about the object; `hint` says what to do, if there is something."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NotFound(StoreError):
    pass


class AlreadyExists(StoreError):
    pass


class Conflict(StoreError):
    pass


class Invalid(StoreError):
    pass


class Malformed(Invalid):
    pass


class Gone(StoreError):
    pass


class TooLarge(StoreError):
    pass


class Unavailable(StoreError):
    pass


class Damaged(StoreError):
    pass


PatchType = Literal["merge", "strategic", "json", "apply"]
Subresource = Literal["", "status"]
Propagation = Literal["Background", "Foreground", "Orphan"]


@dataclass(frozen=True, slots=True)
class Patch:
    """A change: RFC 7396 merge patch (an object), RFC 6902 JSON patch (a list), or server-side apply.

    A `strategic` merge patch is for Kubernetes' own kinds only.

    For `apply`, `manager` is the field manager. A merge patch that carries `metadata.resourceVersion` is
    conditional on it.
    """

    type: PatchType
    body: Document | list[Document]
    manager: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: `resource_version` is the point from which a watch continues without a gap."""

    items: list[Document]
    resource_version: str
    continue_token: str = ""
    remaining: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One change. The document is shared by every watcher: read it, never change it.

    A BOOKMARK carries only a resource version in its document's metadata: nothing of this kind happened up
    to there. The first one follows the initial state of a watch that had no `since`. `encoded` is the
    document as JSON when the engine has it at hand, encoded once for all watchers.
    """

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    kind: Kind
    document: Document
    encoded: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects: label and field selectors in Kubernetes' own text form, all namespaces when None."""

    namespace: str | None = None
    labels: str = ""
    fields: str = ""


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Preconditions:
    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one engine, for tests to lower.

    A watch resumes while its version is among the last `history` changes and `history_bytes` of documents;
    `watch_buffer` events are kept in memory for a watcher that is slow to read, which then reads on from
    the history.
    """

    max_document_bytes: int = MAX_DOCUMENT_BYTES
    history: int = 20_000
    history_bytes: int = 256 * 1024 * 1024
    watch_buffer: int = 1_000


class Store(Protocol):
    """Every write is durable (fsynced) before it returns. All methods may raise StoreError's children.

    With `dry_run` a write is decided and checked like any other, and then not done.
    """

    async def has_kind(self, kind: Kind) -> bool:
        """Say whether objects of the kind can be kept here: not every cluster serves every foreign kind."""
        ...

    async def get(self, kind: Kind, name: str, *, namespace: str = "") -> Document: ...

    async def list(
        self, kind: Kind, selection: Selection = EVERYTHING, *, limit: int = 0, continue_token: str = ""
    ) -> Page: ...

    async def create(self, kind: Kind, document: Document, *, dry_run: bool = False) -> Document: ...

    async def update(
        self, kind: Kind, document: Document, *, subresource: Subresource = "", dry_run: bool = False
    ) -> Document: ...

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Patch,
        *,
        namespace: str = "",
        subresource: Subresource = "",
        dry_run: bool = False,
    ) -> Document: ...

    async def delete(
        self,
        kind: Kind,
        name: str,
        *,
        namespace: str = "",
        preconditions: Preconditions | None = None,
        propagation: Propagation = "Background",
        dry_run: bool = False,
    ) -> Document: ...

    def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, since: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Yield what changes after `since`; with no `since`, first what exists (ADDED), then what changes."""
        ...


def merge(body: Document) -> Patch:
    """The patch controllers use: an RFC 7396 merge of the fields they own."""
    return Patch(type="merge", body=body)
