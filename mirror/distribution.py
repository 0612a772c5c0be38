"""The OCI distribution API v1.1: which request asks what of the registry, and how the answer is written.

Sync and without HTTP machinery: `begin` maps a `Request` to a `Reply`, or to a `Receiver` for its body.
Errors become replies here. Who may do what, and how bytes reach a socket, is not decided here.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from mirror.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestUnknown,
    MirrorError,
    NameUnknown,
    OutOfOrder,
    RequestInvalid,
    SizeInvalid,
    TooLarge,
)
from mirror.oci import OCI_INDEX, parse_digest
from mirror.paths import parse_path
from mirror.problems import render_error, render_problem
from mirror.pushing import BlobReceiver, Discarded, ManifestReceiver, created_blob, upload_headers
from mirror.ranges import Unsatisfiable, parse_content_range, parse_range
from mirror.registry import Registry, RepositoryUpload
from mirror.upstreams import candidate_repositories
from mirror.wire import FileSlice, Headers, Receiver, Reply, Request

MAX_TAGS_AT_ONCE: Final = 50
PULLED: Final = frozenset({"manifest", "blob", "tags", "referrers"})

Outcome = Reply | Receiver
Route = Callable[[Request, str, str], Outcome]  # request, repository, last part of the path


class Distribution:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._routes: dict[str, Mapping[str, Route]] = {
            "ping": {"GET": self._ping, "HEAD": self._ping},
            "catalog": {"GET": self._list_repositories},
            "manifest": {
                "GET": self._get_manifest,
                "HEAD": self._get_manifest,
                "PUT": self._put_manifest,
                "DELETE": self._delete_manifest,
            },
            "blob": {"GET": self._get_blob, "HEAD": self._head_blob, "DELETE": self._delete_blob},
            "uploads": {"POST": self._start_upload},
            "upload": {
                "GET": self._get_upload,
                "PATCH": self._patch_upload,
                "PUT": self._put_upload,
                "DELETE": self._delete_upload,
            },
            "tags": {"GET": self._list_tags},
            "referrers": {"GET": self._list_referrers},
        }

    def begin(self, request: Request) -> Outcome:
        """Answer, or say where the body goes. Never raises MirrorError."""
        try:
            resource, repository, last = parse_path(request.path)
            methods = self._routes.get(resource)
            if methods is None:
                return render_error(404, "UNSUPPORTED", f"there is nothing at {request.path[:200]!r}")
            route = methods.get(request.method)
            if route is None:
                return render_error(
                    405,
                    "UNSUPPORTED",
                    f"{request.method} is not supported at {request.path[:200]!r}",
                    headers=[("Allow", ", ".join(methods))],
                )
            if resource in PULLED and request.method in ("GET", "HEAD") and request.parameter("ns"):
                return self._pull_for_upstream(route, request, resource, repository, last)
            return route(request, repository, last)
        except MirrorError as error:
            return render_problem(error)

    # pull

    def _pull_for_upstream(
        self, route: Route, request: Request, resource: str, repository: str, last: str
    ) -> Outcome:
        """A mirror's client says whose repository it means; the first place that holds the thing answers.

        distribution-spec 1.1: a reply that `ns` has decided says so in OCI-Namespace.
        """
        namespace = request.parameter("ns")
        own, *others = candidate_repositories(repository, namespace)
        if not others or not self._holds(resource, own, last):
            return route(request, repository, last)
        outcome = route(request, own, last)
        if isinstance(outcome, Reply):
            outcome.headers.append(("OCI-Namespace", namespace))
        return outcome

    def _holds(self, resource: str, repository: str, last: str) -> bool:
        try:
            match resource:
                case "manifest":
                    self._registry.get_manifest(repository, last)
                case "blob":
                    self._registry.blob_size(repository, last)
                case "tags":
                    return bool(self._registry.list_tags(repository, limit=1))
                case "referrers":
                    return bool(self._registry.list_referrers(repository, last, limit=1))
        except (BlobUnknown, ManifestUnknown, NameUnknown):
            return False
        return True

    def _ping(self, request: Request, repository: str, last: str) -> Reply:
        return _json({}, [("Docker-Distribution-API-Version", "registry/2.0")])

    def _get_manifest(self, request: Request, repository: str, reference: str) -> Reply:
        """Whatever `Accept` says: a client that asked by name gets what the name holds."""
        stored = self._registry.get_manifest(repository, reference)
        headers = [("Docker-Content-Digest", stored.digest), ("ETag", f'"{stored.digest}"')]
        if _is_known_to_client(request, stored.digest):
            return Reply(304, headers)
        headers.append(("Content-Type", stored.media_type))
        headers.append(("Content-Length", str(len(stored.content))))
        return Reply(200, headers, stored.content)

    def _head_blob(self, request: Request, repository: str, digest: str) -> Reply:
        size = self._registry.blob_size(repository, digest)
        if _is_known_to_client(request, digest):
            return Reply(304, _blob_headers(digest))
        return Reply(200, [*_blob_headers(digest), *_blob_body_headers(size)])

    def _get_blob(self, request: Request, repository: str, digest: str) -> Reply:
        headers = _blob_headers(digest)
        fd = self._registry.open_blob(repository, digest)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, fd)
            if _is_known_to_client(request, digest):
                return Reply(304, headers)
            size = os.fstat(fd).st_size
            try:
                part = parse_range(_range_header(request, digest), size)
            except Unsatisfiable:
                message = f"{digest} has {size} bytes; the range lies outside"
                return render_error(
                    416, "SIZE_INVALID", message, headers=[("Content-Range", f"bytes */{size}")]
                )
            undo.pop_all()
        if part is None:
            return Reply(200, [*headers, *_blob_body_headers(size)], FileSlice(fd, 0, size))
        offset, length = part
        headers.append(("Content-Range", f"bytes {offset}-{offset + length - 1}/{size}"))
        return Reply(206, [*headers, *_blob_body_headers(length)], FileSlice(fd, offset, length))

    # push

    def _start_upload(self, request: Request, repository: str, last: str) -> Outcome:
        if request.parameter("mount"):
            return self._mount(request, repository, request.parameter("mount"))
        digest = request.parameter("digest")
        if digest:
            algorithm = parse_digest(digest).partition(":")[0]
            self._check_length(request)
            upload = self._registry.open_upload(repository, algorithm)
            return BlobReceiver(upload, digest=digest, length=request.length, is_resumable=False)
        algorithm = request.parameter("digest-algorithm") or "sha256"
        return Discarded(lambda: self._open_upload(repository, algorithm))

    def _mount(self, request: Request, repository: str, digest: str) -> Reply:
        """A blob that the mirror holds is mounted from wherever it is, whether `from` names that or not."""
        try:
            self._registry.link_blob(repository, digest)
        except BlobUnknown:
            return self._open_upload(repository, parse_digest(digest).partition(":")[0])
        return created_blob(repository, digest)

    def _open_upload(self, repository: str, algorithm: str) -> Reply:
        upload = self._registry.open_upload(repository, algorithm)
        upload.pause()
        return Reply(202, upload_headers(repository, upload.id, 0))

    def _get_upload(self, request: Request, repository: str, upload: str) -> Reply:
        offset = self._registry.upload_offset(repository, upload)
        return Reply(204, upload_headers(repository, upload, offset)[:-1])

    def _patch_upload(self, request: Request, repository: str, upload: str) -> Outcome:
        return self._append(request, repository, upload, digest="")

    def _put_upload(self, request: Request, repository: str, upload: str) -> Outcome:
        digest = request.parameter("digest")
        if not digest:
            raise DigestInvalid(
                f"upload {upload[:40]} cannot be finished without a digest", hint="add ?digest="
            )
        return self._append(request, repository, upload, digest=parse_digest(digest))

    def _append(self, request: Request, repository: str, upload: str, *, digest: str) -> Outcome:
        self._check_length(request)
        resumed = self._registry.resume_upload(repository, upload)
        try:
            length = _check_chunk(request, resumed)
        except OutOfOrder as error:
            resumed.pause()
            return render_problem(error, upload_headers(repository, upload, error.offset)[:-1])
        except MirrorError:
            resumed.pause()
            raise
        return BlobReceiver(resumed, digest=digest, length=length)

    def _check_length(self, request: Request) -> None:
        """Refuse what is too large or cannot fit before a byte of it is sent."""
        length = request.length or 0
        if length > self._registry.limits.blob_bytes:
            raise TooLarge(
                f"the blob has {length} bytes; this mirror takes up to {self._registry.limits.blob_bytes}"
            )
        self._registry.check_room(length)

    def _delete_upload(self, request: Request, repository: str, upload: str) -> Reply:
        self._registry.cancel_upload(repository, upload)
        return Reply(204, [])

    def _put_manifest(self, request: Request, repository: str, reference: str) -> Outcome:
        limit = self._registry.limits.manifest_bytes
        if (request.length or 0) > limit:
            raise TooLarge(f"the manifest has {request.length} bytes; this mirror takes up to {limit}")
        media_type = request.headers.get("Content-Type", "").partition(";")[0].strip()
        is_digest = ":" in reference
        tags = tuple(request.query.get("tag", ())) if is_digest else (reference,)
        if len(tags) > MAX_TAGS_AT_ONCE:
            raise RequestInvalid(
                f"{len(tags)} tags at once are too many", hint=f"push up to {MAX_TAGS_AT_ONCE}"
            )
        return ManifestReceiver(
            self._registry,
            repository,
            media_type=media_type,
            digest=reference if is_digest else "",
            tags=tags,
        )

    # delete

    def _delete_manifest(self, request: Request, repository: str, reference: str) -> Reply:
        if ":" in reference:
            self._registry.delete_manifest(repository, reference)
        else:
            self._registry.delete_tag(repository, reference)
        return Reply(202, [("Content-Length", "0")])

    def _delete_blob(self, request: Request, repository: str, digest: str) -> Reply:
        self._registry.delete_blob(repository, digest)
        return Reply(202, [("Content-Length", "0")])

    # lists

    def _list_tags(self, request: Request, repository: str, last: str) -> Reply:
        limit = self._page(request)
        tags = self._registry.list_tags(repository, last=request.parameter("last"), limit=limit + 1)
        return _page_of("tags", tags, limit, request, extra={"name": repository})

    def _list_repositories(self, request: Request, repository: str, last: str) -> Reply:
        limit = self._page(request)
        names = self._registry.list_repositories(last=request.parameter("last"), limit=limit + 1)
        return _page_of("repositories", names, limit, request, extra={})

    def _list_referrers(self, request: Request, repository: str, subject: str) -> Reply:
        wanted, limit = request.parameter("artifactType"), self._page(request)
        found = self._registry.list_referrers(
            repository, subject, artifact_type=wanted, last=request.parameter("last"), limit=limit + 1
        )
        headers = [("OCI-Filters-Applied", "artifactType")] if wanted else []
        if len(found) > limit > 0:
            headers.append(_next_link(request, found[limit - 1].digest, limit))
        listing = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found[:limit]}
        return _json(listing, headers, media_type=OCI_INDEX)

    def _page(self, request: Request) -> int:
        text = request.parameter("n")
        if not text:
            return self._registry.limits.page
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise RequestInvalid(f"n={text[:20]!r} is not a count")
        return min(int(text), self._registry.limits.page)


def _check_chunk(request: Request, upload: RepositoryUpload) -> int | None:
    """The length the body must have. A chunk must start where the upload ends."""
    header = request.headers.get("Content-Range")
    if header is None:
        return request.length
    first, last = parse_content_range(header)
    if first != upload.offset:
        raise OutOfOrder(
            f"the chunk starts at byte {first}, the upload ends at {upload.offset}",
            offset=upload.offset,
            hint="ask for the upload's offset with GET and go on from there",
        )
    length = last - first + 1
    if request.length is not None and request.length != length:
        raise SizeInvalid(f"Content-Range announces {length} bytes, Content-Length {request.length}")
    return length


def _is_known_to_client(request: Request, digest: str) -> bool:
    known = request.headers.get("If-None-Match")
    return known is not None and (known.strip() == "*" or digest in known)


def _range_header(request: Request, digest: str) -> str:
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip().strip('"') != digest:
        return ""
    return request.headers.get("Range", "")


def _blob_headers(digest: str) -> Headers:
    return [("Docker-Content-Digest", digest), ("ETag", f'"{digest}"'), ("Accept-Ranges", "bytes")]


def _blob_body_headers(length: int) -> Headers:
    return [("Content-Type", "application/octet-stream"), ("Content-Length", str(length))]


def _page_of(key: str, names: list[str], limit: int, request: Request, *, extra: dict[str, str]) -> Reply:
    """One page; there is a next one if one name more than the page holds was found."""
    headers = [_next_link(request, names[limit - 1], limit)] if len(names) > limit > 0 else []
    return _json({**extra, key: names[:limit]}, headers)


def _next_link(request: Request, last: str, limit: int) -> tuple[str, str]:
    query = {"n": str(limit), "last": last}
    for name in ("artifactType", "ns"):
        if kept := request.parameter(name):
            query[name] = kept
    return "Link", f'<{quote(request.path)}?{urlencode(query)}>; rel="next"'


def _json(value: object, headers: Headers, *, media_type: str = "application/json") -> Reply:
    body = msgspec.json.encode(value)
    return Reply(200, [("Content-Type", media_type), ("Content-Length", str(len(body))), *headers], body)
