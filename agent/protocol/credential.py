"""Credentials: a secret sealed so that only one TPM, holding one attestation key, can open it.

TPM2_MakeCredential in software (TCG "TPM 2.0 Library, Part 1: Architecture", section 24 and annexes B and
C), and TPM2_ActivateCredential for identities kept in software. The hash is SHA-256, the name
algorithm of every attestation key we accept, and the cipher is AES-128 in CFB mode.

Pure but for randomness, which a caller that must repeat itself (a test vector) passes in.
"""

import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from agent.protocol.endorsement import EndorsementKey
from agent.protocol.errors import CredentialRejected, Malformed
from agent.protocol.messages import Challenge
from agent.protocol.structures import sized, unsized

IDENTITY = b"IDENTITY"
STORAGE = b"STORAGE"
INTEGRITY = b"INTEGRITY"

RSA_SEED_BYTES = 16  # the symmetric key's size, AES-128
_BLOCK = 16

EndorsementPrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
RandomBytes = Callable[[int], bytes]


def make_credential(
    endorsement_key: EndorsementKey, name: bytes, *, secret: bytes, random: RandomBytes = secrets.token_bytes
) -> Challenge:
    """Seal `secret` for the TPM that holds the private endorsement key and a key of this name.

    `name` includes its two algorithm bytes (34 in all for SHA-256).
    """
    if isinstance(endorsement_key, rsa.RSAPublicKey):
        seed = random(RSA_SEED_BYTES)
        encrypted = endorsement_key.encrypt(seed, _oaep())
    else:
        ephemeral = ec.generate_private_key(endorsement_key.curve)
        seed = _agree(ephemeral.exchange(ec.ECDH(), endorsement_key), ephemeral.public_key(), endorsement_key)
        encrypted = _render_point(ephemeral.public_key())
    return Challenge(credential=protect(seed, name, secret=secret), secret=sized(encrypted))


def open_credential(private_key: EndorsementPrivateKey, name: bytes, *, challenge: Challenge) -> bytes:
    """Recover the secret, as a TPM would. Raises Malformed, CredentialRejected."""
    encrypted = unsized(challenge.secret, what="the challenge's encrypted seed")
    if isinstance(private_key, rsa.RSAPrivateKey):
        try:
            seed = private_key.decrypt(encrypted, _oaep())
        except ValueError:
            raise CredentialRejected("the challenge was made for another TPM's endorsement key") from None
    else:
        point = _parse_point(encrypted, private_key.curve)
        seed = _agree(private_key.exchange(ec.ECDH(), point), point, private_key.public_key())
    return unprotect(seed, name, credential=challenge.credential)


def protect(seed: bytes, name: bytes, *, secret: bytes) -> bytes:
    """TPM2B_ID_OBJECT: an HMAC, then the encrypted secret, which has no length of its own."""
    encrypted = _cfb(kdfa(seed, STORAGE, name, bits=128), sized(secret), decrypt=False)
    mac = _integrity(seed, encrypted + name)
    return sized(sized(mac) + encrypted)


def unprotect(seed: bytes, name: bytes, *, credential: bytes) -> bytes:
    content = unsized(credential, what="the challenge's credential")
    mac, encrypted = content[2:34], content[34:]
    if content[:2] != b"\x00\x20" or len(encrypted) < 2:
        raise Malformed("the challenge's credential is not an HMAC-SHA-256 and a secret")
    if not hmac.compare_digest(mac, _integrity(seed, encrypted + name)):
        raise CredentialRejected("the challenge's credential is for another TPM or key, or was tampered with")
    opened = _cfb(kdfa(seed, STORAGE, name, bits=128), encrypted, decrypt=True)
    return unsized(opened, what="the challenge's secret")


def kdfa(key: bytes, label: bytes, u: bytes = b"", v: bytes = b"", *, bits: int) -> bytes:
    """NIST SP 800-108 in counter mode with HMAC-SHA-256 (Part 1, 11.4.10.2)."""
    derived = b""
    counter = 1
    while len(derived) * 8 < bits:
        block = struct.pack(">I", counter) + label + b"\0" + u + v + struct.pack(">I", bits)
        derived += hmac.digest(key, block, "sha256")
        counter += 1
    return derived[: bits // 8]


def kdfe(z: bytes, use: bytes, u: bytes, v: bytes, *, bits: int) -> bytes:
    """NIST SP 800-56A's concatenation with SHA-256 (Part 1, 11.4.10.3)."""
    derived = b""
    counter = 1
    while len(derived) * 8 < bits:
        derived += hashlib.sha256(struct.pack(">I", counter) + z + use + b"\0" + u + v).digest()
        counter += 1
    return derived[: bits // 8]


def _oaep() -> padding.OAEP:
    """The label includes its terminating zero (Part 1, B.4)."""
    sha256 = hashes.SHA256()
    return padding.OAEP(mgf=padding.MGF1(sha256), algorithm=sha256, label=IDENTITY + b"\0")


def _agree(z: bytes, ephemeral: ec.EllipticCurvePublicKey, endorsement: ec.EllipticCurvePublicKey) -> bytes:
    return kdfe(z, IDENTITY, _x(ephemeral), _x(endorsement), bits=256)


def _integrity(seed: bytes, content: bytes) -> bytes:
    return hmac.digest(kdfa(seed, INTEGRITY, bits=256), content, "sha256")


def _cfb(key: bytes, data: bytes, *, decrypt: bool) -> bytes:
    """Full-block CFB with a zero IV, spelled out: the library is about to retire its own."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - one block at a time
    feedback = bytes(_BLOCK)
    result = b""
    for at in range(0, len(data), _BLOCK):
        block = data[at : at + _BLOCK]
        stream = encryptor.update(feedback)
        out = bytes(a ^ b for a, b in zip(block, stream, strict=False))
        feedback = block if decrypt else out
        result += out
    return result


def _field_bytes(curve: ec.EllipticCurve) -> int:
    return (curve.key_size + 7) // 8


def _x(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_numbers().x.to_bytes(_field_bytes(key.curve))


def _render_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """TPMS_ECC_POINT, coordinates padded to the field's size."""
    return sized(_x(key)) + sized(key.public_numbers().y.to_bytes(_field_bytes(key.curve)))


def _parse_point(data: bytes, curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    width = _field_bytes(curve)
    length = struct.pack(">H", width)
    if len(data) != 2 * (width + 2) or data[:2] != length or data[width + 2 : width + 4] != length:
        raise Malformed(
            "the challenge's ephemeral point does not have the size of the endorsement key's curve"
        )
    x, y = int.from_bytes(data[2 : width + 2]), int.from_bytes(data[width + 4 :])
    try:
        return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError as error:
        raise Malformed("the challenge's ephemeral point is not on the endorsement key's curve") from error
