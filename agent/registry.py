"""The pulling half of the OCI distribution API, over the standard library's HTTP client.

It streams and never holds a blob. It follows no redirect and never falls back from TLS to plain HTTP: an
air-gapped host talks to the one address it was given. Checking digests is the caller's work (`agent.image`).
"""

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from agent.config import MirrorConfig
from agent.errors import ConfigInvalid, Denied, ImageInvalid, Unreachable
from agent.host import Host

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
ACCEPTED = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class Registry:
    """One registry. `context` is None for plain HTTP; `trust` names the CA for messages."""

    def __init__(
        self, address: str, *, context: ssl.SSLContext | None, trust: str = "", timeout: float = 60.0
    ) -> None:
        self._address = address
        self._context = context
        self._trust = trust
        self._timeout = timeout

    def get_manifest(self, repository: str, version: str) -> tuple[bytes, str]:
        """Return a manifest's bytes and media type; refuses more than MAX_MANIFEST_BYTES."""
        path = f"/v2/{repository}/manifests/{version}"
        with self._get(path, {"Accept": ", ".join(ACCEPTED)}) as response:
            content = response.read(MAX_MANIFEST_BYTES + 1)
            if len(content) > MAX_MANIFEST_BYTES:
                raise ImageInvalid(f"the manifest of {repository} is larger than {MAX_MANIFEST_BYTES} bytes")
            media_type = (response.getheader("Content-Type") or "").partition(";")[0].strip()
            return content, media_type

    @contextmanager
    def open_blob(self, repository: str, digest: str, *, offset: int = 0) -> Iterator[tuple[BinaryIO, int]]:
        """Yield a stream and the position in the blob at which it really begins: `offset`, or 0."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._get(f"/v2/{repository}/blobs/{digest}", headers) as response:
            yield cast(BinaryIO, response), _start_of(response, offset)

    @contextmanager
    def _get(self, path: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
        connection = self._connect()
        try:
            connection.request("GET", path, headers={"User-Agent": "skerry-agent", **headers})
            response = connection.getresponse()
            if response.status not in (200, 206):
                raise Denied(
                    f"the mirror {self._address} answered {response.status} {response.reason} for {path}",
                    hint="check that the image was loaded into the mirror" if response.status == 404 else "",
                    status=response.status,
                )
            yield response
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                f"the mirror {self._address} is not trusted: {error.verify_message}",
                hint=f"its certificate was checked against {self._trust or 'the system trust store'}",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the mirror {self._address} cannot be reached: {error}") from error
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self._address, timeout=self._timeout)
        return http.client.HTTPSConnection(self._address, timeout=self._timeout, context=self._context)


def open_registry(address: str, config: MirrorConfig, *, host: Host, ca_pem: str = "") -> Registry:
    """Return the registry as the configuration says to reach it; `ca_pem` is the registration's CA."""
    if config.plain_http:
        return Registry(address, context=None, timeout=config.timeout_seconds)
    trust = "the CA given at registration" if ca_pem else ""
    if config.ca_file:
        trust = config.ca_file
        ca_pem = host.read_text(config.ca_file, limit=1024 * 1024)
    try:
        context = ssl.create_default_context(cadata=ca_pem or None)
    except ssl.SSLError as error:
        raise ConfigInvalid(f"{trust} holds no certificate that can be read") from error
    return Registry(address, context=context, trust=trust, timeout=config.timeout_seconds)


def _start_of(response: http.client.HTTPResponse, offset: int) -> int:
    if response.status != 206:
        return 0
    unit, _, rest = (response.getheader("Content-Range") or "").partition(" ")
    begin = rest.partition("-")[0]
    if unit != "bytes" or not begin.isdigit() or int(begin) != offset:
        raise ImageInvalid(f"the mirror answered a range from {offset} with {rest[:60]!r}")
    return offset
