"""Paths to handlers. Objects are found by taking the path apart, because every kind has the same ones.

Whatever is raised below leaves as a Status object, which is all that Kubernetes clients read.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from aiohttp import web

from appliance.api.kubernetes import access, discovery, openapi
from appliance.api.kubernetes.objects import Objects, answer
from appliance.api.kubernetes.requests import Authorize, Target, parse_target
from appliance.api.kubernetes.statuses import failure
from appliance.api.kubernetes.watching import WatchStreams
from appliance.resources.kinds import KINDS
from appliance.resources.meta import Document, Kind
from appliance.store.base import NotFound, Store

log = logging.getLogger("skerry.kubernetes")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_kubernetes_routes(
    app: web.Application,
    store: Store,
    *,
    authorize: Authorize,
    prefix: str = "",
    kinds: Sequence[Kind] = KINDS,
) -> None:
    """Serve the store below `prefix`. Watches end when the application shuts down."""
    watches = WatchStreams(store)
    face = _Face(tuple(kinds), Objects(store, authorize=authorize, watches=watches), authorize)
    app.on_shutdown.append(watches.end)
    for path, handler in (
        ("/version", face.version),
        ("/api", face.core_versions),
        ("/apis", face.groups),
        ("/apis/{group}", face.group),
        ("/openapi/v2", face.openapi_v2),
        ("/openapi/v3", face.openapi_v3),
        ("/openapi/v3/{path:.+}", face.openapi_v3_group),
    ):
        app.router.add_get(prefix + path, _with_status(handler))
        if path in ("/api", "/apis"):
            app.router.add_get(f"{prefix}{path}/", _with_status(handler))
    for path in ("/api/{version}", "/apis/{group}/{version}"):
        app.router.add_get(prefix + path, _with_status(face.resources))
        app.router.add_route("*", f"{prefix}{path}/{{tail:.+}}", _with_status(face.objects))


class _Face:
    def __init__(self, kinds: tuple[Kind, ...], objects: Objects, authorize: Authorize) -> None:
        self._kinds = kinds
        self._objects = objects
        self._authorize = authorize

    async def version(self, _: web.Request) -> web.Response:
        return answer(discovery.server_version())

    async def core_versions(self, request: web.Request) -> web.Response:
        return self._discover(request, discovery.core_versions(), is_core=True)

    async def groups(self, request: web.Request) -> web.Response:
        return self._discover(request, discovery.group_list(self._kinds), is_core=False)

    async def group(self, request: web.Request) -> web.Response:
        name = request.match_info["group"]
        if name not in discovery.groups(self._kinds):
            raise _unknown()
        return answer(discovery.group(self._kinds, name))

    async def resources(self, request: web.Request) -> web.Response:
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        found = discovery.resource_list(self._kinds, group, version)
        if not found["resources"]:
            raise _unknown()
        return answer(found)

    async def objects(self, request: web.Request) -> web.StreamResponse:
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        tail = request.match_info["tail"]
        if (request.method, group, version, tail) == ("POST", access.GROUP, access.VERSION, access.PLURAL):
            return answer(await access.review_access(request, self._kinds, self._authorize), status=201)
        return await self._objects.serve(request, self._target(group, version, tail))

    async def openapi_v2(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        if openapi.V2_PROTOBUF_ACCEPTED in accept or openapi.V2_PROTOBUF in accept:
            headers = {"Content-Type": openapi.V2_PROTOBUF}
            return web.Response(body=openapi.render_v2_protobuf(), headers=headers)
        discovery.check_json_accepted(accept)
        return _json(openapi.render_v2(self._kinds))

    async def openapi_v3(self, request: web.Request) -> web.Response:
        discovery.check_json_accepted(request.headers.get("Accept", ""))
        return answer(openapi.index_v3(self._kinds))

    async def openapi_v3_group(self, request: web.Request) -> web.Response:
        discovery.check_json_accepted(request.headers.get("Accept", ""))
        document = openapi.render_v3(self._kinds, request.match_info["path"])
        if not document:
            raise _unknown()
        return _json(document)

    def _target(self, group: str, version: str, tail: str) -> Target:
        return parse_target(self._kinds, group, version, tail)

    def _discover(self, request: web.Request, document: Document, *, is_core: bool) -> web.Response:
        accept = request.headers.get("Accept", "")
        version = discovery.aggregated_version(accept)
        if version is None:
            discovery.check_json_accepted(accept)
            return answer(document)
        found = discovery.aggregated(self._kinds, version, is_core=is_core)
        headers = {"Content-Type": discovery.aggregated_type(version), "Vary": "Accept"}
        return web.Response(body=msgspec.json.encode(found), headers=headers)


def _with_status(handler: _Handler) -> _Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConnectionError:
            raise  # the client left; there is nobody to answer
        except Exception as error:  # the one broad handler of a request
            status = failure(error)
            if status["code"] >= 500:
                log.exception("%s %s failed", request.method, request.path)
            return answer(status, status=status["code"])

    return serve


def _json(content: bytes) -> web.Response:
    return web.Response(body=content, headers={"Content-Type": "application/json"})


def _unknown() -> NotFound:
    return NotFound("the server could not find the requested resource")
