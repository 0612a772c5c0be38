"""The hosted store: the same protocol over a real Kubernetes API server, whose rules are the rules.

What the embedded store does inside a write (garbage collection, closing namespaces) the cluster's own
controllers do a little later. One thing is added to what the server does: a namespace comes with what is put
in it, as in the embedded store. Every write is as durable as the cluster's own datastore makes it.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import msgspec

from appliance.resources.core import NAMESPACE
from appliance.resources.meta import Document, Kind
from appliance.store import validation
from appliance.store.base import (
    EVERYTHING,
    AlreadyExists,
    Event,
    Invalid,
    Limits,
    Malformed,
    NotFound,
    Page,
    Patch,
    PatchType,
    Preconditions,
    Propagation,
    Selection,
    Subresource,
    TooLarge,
)
from appliance.store.kubernetes_api import KubernetesApi, Query
from appliance.store.kubernetes_errors import MissingNamespace
from appliance.store.kubernetes_watch import WatchSettings, follow
from appliance.store.writes import UNNAMED_MANAGER, check_new, check_patch, missing

KINDS_SECONDS = 60.0  # for how long what the server serves is remembered
INITIAL_PAGE = 500  # objects asked for at a time before a watch begins

_CONTENT_TYPES: dict[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",  # JSON is YAML
}


class KubernetesStore:
    """`appliance.store.base.Store` over one API server. Use it from one event loop, and close it."""

    def __init__(
        self, api: KubernetesApi, *, limits: Limits | None = None, watching: WatchSettings | None = None
    ) -> None:
        self._api = api
        self._limits = limits or Limits()
        self._watching = watching or WatchSettings()
        self._served: dict[str, tuple[float, frozenset[str]]] = {}
        self._newest = 0

    @classmethod
    async def open(
        cls, kubeconfig: Path | None = None, *, context: str = "", limits: Limits | None = None
    ) -> Self:
        """Find the server and see that it answers. Raises Unavailable.

        Without a kubeconfig it is the cluster whose pod this is.
        """
        store = cls(await KubernetesApi.open(kubeconfig, context=context), limits=limits)
        try:
            await store.has_kind(NAMESPACE)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        await self._api.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def has_kind(self, kind: Kind) -> bool:
        """Say whether the server serves the kind now; asked again after a minute."""
        root = _root(kind)
        known = self._served.get(root)
        if known is None or time.monotonic() - known[0] > KINDS_SECONDS:
            known = self._served[root] = (time.monotonic(), await self._discover(root))
        return kind.plural in known[1]

    async def get(self, kind: Kind, name: str, *, namespace: str = "") -> Document:
        """Return the object. Raises NotFound."""
        path = _object_path(kind, namespace, name)
        try:
            return _complete(kind, await self._api.request("GET", path))
        except NotFound:
            raise missing(kind, (namespace, name)) from None

    async def list(
        self, kind: Kind, selection: Selection = EVERYTHING, *, limit: int = 0, continue_token: str = ""
    ) -> Page:
        """Return a page in the order of namespace and name.

        How many remain is only known when nothing is selected. Raises Malformed, and Gone for an old token.
        """
        query = _selecting(selection)
        if limit > 0:
            query["limit"] = str(limit)
        if continue_token:
            query["continue"] = continue_token
        try:
            answer = await self._api.request("GET", _list_path(kind, selection), query=query)
        except Malformed as error:
            if continue_token:
                raise Malformed(f"the continue token cannot be read: {error}", hint=error.hint) from error
            raise
        metadata = answer.get("metadata") or {}
        version = str(metadata.get("resourceVersion", ""))
        self._remember(version)
        return Page(
            [_complete(kind, item) for item in answer.get("items") or ()],
            version,
            metadata.get("continue") or "",
            metadata.get("remainingItemCount") or 0,
        )

    async def create(self, kind: Kind, document: Document, *, dry_run: bool = False) -> Document:
        """Make a new object; a name ending is chosen by the server when only `generateName` is given."""
        sent = self._checked(kind, document)
        check_new(sent)
        namespace = _namespace_of(kind, sent)
        path, query = _collection_path(kind, namespace), _writing(dry_run=dry_run)
        try:
            created = await self._api.request("POST", path, query=query, body=sent)
        except MissingNamespace:
            await self._make_namespace(namespace, dry_run=dry_run)
            created = await self._api.request("POST", path, query=query, body=sent)
        return _complete(kind, created)

    async def update(
        self, kind: Kind, document: Document, *, subresource: Subresource = "", dry_run: bool = False
    ) -> Document:
        """Replace the object (or only its status) by a newer document of it."""
        sent = self._checked(kind, document)
        path = _object_path(kind, _namespace_of(kind, sent), sent["metadata"].get("name") or "")
        query = _writing(dry_run=dry_run)
        return _complete(
            kind, await self._api.request("PUT", _part(kind, path, subresource), query=query, body=sent)
        )

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
        """Change the object; `apply` makes it when it is not there."""
        check_patch(kind, patch)
        body = patch.body
        if patch.type == "apply" and isinstance(body, dict):
            body = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        self._check_size(kind, body)
        path = _part(kind, _object_path(kind, namespace, name), subresource)
        query = _writing(dry_run=dry_run, manager=patch.manager)
        if patch.type == "apply":
            # Who applies has a name: not even a server's own choice.
            query |= {"force": str(patch.force).lower(), "fieldManager": patch.manager}
        try:
            return _complete(kind, await self._send_patch(path, query, patch.type, body))
        except MissingNamespace:
            await self._make_namespace(namespace, dry_run=dry_run)
        return _complete(kind, await self._send_patch(path, query, patch.type, body))

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
        """Delete the object. Returns its last state that was seen, marked if held."""
        last = await self.get(kind, name, namespace=namespace)
        wanted = preconditions or Preconditions()
        conditions = {
            "uid": wanted.uid or last["metadata"]["uid"],
            **({"resourceVersion": wanted.resource_version} if wanted.resource_version else {}),
        }
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": conditions,
            "propagationPolicy": propagation,
            **({"dryRun": ["All"]} if dry_run else {}),
        }
        path = _object_path(kind, namespace, name)
        answer = await self._api.request("DELETE", path, body=options)
        return last if answer.get("kind") == "Status" else _complete(kind, answer)

    async def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, since: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Yield changes after `since`; or what exists, a bookmark, and then changes.

        Raises Gone when `since` is no longer kept, or never was: at once, or later when the watcher reads
        too slowly.
        """
        path, query = _list_path(kind, selection), _selecting(selection)
        if since:
            await self._check_known(path, since)
        else:
            token = ""
            while not since or token:
                page = await self.list(kind, selection, limit=INITIAL_PAGE, continue_token=token)
                for document in page.items:
                    yield Event("ADDED", kind, document, msgspec.json.encode(document))
                since, token = page.resource_version, page.continue_token
            yield _bookmark(kind, since)
        changes = follow(self._api, kind, path, query=query, since=since, settings=self._watching)
        async with aclosing(changes):
            async for event in changes:
                self._remember(event.document["metadata"]["resourceVersion"])
                yield event

    async def _check_known(self, path: str, since: str) -> None:
        """Refuse a version that this server never gave: it would keep such a watch waiting without a word."""
        if not (since.isascii() and since.isdigit() and len(since) < 19):
            raise Malformed(
                f"{since[:40]!r} is no resource version", hint="versions come from a list or an object"
            )
        if int(since) > self._newest:
            query = {
                "resourceVersion": since,
                "resourceVersionMatch": "NotOlderThan",
                "fieldSelector": "metadata.name=-",  # none has such a name
            }
            answer = await self._api.request("GET", path, query=query)
            self._remember(answer["metadata"]["resourceVersion"])

    async def _send_patch(self, path: str, query: Query, type: PatchType, body: object) -> Document:
        return await self._api.request(
            "PATCH", path, query=query, body=body, content_type=_CONTENT_TYPES[type]
        )

    async def _discover(self, root: str) -> frozenset[str]:
        try:
            answer = await self._api.request("GET", root)
        except NotFound:
            return frozenset()
        return frozenset(resource["name"] for resource in answer.get("resources") or ())

    async def _make_namespace(self, namespace: str, *, dry_run: bool) -> None:
        if dry_run:
            raise NotFound(f"there is no namespace {namespace}", hint="make it first: a dry run does not")
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        try:
            await self._api.request("POST", _collection_path(NAMESPACE, ""), body=body)
        except AlreadyExists:  # by somebody else, since
            return
        except Invalid as error:
            raise Invalid(f"metadata.namespace: {error}", hint=error.hint) from error

    def _checked(self, kind: Kind, document: Document) -> Document:
        validation.check_shape(kind, document)
        self._check_size(kind, document)
        return {"apiVersion": kind.api_version, "kind": kind.kind, **document}

    def _check_size(self, kind: Kind, body: object) -> None:
        size, most = len(msgspec.json.encode(body)), self._limits.max_document_bytes
        if size > most:
            raise TooLarge(
                f"this {kind} has {size} bytes; an object may have at most {most}",
                hint="keep large content in the mirror and refer to it",
            )

    def _remember(self, version: str) -> None:
        if version.isascii() and version.isdigit():
            self._newest = max(self._newest, int(version))


