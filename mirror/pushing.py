"""Where the bodies of pushes go: the receivers of blobs and of manifests."""

from collections.abc import Callable, Sequence

from mirror.errors import SizeInvalid, TooLarge
from mirror.registry import Registry, RepositoryUpload
from mirror.wire import Headers, Reply


class BlobReceiver:
    """A body that is appended to an upload.

    With a digest the upload is committed at the end, else it stays open. `is_resumable` says whether what
    has arrived is kept when the connection breaks.
    """

    def __init__(
        self,
        upload: RepositoryUpload,
        *,
        digest: str = "",
        length: int | None = None,
        is_resumable: bool = True,
    ) -> None:
        self._upload = upload
        self._digest = digest
        self._expected = None if length is None else upload.offset + length
        self._is_resumable = is_resumable

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._upload.write(data)

    def finish(self) -> Reply:
        if self._expected is not None and self._upload.offset != self._expected:
            surplus = self._upload.offset - self._expected
            self._upload.abort()
            raise SizeInvalid(
                f"the body has {abs(surplus)} bytes {'more' if surplus > 0 else 'less'} than announced"
            )
        if not self._digest:
            self._upload.pause()
            return Reply(202, upload_headers(self._upload.repository, self._upload.id, self._upload.offset))
        return created_blob(self._upload.repository, self._upload.commit(self._digest))

    def break_off(self) -> None:
        if self._is_resumable:
            self._upload.pause()
        else:
            self._upload.abort()


class ManifestReceiver:
    """A body that is kept in memory, up to the limit, and stored as a manifest at the end."""

    def __init__(
        self, registry: Registry, repository: str, *, media_type: str, digest: str, tags: Sequence[str]
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._media_type = media_type
        self._digest = digest
        self._tags = tags
        self._content = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        limit = self._registry.limits.manifest_bytes
        if len(self._content) + len(data) > limit:
            raise TooLarge(f"the manifest is larger than the {limit} bytes this mirror takes")
        self._content += data

    def finish(self) -> Reply:
        put = self._registry.push_manifest(
            self._repository, bytes(self._content), self._media_type, digest=self._digest, tags=self._tags
        )
        headers = [
            ("Location", f"/v2/{self._repository}/manifests/{put.digest}"),
            ("Docker-Content-Digest", put.digest),
            ("Content-Length", "0"),
        ]
        if put.subject:
            headers.append(("OCI-Subject", put.subject))
        if self._digest:
            headers.extend(("OCI-Tag", tag) for tag in self._tags)
        return Reply(201, headers)

    def break_off(self) -> None:
        self._content.clear()


class Discarded:
    """A body that nobody asked for; the reply is ready, the bytes are counted and dropped."""

    LIMIT = 64 * 1024

    def __init__(self, reply: Callable[[], Reply]) -> None:
        self._reply = reply
        self._count = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._count += len(data)
        if self._count > self.LIMIT:
            raise TooLarge("this request takes no body")

    def finish(self) -> Reply:
        return self._reply()

    def break_off(self) -> None:
        pass


def created_blob(repository: str, digest: str) -> Reply:
    return Reply(
        201,
        [
            ("Location", f"/v2/{repository}/blobs/{digest}"),
            ("Docker-Content-Digest", digest),
            ("Content-Length", "0"),
        ],
    )


def upload_headers(repository: str, upload: str, offset: int) -> Headers:
    """Where to go on with an upload, and from which byte; `0-0` is how everybody says nothing yet."""
    return [
        ("Location", f"/v2/{repository}/blobs/uploads/{upload}"),
        ("Range", f"0-{max(offset - 1, 0)}"),
        ("Docker-Upload-UUID", upload),
        ("Content-Length", "0"),
    ]
