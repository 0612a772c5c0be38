"""The registration conversation, the host's side: from a registration document to a configuration.

`register` opens the connection and talks; `converse` is the talk alone, over anything that carries
messages; `register_host` adds what is this host's: identity, facts, and the file that remembers. What a
person has yet to decide, or decided against, is a value; a network or an appliance that does not
do its part is an exception.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from agent.errors import ConfigInvalid, Denied
from agent.facts import NO_FACTS, Facts, read_annotations, read_facts
from agent.host import Host
from agent.identity import Identity, OpenTpm, PlainIdentity, TpmIdentity, choose_seed, open_identity
from agent.protocol.approval import parse_outcome
from agent.protocol.client_config import Config, Registration, parse_config
from agent.protocol.errors import ProtocolError, Unexpected
from agent.protocol.messages import (
    ANNOTATIONS_SINCE,
    EXCHANGE_SECONDS,
    MAX_MESSAGE_BYTES,
    PROTOCOL_VERSION,
    SYSTEM_DATA_V2_SINCE,
    SYSTEM_SINCE,
    TYPED_CONFIG_SINCE,
    UPDATE_SINCE,
    Message,
    MessageType,
    expect_message,
    parse_challenge,
    parse_error,
    parse_message,
    parse_version,
    render_challenge_answer,
    render_object,
    render_version,
)
from agent.protocol.token import PlainToken, render_authorization
from agent.registration_state import load_state, mark_registered, write_state
from agent.websocket import WebSocket

# A server may wait for its network configuration until the end of the exchange's ten seconds.
TIMEOUT_SECONDS = EXCHANGE_SECONDS + 2.0


@dataclass(frozen=True, slots=True)
class Registered:
    config: Config
    version: int


@dataclass(frozen=True, slots=True)
class WaitingForApproval:
    """A person must approve this machine; ask again later."""

    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A person rejected this machine; asking again will not help until they change their mind."""

    message: str


Outcome: TypeAlias = "Registered | WaitingForApproval | Refused"


class Connection(Protocol):
    """What `converse` needs of a WebSocket. Both methods raise when the other end is gone or too slow."""

    def send(self, message: bytes) -> None: ...

    def recv(self) -> str | bytes: ...


def register_host(
    host: Host,
    registration: Registration,
    *,
    state_path: Path,
    labels: Mapping[str, str],
    software: str,
    from_scratch: bool = False,
    open_tpm: OpenTpm | None = None,
    only_its_ca: bool = False,
) -> Outcome:
    """Register this host and remember it. `from_scratch` ignores what was remembered, as a reset does.

    Raises Unreachable, Denied, ConfigInvalid, StateInvalid, AgentError.
    """
    state = load_state(state_path)
    seed = 0
    if registration.emulate_tpm:
        seed = choose_seed(
            host, configured=registration.emulated_tpm_seed, remembered=state.emulated_tpm_seed
        )
        # Remembered before it is used: a seed drawn at random must be the same at the next attempt.
        state = msgspec.structs.replace(state, emulated_tpm=True, emulated_tpm_seed=seed)
        write_state(state_path, state)
    identity = open_identity(host, registration, seed=seed, open_tpm=open_tpm)
    try:
        outcome = register(
            registration,
            identity,
            facts=NO_FACTS if registration.no_smbios else read_facts(host),
            annotations=read_annotations(host, software=software, unmanaged=registration.no_toolkit),
            labels=labels,
            updating=state.is_registered and not from_scratch,
            only_its_ca=only_its_ca,
        )
    finally:
        if isinstance(identity, TpmIdentity):
            identity.tpm.close()
    if isinstance(outcome, Registered):
        write_state(state_path, mark_registered(state, at=datetime.now(UTC)))
    return outcome


def register(
    registration: Registration,
    identity: Identity,
    *,
    facts: Facts = NO_FACTS,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    updating: bool = False,
    timeout: float = TIMEOUT_SECONDS,
    only_its_ca: bool = False,
) -> Outcome:
    """One attempt over the network, within `timeout` seconds as a whole. Raises Unreachable, Denied.

    `only_its_ca` trusts the registration's CA and no root of the system, as a paired host must.
    """
    with WebSocket(
        registration.url,
        headers={"Authorization": authorize(identity)},
        trust=trust(registration.ca_cert, alone=only_its_ca) if registration.ca_cert else None,
        timeout=timeout,
        max_bytes=MAX_MESSAGE_BYTES,
    ) as connection:
        address = connection.local_address
        own_annotations = {
            "auth": name_method(identity),
            "registration-ip": f"[{address}]" if ":" in address else address,
        }
        return converse(
            connection,
            identity,
            facts=facts,
            annotations={**(annotations or {}), **own_annotations},
            labels=labels or {},
            updating=updating,
            local=registration,
        )


