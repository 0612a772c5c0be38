"""Kubernetes' Status objects: errors by one table of codes and reasons, and deletions that are done.

Pure. What the store's errors do not cover falls back to `appliance.api.problems`.
"""

from aiohttp import web

from appliance.api.problems import describe_problem
from appliance.resources.meta import Document, Kind
from appliance.store import base as store


class Forbidden(store.StoreError):
    """The caller may not do this. The `authorize` callback may raise this or the control API's own."""


class Unsupported(store.StoreError):
    """A body of a type that is not read here."""


class NotAcceptable(store.StoreError):
    """The client accepts nothing that is written here."""


class WrongMethod(store.StoreError):
    """The path exists and has no such verb."""


# The first class that fits wins, so children stand above their parents.
_TABLE: tuple[tuple[type[Exception], int, str], ...] = (
    (Forbidden, 403, "Forbidden"),
    (Unsupported, 415, "UnsupportedMediaType"),
    (NotAcceptable, 406, "NotAcceptable"),
    (WrongMethod, 405, "MethodNotAllowed"),
    (store.NotFound, 404, "NotFound"),
    (store.AlreadyExists, 409, "AlreadyExists"),
    (store.Conflict, 409, "Conflict"),
    (store.Malformed, 400, "BadRequest"),
    (store.Invalid, 422, "Invalid"),
    (store.Gone, 410, "Expired"),
    (store.TooLarge, 413, "RequestEntityTooLarge"),
    (store.Unavailable, 503, "ServiceUnavailable"),
)


def failure(error: Exception, kind: Kind | None = None, name: str = "") -> Document:
    """The Status object that tells a client what went wrong."""
    code, reason = _code_and_reason(error)
    message = str(error)
    if not isinstance(error, store.StoreError):
        problem = describe_problem(error)
        message = problem.detail
    hint = getattr(error, "hint", "")
    details = _details(kind, name)
    field, separator, problem_text = message.partition(": ")
    if reason == "Invalid" and separator and " " not in field:
        details["causes"] = [{"reason": "FieldValueInvalid", "message": problem_text, "field": field}]
    return _status("Failure", f"{message}; {hint}" if hint else message, reason, code, details)


def success(kind: Kind, document: Document) -> Document:
    """The Status object for an object that is gone."""
    metadata = document["metadata"]
    details = {**_details(kind, metadata["name"]), "uid": metadata["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _code_and_reason(error: Exception) -> tuple[int, str]:
    for known, code, reason in _TABLE:
        if isinstance(error, known):
            return code, reason
    if isinstance(error, web.HTTPException) and error.status == 413:
        return 413, "RequestEntityTooLarge"
    problem = describe_problem(error)
    return problem.status, problem.reason


def _details(kind: Kind | None, name: str) -> Document:
    if kind is None:
        return {}
    return {"name": name, "group": kind.group, "kind": kind.plural}


def _status(status: str, message: str, reason: str, code: int, details: Document) -> Document:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": status,
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }
