"""TPM structures: the captured ones read as what they are, and nothing else is let through."""

from collections.abc import Callable
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.errors import Malformed, ProtocolError, Unsupported
from agent.protocol.structures import (
    ATTESTATION_KEY_ATTRIBUTES,
    CreationAttestation,
    CreationData,
    PcrSelection,
    Public,
    Signature,
    compute_name,
    hash_name,
    parse_creation_attestation,
    parse_creation_data,
    parse_public,
    parse_signature,
    sized,
    unsized,
)
from agent.protocol.token import TpmToken, parse_authorization
from tests.agent.protocol import vectors


class Rendered(Protocol):
    def render(self) -> bytes: ...


Parse = Callable[[bytes], Rendered]

token = parse_authorization(vectors.AUTHORIZATION)
assert isinstance(token, TpmToken)
KEY = token.attestation_key

CAPTURED: list[tuple[Parse, bytes]] = [
    (parse_public, KEY.public),
    (parse_creation_data, KEY.create_data),
    (parse_creation_attestation, KEY.create_attestation),
    (parse_signature, KEY.create_signature),
]
EACH = pytest.mark.parametrize(
    ("parse", "captured"), CAPTURED, ids=["public", "creation data", "attestation", "signature"]
)

uint16 = st.integers(0, 0xFFFF)
uint32 = st.integers(0, 0xFFFFFFFF)
uint64 = st.integers(0, 2**64 - 1)
blob = st.binary(max_size=300)


def test_the_captured_token_holds_the_structures_of_the_vector() -> None:
    assert KEY.create_data == vectors.CREATE_DATA
    assert KEY.create_attestation == vectors.CREATE_ATTESTATION
    assert [len(blob) for _, blob in CAPTURED] == [280, 115, 139, 262]


def test_the_captured_key_is_read() -> None:
    public = parse_public(KEY.public)

    assert public.attributes == ATTESTATION_KEY_ATTRIBUTES == 0x00050472
    assert (public.key_bits, public.exponent, len(public.modulus)) == (2048, 65537, 256)


def test_the_captured_creation_is_read() -> None:
    creation = parse_creation_data(vectors.CREATE_DATA)
    attestation = parse_creation_attestation(vectors.CREATE_ATTESTATION)

    assert (creation.pcr_selections, creation.locality) == ((), 1)
    assert len(creation.parent_name) == len(creation.parent_qualified_name) == 34
    assert attestation.object_name == vectors.TOKEN_NAME
    assert (attestation.magic, attestation.type) == (0xFF544347, 0x801A)


def test_the_captured_key_has_the_name_of_the_vector() -> None:
    assert compute_name(KEY.public) == vectors.TOKEN_NAME


@EACH
def test_what_is_read_is_written_back_byte_for_byte(parse: Parse, captured: bytes) -> None:
    assert parse(captured).render() == captured


@EACH
def test_a_structure_cut_anywhere_is_malformed(parse: Parse, captured: bytes) -> None:
    for length in range(len(captured)):
        with pytest.raises(Malformed):
            parse(captured[:length])


@EACH
def test_a_byte_too_many_is_malformed(parse: Parse, captured: bytes) -> None:
    with pytest.raises(Malformed, match="1 bytes too many"):
        parse(captured + b"\0")


@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_exactly_or_are_our_own_error(data: bytes) -> None:
    for parse, _ in CAPTURED:
        try:
            structure = parse(data)
        except ProtocolError:
            continue
        # The one normalisation: an exponent written out that could have been zero.
        assert structure.render() == data or isinstance(structure, Public)


@given(
    st.builds(
        Public, attributes=uint32, modulus=blob, name_alg=uint16, auth_policy=blob, scheme_hash=uint16,
        key_bits=uint16, exponent=st.integers(1, 0xFFFFFFFF),
    )
)  # fmt: skip
def test_a_public_area_survives_the_wire(public: Public) -> None:
    assert parse_public(public.render()) == public


@given(
    st.builds(
        CreationData,
        parent_name=blob,
        parent_qualified_name=blob,
        pcr_selections=st.lists(
            st.builds(PcrSelection, hash=uint16, select=st.binary(max_size=4)), max_size=4
        ).map(tuple),
        pcr_digest=blob,
        locality=st.integers(0, 255),
        parent_name_alg=uint16,
        outside_info=blob,
    )
)
def test_creation_data_survives_the_wire(creation: CreationData) -> None:
    assert parse_creation_data(creation.render()) == creation


@given(
    st.builds(
        CreationAttestation, qualified_signer=blob, object_name=blob, creation_hash=blob, magic=uint32,
        type=uint16, extra_data=blob, clock=uint64, reset_count=uint32, restart_count=uint32,
        safe=st.integers(0, 255), firmware_version=uint64,
    )
)  # fmt: skip
def test_an_attestation_survives_the_wire(attestation: CreationAttestation) -> None:
    assert parse_creation_attestation(attestation.render()) == attestation


@given(st.builds(Signature, signature=blob, hash=uint16))
def test_a_signature_survives_the_wire(signature: Signature) -> None:
    assert parse_signature(signature.render()) == signature


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\x00\x23", "of type 0x0023"),
        (10, b"\x00\x06", "symmetric algorithm 0x0006"),
        (12, b"\x00\x16", "signing scheme 0x0016"),
    ],
    ids=["elliptic-curve", "a storage key", "RSAPSS"],
)
def test_other_keys_are_unsupported(at: int, value: bytes, message: str) -> None:
    public = KEY.public[:at] + value + KEY.public[at + 2 :]

    with pytest.raises(Unsupported, match=message):
        parse_public(public)


def test_other_signatures_are_unsupported() -> None:
    with pytest.raises(Unsupported, match="scheme 0x0018"):
        parse_signature(b"\x00\x18" + KEY.create_signature[2:])


def test_more_pcr_banks_than_a_tpm_has_are_malformed() -> None:
    with pytest.raises(Malformed, match="17 PCR selections"):
        parse_creation_data((17).to_bytes(4) + bytes(200))


def test_broken_hashes_are_unsupported() -> None:
    assert hash_name(0x000C) == "sha384"
    with pytest.raises(Unsupported, match="0x0004"):
        compute_name(b"", 0x0004)


def test_a_sized_structure_holds_exactly_its_size() -> None:
    assert unsized(sized(b"abc"), what="it") == b"abc"
    with pytest.raises(Malformed, match="it has 1 bytes too many"):
        unsized(sized(b"abc") + b"d", what="it")
