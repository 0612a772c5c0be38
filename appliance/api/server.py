"""The routes of `/skerry/v1`, health and metrics. How a route looks is in `routes`; here is what it does.

Who may ask for a route is `appliance.access`'s to say: each is a verb on a resource. Handlers get the decoded
request and return a reply struct; refusals are exceptions that `problems` turns into documents.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import msgspec
from aiohttp import web

from appliance import trust
from appliance.access.roles import CONTROL_GROUP
from appliance.access.rules import Asked
from appliance.api import contract as c
from appliance.api.boards import HostBoard
from appliance.api.identity import ADMINISTRATOR, CALLER, SPEAKER, cancel_when_refused, check_access
from appliance.api.metrics import render_metrics
from appliance.api.openapi import render_openapi
from appliance.api.problems import BadRequest, Forbidden, TooLarge
from appliance.api.routes import ROUTES, Route
from appliance.api.streams import BOOKMARK, STREAMS, Streams, end_streams, send_lines
from appliance.api.users import UserDesk
from appliance.api.watching import Watching, found_entries, watched_kinds
from appliance.discovery import Candidates
from appliance.operations import Operation, Operations
from appliance.resources.core import CONFIG_MAP, ConfigMap
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import (
    APPROVAL,
    APPROVALS_NEEDED,
    APPROVED_BY,
    FIRST_APPROVED_BY,
    MACHINE_INVENTORY,
    REJECTION_REASON,
    MachineInventory,
)
from appliance.resources.meta import Document, decode
from appliance.store.base import NotFound, Selection, Store, merge
from bundles.media.devices import list_devices

BUNDLE_LABEL = "skerry.dev/bundle"
MAX_REQUEST_BYTES = 64 * 1024
NAME = re.compile(r"[a-z0-9A-Z]([-a-z0-9A-Z._]{0,250}[a-z0-9A-Z])?")


@dataclass(frozen=True, slots=True)
class Control:
    """What the control API speaks for."""

    store: Store
    operations: Operations
    candidates: Candidates
    version: c.VersionInfo
    access: c.Access
    trust_directory: Path
    users: UserDesk
    is_ready: Callable[[], bool]
    pair: Callable[[c.PairRequest], Awaitable[c.PairedView]] | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


Handler: TypeAlias = Callable[[web.Request, msgspec.Struct | None], Awaitable[msgspec.Struct]]
Stream: TypeAlias = Callable[[web.Request], AsyncIterator[msgspec.Struct]]


def add_control_routes(app: web.Application, control: Control) -> None:
    """Mount everything of this file on `app`."""
    api = ControlApi(control)
    app[STREAMS] = Streams()
    app.on_shutdown.append(end_streams)
    add_routes(app, ROUTES, api)
    document = msgspec.json.encode(render_openapi(control.version.version))

    async def openapi(request: web.Request) -> web.Response:
        await check_access(request, Asked("get", CONTROL_GROUP, "version"))
        return web.Response(body=document, content_type="application/json")

    app.router.add_get(f"{c.PREFIX}/openapi.json", openapi)
    _add_health_routes(app, control)


def add_routes(app: web.Application, routes: Sequence[Route], api: object) -> None:
    """Mount a table; `api` has a method for each of its rows, under the row's name."""
    for route in routes:
        path = f"{c.PREFIX}{route.path}"
        serve = _serve_stream(route, getattr(api, route.name)) if route.is_stream else None
        app.router.add_route(route.method, path, serve or _serve(route, getattr(api, route.name)))


