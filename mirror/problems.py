"""Errors as clients of the distribution API see them: a status, a code, a sentence. The one table of both."""

import msgspec

from mirror.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    MirrorError,
    NameInvalid,
    NameUnknown,
    NoSpace,
    OutOfOrder,
    RequestInvalid,
    SizeInvalid,
    TooLarge,
    TooManyUploads,
    Unsupported,
    UploadBusy,
    UploadUnknown,
)
from mirror.wire import Headers, Reply

# Codes are those of distribution-spec 1.1 where it has one; INSUFFICIENT_STORAGE and INTERNAL_ERROR are ours.
PROBLEMS: dict[type[MirrorError], tuple[int, str]] = {
    NameInvalid: (400, "NAME_INVALID"),
    NameUnknown: (404, "NAME_UNKNOWN"),
    DigestInvalid: (400, "DIGEST_INVALID"),
    BlobUnknown: (404, "BLOB_UNKNOWN"),
    ManifestUnknown: (404, "MANIFEST_UNKNOWN"),
    ManifestInvalid: (400, "MANIFEST_INVALID"),
    ManifestBlobUnknown: (404, "MANIFEST_BLOB_UNKNOWN"),
    SizeInvalid: (400, "SIZE_INVALID"),
    TooLarge: (413, "SIZE_INVALID"),
    NoSpace: (507, "INSUFFICIENT_STORAGE"),
    UploadUnknown: (404, "BLOB_UPLOAD_UNKNOWN"),
    UploadBusy: (409, "BLOB_UPLOAD_INVALID"),
    TooManyUploads: (429, "TOOMANYREQUESTS"),
    OutOfOrder: (416, "BLOB_UPLOAD_INVALID"),
    RequestInvalid: (400, "UNSUPPORTED"),
    Unsupported: (405, "UNSUPPORTED"),
}


def render_problem(error: MirrorError, headers: Headers | None = None) -> Reply:
    status, code = PROBLEMS.get(type(error), (500, "INTERNAL_ERROR"))
    extra = list(headers or [])
    if isinstance(error, TooManyUploads):
        extra.append(("Retry-After", "10"))
    return render_error(status, code, str(error), hint=error.hint, headers=extra)


def render_error(
    status: int, code: str, message: str, *, hint: str = "", headers: Headers | None = None
) -> Reply:
    entry: dict[str, object] = {"code": code, "message": message, "detail": {"hint": hint} if hint else {}}
    body = msgspec.json.encode({"errors": [entry]})
    return Reply(
        status,
        [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *(headers or [])],
        body,
    )
