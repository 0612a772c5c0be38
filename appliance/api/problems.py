"""One table from errors to problem documents (RFC 9457), used once, at the edge of the HTTP server.

Kubernetes paths answer with Kubernetes' Status instead, because its clients read nothing else; that
rendering belongs to the Kubernetes routes and only falls back to here.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from appliance import errors
from appliance.access import users
from appliance.api.contract import Problem
from appliance.attestation.roots import RootsFault
from appliance.audit.log import AuditUnavailable
from appliance.errors import ApplianceFault
from appliance.inventory import errors as inventory
from appliance.store import base as store
from bundles import errors as bundles

log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"


class Unauthorized(ApplianceFault):
    """We do not know who this is."""


class Forbidden(ApplianceFault):
    """We know who this is, and they may not."""


class BadRequest(ApplianceFault):
    """The request cannot be understood."""


class TooLarge(ApplianceFault):
    """The request is over its limit."""


@dataclass(frozen=True, slots=True)
class Row:
    status: int
    reason: str
    title: str


# The first row whose class fits wins, so children stand above their parents.
TABLE: tuple[tuple[type[Exception], Row], ...] = (
    (Unauthorized, Row(401, "Unauthorized", "Who are you?")),
    (Forbidden, Row(403, "Forbidden", "Not allowed")),
    (BadRequest, Row(400, "BadRequest", "Not understood")),
    (TooLarge, Row(413, "RequestEntityTooLarge", "Too large")),
    (users.UserInvalid, Row(422, "Invalid", "Not valid")),
    (users.UserUnknown, Row(404, "NotFound", "Not found")),
    (errors.UnknownOperation, Row(404, "NotFound", "Not found")),
    (errors.UnknownOperationKind, Row(400, "BadRequest", "Not understood")),
    (errors.InvalidParameters, Row(422, "Invalid", "Not valid")),
    (errors.Refused, Row(409, "Refused", "Refused")),
    (errors.TooManyOperations, Row(429, "TooManyRequests", "Too much at once")),
    (inventory.MachineUnknown, Row(404, "NotFound", "Not found")),
    (inventory.MachineAmbiguous, Row(409, "Ambiguous", "Which one?")),
    (inventory.EntryInvalid, Row(422, "Invalid", "Not valid")),
    (inventory.InventoryDamaged, Row(503, "InventoryDamaged", "Not now")),
    (inventory.InventoryUnavailable, Row(503, "ServiceUnavailable", "Not now")),
    (store.NotFound, Row(404, "NotFound", "Not found")),
    (store.AlreadyExists, Row(409, "AlreadyExists", "Already there")),
    (store.Conflict, Row(409, "Conflict", "Somebody wrote first")),
    (store.Malformed, Row(400, "BadRequest", "Not understood")),
    (store.Invalid, Row(422, "Invalid", "Not valid")),
    (store.Gone, Row(410, "Expired", "No longer kept")),
    (store.TooLarge, Row(413, "RequestEntityTooLarge", "Too large")),
    (store.Unavailable, Row(503, "ServiceUnavailable", "Not now")),
    (RootsFault, Row(422, "Invalid", "Not valid")),
    (AuditUnavailable, Row(503, "ServiceUnavailable", "Not now")),
    (bundles.KeyUnusable, Row(422, "Invalid", "Not valid")),
)


def find_row(error: Exception) -> Row | None:
    """The table's answer, or None for an error that is a defect of ours."""
    return next((row for known, row in TABLE if isinstance(error, known)), None)


def describe_problem(error: Exception) -> Problem:
    """The problem document for anything a handler may raise."""
    if isinstance(error, web.HTTPException):
        return _describe_http(error)
    row = find_row(error)
    if row is None:
        return Problem(
            title="A defect in the appliance",
            status=500,
            reason="InternalError",
            detail=f"The appliance failed: {type(error).__name__}.",
            hint="Its log has the details.",
        )
    hint = str(getattr(error, "hint", ""))
    return Problem(title=row.title, status=row.status, reason=row.reason, detail=str(error), hint=hint)


Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def answer_with_problems(request: web.Request, handler: Next) -> web.StreamResponse:
    """Outermost middleware: whatever was raised leaves as a problem document."""
    try:
        return await handler(request)
    except ConnectionResetError:
        raise  # the client left; there is nobody to answer
    except Exception as error:  # the one broad handler of a request
        problem = describe_problem(error)
        if problem.status >= 500:
            log.exception("%s %s failed", request.method, request.path)
        headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
        return web.Response(
            body=msgspec.json.encode(problem),
            status=problem.status,
            content_type=PROBLEM_TYPE,
            headers=headers,
        )


def _describe_http(error: web.HTTPException) -> Problem:
    reasons = {404: "NotFound", 405: "MethodNotAllowed", 413: "RequestEntityTooLarge"}
    sentence = {404: "Nothing is served here.", 405: "This path has no such method."}
    return Problem(
        title=error.reason,
        status=error.status,
        reason=reasons.get(error.status, "BadRequest"),
        detail=sentence.get(error.status, error.text or error.reason),
    )
