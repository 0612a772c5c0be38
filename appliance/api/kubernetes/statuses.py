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


class UnknownPath(store.NotFound):
    """Nothing is served at the path, whatever objects there are."""

    def __init__(self) -> None:
        super().__init__("the server could not find the requested resource")


class OptionsInvalid(store.Invalid):
    """The request's options contradict themselves; `options` is what Kubernetes calls them."""

    def __init__(self, options: str, message: str) -> None:
        super().__init__(message)
        self.options = options


# The first class that fits wins, so children stand above their parents.
_TABLE: tuple[tuple[type[Exception], int, str], ...] = (
    (Forbidden, 403, "Forbidden"),
    (Unsupported, 415, "UnsupportedMediaType"),
    (NotAcceptable, 406, "NotAcceptable"),
    (WrongMethod, 405, "MethodNotAllowed"),
    (store.NotFound, 404, "NotFound"),
    (store.AlreadyExists, 409, "AlreadyExists"),
    (store.Conflict, 409, "Conflict"),
    (OptionsInvalid, 422, "Invalid"),
    (store.Malformed, 400, "BadRequest"),
    (store.Invalid, 422, "Invalid"),
    (store.Gone, 410, "Expired"),
    (store.TooLarge, 413, "RequestEntityTooLarge"),
    (store.Unavailable, 503, "ServiceUnavailable"),
)


_ABOUT_OBJECTS = frozenset(("NotFound", "AlreadyExists", "Conflict", "Forbidden"))


def failure(error: Exception, kind: Kind | None = None, name: str = "") -> Document:
    """The Status object that tells a client what went wrong."""
    code, reason = _code_and_reason(error)
    message = str(error)
    if not isinstance(error, store.StoreError):
        problem = describe_problem(error)
        message = problem.detail
    hint = getattr(error, "hint", "")
    details = _about(error, reason, kind, name)
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


def _about(error: Exception, reason: str, kind: Kind | None, name: str) -> Document:
    """What the error is about: the resource, the kind that is not valid, the options, or nothing."""
    if isinstance(error, OptionsInvalid):
        return {"group": "meta.k8s.io", "kind": error.options}
    if kind is None or isinstance(error, UnknownPath):
        return {}
    if reason == "Invalid":
        return _details(kind, name) | {"kind": kind.kind}
    return _details(kind, name) if reason in _ABOUT_OBJECTS else {}


def _details(kind: Kind, name: str) -> Document:
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return {key: value for key, value in details.items() if value}


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
