"""The verbs on objects: get, list, create, update, patch, delete and deletecollection.

A handler asks first whether the caller may, then reads the request, then calls the store once. The rules are
the store's; the shape of the answer is the client's choice.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from appliance.api.kubernetes import requests
from appliance.api.kubernetes.representations import (
    Representation,
    choose_representation,
    show_object,
    show_page,
)
from appliance.api.kubernetes.requests import Authorize, Target, Verb
from appliance.api.kubernetes.statuses import OptionsInvalid, UnknownPath, WrongMethod, success
from appliance.api.kubernetes.watching import WatchStreams
from appliance.resources.meta import Document, Kind
from appliance.resources.tidying import unknown_fields
from appliance.store.base import Malformed, NotFound, Page, Preconditions, Store
from appliance.store.rules import has_finalizers
from appliance.store.strategic import has_strategy

_WARNED_FIELDS = 20  # warnings are headers: a handful, not a book


class Objects:
    """The handlers, over one store."""

    def __init__(
        self, store: Store, *, authorize: Authorize, recheck: Authorize, watches: WatchStreams
    ) -> None:
        self._store = store
        self._recheck = recheck
        self._authorize = authorize
        self._watches = watches

    async def serve(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Answer one request for an object or a collection. Raises StoreError and what `authorize` raises."""
        match request.method, bool(target.name):
            case "GET", _ if requests.parse_list_options(target, request.query).is_watch:
                return await self._watch(request, target)
            case "GET", True:
                return await self._get(request, target)
            case "GET", False:
                return await self._list(request, target)
            case "POST", False:
                return await self._create(request, target)
            case "PUT", True:
                return await self._update(request, target)
            case "PATCH", True:
                return await self._patch(request, target)
            case "DELETE", True if not target.subresource:
                return await self._delete(request, target)
            case "DELETE", False:
                return await self._delete_collection(request, target)
        raise WrongMethod(f"{request.method} is not served at {request.path}")

    async def _check(self, request: web.Request, target: Target, verb: Verb) -> None:
        if target.subresource and not target.kind.has_status:
            raise UnknownPath
        await self._authorize(request, requests.asked_of(verb, target, request.query))

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        await self._check(request, target, "watch")
        options = requests.parse_list_options(target, request.query)
        asked = requests.asked_of("watch", target, request.query)
        return await self._watches.serve(
            request,
            target,
            options,
            representation=_representation(request),
            may_go_on=lambda: self._recheck(request, asked),
        )

    async def _get(self, request: web.Request, target: Target) -> web.Response:
        await self._check(request, target, "get")
        document = await self._store.get(target.kind, target.name, namespace=target.namespace or "")
        return _shown(request, target.kind, document)

    async def _list(self, request: web.Request, target: Target) -> web.Response:
        await self._check(request, target, "list")
        options = requests.parse_list_options(target, request.query)
        page = await self._store.list(
            target.kind, options.selection, limit=options.limit, continue_token=options.continue_token
        )
        return answer(show_page(_representation(request), target.kind, page, now=datetime.now(UTC)))

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        await self._check(request, target, "create")
        document = _placed(target, await requests.read_document(request))
        request[requests.TARGET] = replace(target, name=str(document["metadata"].get("name") or ""))
        warnings = _check_fields(request.query, target.kind, document, "CreateOptions")
        dry_run = requests.is_dry_run(request.query, "CreateOptions")
        created = await self._store.create(target.kind, document, dry_run=dry_run)
        if dry_run:
            metadata = {key: value for key, value in created["metadata"].items() if key != "resourceVersion"}
            created = {**created, "metadata": metadata}
        return _shown(request, target.kind, created, status=201, warnings=warnings)

    async def _update(self, request: web.Request, target: Target) -> web.Response:
        await self._check(request, target, "update")
        document = _placed(target, await requests.read_document(request))
        warnings = _check_fields(request.query, target.kind, document, "UpdateOptions")
        updated = await self._store.update(
            target.kind,
            document,
            subresource=target.subresource,
            dry_run=requests.is_dry_run(request.query, "UpdateOptions"),
        )
        return _shown(request, target.kind, updated, warnings=warnings)

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        await self._check(request, target, "patch")
        patch = await requests.read_patch(request, target.kind)
        # A strategic patch has directives beside the fields.
        said = {} if patch.type == "strategic" else patch.body
        warnings = _check_fields(request.query, target.kind, said, "PatchOptions")
        is_new = patch.type == "apply" and not await self._exists(target)
        if is_new:
            await self._check(request, target, "create")
        patched = await self._store.patch(
            target.kind,
            target.name,
            patch,
            namespace=target.namespace or "",
            subresource=target.subresource,
            dry_run=requests.is_dry_run(request.query, "PatchOptions"),
        )
        return _shown(request, target.kind, patched, status=201 if is_new else 200, warnings=warnings)

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        await self._check(request, target, "delete")
        options = await requests.read_delete_options(request)
        last = await self._store.delete(
            target.kind,
            target.name,
            namespace=target.namespace or "",
            preconditions=Preconditions(options.uid, options.resource_version),
            propagation=options.propagation,
            dry_run=options.dry_run,
        )
        return answer(last if has_finalizers(last) else success(target.kind, last))

    async def _delete_collection(self, request: web.Request, target: Target) -> web.Response:
        await self._check(request, target, "deletecollection")
        options = await requests.read_delete_options(request)
        selection = requests.parse_list_options(target, request.query).selection
        found = await self._store.list(target.kind, selection)
        deleted: list[Document] = []
        for document in found.items:
            metadata = document["metadata"]
            try:
                last = await self._store.delete(
                    target.kind,
                    metadata["name"],
                    namespace=metadata.get("namespace", ""),
                    preconditions=Preconditions(uid=metadata["uid"]),
                    propagation=options.propagation,
                    dry_run=options.dry_run,
                )
            except NotFound:
                continue  # gone with one before it
            deleted.append(last)
        page = Page(deleted, found.resource_version)
        return answer(show_page(Representation(), target.kind, page, now=datetime.now(UTC)))

    async def _exists(self, target: Target) -> bool:
        try:
            await self._store.get(target.kind, target.name, namespace=target.namespace or "")
        except NotFound:
            return False
        return True


