"""What people decide goes to the audit log before they hear that it was done: one middleware for every route.

Everything that changes something counts, whichever API it came by; hosts that report about themselves and
questions that are asked by POST do not. What is written of a request's body is what can hold no secret.
"""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from appliance.access.roles import HOSTS
from appliance.api.contract import PREFIX
from appliance.api.identity import ANONYMOUS, CALLER, SPEAKER
from appliance.audit.log import Audit
from appliance.resources.meta import Document

CHANGING = frozenset(("POST", "PUT", "PATCH", "DELETE"))
QUESTIONS = ("/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/")
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# The last words of paths whose requests are told as they came: no secret goes by them.
TOLD = frozenset(("approve", "reject", "resolve", "rotate", "users", "trust", "remove"))
# Of a rollout, whose cloudConfig may hold one.
ROLLOUT_FIELDS = ("image", "managedOSVersionName", "paused", "maxUnavailable")
MAX_BODY = 512

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def record_decisions(audit: Audit) -> Middleware:
    """Middleware behind the one that knows who is asking. Raises AuditUnavailable instead of an answer."""

    @web.middleware
    async def record(request: web.Request, handler: Next) -> web.StreamResponse:
        response = await handler(request)
        if response.status < 400 and _is_decision(request):
            verb, what = _describe(request.method, request.path)
            details = await _tell(request, response)
            await audit.record(verb, what, who=_describe_speaker(request), details=details)
        return response

    return record


def _is_decision(request: web.Request) -> bool:
    caller = request[CALLER]
    return (
        request.method in CHANGING
        and caller != ANONYMOUS
        and HOSTS not in caller.groups
        and "dryRun" not in request.query
        and not any(question in request.path for question in QUESTIONS)
    )


def _describe(method: str, path: str) -> tuple[str, str]:
    """The verb and the object, in the words of the path: `approve`, `namespaces/fleet/hosts/h1`."""
    if path.startswith(f"{PREFIX}/"):
        words = path.removeprefix(f"{PREFIX}/").split("/")
        if words[-1] in TOLD and len(words) > 1:
            return words[-1], "/".join(words[:-1])
        return VERBS[method], "/".join(words)
    _, _, rest = path.partition("/apis/") if "/apis/" in path else path.partition("/api/")
    return VERBS[method], rest


async def _tell(request: web.Request, response: web.StreamResponse) -> dict[str, str]:
    """What was asked, or how a rollout stands after it."""
    if request.path.startswith(f"{PREFIX}/"):
        is_told = request.path.rsplit("/", 1)[-1] in TOLD
        value = _parse(await request.read()) if is_told else {}
        return {"request": _render(value)} if value else {}
    body = response.body if isinstance(response, web.Response) and "/rollouts" in request.path else None
    spec = _parse(body).get("spec") if isinstance(body, bytes) else None
    if not isinstance(spec, dict):
        return {}
    return {"rollout": _render({key: spec[key] for key in ROLLOUT_FIELDS if key in spec})}


def _parse(body: bytes) -> Document:
    try:
        return msgspec.json.decode(body or b"{}", type=dict)
    except (msgspec.MsgspecError, RecursionError):
        return {}


def _render(value: Document) -> str:
    return msgspec.json.encode(value, order="sorted").decode()[:MAX_BODY]


def _describe_speaker(request: web.Request) -> str:
    """Who proved themselves, and whom they spoke for if they asked to be taken for somebody else."""
    speaker, caller = request.get(SPEAKER, request[CALLER]), request[CALLER]
    return speaker.name if speaker.name == caller.name else f"{speaker.name} as {caller.name}"