class ControlApi:
    """One method a route of the table, under the route's name."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._store = control.store

    async def show_version(self, request: web.Request, _: None) -> c.VersionInfo:
        return self._control.version

    async def show_access(self, request: web.Request, _: None) -> c.Access:
        return self._control.access

    # --- hosts

    async def list_hosts(self, request: web.Request, _: None) -> c.HostList:
        namespace = request.query.get("namespace") or None
        labels = request.query.get("labelSelector", "")
        board = HostBoard()
        wanted = Selection(namespace=namespace, labels=labels)
        board.take(MACHINE_INVENTORY, (await self._store.list(MACHINE_INVENTORY, wanted)).items)
        everything = Selection(namespace=namespace)
        board.take(HOST_REPORT, (await self._store.list(HOST_REPORT, everything)).items)
        return c.HostList(items=board.views(self._control.now()))

    async def show_host(self, request: web.Request, _: None) -> c.HostView:
        return await self._host(await self._inventory(request))

    async def approve_host(self, request: web.Request, body: c.ApproveRequest | None) -> c.HostView:
        machine = decode(MachineInventory, await self._inventory(request))
        if machine.metadata.annotations.get(APPROVALS_NEEDED) == "2":
            return await self._decide(request, approve_as_one_of_two(machine, request[SPEAKER].name))
        by = _decider(request, body.by if body else "")
        return await self._decide(request, {APPROVAL: "approved", APPROVED_BY: by, REJECTION_REASON: None})

    async def reject_host(self, request: web.Request, body: c.RejectRequest | None) -> c.HostView:
        reason = body.reason if body else ""
        by = _decider(request, body.by if body else "")
        return await self._decide(
            request,
            {
                APPROVAL: "rejected",
                APPROVED_BY: by,
                REJECTION_REASON: reason or None,
                FIRST_APPROVED_BY: None,
            },
        )

    async def list_inbox(self, request: web.Request, _: None) -> c.InboxList:
        return c.InboxList(items=list((await self._watching().inbox()).values()))

    async def pair_machine(self, request: web.Request, body: c.PairRequest) -> c.PairedView:
        if self._control.pair is None:
            raise BadRequest("Discovery is off on this appliance.", hint="Leave out --no-discovery.")
        return await self._control.pair(body)

    # --- bundles

    async def list_bundles(self, request: web.Request, _: None) -> c.BundleList:
        page = await self._store.list(CONFIG_MAP, Selection(labels=BUNDLE_LABEL))
        views = [_bundle_view(document) for document in page.items]
        return c.BundleList(items=sorted(views, key=lambda view: view.loaded_at, reverse=True))

    async def list_trusted_keys(self, request: web.Request, _: None) -> c.TrustList:
        keys = trust.list_keys(self._control.trust_directory)
        return c.TrustList(items=[c.TrustedKey(name=name, key_id=key_id) for name, key_id in keys])

    async def trust_key(self, request: web.Request, body: c.TrustRequest) -> c.TrustedKey:
        key_id = trust.add_key(self._control.trust_directory, body.name, body.public_key.encode())
        return c.TrustedKey(name=body.name, key_id=key_id)

    # --- users

    async def list_users(self, request: web.Request, _: None) -> c.UserList:
        return self._control.users.list()

    async def issue_user(self, request: web.Request, body: c.IssueUser) -> c.UserCredential:
        return await self._control.users.issue(body, by=request[CALLER].name)

    async def revoke_user(self, request: web.Request, _: None) -> c.UserList:
        return await self._control.users.revoke(request.match_info["name"], by=request[CALLER].name)

    async def list_devices(self, request: web.Request, _: None) -> c.DeviceList:
        devices = await asyncio.to_thread(list_devices)
        return c.DeviceList(
            items=[
                c.DeviceView(
                    path=str(device.path),
                    bus=device.bus,
                    vendor=device.vendor,
                    model=device.model,
                    serial=device.serial,
                    port=device.port,
                    size=device.size,
                    refusals=list(device.refusals),
                )
                for device in devices
            ]
        )

    # --- operations

    async def list_operations(self, request: web.Request, _: None) -> c.OperationList:
        return c.OperationList(items=[operation_view(each) for each in self._control.operations.list()])

    async def start_operation(self, request: web.Request, body: c.StartOperation) -> c.OperationView:
        return operation_view(await self._control.operations.start(body.kind, body.params))

    async def show_operation(self, request: web.Request, _: None) -> c.OperationView:
        return operation_view(self._control.operations.get(request.match_info["id"]))

    async def cancel_operation(self, request: web.Request, _: None) -> c.OperationView:
        return operation_view(await self._control.operations.cancel(request.match_info["id"]))

    def follow_operation(self, request: web.Request) -> AsyncIterator[c.OperationView]:
        operation = self._control.operations.get(request.match_info["id"])

        async def views() -> AsyncIterator[c.OperationView]:
            async for each in self._control.operations.follow(operation.id):
                yield operation_view(each)

        return views()

    def watch(self, request: web.Request) -> AsyncIterator[c.WatchEvent]:
        return self._watching().watch(request.query.get("kinds", "").split(","))

    # --- below

    def _watching(self) -> Watching:
        control = self._control
        return Watching(
            self._store,
            candidates=control.candidates,
            operations=control.operations,
            render_operation=operation_view,
            now=control.now,
        )

    async def _inventory(self, request: web.Request) -> Document:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        if not NAME.fullmatch(name) or not NAME.fullmatch(namespace):
            raise NotFound(f"There is no host {name[:60]!r} in namespace {namespace[:60]!r}.")
        return await self._store.get(MACHINE_INVENTORY, name, namespace=namespace)

    async def _host(self, document: Document) -> c.HostView:
        board = HostBoard()
        board.take(MACHINE_INVENTORY, [document])
        metadata = document["metadata"]
        try:
            report = await self._store.get(
                HOST_REPORT, metadata["name"], namespace=metadata.get("namespace", "")
            )
            board.take(HOST_REPORT, [report])
        except NotFound:
            pass
        return board.views(self._control.now())[0]

    async def _decide(self, request: web.Request, annotations: Mapping[str, str | None]) -> c.HostView:
        document = await self._inventory(request)
        changed = await self._store.patch(
            MACHINE_INVENTORY,
            document["metadata"]["name"],
            merge({"metadata": {"annotations": dict(annotations)}}),
            namespace=document["metadata"].get("namespace", ""),
        )
        return await self._host(changed)


def approve_as_one_of_two(machine: MachineInventory, person: str) -> dict[str, str | None]:
    """What the approval of one person writes where two must agree. Raises Forbidden.

    A person is who proved themselves: a name that a request merely says counts for nothing, and everybody who
    comes by the socket or the administrator's token is one and the same.
    """
    first = machine.metadata.annotations.get(FIRST_APPROVED_BY, "")
    if not first:
        return {APPROVAL: "pending", FIRST_APPROVED_BY: person, REJECTION_REASON: None}
    if first == person:
        raise Forbidden(
            f"{person} has approved {machine.metadata.name} already; another person must, too.",
            hint="with a credential of their own: skerry kubeconfig --role operator --user NAME",
        )
    return {APPROVAL: "approved", APPROVED_BY: person, REJECTION_REASON: None}


def operation_view(operation: Operation) -> c.OperationView:
    """The engine's record as the contract shows it."""
    progress, error = operation.progress, operation.error
    return c.OperationView(
        id=operation.id,
        kind=operation.kind,
        state=operation.state,
        params=operation.params,
        progress=c.OperationProgress(
            phase=progress.phase, done=progress.done, total=progress.total, what=progress.what
        )
        if progress
        else c.OperationProgress(),
        result=operation.result,
        error=c.OperationError(reason=error.reason, message=error.message, hint=error.hint)
        if error
        else None,
        created_at=operation.created_at,
        started_at=operation.started_at,
        finished_at=operation.finished_at,
        attempts=operation.attempts,
    )


