"""A box for hosts to register against: the real store and the real server, on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, web

from agent.facts import NO_FACTS, Facts
from agent.identity import PlainIdentity, TpmIdentity
from agent.protocol.client_config import Registration
from agent.protocol.messages import Message, MessageType, render_object, render_version
from agent.register import Outcome, register
from agent.tpm.software import SoftwareTpm
from appliance.attestation.roots import TrustedRoots
from appliance.audit.log import Audit
from appliance.credentials import HostTokens
from appliance.hosts.admission import HostSettings
from appliance.hosts.gate import Gate, Trust, utc_now
from appliance.hosts.server import RUNNER_LIMITS, add_host_routes
from appliance.resources.machine_inventory import APPROVAL, MACHINE_INVENTORY, MachineInventory
from appliance.resources.machine_registration import APPROVAL_POLICY, MACHINE_REGISTRATION
from appliance.resources.meta import Document, decode
from appliance.store.base import Store, merge
from appliance.store.sqlite import SqliteStore

NAMESPACE = "fleet-default"
TOKEN = "tok-abc123"
MAC = "02:fc:00:00:00:01"
PLAIN = f"Bearer PLAIN{MAC}"
EMULATING: Document = {"config": {"elemental": {"registration": {"emulate-tpm": True}}}}


@dataclass(frozen=True, slots=True)
class Box:
    store: Store
    tokens: HostTokens
    url: str
    http: ClientSession

    @property
    def registration_url(self) -> str:
        return f"{self.url}/elemental/registration/{TOKEN}"

    async def register(
        self,
        identity: TpmIdentity | PlainIdentity,
        *,
        facts: Facts = NO_FACTS,
        annotations: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        updating: bool = False,
    ) -> Outcome:
        """Register with the agent's own client."""
        return await asyncio.to_thread(
            register,
            Registration(url=self.registration_url),
            identity,
            facts=facts,
            annotations=annotations,
            labels=labels,
            updating=updating,
        )

    def connect(self, authorization: str, *, token: str = TOKEN) -> "Talk":
        return Talk(self, authorization, token)

    async def machines(self) -> list[MachineInventory]:
        page = await self.store.list(MACHINE_INVENTORY)
        return [decode(MachineInventory, document) for document in page.items]

    async def decide(self, name: str, approval: str) -> None:
        """Approve or reject a machine, as a person does."""
        patch = merge({"metadata": {"annotations": {APPROVAL: approval}}})
        await self.store.patch(MACHINE_INVENTORY, name, patch, namespace=NAMESPACE)

    async def remove(self, name: str) -> None:
        """Delete a machine as a person does, and let it go as its controller does."""
        await self.store.delete(MACHINE_INVENTORY, name, namespace=NAMESPACE)
        let_go = merge({"metadata": {"finalizers": []}})
        await self.store.patch(MACHINE_INVENTORY, name, let_go, namespace=NAMESPACE)


class Talk:
    """One raw conversation, message by message."""

    def __init__(self, box: Box, authorization: str, token: str) -> None:
        self._box = box
        self._authorization = authorization
        self._token = token
        self.socket: ClientWebSocketResponse

    async def __aenter__(self) -> "Talk":
        self.socket = await self._box.http.ws_connect(
            f"{self._box.url}/elemental/registration/{self._token}",
            headers={"Authorization": self._authorization},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    async def say(self, type: MessageType, payload: bytes = b"") -> None:
        await self.socket.send_bytes(Message(type, payload).render())

    async def tell(self, type: MessageType, value: dict[str, object]) -> bytes:
        await self.socket.send_bytes(render_object(type, value))
        return await self.socket.receive_bytes()

    async def negotiate(self, version: int) -> bytes:
        await self.socket.send_bytes(render_version(version))
        return await self.socket.receive_bytes()

    async def get(self) -> bytes:
        await self.say(MessageType.GET)
        return await self.socket.receive_bytes()


@asynccontextmanager
async def open_box(
    directory: Path,
    spec: Document | None = None,
    *,
    approval: str = "automatic",
    wrap: Callable[[SqliteStore], Store] = lambda store: store,
    clock: Callable[[], float] | None = None,
    annotations: dict[str, str] | None = None,
    now: Callable[[], datetime] | None = None,
) -> AsyncIterator[Box]:
    """A box with one ready registration, whose token is `TOKEN`."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    tokens = HostTokens(b"k" * 32)
    async with SqliteStore.open(directory / "skerry.db") as sqlite:
        await put_registration(
            sqlite, "plant", TOKEN, url, spec or {}, approval=approval, annotations=annotations
        )
        store = wrap(sqlite)
        settings = HostSettings(server_url=url)
        if clock is not None:
            settings = HostSettings(server_url=url, clock=clock)
        app = web.Application()
        audit = Audit(directory)
        gate = Gate(store, Trust(audit, TrustedRoots(directory / "ek-roots"), now or utc_now))
        add_host_routes(app, store=store, tokens=tokens, settings=settings, gate=gate)
        runner = web.AppRunner(app, shutdown_timeout=1.0, **RUNNER_LIMITS)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        # The client's own limits are of no interest here; its connections must not outlive the test.
        async with ClientSession(connector=TCPConnector(force_close=True)) as http:
            try:
                yield Box(store, tokens, url, http)
            finally:
                await runner.cleanup()
                audit.close()


async def put_registration(
    store: Store,
    name: str,
    token: str,
    url: str,
    spec: Document,
    *,
    approval: str = "automatic",
    ready: str = "True",
    annotations: dict[str, str] | None = None,
) -> None:
    """Make a registration as its controller leaves it; the software TPMs of tests are welcome there."""
    spec = merged(EMULATING, spec)
    present = await store.list(MACHINE_REGISTRATION)
    if any(document["metadata"]["name"] == name for document in present.items):
        return
    await store.create(
        MACHINE_REGISTRATION,
        {
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "annotations": {APPROVAL_POLICY: approval, **(annotations or {})},
            },
            "spec": spec,
        },
    )
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": "SuccessfullyCreated",
        "lastTransitionTime": "2026-11-20T12:00:00Z",
    }
    status = {
        "registrationToken": token,
        "registrationURL": f"{url}/elemental/registration/{token}",
        "conditions": [condition],
    }
    await store.patch(
        MACHINE_REGISTRATION, name, merge({"status": status}), namespace=NAMESPACE, subresource="status"
    )


def merged(below: Document, above: Document) -> Document:
    """Both documents in one, the second's values first."""
    result = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            result[key] = merged(below[key], above[key])
    return result


@lru_cache
def software_tpm(seed: int) -> TpmIdentity:
    """An emulated TPM; making its key takes a moment, so each is made once."""
    return TpmIdentity(SoftwareTpm.from_seed(seed))


async def until(is_true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that is on its way."""
    async with asyncio.timeout(20):
        while not await is_true():
            await asyncio.sleep(0.01)
