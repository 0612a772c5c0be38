"""What a Kubernetes server's refusal means here: its Status document in, a StoreError out.

Pure. The server's own sentence is kept: it names the object and the field. A body that is no Status (a
proxy's page, a torn answer) still becomes an error that says which code came.
"""

import re
from collections.abc import Mapping

import msgspec

from appliance.store.base import (
    AlreadyExists,
    Conflict,
    Gone,
    Invalid,
    Malformed,
    NotFound,
    StoreError,
    TooLarge,
    Unavailable,
)


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """metav1.StatusCause."""

    reason: str = ""
    message: str = ""
    field: str = ""


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """metav1.StatusDetails: the part that we read."""

    name: str = ""
    kind: str = ""
    causes: list[Cause] = []


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """metav1.Status."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: Details | None = None


class MissingNamespace(NotFound):
    """The object could not be made because its namespace is not there."""


_BY_CODE: Mapping[int, type[StoreError]] = {
    400: Malformed,
    404: NotFound,
    405: Malformed,
    406: Malformed,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    415: Malformed,
    422: Invalid,
}
_LIST_AGAIN = "list again and watch from the list's version"
# A refused patch of one of its own kinds comes with the whole object in the message, a Secret's content too.
_WHOLE_OBJECT = re.compile(r'(?:patch: )?Invalid value: "\{.*\}": ', re.DOTALL)
# What etcd and kine say of an object over their own limit comes as an internal error.
_TOO_LARGE = ("request is too large", "message larger than max", "Request entity too large")


def failure(code: int, body: bytes) -> StoreError:
    """The error that an answer's status code and body mean."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except msgspec.MsgspecError:
        text = body[:200].decode(errors="replace").strip()
        status = Status(code=code, message=f"the server answered {code}: {text or 'nothing more'}")
    return error_of(status if status.code else msgspec.structs.replace(status, code=code))


def error_of(status: Status) -> StoreError:
    """The error that a Status means."""
    details = status.details or Details()
    causes = {cause.reason for cause in details.causes}
    message = _sentence(status, details)
    if status.code == 404 and details.kind == "namespaces":
        return MissingNamespace(message)
    if status.code == 409 and status.reason == "AlreadyExists":
        return AlreadyExists(message)
    if status.code == 403 and "NamespaceTerminating" in causes:
        return Conflict(message)
    if status.code in (401, 403):
        return Unavailable(message, hint="let the account that the kubeconfig names do this")
    if "ResourceVersionTooLarge" in causes:
        return Gone(f"the version is not known here: {message}", hint=_LIST_AGAIN)
    if any(words in message for words in _TOO_LARGE):
        return TooLarge(message)
    if status.code == 410:
        return Gone(message, hint=_LIST_AGAIN)
    return _BY_CODE.get(status.code, Unavailable)(message)


def _sentence(status: Status, details: Details) -> str:
    message = _WHOLE_OBJECT.sub("", status.message) or status.reason or f"the server answered {status.code}"
    # A generic refusal has what was wrong in its causes only.
    added = [_WHOLE_OBJECT.sub("", cause.message) for cause in details.causes]
    return "; ".join([message, *(text for text in added if text and text not in message)])
