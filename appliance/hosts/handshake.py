"""The registration conversation, the appliance's side, as a machine: events in, commands out, no sockets.

One `Handshake` is one connection. Whoever owns the socket tells it what happened and does what it says,
in order:

    handshake = Handshake(policy)
    for command in handshake.receive(Opened(authorization_header), now=monotonic()):
        ...

| event                 | when                                                              |
| --------------------- | ----------------------------------------------------------------- |
| `Opened`              | an upgrade request came; nothing was answered yet                 |
| `Received`            | one whole WebSocket message: `bytes` if binary, `str` if text     |
| `TimePassed`          | the clock reached `handshake.deadline` (more often does no harm)  |
| `MachineLookedUp`     | the answer to `FindMachine`                                       |
| `Admitted`            | the answer to `Admit`: yes, with this configuration               |
| `NotAdmitted`         | the answer to `Admit`: no, with these words                       |

| command               | what to do                                                        |
| --------------------- | ----------------------------------------------------------------- |
| `RefuseUpgrade`       | answer the request with this status and text instead of 101       |
| `Upgrade`             | answer 101                                                        |
| `Send`                | one binary message, one frame, one write                          |
| `FindMachine`         | is there a MachineInventory with this hash? Feed `MachineLookedUp`|
| `Admit`               | create or update the machine in one step; feed `Admitted` or not  |
| `Close`               | close (code 1000); `reason` is for the log, empty after success   |

Nothing permanent happens before `Admit`, which is asked at most once. Events after `Close` or
`RefuseUpgrade` are ignored, so a late `Admitted` is harmless. A lost connection needs no event: drop
the machine.

`now` is any clock that does not jump, in seconds. The whole exchange has ten seconds from `Opened`,
the time Elemental's client gives it.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Literal, TypeAlias

from agent.protocol.client_config import Config, render_config
from agent.protocol.credential import make_credential
from agent.protocol.documents import JSON
from agent.protocol.endorsement import Endorsement, hash_identifier
from agent.protocol.errors import ProtocolError, Unexpected
from agent.protocol.messages import (
    ERROR_SINCE,
    EXCHANGE_SECONDS,
    LOWEST_VERSION,
    READY,
    SECRET_BYTES,
    TYPED_CONFIG_SINCE,
    Message,
    MessageType,
    choose_version,
    parse_challenge_answer,
    parse_message,
    parse_object,
    parse_string_map,
    parse_version,
    render_challenge,
    render_error,
    render_version,
)
from agent.protocol.system_data import build_system_data
from agent.protocol.token import PlainToken, TpmToken, parse_authorization
from appliance.attestation.chains import ChainVerdict, Doubtful, Roots, check_chain
from appliance.attestation.verifier import Refused, verify
from appliance.hosts.policy import RegistrationPolicy, check_method

MAX_MESSAGES = 64  # a complete conversation has nine
MAX_CONVERSATION_BYTES = 8 * 1024 * 1024

MACHINE_UNKNOWN = "MachineInventory not found"
NEVER = datetime.min.replace(tzinfo=UTC)  # for whom no certificate is over


@dataclass(frozen=True, slots=True)
class Policy:
    """What one registration asks of a machine, and whom its appliance believes, at which time."""

    asked: RegistrationPolicy = field(default_factory=RegistrationPolicy)
    roots: Roots = field(default_factory=Roots)
    today: datetime = NEVER


@dataclass(frozen=True, slots=True)
class Machine:
    """Who is speaking. `hash` is `spec.tpmHash` or `spec.machineHash`, as `kind` says."""

    kind: Literal["tpm", "plain"]
    hash: str
    has_certificate: bool = False
    # Of the endorsement certificate, where the policy wants to know; no part of who the machine is.
    chain: ChainVerdict | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Registrant:
    """Everything a machine said before Get. `data` is the merged tree that templates read."""

    machine: Machine
    version: int = 0
    updating: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opened:
    authorization: str | None


@dataclass(frozen=True, slots=True)
class Received:
    data: bytes | str


@dataclass(frozen=True, slots=True)
class TimePassed:
    pass


@dataclass(frozen=True, slots=True)
class MachineLookedUp:
    known: bool


@dataclass(frozen=True, slots=True)
class Admitted:
    config: Config


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    message: str


Event: TypeAlias = "Opened | Received | TimePassed | MachineLookedUp | Admitted | NotAdmitted"


@dataclass(frozen=True, slots=True)
class RefuseUpgrade:
    """Elemental's client shows the text of a 401 and only the status of anything else."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Upgrade:
    pass


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes = field(repr=False)  # a configuration holds the host's token


