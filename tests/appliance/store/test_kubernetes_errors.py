"""A server's refusal becomes the store's error, whatever came as its body."""

import msgspec
import pytest

from appliance.resources.meta import Document
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
from appliance.store.kubernetes_errors import MissingNamespace, failure


def status(code: int, reason: str = "", message: str = "no", **details: object) -> bytes:
    document: Document = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return msgspec.json.encode({**document, **({"details": details} if details else {})})


@pytest.mark.parametrize(
    ("code", "body", "expected"),
    [
        (400, status(400, "BadRequest"), Malformed),
        (401, status(401, "Unauthorized"), Unavailable),
        (403, status(403, "Forbidden"), Unavailable),
        (403, status(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}]), Conflict),
        (404, status(404, "NotFound", name="a", kind="machineinventories"), NotFound),
        (404, status(404, "NotFound", name="a", kind="namespaces"), MissingNamespace),
        (409, status(409, "AlreadyExists"), AlreadyExists),
        (409, status(409, "Conflict"), Conflict),
        (410, status(410, "Expired"), Gone),
        (413, status(413, "RequestEntityTooLarge"), TooLarge),
        (422, status(422, "Invalid"), Invalid),
        (500, status(500, "InternalError"), Unavailable),
        (500, status(500, "", "etcdserver: request is too large"), TooLarge),
        (504, status(504, "Timeout", causes=[{"reason": "ResourceVersionTooLarge"}]), Gone),
        (504, status(504, "Timeout"), Unavailable),
        (418, b"", Unavailable),
        (404, b"<html>nginx</html>", NotFound),
        (502, b"\xff\xfe", Unavailable),
        (500, b'{"code": "many"}', Unavailable),
        (500, b"[]", Unavailable),
    ],
)
def test_each_refusal_has_its_error(code: int, body: bytes, expected: type[StoreError]) -> None:
    assert type(failure(code, body)) is expected


def test_what_was_wrong_is_told_from_the_causes_when_the_message_is_general() -> None:
    body = status(
        422, "Invalid", "refused", causes=[{"message": "spec.a: is missing"}, {"message": "refused"}]
    )

    assert str(failure(422, body)) == "refused; spec.a: is missing"


def test_a_whole_object_is_not_repeated() -> None:
    refused = 'Invalid value: "{\\"data\\":{\\"token\\":\\"c2VjcmV0\\"}}": illegal base64 data'
    body = status(422, "Invalid", f"it is invalid: patch: {refused}", causes=[{"message": refused}])

    assert str(failure(422, body)) == "it is invalid: illegal base64 data"


def test_a_body_that_is_no_status_is_quoted_in_part() -> None:
    error = failure(502, b"<html>" + b"x" * 10_000)

    assert "502" in str(error)
    assert len(str(error)) < 300