def converse(
    connection: Connection,
    identity: Identity,
    *,
    facts: Facts,
    annotations: Mapping[str, str],
    labels: Mapping[str, str],
    updating: bool,
    local: Registration,
) -> Outcome:
    """The whole conversation, top to bottom."""
    talk = _Talk(connection)
    try:
        if isinstance(identity, TpmIdentity):
            challenge = parse_challenge(talk.hear(may_be_text=True))
            talk.say(render_challenge_answer(identity.tpm.activate(challenge)))
        talk.expect(MessageType.READY)

        talk.say(render_version(PROTOCOL_VERSION))
        version = parse_version(talk.expect(MessageType.VERSION).payload)
        check_version(version, updating=updating)
        if updating:
            talk.tell(Message(MessageType.UPDATE).render())

        if facts.smbios:
            talk.tell(render_object(MessageType.SMBIOS, facts.smbios))
        if facts.system_data and version >= SYSTEM_DATA_V2_SINCE:
            talk.tell(render_object(MessageType.SYSTEM_DATA_V2, facts.system_data))
        elif facts.inventory and SYSTEM_SINCE <= version < SYSTEM_DATA_V2_SINCE:
            talk.tell(render_object(MessageType.SYSTEM, facts.inventory))
        if version >= ANNOTATIONS_SINCE:
            talk.tell(render_object(MessageType.ANNOTATIONS, annotations))
        if labels:
            talk.tell(render_object(MessageType.LABELS, labels))

        talk.say(Message(MessageType.GET).render())
        return read_reply(talk.hear(), version=version, local=local)
    except ProtocolError as error:
        raise Denied(f"registering failed: {error}", hint=error.hint) from error


def read_reply(data: bytes, *, version: int, local: Registration) -> Outcome:
    """What the answer to Get means; servers below version 7 answer with the bare document."""
    if version < TYPED_CONFIG_SINCE:
        return Registered(parse_config(data, local=local), version)
    message = parse_message(data)
    if message.type != MessageType.ERROR:
        reply = expect_message(data, MessageType.CONFIG)
        return Registered(parse_config(reply.payload, local=local), version)
    text = parse_error(message.payload)
    match parse_outcome(text):
        case "waiting":
            return WaitingForApproval(text)
        case "refused":
            return Refused(text)
        case "failed":
            raise Denied(f"the appliance did not admit this host: {text}")


def check_version(version: int, *, updating: bool) -> None:
    if version > PROTOCOL_VERSION:
        raise Unexpected(f"the server chose protocol version {version}; {PROTOCOL_VERSION} was offered")
    if updating and version < UPDATE_SINCE:
        raise Denied(
            f"the server speaks protocol version {version}, which has no updates",
            hint="delete the registration state file to register from scratch",
        )


def authorize(identity: Identity) -> str:
    """The Authorization header's value. Raises Denied for an identifier that is none."""
    try:
        match identity:
            case TpmIdentity(tpm):
                return render_authorization(tpm.attest())
            case PlainIdentity(identifier):
                return render_authorization(PlainToken(identifier))
    except ProtocolError as error:
        raise Denied(str(error), hint=error.hint) from error


def name_method(identity: Identity) -> str:
    """The `auth` annotation: tpm, emulated-tpm, mac or sys-uuid."""
    return identity.tpm.auth if isinstance(identity, TpmIdentity) else identity.auth


def trust(ca_cert: str, *, alone: bool = False) -> ssl.SSLContext:
    """The registration's CA, beside the system's roots or alone; names are checked. Raises ConfigInvalid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if alone else ssl.create_default_context()
    if ca_cert:
        try:
            context.load_verify_locations(cadata=ca_cert)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigInvalid(f"the registration's ca-cert is not a PEM certificate: {error}") from error
    return context


class _Talk:
    """Messages over the connection, each with what may answer it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def say(self, data: bytes) -> None:
        self._connection.send(data)

    def tell(self, data: bytes) -> None:
        """Say something that is answered with Ready."""
        self.say(data)
        self.expect(MessageType.READY)

    def expect(self, type: MessageType) -> Message:
        return expect_message(self.hear(), type)

    def hear(self, *, may_be_text: bool = False) -> bytes:
        """One message; the challenge alone may come as text."""
        data = self._connection.recv()
        if isinstance(data, bytes):
            return data
        if not may_be_text:
            raise Unexpected("the appliance sent a text message; all messages are binary")
        return data.encode()
