"""What a host without a registration and an appliance say to each other until the host trusts it.

The host shows six digits on its screen; a technician types them at the appliance. Three requests, from the
appliance to the host, over plain HTTP: what they carry is bound together and, in the end, sealed.

    GET  PATH?nonce=N             answered by Hello: who the host is, and its session (one code, one run)
    POST PATH/start     Start     the appliance, its CA's fingerprint, its share; answered by Started
    POST PATH/finish    Finish    the proof of the code, the document sealed; answered by Finished
"""

import re
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.protocol.errors import Malformed, TooLarge
from agent.protocol.pake import Keys, join_fields

PATH = "/skerry/pairing"
DEFAULT_PORT = 8454  # where a host listens for appliances, if it can
CODE_DIGITS = 6
MAX_MESSAGE_BYTES = 64 * 1024
MAX_NAME = 80
_NONCE = bytes(12)  # a sealing key is used once

_HEX = re.compile(r"[0-9a-f]{8,64}")


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """`echo` is the asker's nonce: the answer is of now. `state` is open, locked (for a while) or paired."""

    id: str
    session: str
    state: str
    echo: str
    name: str = ""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """`fingerprint` is the SHA-256 of the public key of the appliance's CA, in hex."""

    session: str
    appliance: str
    site: str
    fingerprint: str
    share: bytes


class Started(msgspec.Struct, frozen=True, kw_only=True):
    share: bytes


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """`sealed` is the registration document under a key that only the right code gives."""

    session: str
    proof: bytes
    sealed: bytes


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    proof: bytes


M = TypeVar("M", Hello, Start, Started, Finish, Finished)


def parse_message(data: bytes, type: type[M]) -> M:
    """Raises TooLarge, Malformed."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise TooLarge(f"the pairing message is over {MAX_MESSAGE_BYTES} bytes")
    try:
        message = msgspec.json.decode(data, type=type)
    except msgspec.DecodeError as error:
        raise Malformed(f"the pairing message is not understood: {error}") from error
    if isinstance(message, Hello | Start) and (len(message.session) > 64 or not message.session.isalnum()):
        raise Malformed("the pairing session is not an id")
    if isinstance(message, Start) and not _HEX.fullmatch(message.fingerprint):
        raise Malformed("the fingerprint of the appliance's CA is not hex")
    if isinstance(message, Start) and max(len(message.appliance), len(message.site)) > MAX_NAME:
        raise TooLarge(f"the appliance's name is over {MAX_NAME} characters")
    return message


def render_message(message: Hello | Start | Started | Finish | Finished) -> bytes:
    return msgspec.json.encode(message)


def bind(hello: Hello, *, appliance: str, site: str, fingerprint: str) -> bytes:
    """Everything that both ends must have seen alike, as bytes; it goes into the code's generator."""
    fields = ("skerry pairing 1", hello.id, hello.session, hello.name, appliance, site, fingerprint)
    return join_fields(*(field.encode() for field in fields))


def seal(keys: Keys, document: bytes, context: bytes) -> bytes:
    return AESGCM(keys.seal).encrypt(_NONCE, document, context)


def unseal(keys: Keys, sealed: bytes, context: bytes) -> bytes:
    """Raises Malformed when the seal is not whole."""
    try:
        return AESGCM(keys.seal).decrypt(_NONCE, sealed, context)
    except InvalidTag as error:
        raise Malformed("the sealed registration was changed on its way") from error
