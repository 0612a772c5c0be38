"""The agent's half of its conversation with the appliance after registration: plans and reports.

Synchronous, over the standard library's HTTP client. The certificate is checked against the CA that the
registration gave, and nothing else; no redirect is followed; every answer has a size limit.
"""

import http.client
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import msgspec

from agent.connection import Connection
from agent.errors import Denied, Unreachable
from agent.protocol.report import Report

MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_REPORT_BYTES = 256 * 1024
CLUSTER_SUFFIX = "/k8s/clusters/local"


class _Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class PlanSecret(msgspec.Struct, frozen=True, kw_only=True):
    """The plan's Secret; `data` values are base64 text."""

    metadata: _Metadata = _Metadata()
    data: dict[str, str] = msgspec.field(default_factory=dict)


class Appliance:
    """One host's view of its appliance. Every method raises Unreachable, or Denied for an HTTP error."""

    def __init__(self, connection: Connection, *, timeout: float = 30.0) -> None:
        self._connection = connection
        self._url = urlsplit(connection.url)
        self._timeout = timeout
        self._context = make_context(self._url, connection.ca_pem)

    def fetch_plan(self) -> PlanSecret:
        """GET the plan Secret."""
        answer = self._request("GET", self._secret_path())
        return self._decode_secret(answer)

    def patch_plan(self, data: Mapping[str, str]) -> PlanSecret:
        """Merge base64 values into the plan Secret's data."""
        answer = self._request(
            "PATCH",
            self._secret_path(),
            body=msgspec.json.encode({"data": dict(data)}),
            content_type="application/merge-patch+json",
        )
        return self._decode_secret(answer)

    def post_report(self, report: Report) -> None:
        """POST what this host says of itself."""
        body = msgspec.json.encode(report)
        while len(body) > MAX_REPORT_BYTES and report.history:
            report = msgspec.structs.replace(report, history=report.history[1:])
            body = msgspec.json.encode(report)
        namespace, name = self._connection.namespace, self._connection.name
        base = self._url.path.removesuffix(CLUSTER_SUFFIX)
        path = f"{base}/skerry/v1/namespaces/{namespace}/hosts/{name}/report"
        self._request("POST", path, body=body, content_type="application/json")

    def _secret_path(self) -> str:
        namespace, name = self._connection.namespace, self._connection.name
        return f"{self._url.path}/api/v1/namespaces/{namespace}/secrets/{name}"

    def _request(self, method: str, path: str, *, body: bytes | None = None, content_type: str = "") -> bytes:
        headers = {
            "Authorization": f"Bearer {self._connection.token.reveal()}",
            "Accept": "application/json",
            "User-Agent": "skerry-agent",
        }
        if content_type:
            headers["Content-Type"] = content_type
        connection = self._connect()
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            answer = response.read(MAX_ANSWER_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                f"the appliance {self._url.netloc} is not trusted: {error.verify_message}",
                hint="its certificate was checked against the CA given at registration",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the appliance {self._url.netloc} cannot be reached: {error}") from error
        finally:
            connection.close()
        if len(answer) > MAX_ANSWER_BYTES:
            raise Unreachable(f"the appliance's answer to {path} is larger than {MAX_ANSWER_BYTES} bytes")
        if response.status not in (200, 201, 204):
            raise Denied(
                f"the appliance answered {response.status} to {method} {path}: "
                f"{answer[:300].decode(errors='replace')}",
                status=response.status,
            )
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)

    def _decode_secret(self, answer: bytes) -> PlanSecret:
        try:
            return msgspec.json.decode(answer, type=PlanSecret)
        except msgspec.MsgspecError as error:
            raise Unreachable(
                f"the appliance {self._url.netloc} sent a plan Secret that cannot be read: {error}"
            ) from error


def make_context(url: SplitResult, ca_pem: str) -> ssl.SSLContext | None:
    """Return the TLS context that trusts `ca_pem` alone (the system's store where there is none)."""
    if url.scheme == "http":
        return None
    try:
        return ssl.create_default_context(cadata=ca_pem or None)
    except ssl.SSLError as error:
        raise Unreachable(
            "the CA certificate given at registration cannot be read", hint="register this host again"
        ) from error
