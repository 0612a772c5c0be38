"""Another registry, as a source or target of copies. The only file that imports oras.

oras-py is used for its session and its token and credential handling alone: its pulls verify nothing, its
pushes read whole blobs into memory, and its retries sleep for two minutes. Bytes are streamed here, resumed
by range when a pull breaks, and verified by `mirror.copying`. Nothing is asked of any host but the one named
(and the token service that it names).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import oras.provider
import requests
from requests.adapters import HTTPAdapter

from mirror.errors import BlobUnknown, ManifestUnknown, TooLarge, TransferFailed
from mirror.index import StoredManifest
from mirror.limits import DEFAULT_LIMITS
from mirror.oci import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    Digest,
    check_repository,
    declared_media_type,
    digest_of,
    parse_digest,
)

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
READ_BYTES: Final = 1024 * 1024
ATTEMPTS: Final = 5
ACCEPT: Final = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES, "*/*"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach a registry at host:port; without `ca_file` the system's authorities are trusted."""

    host: str
    plain_http: bool = False
    ca_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)


class RemoteRepository:
    """One repository of another registry. Raises TransferFailed with the registry's own words."""

    def __init__(self, endpoint: Endpoint, repository: str) -> None:
        check_repository(repository)
        self._endpoint = endpoint
        self._repository = repository
        self._base = f"{'http' if endpoint.plain_http else 'https'}://{endpoint.host}/v2/{repository}"
        self._client = oras.provider.Registry(
            hostname=endpoint.host,
            insecure=endpoint.plain_http,
            tls_verify=str(endpoint.ca_file) if endpoint.ca_file else True,
        )
        adapter = _ImpatientAdapter()
        self._client.session.mount("http://", adapter)
        self._client.session.mount("https://", adapter)
        if endpoint.username:
            self._log_in()

    def close(self) -> None:
        self._client.session.close()

    def read_manifest(self, reference: str) -> StoredManifest:
        answer = self._ask("GET", f"/manifests/{reference}", headers={"Accept": ACCEPT}, stream=True)
        with answer:
            if answer.status_code == 404:
                raise ManifestUnknown(f"{self} has no {reference}")
            self._check(answer, 200)
            content = _read_limited(answer, DEFAULT_LIMITS.manifest_bytes)
            media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        digest = parse_digest(reference) if ":" in reference else digest_of(content)
        return StoredManifest(content, media_type or declared_media_type(content), digest)

    def read_blob(self, blob: Descriptor) -> Iterator[bytes]:
        """Stream; a broken connection is taken up where it broke."""
        offset, failures = 0, 0
        while offset < blob.size:
            try:
                for chunk in self._read_from(blob, offset):
                    offset += len(chunk)
                    yield chunk
                if offset < blob.size:
                    raise requests.ConnectionError(f"ended after {offset} of {blob.size} bytes")
            except requests.RequestException as error:
                failures += 1
                if failures == ATTEMPTS:
                    raise self._failed(f"blob {blob.digest} broke off {ATTEMPTS} times", error) from error

    def has_blob(self, digest: Digest) -> bool:
        with self._ask("HEAD", f"/blobs/{digest}") as answer:
            return answer.status_code == 200

    def put_blob(self, blob: Descriptor, chunks: Iterator[bytes]) -> None:
        with self._ask("POST", "/blobs/uploads/", headers={"Content-Length": "0"}) as answer:
            self._check(answer, 202)
            location = urljoin(f"{self._base}/", answer.headers.get("Location", ""))
        finish = f"{location}{'&' if '?' in location else '?'}digest={blob.digest}"
        headers = {"Content-Type": "application/octet-stream"}
        with self._ask("PUT", finish, headers=headers, data=_Body(chunks, blob.size)) as answer:
            self._check(answer, 201)

    def put_manifest(self, manifest: StoredManifest) -> None:
        self.put_tag(manifest.digest, manifest)

    def put_tag(self, tag: str, manifest: StoredManifest) -> None:
        headers = {"Content-Type": manifest.media_type}
        with self._ask("PUT", f"/manifests/{tag}", headers=headers, data=manifest.content) as answer:
            self._check(answer, 201)

    def __str__(self) -> str:
        return f"{self._endpoint.host}/{self._repository}"

    def _read_from(self, blob: Descriptor, offset: int) -> Iterator[bytes]:
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}
        with self._ask("GET", f"/blobs/{blob.digest}", headers=headers, stream=True) as answer:
            if answer.status_code == 404:
                raise BlobUnknown(f"{self} has no blob {blob.digest}")
            self._check(answer, 206 if offset else 200)
            yield from answer.iter_content(READ_BYTES)

    def _log_in(self) -> None:
        """Basic where the registry asks for it, else leave the password to the token exchange."""
        scheme = "http" if self._endpoint.plain_http else "https"
        try:
            challenge = self._client.session.get(
                f"{scheme}://{self._endpoint.host}/v2/", verify=self._client._tls_verify
            ).headers.get("WWW-Authenticate", "")
        except requests.RequestException as error:
            raise self._failed("the registry does not answer", error) from error
        if challenge.lower().startswith("basic"):
            self._client.session.auth = (self._endpoint.username, self._endpoint.password)
        else:
            self._client.auth.set_basic_auth(self._endpoint.username, self._endpoint.password)

    def _ask(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: "bytes | _Body | None" = None,
        stream: bool = False,
    ) -> requests.Response:
        """One request, with oras's authentication and without its retries."""
        url = target if target.startswith("http") else self._base + target
        ask: Any = oras.provider.Registry.do_request.__wrapped__
        try:
            answer: requests.Response = ask(
                self._client, url, method, data=data, headers=dict(headers or {}), stream=stream
            )
        except requests.RequestException as error:
            raise self._failed(f"{method} {url} failed", error) from error
        except ValueError as error:  # what oras raises when it cannot answer a challenge
            raise self._failed(f"{method} {url} was refused", error) from error
        return answer

    def _check(self, answer: requests.Response, expected: int) -> None:
        if answer.status_code != expected:
            words = answer.raw.read(500, decode_content=True) if answer.raw is not None else b""
            said = (words or answer.content[:500]).decode(errors="replace")
            raise TransferFailed(f"{self} answered {answer.status_code} instead of {expected}: {said}")

    def _failed(self, what: str, error: Exception) -> TransferFailed:
        return TransferFailed(
            f"{self}: {what}: {error}", hint="check the address, the certificate and the credentials"
        )


class _Body:
    """An iterator as requests wants it: a length and a `read`."""

    def __init__(self, chunks: Iterator[bytes], size: int) -> None:
        self._chunks = chunks
        self._size = size
        self._left = memoryview(b"")

    def __len__(self) -> int:
        return self._size

    def read(self, count: int = -1) -> bytes:
        if not self._left:
            self._left = memoryview(next(self._chunks, b""))
        taken = self._left if count < 0 else self._left[:count]
        self._left = self._left[len(taken) :]
        return bytes(taken)


class _ImpatientAdapter(HTTPAdapter):
    """oras sets no time-outs."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = (CONNECT_SECONDS, READ_SECONDS)
        return super().send(request, *args, **kwargs)


def _read_limited(answer: requests.Response, limit: int) -> bytes:
    content = bytearray()
    for chunk in answer.iter_content(READ_BYTES):
        content += chunk
        if len(content) > limit:
            raise TooLarge(f"the manifest at {answer.url} is larger than {limit} bytes")
    return bytes(content)