@dataclass(frozen=True, slots=True)
class FindMachine:
    machine: Machine


@dataclass(frozen=True, slots=True)
class Admit:
    registrant: Registrant


@dataclass(frozen=True, slots=True)
class Close:
    reason: str = ""


Command: TypeAlias = "RefuseUpgrade | Upgrade | Send | FindMachine | Admit | Close"


class _Stage(Enum):
    OPENING = auto()
    CHALLENGED = auto()
    TALKING = auto()
    LOOKING_UP = auto()
    ADMITTING = auto()
    FINISHED = auto()


class Handshake:
    """See the module. `random` makes the secret and the credential's seed; tests pass their own."""

    def __init__(self, policy: Policy, *, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._policy = policy
        self._random = random
        self._stage = _Stage.OPENING
        self._deadline: float | None = None
        self._secret: bytes | None = None
        self._claimed: Machine | None = None  # what the header says, before the challenge is answered
        self._machine: Machine | None = None
        self._version = 0  # none negotiated
        self._updating = False
        self._labels: dict[str, str] = {}
        self._annotations: dict[str, str] = {}
        self._data: dict[str, JSON] = {}
        self._messages = 0
        self._bytes = 0

    @property
    def deadline(self) -> float | None:
        """When to feed `TimePassed`, on the clock of `now`; None before `Opened` and after the end."""
        return None if self.finished else self._deadline

    @property
    def finished(self) -> bool:
        return self._stage is _Stage.FINISHED

    @property
    def claimed(self) -> Machine | None:
        """Who the header says is speaking, while nothing is proved yet."""
        return self._machine or self._claimed

    @property
    def machine(self) -> Machine | None:
        """Who is speaking, for the log of whoever holds the socket; None until it is proved."""
        return self._machine

    def receive(self, event: Event, *, now: float) -> list[Command]:
        """Take one event; the commands are to be carried out in order. Never raises on what a peer sent."""
        if self.finished:
            return []
        if self._deadline is not None and now >= self._deadline:
            return self._fail(f"the conversation took longer than {EXCHANGE_SECONDS:.0f} s")
        try:
            match event:
                case Opened(authorization):
                    return self._open(authorization, now=now)
                case Received(data):
                    return self._hear(data)
                case MachineLookedUp(known):
                    return self._answer_update(known=known)
                case Admitted(config):
                    return self._answer_get(config)
                case NotAdmitted(message):
                    self._expect(_Stage.ADMITTING)
                    return self._fail(message)
                case TimePassed():
                    return []
        except ProtocolError as error:
            return self._fail(str(error))

    def _open(self, authorization: str | None, *, now: float) -> list[Command]:
        """Judge the header before 101, where the real client still shows the reason."""
        self._expect(_Stage.OPENING)
        self._deadline = now + EXCHANGE_SECONDS
        if not authorization:
            return self._refuse("the request has no Authorization header; it is not a registering machine")
        try:
            match parse_authorization(authorization):
                case PlainToken(identifier):
                    return self._open_plain(identifier)
                case TpmToken() as token:
                    return self._open_tpm(token)
        except ProtocolError as error:
            return self._refuse(str(error))

    def _open_plain(self, identifier: str) -> list[Command]:
        if reason := check_method(self._policy.asked, identifier=identifier):
            return self._refuse(reason)
        self._machine = Machine("plain", hash_identifier(identifier))
        self._stage = _Stage.TALKING
        return [Upgrade(), Send(READY.render())]

    def _open_tpm(self, token: TpmToken) -> list[Command]:
        if reason := check_method(self._policy.asked, identifier=None):
            return self._refuse(reason)
        verdict = verify(token)
        if isinstance(verdict, Refused):
            return self._refuse(f"the TPM's attestation fails its {verdict.check} check: {verdict.reason}")
        chain = self._judge_chain(verdict.endorsement)
        if self._policy.asked.ek_chain == "require" and isinstance(chain, Doubtful):
            return self._refuse(chain.reason)
        secret = self._random(SECRET_BYTES)
        challenge = render_challenge(
            make_credential(
                verdict.endorsement_key, verdict.attestation_name, secret=secret, random=self._random
            )
        )
        self._secret = secret
        self._claimed = Machine("tpm", verdict.tpm_hash, verdict.endorsement.certificate is not None, chain)
        self._stage = _Stage.CHALLENGED
        return [Upgrade(), Send(challenge)]

    def _judge_chain(self, endorsement: Endorsement) -> ChainVerdict | None:
        if self._policy.asked.ek_chain == "ignore":
            return None
        return check_chain(
            endorsement.certificate, endorsement.key, self._policy.roots, now=self._policy.today
        )

    def _hear(self, data: bytes | str) -> list[Command]:
        self._messages += 1
        self._bytes += len(data)
        if self._messages > MAX_MESSAGES or self._bytes > MAX_CONVERSATION_BYTES:
            raise Unexpected("the conversation has more messages than registering needs")
        if self._stage is _Stage.CHALLENGED:
            return self._judge_answer(data.encode() if isinstance(data, str) else data)
        self._expect(_Stage.TALKING)
        if isinstance(data, str):
            raise Unexpected("got a text message; all messages are binary")
        return self._answer(parse_message(data))

    def _judge_answer(self, data: bytes) -> list[Command]:
        """A secret answers once: right or wrong, it is forgotten before the answer is looked at."""
        secret, self._secret = self._secret, None
        answer = parse_challenge_answer(data)
        if secret is None or not hmac.compare_digest(secret, answer):
            return self._fail(
                "the answer to the challenge is wrong: the TPM does not hold the keys it offered"
            )
        self._machine = self._claimed
        self._stage = _Stage.TALKING
        return [Send(READY.render())]

    def _answer(self, message: Message) -> list[Command]:
        payload = message.payload
        match message.type:
            case MessageType.VERSION:
                return self._negotiate(parse_version(payload))
            case MessageType.UPDATE:
                self._updating = True
                self._stage = _Stage.LOOKING_UP
                return [FindMachine(self._proved())]
            case MessageType.SMBIOS:
                self._data |= parse_object(payload, what="the SMBIOS data")
            case MessageType.SYSTEM:
                self._data |= build_system_data(parse_object(payload, what="the system data"))
            case MessageType.SYSTEM_DATA_V2:
                self._data |= parse_object(payload, what="the system data")
            case MessageType.ANNOTATIONS:
                self._annotations |= parse_string_map(payload, what="the annotations")
            case MessageType.LABELS:
                self._labels |= parse_string_map(payload, what="the labels")
            case MessageType.GET:
                self._stage = _Stage.ADMITTING
                return [Admit(self._registrant())]
            case MessageType.READY | MessageType.CONFIG | MessageType.ERROR:
                raise Unexpected(f"{message.type.name} is the appliance's to say")
        return [Send(READY.render())]

    def _negotiate(self, offered: int) -> list[Command]:
        if offered < LOWEST_VERSION:  # such a client knows no Error message either
            return self._finish(Close(f"the client's protocol version {offered} is too old"))
        self._version = choose_version(offered)
        return [Send(render_version(self._version))]

    def _answer_update(self, *, known: bool) -> list[Command]:
        self._expect(_Stage.LOOKING_UP)
        if not known:
            return self._fail(MACHINE_UNKNOWN)
        self._stage = _Stage.TALKING
        return [Send(READY.render())]

    def _answer_get(self, config: Config) -> list[Command]:
        """Clients below version 7, and those that never said theirs, expect the bare document."""
        self._expect(_Stage.ADMITTING)
        payload = render_config(config)
        typed = self._version >= TYPED_CONFIG_SINCE
        data = Message(MessageType.CONFIG, payload).render() if typed else payload
        return self._finish(Send(data), Close())

    def _registrant(self) -> Registrant:
        return Registrant(
            machine=self._proved(),
            version=self._version,
            updating=self._updating,
            labels=self._labels,
            annotations=self._annotations,
            data=self._data,
        )

    def _proved(self) -> Machine:
        assert self._machine is not None, "a machine talks only after it is known"
        return self._machine

    def _expect(self, stage: _Stage) -> None:
        if self._stage is not stage:
            raise Unexpected("a message came while another one was being answered")

    def _refuse(self, message: str) -> list[Command]:
        return self._finish(RefuseUpgrade(401, message))

    def _fail(self, message: str) -> list[Command]:
        """Say why and close. Clients of a version without Error messages only see the close."""
        if self._stage is _Stage.OPENING:
            return self._refuse(message)
        if 0 < self._version < ERROR_SINCE:
            return self._finish(Close(message))
        return self._finish(Send(render_error(message)), Close(message))

    def _finish(self, *commands: Command) -> list[Command]:
        self._stage = _Stage.FINISHED
        self._secret = None
        return list(commands)
