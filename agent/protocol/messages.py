"""The messages of the registration conversation: numbers, framing, payloads, version rules and limits.

Every message after the challenge is one type byte and a payload. The two challenge messages come before
any type byte exists and are bare JSON. Nothing here knows in which order messages come: that is
`agent.register` on a host and `appliance.hosts.handshake` on the appliance.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import msgspec

from agent.protocol.documents import (
    JSON,
    as_object,
    check_size,
    parse_json,
    parse_yaml,
    render_json,
    render_yaml,
)
from agent.protocol.errors import Malformed, ProtocolError, TooLarge, Unexpected

PROTOCOL_VERSION = 12
LOWEST_VERSION = 5  # a peer that offers 4 or less is dropped
SYSTEM_SINCE = 6  # the raw inventory, until SystemDataV2 takes its place
TYPED_CONFIG_SINCE = 7  # below: the reply to Get is bare YAML
ERROR_SINCE = 8
ANNOTATIONS_SINCE = 9
UPDATE_SINCE = 10
SYSTEM_DATA_V2_SINCE = 11

EXCHANGE_SECONDS = 10.0  # the real client's one deadline, from connection to Config
MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # one message, either direction
MAX_DATA_BYTES = 1024 * 1024  # SMBIOS, System and SystemDataV2
MAX_MAP_BYTES = 64 * 1024  # Labels and Annotations: Kubernetes takes no more than 256 KiB of both
MAX_CHALLENGE_BYTES = 512  # what the real client reads at once; a longer challenge hangs it
MAX_ERROR_BYTES = 64 * 1024
SECRET_BYTES = 32


class MessageType(IntEnum):
    """12 (network configuration) exists only as a version number."""

    READY = 1
    SMBIOS = 2
    LABELS = 3
    GET = 4
    VERSION = 5
    SYSTEM = 6
    CONFIG = 7
    ERROR = 8
    ANNOTATIONS = 9
    UPDATE = 10
    SYSTEM_DATA_V2 = 11


@dataclass(frozen=True, slots=True)
class Message:
    type: MessageType
    payload: bytes = b""

    def render(self) -> bytes:
        return bytes([self.type]) + self.payload


READY = Message(MessageType.READY)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What only the TPM that holds the endorsement key can open: both are TPM2B structures, size included."""

    credential: bytes
    secret: bytes


def parse_message(data: bytes) -> Message:
    """Split the type byte off. Raises TooLarge, Malformed for an empty message or an unknown type."""
    check_size(data, what="a message", limit=MAX_MESSAGE_BYTES)
    if not data:
        raise Malformed("an empty message has no type")
    try:
        return Message(MessageType(data[0]), data[1:])
    except ValueError:
        raise Malformed(f"there is no message type {data[0]}") from None


def expect_message(data: bytes, type: MessageType) -> Message:
    """Parse a message that must be of one type; an Error in its place is raised with the peer's text."""
    message = parse_message(data)
    if message.type == type:
        return message
    if message.type == MessageType.ERROR:
        raise Unexpected(parse_error(message.payload))
    raise Unexpected(f"expected {type.name}, got {message.type.name}")


def render_version(version: int) -> bytes:
    return Message(MessageType.VERSION, bytes([version])).render()


def parse_version(payload: bytes) -> int:
    if len(payload) != 1:
        raise Malformed(f"a version is one byte, not {len(payload)}")
    return payload[0]


def choose_version(offered: int) -> int:
    """The version both ends use from here on. Raises Unexpected for a peer that is too old."""
    if offered < LOWEST_VERSION:
        raise Unexpected(f"protocol version {offered} is too old; {LOWEST_VERSION} is the lowest")
    return min(offered, PROTOCOL_VERSION)


def render_challenge(challenge: Challenge) -> bytes:
    """Compact JSON of at most 512 bytes: Elemental's client hangs on more. Raises TooLarge."""
    encoded = {"Credential": _to_base64(challenge.credential), "Secret": _to_base64(challenge.secret)}
    rendered = render_json({"EC": encoded})
    if len(rendered) > MAX_CHALLENGE_BYTES:
        raise TooLarge(
            f"the challenge has {len(rendered)} bytes; at most {MAX_CHALLENGE_BYTES} can be answered",
            hint="use a TPM with an RSA 2048 or an elliptic-curve endorsement key",
        )
    return rendered


def parse_challenge(data: bytes) -> Challenge:
    """Upstream's own limit does not bind us here: an RSA 3072 challenge is longer and fine."""
    document = as_object(parse_json(data, what="the challenge", limit=8 * 1024), what="the challenge")
    encrypted = as_object(document.get("EC"), what="the challenge's EC")
    return Challenge(
        credential=parse_base64(encrypted.get("Credential"), what="the challenge's Credential"),
        secret=parse_base64(encrypted.get("Secret"), what="the challenge's Secret"),
    )


def render_challenge_answer(secret: bytes) -> bytes:
    return render_json({"Secret": _to_base64(secret)})


def parse_challenge_answer(data: bytes) -> bytes:
    what = "the answer to the challenge"
    document = as_object(parse_json(data, what=what, limit=MAX_CHALLENGE_BYTES), what=what)
    return parse_base64(document.get("Secret"), what=f"{what}'s Secret")


def render_object(type: MessageType, value: Mapping[str, object]) -> bytes:
    """A JSON object as the real client sends it: compact, with a newline at its end."""
    return Message(type, render_json(value) + b"\n").render()


def parse_object(payload: bytes, *, what: str) -> dict[str, JSON]:
    """SMBIOS, System and SystemDataV2: one JSON object."""
    document = parse_json(payload, what=what, limit=MAX_DATA_BYTES)
    if not isinstance(document, dict):
        raise Malformed(f"{what} is not a JSON object")
    return document


def parse_string_map(payload: bytes, *, what: str) -> dict[str, str]:
    """Labels and Annotations: a JSON object whose values are all strings."""
    check_size(payload, what=what, limit=MAX_MAP_BYTES)
    try:
        return msgspec.json.decode(payload, type=dict[str, str])
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise Malformed(f"{what} must be a JSON object of strings: {error}") from error


def render_error(text: str) -> bytes:
    return Message(MessageType.ERROR, render_yaml({"message": text})).render()


def parse_error(payload: bytes) -> str:
    """The peer's words; never raises, for it is read on the way to reporting something worse."""
    try:
        document = as_object(parse_yaml(payload, what="an error", limit=MAX_ERROR_BYTES), what="an error")
    except ProtocolError:
        return "an error without a readable text"
    return str(document.get("message") or "an error without a text")


def parse_base64(value: JSON, *, what: str) -> bytes:
    if not isinstance(value, str):
        raise Malformed(f"{what} is not base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"{what} is not base64: {error}") from error


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