def _root(kind: Kind) -> str:
    return f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"


def _collection_path(kind: Kind, namespace: str) -> str:
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace and kind.namespaced else ""
    return f"{_root(kind)}{place}/{kind.plural}"


def _list_path(kind: Kind, selection: Selection) -> str:
    return _collection_path(kind, selection.namespace or "")


def _object_path(kind: Kind, namespace: str, name: str) -> str:
    # An empty step would name the whole collection, and a DELETE of that is every object's end.
    if name in ("", ".", "..") or (kind.namespaced and namespace in ("", ".", "..")):
        raise missing(kind, (namespace, name))
    return f"{_collection_path(kind, namespace)}/{quote(name, safe='')}"


def _part(kind: Kind, path: str, subresource: Subresource) -> str:
    if not subresource:
        return path
    if not kind.has_status:
        raise NotFound(f"a {kind} has no status of its own")
    return f"{path}/{subresource}"


def _selecting(selection: Selection) -> dict[str, str]:
    wanted = {"labelSelector": selection.labels, "fieldSelector": selection.fields}
    return {key: text for key, text in wanted.items() if text}


def _writing(*, dry_run: bool, manager: str = "") -> dict[str, str]:
    return {"fieldManager": manager or UNNAMED_MANAGER, **({"dryRun": "All"} if dry_run else {})}


def _namespace_of(kind: Kind, document: Document) -> str:
    namespace = document["metadata"].get("namespace") or ""
    if not isinstance(namespace, str) or (kind.namespaced and not namespace):
        raise Invalid(f"metadata.namespace: {namespace!r} cannot be the namespace of a {kind}")
    return namespace if kind.namespaced else ""


def _complete(kind: Kind, document: Document) -> Document:
    """The document with its kind spelled out, which a server's lists leave out for its own kinds."""
    return {"apiVersion": kind.api_version, "kind": kind.kind, **document}


def _bookmark(kind: Kind, version: str) -> Event:
    document = _complete(kind, {"metadata": {"resourceVersion": version}})
    return Event("BOOKMARK", kind, document, msgspec.json.encode(document))
