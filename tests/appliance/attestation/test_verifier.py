"""The verdict on an attestation: the real client's, ours, and every way of tampering with one."""

import struct
from dataclasses import replace
from functools import cache

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.structures import (
    ATTESTATION_KEY_ATTRIBUTES,
    CreationAttestation,
    Public,
    Signature,
    compute_name,
    parse_creation_attestation,
    parse_public,
)
from agent.protocol.token import AttestationKey, TpmToken, parse_authorization
from agent.tpm.primes import derive_rsa_key
from agent.tpm.software import SoftwareTpm, attest_key
from appliance.attestation.verifier import Refused, Trusted, verify, verify_attestation_key
from tests.agent.protocol import vectors

KEY = derive_rsa_key(b"attestation")
OTHER_KEY = derive_rsa_key(b"another attestation")


@cache
def captured() -> TpmToken:
    token = parse_authorization(vectors.AUTHORIZATION)
    assert isinstance(token, TpmToken)
    return token


@cache
def ours() -> AttestationKey:
    return attest_key(KEY).key


def refusal(key: AttestationKey) -> Refused:
    verdict = verify_attestation_key(key)
    assert isinstance(verdict, Refused), "the attestation was believed"
    return verdict


def sign(attestation: CreationAttestation, *, key: rsa.RSAPrivateKey = KEY) -> AttestationKey:
    """Our attestation with other contents, signed as it should be."""
    signed = attestation.render()
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return replace(ours(), create_attestation=signed, create_signature=Signature(signature).render())


def attest(public: Public) -> AttestationKey:
    """A key with another public area, named and signed as it should be."""
    rendered = public.render()
    name = compute_name(rendered, public.name_alg)
    return replace(sign(replace(statement(), object_name=name)), public=rendered)


def statement() -> CreationAttestation:
    return parse_creation_attestation(ours().create_attestation)


def public() -> Public:
    return parse_public(ours().public)


def test_the_real_clients_token_is_trusted() -> None:
    verdict = verify(captured())

    assert isinstance(verdict, Trusted)
    assert verdict.tpm_hash == vectors.TPM_HASH
    assert verdict.attestation_name == vectors.TOKEN_NAME
    assert verdict.endorsement.certificate is None
    assert isinstance(verdict.endorsement_key, rsa.RSAPublicKey)


def test_a_software_tpm_is_trusted() -> None:
    verdict = verify(SoftwareTpm(OTHER_KEY, attestation=attest_key(KEY)).attest())

    assert isinstance(verdict, Trusted)


def test_an_endorsement_key_that_cannot_be_read_is_refused() -> None:
    verdict = verify(replace(captured(), endorsement=b"not PEM"))

    assert verdict == Refused("endorsement", "the endorsement key is not PEM")


def test_a_bad_attestation_beside_a_good_endorsement_key_is_refused() -> None:
    verdict = verify(replace(captured(), attestation_key=replace(ours(), public=b"")))

    assert isinstance(verdict, Refused)
    assert verdict.check == "format"


@pytest.mark.parametrize("part", ["public", "create_data", "create_attestation", "create_signature"])
@given(data=st.data())
def test_no_bit_of_an_attestation_can_be_changed(part: str, data: st.DataObject) -> None:
    original: bytes = getattr(ours(), part)
    bit = data.draw(st.integers(0, 8 * len(original) - 1))
    changed = bytearray(original)
    changed[bit // 8] ^= 1 << bit % 8

    refusal(replace(ours(), **{part: bytes(changed)}))


@pytest.mark.parametrize("part", ["public", "create_data", "create_attestation", "create_signature"])
@given(content=st.binary(max_size=300))
def test_no_bytes_in_place_of_a_part_are_believed_or_raise(part: str, content: bytes) -> None:
    refusal(replace(ours(), **{part: content}))


@pytest.mark.parametrize(
    ("key", "check"),
    [
        (replace(attest_key(KEY).key, create_attestation=b""), "format"),
        (replace(attest_key(KEY).key, create_signature=b"\x00\x14"), "format"),
    ],
)
def test_a_part_that_is_missing_is_a_matter_of_format(key: AttestationKey, check: str) -> None:
    assert refusal(key).check == check


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key_bits": 1024, "modulus": bytes([0x80, *bytes(126), 1])}, "1024 bits"),
        ({"key_bits": 8192}, "8192 bits"),
        ({"key_bits": 3072}, "does not fit"),
        ({"modulus": bytes(255) + b"\x01"}, "does not fit"),
        ({"modulus": b"\xff" * 255 + b"\xfe"}, "does not fit"),
        ({"exponent": 1}, "exponent 1"),
        ({"exponent": 65536}, "exponent 65536"),
        ({"name_alg": 0x000C}, "SHA-256"),
    ],
)
def test_a_key_that_is_no_sound_rsa_key_is_refused(changes: dict[str, object], message: str) -> None:
    other = replace(public(), **changes)  # type: ignore[arg-type]  # one table for fields of several types
    key = attest(other)

    assert refusal(key).check == "key type"
    assert message in refusal(key).reason


