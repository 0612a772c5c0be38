"""Paths to handlers. Objects are found by taking the path apart, because every kind has the same ones.

Whatever is raised leaves as a Status object, which is all that Kubernetes clients read.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from aiohttp import web

from appliance.access.rules import Asked
from appliance.api.kubernetes import discovery, openapi
from appliance.api.kubernetes.objects import Objects, answer
from appliance.api.kubernetes.requests import TARGET, Authorize, Target, parse_target, read_document
from appliance.api.kubernetes.reviews import REVIEWS, Reviews
from appliance.api.kubernetes.statuses import UnknownPath, WrongMethod, failure
from appliance.api.kubernetes.watching import WatchStreams
from appliance.resources.kinds import KINDS
from appliance.resources.meta import Document, Kind
from appliance.resources.service_account import SERVICE_ACCOUNT
from appliance.store.base import Store

log = logging.getLogger("skerry.kubernetes")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_REVIEW_GROUPS = frozenset(kind.group for kind in REVIEWS)
# What is not Kubernetes' and complains in another form.
_OTHERS = ("/skerry/", "/elemental/", "/healthz", "/livez", "/readyz", "/metrics")


@web.middleware
async def answer_with_statuses(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Whatever is raised on a path that is not the appliance's own leaves as a Status object."""
    if request.path.startswith(_OTHERS):
        return await handler(request)
    try:
        return await handler(request)
    except ConnectionError:
        raise  # the client left; there is nobody to answer
    except Exception as error:  # the one broad handler of a request
        target: Target | None = request.get(TARGET)
        status = failure(error, target.kind, target.name) if target else failure(error)
        if status["code"] >= 500:
            log.exception("%s %s failed", request.method, request.path)
        response = answer(status, status=status["code"])
        if status["code"] == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response


def add_kubernetes_routes(
    app: web.Application,
    store: Store,
    *,
    authorize: Authorize,
    recheck: Authorize,
    reviews: Reviews,
    prefix: str = "",
    kinds: Sequence[Kind] = KINDS,
) -> None:
    """Serve the store below `prefix`. Watches end when the application shuts down, or `recheck` refuses.

    The application needs `answer_with_statuses` among its middlewares.
    """
    watches = WatchStreams(store)
    objects = Objects(store, authorize=authorize, recheck=recheck, watches=watches)
    face = _Face(tuple(kinds), objects, authorize, reviews)
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
        app.router.add_get(prefix + path, handler)
        if path in ("/api", "/apis"):
            app.router.add_get(f"{prefix}{path}/", handler)
    for path in ("/api/{version}", "/apis/{group}/{version}"):
        app.router.add_get(prefix + path, face.resources)
        app.router.add_route("*", f"{prefix}{path}/{{tail:.+}}", face.objects)


class _Face:
    def __init__(
        self, kinds: tuple[Kind, ...], objects: Objects, authorize: Authorize, reviews: Reviews
    ) -> None:
        self._kinds = kinds
        self._served = (*kinds, discovery.SERVICE)
        self._discovered = (*self._served, *REVIEWS)
        self._objects = objects
        self._authorize = authorize
        self._reviews = reviews

    async def version(self, _: web.Request) -> web.Response:
        return answer(discovery.server_version())

    async def core_versions(self, request: web.Request) -> web.Response:
        return self._discover(request, discovery.core_versions(), is_core=True)

    async def groups(self, request: web.Request) -> web.Response:
        return self._discover(request, discovery.group_list(self._discovered), is_core=False)

    async def group(self, request: web.Request) -> web.Response:
        name = request.match_info["group"]
        if name not in discovery.groups(self._discovered):
            raise UnknownPath()
        return answer(discovery.group(self._discovered, name))

    async def resources(self, request: web.Request) -> web.Response:
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        found = discovery.resource_list(self._discovered, group, version)
        if not found["resources"]:
            raise UnknownPath()
        return answer(found)

    async def objects(self, request: web.Request) -> web.StreamResponse:
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        tail = request.match_info["tail"]
        if group in _REVIEW_GROUPS:
            return await self._review(request, parse_target(REVIEWS, group, version, tail))
        if _is_token_path(group, tail):
            account = parse_target(self._kinds, group, version, tail.removesuffix("/token"))
            return await self._issue_token(request, account)
        target = request[TARGET] = parse_target(self._served, group, version, tail)
        if target.kind == discovery.SERVICE and request.method != "GET":
            raise WrongMethod("there are no Services here: nothing runs in a box that speaks Kubernetes' API")
        return await self._objects.serve(request, target)

    async def _review(self, request: web.Request, target: Target) -> web.Response:
        kind, namespace = target.kind, target.namespace or ""
        if request.method != "POST" or target.name or kind.namespaced != bool(namespace):
            raise WrongMethod(f"{request.method} is not served at {request.path}")
        request[TARGET] = target
        await self._authorize(request, Asked("create", kind.group, kind.plural, namespace=namespace))
        review = await read_document(request)
        caller = self._reviews.caller_of(request)
        return answer(await self._reviews.answer(caller, kind, namespace, review), status=201)

    async def _issue_token(self, request: web.Request, account: Target) -> web.Response:
        namespace, name = account.namespace or "", account.name
        if request.method != "POST":
            raise WrongMethod(f"{request.method} is not served at {request.path}")
        request[TARGET] = account
        asked = Asked("create", "", account.kind.plural, "token", namespace, name)
        await self._authorize(request, asked)
        wanted = await read_document(request)
        return answer(await self._reviews.issue_token(namespace, name, wanted), status=201)

    async def openapi_v2(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        if openapi.V2_PROTOBUF_ACCEPTED in accept or openapi.V2_PROTOBUF in accept:
            headers = {"Content-Type": openapi.V2_PROTOBUF}
            return web.Response(body=openapi.render_v2_protobuf(self._kinds), headers=headers)
        discovery.check_json_accepted(accept)
        return _json(openapi.render_v2(self._kinds))

    async def openapi_v3(self, request: web.Request) -> web.Response:
        discovery.check_json_accepted(request.headers.get("Accept", ""))
        return answer(openapi.index_v3(self._kinds))

    async def openapi_v3_group(self, request: web.Request) -> web.Response:
        discovery.check_json_accepted(request.headers.get("Accept", ""))
        document = openapi.render_v3(self._kinds, request.match_info["path"])
        if not document:
            raise UnknownPath()
        return _json(document)

    def _discover(self, request: web.Request, document: Document, *, is_core: bool) -> web.Response:
        accept = request.headers.get("Accept", "")
        version = discovery.aggregated_version(accept)
        if version is None:
            discovery.check_json_accepted(accept)
            return answer(document)
        found = discovery.aggregated(self._discovered, version, is_core=is_core)
        headers = {"Content-Type": discovery.aggregated_type(version), "Vary": "Accept"}
        return web.Response(body=msgspec.json.encode(found), headers=headers)


def _is_token_path(group: str, tail: str) -> bool:
    """Whether it is `namespaces/NS/serviceaccounts/NAME/token`; a Secret may well be called token."""
    match tail.split("/"):
        case ["namespaces", _, SERVICE_ACCOUNT.plural, _, "token"]:
            return not group
    return False


def _json(content: bytes) -> web.Response:
    return web.Response(body=content, headers={"Content-Type": "application/json"})
