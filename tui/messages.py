"""What happened, told by the session's threads to the app, which does the painting."""

from textual.message import Message

from appliance.api.contract import VersionInfo


class ConnectionMade(Message):
    """The appliance answered."""

    def __init__(self, version: VersionInfo) -> None:
        super().__init__()
        self.version = version


class ConnectionLost(Message):
    """The appliance went away, or never was there; the session tries again by itself."""

    def __init__(self, reason: str, retry_seconds: float) -> None:
        super().__init__()
        self.reason = reason
        self.retry_seconds = retry_seconds


class LineHeld(Message):
    """Nothing changed, and the appliance said so: what is known is current."""


class NewsArrived(Message):
    """Changes wait in the session; posted once however many there are."""


class CommandFinished(Message):
    """An action was carried out, or refused."""

    def __init__(self, twin: str, sentence: str, *, succeeded: bool) -> None:
        super().__init__()
        self.twin = twin
        self.sentence = sentence
        self.succeeded = succeeded


class MachinesFound(Message):
    """The inventory knows these hosts by what was typed; `keys` are theirs."""

    def __init__(self, typed: str, keys: frozenset[str]) -> None:
        super().__init__()
        self.typed = typed
        self.keys = keys


class ObjectUnreadable(Message):
    """The appliance sent something of a shape that this console does not know."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__()
        self.kind = kind
        self.reason = reason
