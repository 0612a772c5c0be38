"""The routes hosts talk to: the registration document, the registration conversation, the report.

This file owns the sockets and carries out what `appliance.hosts.handshake` says; who may come in is
decided there, what becomes of a machine in `appliance.hosts.admission`. The application must be run with
`RUNNER_LIMITS`: a TPM's token is one header line of up to 32 KiB.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypedDict, cast

from aiohttp import WSMsgType, web

from agent.protocol.client_config import render_registration
from agent.protocol.messages import EXCHANGE_SECONDS, MAX_MESSAGE_BYTES
from appliance.credentials import HostTokens
from appliance.crowd import Crowd
from appliance.hosts.admission import Admission, HostSettings
from appliance.hosts.errors import HostsError
from appliance.hosts.gate import Gate
from appliance.hosts.handshake import (
    Admit,
    Admitted,
    Close,
    Command,
    Event,
    FindMachine,
    Handshake,
    MachineLookedUp,
    NotAdmitted,
    Opened,
    Received,
    RefuseUpgrade,
    Send,
    TimePassed,
    Upgrade,
)
from appliance.hosts.reply import describe_registration
from appliance.hosts.reports import REPORT_PATH, Reports
from appliance.resources.machine_registration import MachineRegistration
from appliance.store.base import Store, StoreError

log = logging.getLogger(__name__)

REGISTRATION_PATH = "/elemental/registration/{token}"


class RunnerLimits(TypedDict):
    max_line_size: int
    max_field_size: int


# For `web.AppRunner(app, **RUNNER_LIMITS)`: aiohttp's own limit of 8190 refuses a TPM's Authorization line.
RUNNER_LIMITS: RunnerLimits = {"max_line_size": 64 * 1024, "max_field_size": 64 * 1024}

CLOSE_SECONDS = 2.0  # no real client answers a close frame; do not wait long for one
CONVERSATIONS = 2500  # at a time; each ends by the protocol's deadline, or makes room for another


def add_host_routes(
    app: web.Application, *, store: Store, tokens: HostTokens, settings: HostSettings, gate: Gate
) -> None:
    """Mount the routes and, while the application runs, keep its index of registrations and machines."""
    admission = Admission(store, tokens, settings, gate)
    registrations = _Registrations(admission, settings, gate)
    reports = Reports(store, tokens, admission, clock=lambda: datetime.now(UTC))

    async def run(_: web.Application) -> AsyncIterator[None]:
        async with admission.running():
            yield

    app.cleanup_ctx.append(run)
    app.router.add_get(REGISTRATION_PATH, registrations.get)
    app.router.add_post(REPORT_PATH, reports.post)


class _Registrations:
    def __init__(self, admission: Admission, settings: HostSettings, gate: Gate) -> None:
        self._admission = admission
        self._gate = gate
        self._settings = settings
        self._conversations: Crowd[web.RequestHandler] = Crowd(CONVERSATIONS)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The registration document, or the conversation if the request asks for a WebSocket."""
        token = request.match_info["token"]
        registration = self._admission.find_registration(token)
        if registration is None:
            text = f"failed to find machine registration with registration token {token}"
            return web.Response(status=HTTPStatus.NOT_FOUND, text=text)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._open(request, registration, token)
        if reason := self._gate.check_early(registration, token, is_known=False):
            return web.Response(status=HTTPStatus.UNAUTHORIZED, text=reason)
        document = render_registration(describe_registration(registration, ca_pem=self._settings.ca_pem))
        return web.Response(body=document, content_type="text/plain", charset="utf-8")

    async def _open(
        self, request: web.Request, registration: MachineRegistration, token: str
    ) -> web.StreamResponse:
        """Judge the request before 101, where the host still shows a reason; then talk."""
        handshake = Handshake(self._gate.choose_policy(registration))
        opened = Opened(request.headers.get("Authorization"))
        # A tenth of a millisecond of RSA: handing it to a thread and back costs five times that.
        commands = handshake.receive(opened, now=self._settings.clock())
        claimed = handshake.claimed
        # A known TPM needs no invitation: it proves itself, whatever became of the token on its medium.
        is_known = claimed is not None and claimed.kind == "tpm" and self._admission.is_known(claimed.hash)
        if reason := self._gate.check_early(registration, token, is_known=is_known):
            commands = [RefuseUpgrade(HTTPStatus.UNAUTHORIZED, reason)]
        match commands:
            case [RefuseUpgrade(status, message)]:
                log.info("%s: refused %s: %s", registration.metadata.name, request.remote, message)
                await self._gate.record_refusal(
                    registration, message, machine=claimed, address=request.remote or ""
                )
                return web.Response(status=status, text=message)
            case [Upgrade(), *rest]:
                socket = web.WebSocketResponse(
                    compress=False, max_msg_size=MAX_MESSAGE_BYTES + 1, timeout=CLOSE_SECONDS
                )
                await socket.prepare(request)
                conversation = _Conversation(socket, handshake, self._admission, registration, self._settings)
                protocol = request.protocol
                leaver = self._conversations.enter(protocol, request.remote or "", now=self._settings.clock())
                if leaver is not None and leaver.transport is not None:
                    leaver.transport.abort()
                try:
                    await conversation.run(rest)
                finally:
                    self._conversations.leave(protocol)
                return socket
        raise AssertionError(f"a handshake opens with one refusal or an upgrade, not {commands}")


