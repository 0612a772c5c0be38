"""Is this attestation key a TPM's, bound to this endorsement key? Bytes and a policy in, a verdict out.

Nothing here opens, remembers or raises: a bad token is a `Refused` that says which check failed. The
checks are upstream's six. Every one of them can also be passed by software that makes its own keys, for
the attestation key signs its own creation; what they give is that the challenge sealed for this pair can
only be answered by whoever holds both. Genuine hardware is proved by the endorsement certificate
alone, and only where the policy asks for one.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from agent.protocol.endorsement import Endorsement, EndorsementKey, hash_endorsement_key, parse_endorsement
from agent.protocol.errors import ProtocolError
from agent.protocol.structures import (
    ALG_SHA256,
    ALG_SHA384,
    ALG_SHA512,
    ATTEST_CREATION,
    FIXED_PARENT,
    FIXED_TPM,
    GENERATED_VALUE,
    RESTRICTED,
    SENSITIVE_DATA_ORIGIN,
    CreationAttestation,
    Public,
    Signature,
    compute_name,
    hash_name,
    parse_creation_attestation,
    parse_creation_data,
    parse_public,
    parse_signature,
)
from agent.protocol.token import AttestationKey, TpmToken

# What makes a key unable to exist outside its TPM or to sign anything but the TPM's own statements.
REQUIRED_ATTRIBUTES = {
    "fixedTPM": FIXED_TPM,
    "fixedParent": FIXED_PARENT,
    "sensitiveDataOrigin": SENSITIVE_DATA_ORIGIN,
    "restricted": RESTRICTED,
}

SIGNATURE_HASHES: dict[int, hashes.HashAlgorithm] = {
    ALG_SHA256: hashes.SHA256(),
    ALG_SHA384: hashes.SHA384(),
    ALG_SHA512: hashes.SHA512(),
}

MIN_KEY_BITS = 2048
MAX_KEY_BITS = 4096

Check = Literal[
    "format", "key type", "origin", "creation hash", "attributes", "name", "signature", "endorsement"
]


@dataclass(frozen=True, slots=True)
class Trusted:
    """What the challenge is made from, and the name by which the machine is known."""

    tpm_hash: str
    endorsement: Endorsement
    attestation_name: bytes

    @property
    def endorsement_key(self) -> EndorsementKey:
        return self.endorsement.key


@dataclass(frozen=True, slots=True)
class Refused:
    """`reason` is a sentence for the technician and may be sent to the machine."""

    check: Check
    reason: str


Verdict: TypeAlias = Trusted | Refused


def verify(token: TpmToken) -> Verdict:
    """Run the checks in upstream's order and stop at the first that fails."""
    try:
        endorsement = parse_endorsement(token.endorsement)
    except ProtocolError as error:
        return Refused("endorsement", str(error))
    name = verify_attestation_key(token.attestation_key)
    if isinstance(name, Refused):
        return name
    return Trusted(
        tpm_hash=hash_endorsement_key(endorsement.key),
        endorsement=endorsement,
        attestation_name=name,
    )


def verify_attestation_key(key: AttestationKey) -> bytes | Refused:
    """The six checks; the key's name when all of them pass."""
    try:
        public = parse_public(key.public)
        parse_creation_data(key.create_data)
        attestation = parse_creation_attestation(key.create_attestation)
        signature = parse_signature(key.create_signature)
        name = compute_name(key.public, public.name_alg)
        creation_hash = hashlib.new(hash_name(public.name_alg), key.create_data).digest()
        hash_name(public.scheme_hash)
    except ProtocolError as error:
        return Refused("format", str(error))
    return (
        check_key_type(public)
        or check_origin(attestation)
        or check_creation_hash(attestation, creation_hash)
        or check_attributes(public)
        or check_object_name(attestation, name)
        or check_signature(public, signature, signed=key.create_attestation)
        or name
    )


def check_key_type(public: Public) -> Refused | None:
    """RSA of a sane size, its modulus as long as it says, and named by the one hash credentials use."""
    if not MIN_KEY_BITS <= public.key_bits <= MAX_KEY_BITS:
        return Refused(
            "key type", f"the attestation key has {public.key_bits} bits; 2048 to 4096 are accepted"
        )
    if (
        len(public.modulus) * 8 != public.key_bits
        or not public.modulus[0] & 0x80
        or not public.modulus[-1] & 1
    ):
        return Refused("key type", "the attestation key's modulus does not fit its size")
    if public.exponent < 3 or not public.exponent & 1:
        return Refused("key type", f"the attestation key's exponent {public.exponent} is not one of RSA")
    if public.name_alg != ALG_SHA256:
        return Refused("key type", "the attestation key is not named with SHA-256")
    return None


def check_origin(attestation: CreationAttestation) -> Refused | None:
    if attestation.magic != GENERATED_VALUE:
        return Refused("origin", "the attestation was not made by a TPM")
    if attestation.type != ATTEST_CREATION:
        return Refused(
            "origin", f"the attestation is of type {attestation.type:#06x}, not of a key's creation"
        )
    return None


def check_creation_hash(attestation: CreationAttestation, creation_hash: bytes) -> Refused | None:
    if attestation.creation_hash != creation_hash:
        return Refused("creation hash", "the attestation is about other creation data than was sent")
    return None


def check_attributes(public: Public) -> Refused | None:
    missing = [name for name, bit in REQUIRED_ATTRIBUTES.items() if not public.attributes & bit]
    if missing:
        return Refused("attributes", f"the attestation key is not {', '.join(missing)}")
    return None


def check_object_name(attestation: CreationAttestation, name: bytes) -> Refused | None:
    if attestation.object_name != name:
        return Refused("name", "the attestation is about another key than was sent")
    return None


def check_signature(public: Public, signature: Signature, *, signed: bytes) -> Refused | None:
    """RSASSA over the attestation's bytes as they came, by the key itself, with its scheme's hash."""
    refused = Refused("signature", "the attestation is not signed by the attestation key")
    if signature.hash != public.scheme_hash:
        return refused
    try:
        key = rsa.RSAPublicNumbers(public.exponent, int.from_bytes(public.modulus)).public_key()
        key.verify(signature.signature, signed, padding.PKCS1v15(), SIGNATURE_HASHES[public.scheme_hash])
    except (InvalidSignature, ValueError):
        return refused
    return None