@pytest.mark.parametrize("hash", [0x0004, 0x0010, 0x1234])
def test_a_hash_that_is_not_accepted_is_a_matter_of_format(hash: int) -> None:
    assert refusal(replace(ours(), public=replace(public(), name_alg=hash).render())).check == "format"
    assert refusal(replace(ours(), public=replace(public(), scheme_hash=hash).render())).check == "format"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"magic": 0xFF544346}, "not made by a TPM"), ({"type": 0x8018}, "0x8018, not of a key's creation")],
)
def test_a_statement_that_is_not_a_tpms_about_a_creation_is_refused(
    changes: dict[str, int], message: str
) -> None:
    verdict = refusal(sign(replace(statement(), **changes)))  # type: ignore[arg-type]

    assert verdict.check == "origin"
    assert message in verdict.reason


def test_a_statement_about_another_creation_is_refused() -> None:
    key = replace(ours(), create_data=captured().attestation_key.create_data)

    assert refusal(key).check == "creation hash"


@pytest.mark.parametrize(
    ("bit", "name"),
    [(0x2, "fixedTPM"), (0x10, "fixedParent"), (0x20, "sensitiveDataOrigin"), (0x10000, "restricted")],
)
def test_a_key_that_could_leave_its_tpm_or_sign_anything_is_refused(bit: int, name: str) -> None:
    verdict = refusal(attest_key(KEY, attributes=ATTESTATION_KEY_ATTRIBUTES & ~bit).key)

    assert verdict == Refused("attributes", f"the attestation key is not {name}")


def test_other_attributes_do_not_matter() -> None:
    key = attest_key(KEY, attributes=ATTESTATION_KEY_ATTRIBUTES ^ 0x440).key

    assert isinstance(verify_attestation_key(key), bytes)


def test_a_statement_about_another_key_is_refused() -> None:
    other = attest_key(OTHER_KEY).key

    assert refusal(replace(ours(), public=other.public)).check == "name"


def test_a_statement_signed_by_another_key_is_refused() -> None:
    assert refusal(sign(statement(), key=OTHER_KEY)).check == "signature"


def test_a_signature_that_names_another_hash_is_refused() -> None:
    signature = KEY.sign(ours().create_attestation, padding.PKCS1v15(), hashes.SHA256())
    key = replace(ours(), create_signature=Signature(signature, hash=0x000C).render())

    assert refusal(key).check == "signature"


@pytest.mark.parametrize(("alg", "hash"), [(0x000C, hashes.SHA384()), (0x000D, hashes.SHA512())])
def test_a_key_may_sign_with_a_longer_hash(alg: int, hash: hashes.HashAlgorithm) -> None:
    rendered = replace(public(), scheme_hash=alg).render()
    signed = replace(statement(), object_name=compute_name(rendered)).render()
    signature = KEY.sign(signed, padding.PKCS1v15(), hash)
    key = replace(
        ours(),
        public=rendered,
        create_attestation=signed,
        create_signature=Signature(signature, hash=alg).render(),
    )

    assert verify_attestation_key(key) == struct.pack(">H", 0x000B) + compute_name(rendered)[2:]
