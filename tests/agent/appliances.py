"""The appliance's two host routes, real on the wire (and over TLS): a plan Secret and a place for reports."""

import base64
import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.connection import Connection
from agent.protocol.secrets import SecretText

TOKEN = "skh1.test-token"
PREFIX = "/k8s/clusters/local"


@dataclass
class ApplianceContent:
    """What was stored and heard. `statuses` answers the next requests with an error each."""

    data: dict[str, str] = field(default_factory=dict)
    reports: list[Mapping[str, object]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    padding: int = 0
    content_types: list[str] = field(default_factory=list)

    def set_plan(self, plan: object) -> None:
        self.data["plan"] = base64.b64encode(json.dumps(plan).encode()).decode()

    def read(self, key: str) -> str:
        return base64.b64decode(self.data.get(key, "")).decode()


class RunningAppliance:
    """One host's appliance on a loopback port, with a certificate of its own CA when `tls` is a folder."""

    def __init__(self, tls: Path | None = None) -> None:
        self.content = ApplianceContent()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self.content))
        self.ca_pem = ""
        if tls is not None:
            self.ca_pem, context = _make_context(tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def connection(self) -> Connection:
        scheme = "https" if self.ca_pem else "http"
        url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}{PREFIX}"
        return Connection(url, SecretText(TOKEN), "fleet-default", "m1", self.ca_pem)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _make_handler(content: ApplianceContent) -> type[BaseHTTPRequestHandler]:
    secret_path = f"{PREFIX}/api/v1/namespaces/fleet-default/secrets/m1"
    report_path = "/skerry/v1/namespaces/fleet-default/hosts/m1/report"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self._is_allowed(secret_path):
                self._answer_secret()

        def do_PATCH(self) -> None:
            body = self._read()
            if self._is_allowed(secret_path):
                content.data.update(body["data"])
                self._answer_secret()

        def do_POST(self) -> None:
            body = self._read()
            if self._is_allowed(report_path):
                content.reports.append(body)
                self._answer(204, b"")

        def _is_allowed(self, path: str) -> bool:
            if content.statuses:
                self._answer(content.statuses.pop(0), b'{"reason": "Told"}')
            elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                self._answer(401, b"{}")
            elif self.path != path:
                self._answer(404, b"{}")
            else:
                return True
            return False

        def _read(self) -> dict[str, dict[str, str]]:
            content.content_types.append(self.headers["Content-Type"])
            body: dict[str, dict[str, str]] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            return body

        def _answer_secret(self) -> None:
            document = {"kind": "Secret", "metadata": {"uid": "u"}, "data": content.data}
            self._answer(200, json.dumps(document).encode() + b" " * content.padding)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _make_context(directory: Path) -> tuple[str, ssl.SSLContext]:
    """A self-signed certificate for 127.0.0.1 that is its own CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test box")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (directory / "server.crt").write_bytes(pem)
    (directory / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    return pem.decode(), context