def answer(document: Document, *, status: int = 200, warnings: list[str] | None = None) -> web.Response:
    """A JSON response."""
    response = web.Response(
        body=msgspec.json.encode(document), status=status, headers={"Content-Type": "application/json"}
    )
    for warning in warnings or ():
        response.headers.add("Warning", f'299 - "{warning}"')
    return response


def _representation(request: web.Request) -> Representation:
    return choose_representation(request.headers.get("Accept", ""), request.query.get("includeObject", ""))


def _shown(
    request: web.Request,
    kind: Kind,
    document: Document,
    *,
    status: int = 200,
    warnings: list[str] | None = None,
) -> web.Response:
    shown = show_object(_representation(request), kind, document, now=datetime.now(UTC))
    return answer(shown, status=status, warnings=warnings)


def _placed(target: Target, document: Document) -> Document:
    """The body with what the path says of it. Raises Malformed when they contradict each other."""
    if not has_strategy(target.kind):
        requests.check_kind_said(document)
    metadata = document.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise Malformed("metadata: expected an object")
    placed = dict(metadata)
    wanted = {"namespace": target.namespace or "", "name": target.name}
    for field, value in wanted.items():
        if not value:
            continue
        if placed.get(field) not in (None, "", value):
            raise Malformed(f"metadata.{field}: the object says {placed[field]!r}, the request {value!r}")
        placed[field] = value
    return {**document, "metadata": placed}


def _check_fields(
    query: Mapping[str, str], kind: Kind, body: Document | list[Document], options: str
) -> list[str]:
    """Find fields that nobody will read: refused or warned of, as the client asks."""
    validation = query.get("fieldValidation", "Warn") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        raise OptionsInvalid(options, f"fieldValidation: {validation[:40]!r} is none of Strict, Warn, Ignore")
    if validation == "Ignore" or isinstance(body, list):
        return []
    unknown = [f'unknown field "{field}"' for field in unknown_fields(kind, body)]
    if unknown and validation == "Strict":
        raise Malformed(f"strict decoding error: {', '.join(unknown[:_WARNED_FIELDS])}")
    return [warning.replace('"', "'") for warning in unknown[:_WARNED_FIELDS]]
