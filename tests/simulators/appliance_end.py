"""The appliance's end of a registration without a network: the real handshake behind `recv` and `send`.

It stands where a WebSocket would stand for `agent.register.converse`, and answers lookups and admissions
from what the test gives it. It keeps everything that went over the wire.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from agent.protocol.client_config import Config
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
    Policy,
    Received,
    RefuseUpgrade,
    Registrant,
    Send,
    Upgrade,
)

Decide: TypeAlias = Callable[[Registrant], Config | str]


class Dropped(Exception):
    """The appliance closed, and the host still waited for a message."""


class ApplianceEnd:
    """`admit` answers Get with a configuration or with the words of a refusal."""

    def __init__(
        self,
        authorization: str,
        *,
        admit: Decide | None = None,
        known: bool = False,
        policy: Policy | None = None,
    ) -> None:
        self.handshake = Handshake(policy or Policy())
        self.registrants: list[Registrant] = []
        self.sent: list[bytes] = []
        self.heard: list[bytes] = []
        self.refused: RefuseUpgrade | None = None
        self.close_reason: str | None = None
        self._admit = admit or (lambda registrant: Config())
        self._known = known
        self._waiting: deque[bytes] = deque()
        self._feed(Opened(authorization))

    def send(self, message: bytes) -> None:
        self.heard.append(message)
        self._feed(Received(message))

    def recv(self) -> bytes:
        if not self._waiting:
            raise Dropped(self.close_reason)
        return self._waiting.popleft()

    def _feed(self, event: Event) -> None:
        for command in self.handshake.receive(event, now=0.0):
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        match command:
            case Send(data):
                self.sent.append(data)
                self._waiting.append(data)
            case FindMachine():
                self._feed(MachineLookedUp(known=self._known))
            case Admit(registrant):
                self.registrants.append(registrant)
                decided = self._admit(registrant)
                self._feed(NotAdmitted(decided) if isinstance(decided, str) else Admitted(decided))
            case RefuseUpgrade():
                self.refused = command
            case Close(reason):
                self.close_reason = reason
            case Upgrade():
                pass
