"""The route by which a host says how it is: its report becomes the HostReport of its own name.

A host may only speak of itself, and only while its MachineInventory exists and was not rejected. What
is kept is the newest report; what it means for a rollout is decided by the controllers that watch it.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

import msgspec
from aiohttp import web

from agent.protocol.report import Report
from appliance.credentials import HostTokens
from appliance.hosts.admission import Admission
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import Document, decode
from appliance.store.base import AlreadyExists, NotFound, Store, StoreError, TooLarge, merge

log = logging.getLogger(__name__)

REPORT_PATH = "/skerry/v1/namespaces/{namespace}/hosts/{name}/report"
MAX_REPORT_BYTES = 256 * 1024
BODY_SECONDS = 60.0  # for the whole of it, also over a bad line


class Reports:
    def __init__(
        self, store: Store, tokens: HostTokens, admission: Admission, *, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._admission = admission
        self._clock = clock

    async def post(self, request: web.Request) -> web.Response:
        """Keep the report: 204, or a problem document that says what to do."""
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        machine = await self._identify(request, namespace, name)
        if isinstance(machine, web.Response):
            return machine
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read_body(request)
        except TimeoutError:
            return _problem(HTTPStatus.REQUEST_TIMEOUT, f"The report did not arrive in {BODY_SECONDS:.0f} s.")
        if body is None:
            limit = f"A report has at most {MAX_REPORT_BYTES} bytes."
            return _problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit)
        try:
            report = msgspec.json.decode(body, type=Report)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            return _problem(HTTPStatus.BAD_REQUEST, f"The report of {name} cannot be read: {error}.")
        try:
            await self._keep(machine, report)
        except TooLarge as error:
            return _problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{error}")
        except StoreError as error:
            log.warning("%s/%s: the report could not be kept: %s", namespace, name, error)
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, f"The report could not be kept: {error}.")
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _identify(
        self, request: web.Request, namespace: str, name: str
    ) -> MachineInventory | web.Response:
        """The machine that speaks, or the refusal."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        host = self._tokens.identify(token.strip()) if scheme == "Bearer" else None
        if host is None:
            return _problem(
                HTTPStatus.UNAUTHORIZED, "A report needs the host's own token.", hint="register again"
            )
        if (host.namespace, host.name) != (namespace, name):
            return _problem(HTTPStatus.FORBIDDEN, f"The token of {host.name} cannot report for {name}.")
        machine = await self._find_machine(namespace, name)
        if machine is None or machine.token_uid != host.uid:
            return _problem(
                HTTPStatus.FORBIDDEN, f"{name} is no longer known to the appliance.", hint="register again"
            )
        if machine.approval != "approved":
            return _problem(HTTPStatus.FORBIDDEN, f"{name} is not approved on the appliance.")
        return machine

    async def _find_machine(self, namespace: str, name: str) -> MachineInventory | None:
        machine = self._admission.find_machine(namespace, name)
        if machine is not None:
            return machine
        try:
            return decode(
                MachineInventory, await self._store.get(MACHINE_INVENTORY, name, namespace=namespace)
            )
        except NotFound:
            return None

    async def _keep(self, machine: MachineInventory, report: Report) -> None:
        namespace, name = machine.metadata.namespace, machine.metadata.name
        body: Document = {
            "metadata": {"ownerReferences": [_own(name, machine.metadata.uid)]},
            "report": msgspec.to_builtins(report),
            "receivedAt": self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        try:
            await self._store.patch(HOST_REPORT, name, merge(body), namespace=namespace)
        except NotFound:
            try:
                await self._store.create(HOST_REPORT, _render_new(namespace, name, body))
            except AlreadyExists:
                await self._store.patch(HOST_REPORT, name, merge(body), namespace=namespace)


def _render_new(namespace: str, name: str, body: Document) -> Document:
    identity = {"name": name, "namespace": namespace, **body["metadata"]}
    return {**body, "apiVersion": HOST_REPORT.api_version, "kind": HOST_REPORT.kind, "metadata": identity}


def _own(name: str, uid: str) -> Document:
    return {
        "apiVersion": MACHINE_INVENTORY.api_version,
        "kind": MACHINE_INVENTORY.kind,
        "name": name,
        "uid": uid,
        "controller": True,
    }


async def _read_body(request: web.Request) -> bytes | None:
    """The body, or None as soon as it is over the limit."""
    if (request.content_length or 0) > MAX_REPORT_BYTES:
        return None
    body = bytearray()
    async for chunk in request.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MAX_REPORT_BYTES:
            return None
    return bytes(body)


def _problem(status: HTTPStatus, detail: str, *, hint: str = "") -> web.Response:
    """RFC 9457, in the shape of `appliance.api.contract`, which may not be imported from here."""
    problem = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "reason": status.phrase.replace(" ", ""),
        "detail": detail,
        "hint": hint,
    }
    return web.Response(
        status=status, body=msgspec.json.encode(problem), content_type="application/problem+json"
    )
