"""No admitted forgery: whatever part of a valid exchange is changed, nobody but its machine is admitted."""

from dataclasses import fields, replace
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.endorsement import hash_endorsement_key, render_public_key
from agent.protocol.errors import ProtocolError
from agent.protocol.messages import Message, MessageType, parse_challenge, render_challenge_answer
from agent.protocol.token import AttestationKey, TpmToken, render_authorization
from agent.tpm.primes import derive_rsa_key
from agent.tpm.software import SoftwareTpm, attest_key
from appliance.hosts.handshake import Admit, Handshake, Opened, Policy, Received, RefuseUpgrade, Send, Upgrade

KEY = derive_rsa_key(b"forgery endorsement")
HONEST = SoftwareTpm(KEY, attestation=attest_key(derive_rsa_key(b"forgery attestation")))
OTHER = SoftwareTpm(
    derive_rsa_key(b"forgery other endorsement"), attestation=attest_key(derive_rsa_key(b"forgery other"))
)
HASH = hash_endorsement_key(KEY.public_key())
PARTS = [field.name for field in fields(AttestationKey)]


@cache
def token() -> TpmToken:
    return HONEST.attest()


def admitted(offered: TpmToken, *, tpm: SoftwareTpm, twist: bytes = b"", at: int = 0) -> str:
    """Hold the conversation with that token, answering as `tpm` can; the admitted hash, or nothing."""
    handshake = Handshake(Policy())
    commands = handshake.receive(Opened(render_authorization(offered)), now=0.0)
    if isinstance(commands[0], RefuseUpgrade):
        return ""
    assert commands[0] == Upgrade()
    assert isinstance(commands[1], Send)
    try:
        secret = bytearray(tpm.activate(parse_challenge(commands[1].data)))
    except ProtocolError:  # not the keys that the challenge is for
        secret = bytearray(32)
    for place, byte in enumerate(twist, start=at):
        secret[place % len(secret)] ^= byte
    handshake.receive(Received(render_challenge_answer(bytes(secret))), now=0.0)
    handshake.receive(Received(b"\x05\x0c"), now=0.0)
    for command in handshake.receive(Received(Message(MessageType.GET).render()), now=0.0):
        if isinstance(command, Admit):
            return command.registrant.machine.hash
    return ""


def test_the_honest_exchange_is_admitted() -> None:
    assert admitted(token(), tpm=HONEST) == HASH


@pytest.mark.parametrize("part", PARTS)
@given(data=st.data())
def test_an_attestation_with_any_byte_changed_is_refused(part: str, data: st.DataObject) -> None:
    honest: bytes = getattr(token().attestation_key, part)
    place = data.draw(st.integers(0, len(honest) - 1))
    flip = data.draw(st.integers(1, 255))
    forged = honest[:place] + bytes([honest[place] ^ flip]) + honest[place + 1 :]

    key = replace(token().attestation_key, **{part: forged})

    assert admitted(replace(token(), attestation_key=key), tpm=HONEST) == ""


@pytest.mark.parametrize("part", PARTS)
@given(size=st.integers(0, 64), extra=st.binary(max_size=64))
def test_an_attestation_with_a_part_cut_or_extended_is_refused(part: str, size: int, extra: bytes) -> None:
    honest: bytes = getattr(token().attestation_key, part)
    forged = honest[: len(honest) - size] + extra
    if forged == honest:
        return

    key = replace(token().attestation_key, **{part: forged})

    assert admitted(replace(token(), attestation_key=key), tpm=HONEST) == ""


# The creation data of two software TPMs is the same.
@pytest.mark.parametrize("part", ["public", "create_attestation", "create_signature"])
def test_a_part_of_another_machines_attestation_does_not_fit(part: str) -> None:
    other = OTHER.attest().attestation_key
    key = replace(token().attestation_key, **{part: getattr(other, part)})

    assert admitted(replace(token(), attestation_key=key), tpm=HONEST) == ""


@given(place=st.integers(0, 2000), byte=st.integers(0, 255))
def test_an_endorsement_key_with_a_byte_changed_admits_nobody_else(place: int, byte: int) -> None:
    pem = bytearray(token().endorsement)
    pem[place % len(pem)] = byte

    # White space of PEM may differ; the key may not.
    assert admitted(replace(token(), endorsement=bytes(pem)), tpm=HONEST) in ("", HASH)


def test_another_machines_endorsement_key_is_not_admitted_without_that_machine() -> None:
    stolen = replace(token(), endorsement=OTHER.attest().endorsement)

    assert admitted(stolen, tpm=HONEST) == ""


def test_an_elliptic_endorsement_key_of_others_is_not_admitted_either() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()

    assert admitted(replace(token(), endorsement=render_public_key(public)), tpm=HONEST) == ""


@given(twist=st.binary(min_size=1, max_size=32).filter(any), at=st.integers(0, 31))
def test_an_answer_with_any_bit_changed_is_not_admitted(twist: bytes, at: int) -> None:
    assert admitted(token(), tpm=HONEST, twist=twist, at=at) == ""


def test_an_overheard_token_is_worth_nothing_to_another_machine() -> None:
    assert admitted(token(), tpm=OTHER) == ""