class _Conversation:
    """One upgraded connection: messages in, the handshake's commands carried out."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        handshake: Handshake,
        admission: Admission,
        registration: MachineRegistration,
        settings: HostSettings,
    ) -> None:
        self._socket = socket
        self._handshake = handshake
        self._admission = admission
        self._registration = registration
        self._clock = settings.clock

    async def run(self, commands: list[Command]) -> None:
        """Talk until the handshake closes, the host goes away, or the time is over."""
        name = self._registration.metadata.name
        try:
            # Beyond the handshake's own deadline: a host that does not read must not hold us either.
            async with asyncio.timeout(EXCHANGE_SECONDS + CLOSE_SECONDS):
                await self._carry_out(commands)
                while not self._handshake.finished:
                    event = await self._hear()
                    if event is None:
                        log.info("%s: the host went away in the middle of registering", name)
                        break
                    await self._carry_out(self._tell(event))
        except (ConnectionError, TimeoutError) as error:
            log.info("%s: the connection was lost while registering: %s", name, error or "time is over")
        except Exception:
            log.exception("%s: a registration failed", name)
        finally:
            await self._socket.close()

    async def _hear(self) -> "Event | None":
        """The next message, the deadline, or None if the connection is gone; closing it is normal."""
        deadline = self._handshake.deadline
        remaining = None if deadline is None else max(0.0, deadline - self._clock())
        try:
            async with asyncio.timeout(remaining):
                message = await self._socket.receive()
        except TimeoutError:
            return TimePassed()
        if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
            return Received(cast("bytes | str", message.data))
        return None

    async def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Send(data):
                    await self._socket.send_bytes(data)
                case FindMachine(machine):
                    known = self._admission.is_known(machine.hash)
                    await self._carry_out(self._tell(MachineLookedUp(known)))
                case Admit():
                    await self._carry_out(self._tell(await self._admit(command)))
                case Close(reason):
                    name = self._registration.metadata.name
                    proved = self._handshake.machine
                    who = f"{proved.kind} …{proved.hash[-8:]}" if proved else "an unproved host"
                    log.info("%s: %s: %s", name, who, reason or "registered")
                case RefuseUpgrade() | Upgrade():
                    raise AssertionError("the upgrade was answered before the conversation began")

    async def _admit(self, command: Admit) -> Admitted | NotAdmitted:
        try:
            return await self._admission.admit(self._registration, command.registrant)
        except HostsError as error:
            return NotAdmitted(f"{error}; {error.hint}" if error.hint else str(error))
        except StoreError as error:
            log.warning("%s: a machine could not be recorded: %s", self._registration.metadata.name, error)
            return NotAdmitted(f"the appliance could not record this machine: {error}")

    def _tell(self, event: Event) -> list[Command]:
        return self._handshake.receive(event, now=self._clock())
