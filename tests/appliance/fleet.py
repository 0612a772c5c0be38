"""Machines, reports and plans for tests, put into a running appliance through its public API."""

import base64
import json
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from appliance.api.client import ApplianceError, Client
from appliance.api.contract import DEFAULT_NAMESPACE
from appliance.credentials import HostTokens
from appliance.resources.core import PLAN_SECRET_TYPE, SECRET
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import APPROVAL, MACHINE_INVENTORY
from appliance.resources.meta import Document, Kind
from tests.appliance.running import PATIENCE, Appliance

TPM_HASH = "a1b2c3d4e5f60718293a4b5c6d7e8f900112233445566778899aabbccddeeff0"


def add_machine(
    client: Client, name: str, *, approval: str = "approved", labels: dict[str, str] | None = None
) -> Document:
    return client.create_object(
        {
            "apiVersion": MACHINE_INVENTORY.api_version,
            "kind": MACHINE_INVENTORY.kind,
            "metadata": {
                "name": name,
                "namespace": DEFAULT_NAMESPACE,
                "labels": labels or {},
                "annotations": {APPROVAL: approval},
            },
            "spec": {"tpmHash": TPM_HASH},
        }
    )


def add_secret(client: Client, name: str) -> Document:
    """A plan Secret of the host of that name, unless the controllers have made it already."""
    return client.apply_object(
        {
            "apiVersion": "v1",
            "kind": SECRET.kind,
            "metadata": {"name": name, "namespace": DEFAULT_NAMESPACE},
            "type": PLAN_SECRET_TYPE,
            "data": {"plan": base64.b64encode(b"{}").decode()},
        }
    )


def add_report(client: Client, name: str, **fields: Any) -> Document:
    return client.apply_object(
        {
            "apiVersion": HOST_REPORT.api_version,
            "kind": HOST_REPORT.kind,
            "metadata": {"name": name, "namespace": DEFAULT_NAMESPACE},
            "report": {"agentVersion": "1", "bootId": "b", "mode": "active", **fields},
            "receivedAt": "2026-01-01T00:00:00Z",
        }
    )


def host_token(appliance: Appliance, machine: Document) -> str:
    """The token that this machine would have got by registering."""
    tokens = HostTokens((appliance.data / "pki" / "host-token.key").read_bytes())
    metadata = machine["metadata"]
    return tokens.issue(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"]).reveal()


def ask(
    appliance: Appliance,
    method: str,
    path: str,
    *,
    authorization: str = "",
    body: bytes | None = None,
    content_type: str = "application/json",
    more: Mapping[str, str] | None = None,
) -> tuple[int, str, dict[str, Any]]:
    """One request over TLS without our client: the status, the content type and the document."""
    parts = urlsplit(appliance.url)
    context = ssl.create_default_context(cafile=appliance.ca_file)
    connection = HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=30)
    headers = {**(more or {}), **({"Content-Type": content_type} if body is not None else {})}
    if authorization:
        headers["Authorization"] = authorization
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        content = response.read()
        kind = response.headers.get_content_type()
        return response.status, kind, json.loads(content) if "json" in kind and content else {}
    finally:
        connection.close()


def delete_and_wait(client: Client, kind: Kind, name: str) -> None:
    """Delete an object and wait until its finalizers are done."""
    client.delete_object(kind, name)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            client.get_object(kind, name)
        except ApplianceError as error:
            if error.reason != "NotFound":
                raise
            return
        time.sleep(0.02)
    raise AssertionError(f"{name} was not let go within {PATIENCE} s")
