"""Endorsement keys: PEM in its two forms, and every other thing that PEM can hold."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.endorsement import (
    MAX_PEM_BYTES,
    EndorsementKey,
    hash_endorsement_key,
    hash_identifier,
    parse_endorsement,
    render_public_key,
)
from agent.protocol.errors import Malformed, ProtocolError, TooLarge, Unsupported
from agent.tpm.primes import derive_rsa_key
from tests.agent.protocol import vectors

RSA_KEY = derive_rsa_key(b"endorsement")
CURVE_KEYS = [ec.derive_private_key(7, curve).public_key() for curve in (ec.SECP256R1(), ec.SECP384R1())]


def issue(key: EndorsementKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TPM")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key).serial_number(1)
    builder = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2046, 1, 1, tzinfo=UTC))
    return builder.sign(RSA_KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("key", [RSA_KEY.public_key(), *CURVE_KEYS])
def test_the_hash_does_not_depend_on_the_certificate(key: EndorsementKey) -> None:
    bare = parse_endorsement(render_public_key(key))
    certified = parse_endorsement(issue(key))

    assert bare.certificate is None
    assert certified.certificate is not None
    assert hash_endorsement_key(bare.key) == hash_endorsement_key(certified.key)


def test_an_identifiers_hash_is_that_of_the_vector() -> None:
    assert hash_identifier(vectors.IDENTIFIER) == vectors.IDENTIFIER_HASH


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (b"", "not PEM"),
        (b"garbage", "not PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\n", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_malformed(pem: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        parse_endorsement(pem)


def test_a_private_key_is_not_an_endorsement() -> None:
    pem = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    with pytest.raises(Unsupported, match="a PRIVATE KEY"):
        parse_endorsement(pem)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key(), "1024 bits"),
        (ec.generate_private_key(ec.SECP521R1()).public_key(), "secp521r1"),
        (ed25519.Ed25519PrivateKey.generate().public_key(), "neither RSA nor elliptic-curve"),
    ],
)
def test_a_key_of_another_kind_is_unsupported(
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey, message: str
) -> None:
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    with pytest.raises(Unsupported, match=message):
        parse_endorsement(pem)


def test_an_oversized_certificate_is_refused() -> None:
    with pytest.raises(TooLarge):
        parse_endorsement(b"-----BEGIN CERTIFICATE-----\n" + b"A" * MAX_PEM_BYTES)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # odd serial numbers
@given(at=st.integers(0, 1000), byte=st.integers(0, 255))
def test_a_damaged_certificate_is_read_or_is_our_own_error(at: int, byte: int) -> None:
    pem = bytearray(issue(RSA_KEY.public_key()))
    pem[at % len(pem)] = byte
    try:
        parse_endorsement(bytes(pem))
    except ProtocolError:
        return
