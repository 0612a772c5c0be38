"""Credentials against the vectors, against the library's own derivations, and against tampering."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.credential import (
    EndorsementPrivateKey,
    kdfa,
    kdfe,
    make_credential,
    open_credential,
    protect,
    unprotect,
)
from agent.protocol.errors import CredentialRejected, Malformed, ProtocolError
from agent.protocol.messages import Challenge, render_challenge
from agent.protocol.structures import sized
from agent.tpm.primes import derive_rsa_key
from tests.agent.protocol import vectors

RSA_KEY = derive_rsa_key(b"endorsement")
OTHER_RSA_KEY = derive_rsa_key(b"another endorsement")
P256_KEY = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())
P384_KEY = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP384R1())
KEYS = pytest.mark.parametrize("key", [RSA_KEY, P256_KEY, P384_KEY], ids=["RSA 2048", "P-256", "P-384"])


def test_the_derived_keys_are_those_of_the_vector() -> None:
    assert kdfa(vectors.SEED, b"STORAGE", vectors.AK_NAME, bits=128) == vectors.SYMMETRIC_KEY
    assert kdfa(vectors.SEED, b"INTEGRITY", bits=256) == vectors.MAC_KEY


def test_kdfe_is_that_of_the_vector() -> None:
    derived = kdfe(bytes(range(32)), b"IDENTITY", b"\x01" * 32, b"\x02" * 32, bits=256)

    assert derived == vectors.KDFE


def test_the_credential_is_that_of_the_vector() -> None:
    credential = protect(vectors.SEED, vectors.AK_NAME, secret=vectors.SECRET)

    assert credential == vectors.CREDENTIAL
    assert credential[4:36] == vectors.MAC
    assert credential[36:] == vectors.ENCRYPTED_IDENTITY


def test_the_vector_opens_to_its_secret() -> None:
    assert unprotect(vectors.SEED, vectors.AK_NAME, credential=vectors.CREDENTIAL) == vectors.SECRET


def test_the_vector_travels_in_the_text_of_the_vector() -> None:
    challenge = Challenge(vectors.CREDENTIAL, b"")

    assert f'"Credential":"{vectors.CREDENTIAL_BASE64}"'.encode() in render_challenge(challenge)


@given(
    key=st.binary(min_size=1, max_size=64), u=st.binary(max_size=64), bits=st.sampled_from([128, 256, 512])
)
def test_kdfa_is_the_counter_mode_of_sp_800_108(key: bytes, u: bytes, bits: int) -> None:
    reference = KBKDFHMAC(
        algorithm=hashes.SHA256(),
        mode=Mode.CounterMode,
        length=bits // 8,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=b"STORAGE",
        context=u + b"v",
        fixed=None,
    )

    assert kdfa(key, b"STORAGE", u, b"v", bits=bits) == reference.derive(key)


@given(z=st.binary(min_size=1, max_size=66), bits=st.sampled_from([128, 256, 384]))
def test_kdfe_is_the_concatenation_of_sp_800_56a(z: bytes, bits: int) -> None:
    reference = ConcatKDFHash(hashes.SHA256(), bits // 8, b"IDENTITY\0uv")

    assert kdfe(z, b"IDENTITY", b"u", b"v", bits=bits) == reference.derive(z)


@KEYS
def test_a_credential_opens_with_the_key_it_was_made_for(key: EndorsementPrivateKey) -> None:
    challenge = make_credential(key.public_key(), vectors.AK_NAME, secret=vectors.SECRET)

    assert open_credential(key, vectors.AK_NAME, challenge=challenge) == vectors.SECRET


@KEYS
def test_a_challenge_fits_what_the_real_client_reads_at_once(key: EndorsementPrivateKey) -> None:
    challenge = make_credential(key.public_key(), vectors.AK_NAME, secret=vectors.SECRET)

    assert len(render_challenge(challenge)) <= 512


def test_an_rsa_2048_challenge_is_as_long_as_the_one_captured() -> None:
    challenge = make_credential(RSA_KEY.public_key(), vectors.AK_NAME, secret=vectors.SECRET)

    assert len(render_challenge(challenge)) == 476
    assert (len(challenge.credential), len(challenge.secret)) == (70, 258)


@pytest.mark.parametrize("other", [OTHER_RSA_KEY, P256_KEY, P384_KEY], ids=["RSA", "P-256", "P-384"])
def test_another_endorsement_key_does_not_open_it(other: EndorsementPrivateKey) -> None:
    challenge = make_credential(RSA_KEY.public_key(), vectors.AK_NAME, secret=vectors.SECRET)

    with pytest.raises((CredentialRejected, Malformed)):
        open_credential(other, vectors.AK_NAME, challenge=challenge)


@pytest.mark.parametrize("curve_key", [P256_KEY, P384_KEY], ids=["P-256", "P-384"])
def test_another_key_on_the_same_curve_does_not_open_it(curve_key: ec.EllipticCurvePrivateKey) -> None:
    other = ec.derive_private_key(99, curve_key.curve)
    challenge = make_credential(curve_key.public_key(), vectors.AK_NAME, secret=vectors.SECRET)

    with pytest.raises(CredentialRejected):
        open_credential(other, vectors.AK_NAME, challenge=challenge)


@KEYS
def test_another_attestation_key_does_not_open_it(key: EndorsementPrivateKey) -> None:
    challenge = make_credential(key.public_key(), vectors.AK_NAME, secret=vectors.SECRET)

    with pytest.raises(CredentialRejected):
        open_credential(key, b"\x00\x0b" + bytes(32), challenge=challenge)


@given(bit=st.integers(0, 8 * len(vectors.CREDENTIAL) - 1))
def test_no_bit_of_a_credential_can_be_changed(bit: int) -> None:
    changed = bytearray(vectors.CREDENTIAL)
    changed[bit // 8] ^= 1 << bit % 8

    with pytest.raises((CredentialRejected, Malformed)):
        unprotect(vectors.SEED, vectors.AK_NAME, credential=bytes(changed))


@given(credential=st.binary(max_size=200), secret=st.binary(max_size=400))
def test_any_bytes_as_a_challenge_end_in_our_own_error(credential: bytes, secret: bytes) -> None:
    for key in (RSA_KEY, P256_KEY):
        with pytest.raises(ProtocolError):
            open_credential(key, vectors.AK_NAME, challenge=Challenge(credential, secret))


def test_an_ephemeral_point_off_the_curve_is_malformed() -> None:
    point = sized(bytes(31) + b"\x05") + sized(bytes(31) + b"\x05")

    with pytest.raises(Malformed, match="not on the endorsement key's curve"):
        open_credential(P256_KEY, vectors.AK_NAME, challenge=Challenge(vectors.CREDENTIAL, sized(point)))


def test_a_credential_with_an_hmac_of_another_size_is_malformed() -> None:
    with pytest.raises(Malformed, match="not an HMAC-SHA-256"):
        unprotect(vectors.SEED, vectors.AK_NAME, credential=sized(sized(bytes(20)) + bytes(34)))


def test_a_larger_rsa_key_makes_a_challenge_that_is_refused_with_a_hint() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    challenge = make_credential(key.public_key(), vectors.AK_NAME, secret=vectors.SECRET)

    with pytest.raises(ProtocolError, match="at most 512") as caught:
        render_challenge(challenge)
    assert "RSA 2048" in caught.value.hint
