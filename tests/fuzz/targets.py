"""What a stranger's bytes reach first, one function each: whatever they are, only declared errors come out.

A target returns nothing and raises only when a promise is broken; `seeds` are honest inputs to start from.
`python -m tests.fuzz` runs them for a time, `test_targets` for a moment with every run of the tests.
"""

import base64
from collections.abc import Callable, Mapping
from functools import cache

from agent.protocol import structures
from agent.protocol.client_config import parse_config, parse_registration
from agent.protocol.documents import render_json
from agent.protocol.endorsement import parse_endorsement
from agent.protocol.errors import ProtocolError
from agent.protocol.messages import (
    parse_challenge,
    parse_challenge_answer,
    parse_error,
    parse_message,
    parse_object,
    parse_string_map,
    parse_version,
)
from agent.protocol.token import TPM_PREFIX, AttestationKey, TpmToken, parse_authorization
from appliance.attestation.verifier import Trusted, verify
from appliance.hosts.handshake import Admit, Handshake, Opened, Policy, Received, Upgrade
from appliance.hosts.policy import RegistrationPolicy
from tests.agent.protocol import vectors

Target = Callable[[bytes], None]


@cache
def captured() -> TpmToken:
    token = parse_authorization(vectors.AUTHORIZATION)
    assert isinstance(token, TpmToken)
    return token


def fields() -> tuple[bytes, ...]:
    key = captured().attestation_key
    return (key.public, key.create_data, key.create_attestation, key.create_signature)


def read_header(data: bytes) -> None:
    _expect_protocol_error(lambda: parse_authorization(data.decode("latin-1")))


def read_token(data: bytes) -> None:
    _expect_protocol_error(lambda: parse_authorization(TPM_PREFIX + base64.b64encode(data).decode()))


def read_structures(data: bytes) -> None:
    """What can be read is written back as it was, so that no two texts of a structure mean the same."""
    for parse in (
        structures.parse_public,
        structures.parse_creation_data,
        structures.parse_creation_attestation,
        structures.parse_signature,
    ):
        try:
            structure = parse(data)
        except ProtocolError:
            continue
        assert parse(structure.render()) == structure


def read_endorsement(data: bytes) -> None:
    _expect_protocol_error(lambda: parse_endorsement(data))


def read_messages(data: bytes) -> None:
    for parse in (
        parse_message,
        parse_version,
        parse_error,
        parse_challenge,
        parse_challenge_answer,
        lambda payload: parse_object(payload, what="the fuzz"),
        lambda payload: parse_string_map(payload, what="the fuzz"),
    ):
        _expect_protocol_error(lambda parse=parse: parse(data))  # type: ignore[misc]


def read_replies(data: bytes) -> None:
    """The client's side: what an appliance, or somebody in its place, answers."""
    _expect_protocol_error(lambda: parse_config(data))
    _expect_protocol_error(lambda: parse_registration(data))


def judge_attestation(data: bytes) -> None:
    """The four structures of the attestation key, cut from the input; none but the honest are believed."""
    pieces = _cut(data, 4)
    token = TpmToken(captured().endorsement, AttestationKey(*pieces))
    verdict = verify(token)
    assert not isinstance(verdict, Trusted) or tuple(pieces) == fields(), "a forged key was believed"


def converse(data: bytes) -> None:
    """A whole conversation of an unproved host: no exception, and the end is the end."""
    handshake = Handshake(Policy(RegistrationPolicy(auth="mac")))
    upgrade, *_ = handshake.receive(Opened("Bearer PLAIN02:fc:00:00:00:01"), now=0.0)
    assert upgrade == Upgrade()
    for message in _cut(data, 8):
        commands = handshake.receive(Received(message), now=1.0)
        if any(isinstance(command, Admit) for command in commands):
            break
    if handshake.finished:
        assert handshake.receive(Received(b"\x02"), now=1.0) == []


def join(*pieces: bytes) -> bytes:
    """Pieces as `judge_attestation` and `converse` take them apart."""
    return b"".join(len(piece).to_bytes(2) + piece for piece in pieces)


TARGETS: Mapping[str, Target] = {
    "header": read_header,
    "token": read_token,
    "structures": read_structures,
    "endorsement": read_endorsement,
    "messages": read_messages,
    "replies": read_replies,
    "attestation": judge_attestation,
    "conversation": converse,
}


def seeds(name: str) -> list[bytes]:
    match name:
        case "header":
            return [vectors.AUTHORIZATION.encode(), b"Bearer PLAIN02:fc:00:00:00:01"]
        case "token":
            return [base64.b64decode(vectors.AUTHORIZATION.removeprefix(TPM_PREFIX))]
        case "structures":
            return [*fields()]
        case "endorsement":
            return [captured().endorsement]
        case "attestation":
            return [join(*fields())]
        case "conversation":
            return [
                join(b"\x05\x0c", b'\x03{"a":"b"}', b'\x02{"a":{"b":[1]}}', b"\x04"),
                join(b"\x04", b"\x07{}"),
            ]
        case "replies":
            return [b"elemental:\n  registration:\n    url: https://a\n    auth: tpm\n", b'{"elemental":{}}']
    return [b"\x05\x0c", b'\x06{"a":"b"}', render_json({"Credential": "QQ==", "Secret": "QQ=="})]


def _expect_protocol_error(work: Callable[[], object]) -> None:
    try:
        work()
    except ProtocolError:
        return


def _cut(data: bytes, count: int) -> list[bytes]:
    pieces = []
    for _ in range(count):
        size = int.from_bytes(data[:2])
        pieces.append(data[2 : 2 + size])
        data = data[2 + size :]
    return pieces