def _bundle_view(document: Document) -> c.BundleView:
    data = decode(ConfigMap, document).data
    return c.BundleView(
        name=data.get("name", ""),
        loaded_at=data.get("loadedAt", ""),
        created=data.get("created", ""),
        sequence=int(data.get("sequence", "0")),
        images=msgspec.json.decode(data.get("images", "[]"), type=list[c.BundleImage]),
    )


def _serve(route: Route, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.Response:
        await check_access(request, _asked(route, request))
        body = await _read_body(request, route.request) if route.request else None
        reply = await handler(request, body)
        return web.Response(
            body=msgspec.json.encode(reply), status=route.status, content_type="application/json"
        )

    return serve


def _serve_stream(route: Route, stream: Stream) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        await check_access(request, _asked(route, request))
        for kind in watched_kinds(request.query.get("kinds", "")):
            await check_access(request, Asked("watch", kind.group, kind.plural))
        heartbeat = BOOKMARK if route.reply is c.WatchEvent else None
        task = asyncio.current_task()
        assert task is not None
        guard = asyncio.create_task(cancel_when_refused(task, request, _asked(route, request)))
        try:
            return await send_lines(request, stream(request), heartbeat=heartbeat)
        finally:
            guard.cancel()

    return serve


def _asked(route: Route, request: web.Request) -> Asked:
    names = request.match_info
    return Asked(
        route.verb,
        CONTROL_GROUP,
        route.resource,
        namespace=names.get("namespace", ""),
        name=names.get("name", names.get("id", "")),
    )


async def _read_body(request: web.Request, type: type[msgspec.Struct]) -> msgspec.Struct | None:
    """Decode the body; an empty one is None where every field has a default. Raises BadRequest, TooLarge."""
    if (request.content_length or 0) > MAX_REQUEST_BYTES:
        raise TooLarge(f"The request is over {MAX_REQUEST_BYTES} bytes.")
    content = await request.read()
    if len(content) > MAX_REQUEST_BYTES:
        raise TooLarge(f"The request is over {MAX_REQUEST_BYTES} bytes.")
    try:
        return msgspec.json.decode(content or b"{}", type=type)
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request is not understood: {error}.") from error


def _add_health_routes(app: web.Application, control: Control) -> None:
    async def live(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(request: web.Request) -> web.Response:
        is_ready = control.is_ready()
        return web.Response(text="ok\n" if is_ready else "not ready\n", status=200 if is_ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        hosts = HostBoard()
        hosts.take(MACHINE_INVENTORY, (await control.store.list(MACHINE_INVENTORY)).items)
        hosts.take(HOST_REPORT, (await control.store.list(HOST_REPORT)).items)
        text = render_metrics(
            hosts=hosts.views(control.now()),
            operations=control.operations.list(),
            found=len(found_entries(control.candidates)),
            is_ready=control.is_ready(),
            version=control.version,
        )
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app.router.add_get("/healthz", live)
    app.router.add_get("/livez", live)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", metrics)


def _decider(request: web.Request, says: str) -> str:
    """Whose decision it is: only the administrator, whom many hands share, may say which hand it was."""
    speaker = request[SPEAKER]
    if speaker == ADMINISTRATOR:
        return says or "administrator"
    return speaker.name
