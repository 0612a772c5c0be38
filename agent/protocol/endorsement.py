"""A TPM's endorsement key as it travels (PEM), and the hashes by which machines are known.

The hash is over the public key alone: a machine keeps it whether or not its TPM carries a certificate.
Whether the certificate is to be believed is `appliance.attestation`'s question.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from agent.protocol.documents import check_size
from agent.protocol.errors import Malformed, Unsupported

EndorsementKey: TypeAlias = "rsa.RSAPublicKey | ec.EllipticCurvePublicKey"

MAX_PEM_BYTES = 16 * 1024
_LABEL = re.compile(rb"\A\s*-----BEGIN ([A-Z0-9 ]+)-----")


@dataclass(frozen=True, slots=True)
class Endorsement:
    key: EndorsementKey
    certificate: x509.Certificate | None = None


def parse_endorsement(pem: bytes) -> Endorsement:
    """Read a CERTIFICATE or PUBLIC KEY. Raises TooLarge, Malformed, and Unsupported for other keys."""
    check_size(pem, what="the endorsement key", limit=MAX_PEM_BYTES)
    label = _LABEL.match(pem)
    if label is None:
        raise Malformed("the endorsement key is not PEM")
    try:
        match label.group(1):
            case b"CERTIFICATE":
                certificate = x509.load_pem_x509_certificate(pem)
                return Endorsement(_check_key(certificate.public_key()), certificate)
            case b"PUBLIC KEY":
                return Endorsement(_check_key(load_pem_public_key(pem)))
            case other:
                raise Unsupported(
                    f"the endorsement key is a {other.decode()}, not a certificate or public key"
                )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Malformed(f"the endorsement key cannot be read: {error}") from error


def render_public_key(key: EndorsementKey) -> bytes:
    """PEM SubjectPublicKeyInfo, final newline included."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hash_endorsement_key(key: EndorsementKey) -> str:
    """`tpmHash`: lower-case hex SHA-256 of the key's DER SubjectPublicKeyInfo."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def hash_identifier(identifier: str) -> str:
    """`machineHash`: the same of the identifier's text, for machines known by a MAC or system UUID."""
    return hashlib.sha256(identifier.encode()).hexdigest()


def _check_key(key: object) -> EndorsementKey:
    if isinstance(key, rsa.RSAPublicKey):
        if not 2048 <= key.key_size <= 4096:
            raise Unsupported(f"the endorsement key is RSA of {key.key_size} bits; 2048 to 4096 are accepted")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in ("secp256r1", "secp384r1"):
            raise Unsupported(
                f"the endorsement key is on curve {key.curve.name}; P-256 and P-384 are accepted"
            )
        return key
    raise Unsupported("the endorsement key is neither RSA nor elliptic-curve")
