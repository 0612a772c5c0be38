"""A TPM identity kept in software, for hosts without a TPM, for demos and for tests.

It proves that the same keys are behind two conversations, and nothing about hardware. The attestation key
is built as a TPM builds a primary key of the endorsement hierarchy, so every check a verifier makes of a
real one holds for it too.
"""

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from agent.durable import make_directories, write_durably
from agent.errors import StateInvalid
from agent.protocol.credential import EndorsementPrivateKey, open_credential
from agent.protocol.endorsement import render_public_key
from agent.protocol.messages import Challenge
from agent.protocol.structures import (
    ALG_NULL,
    ATTESTATION_KEY_ATTRIBUTES,
    CreationAttestation,
    CreationData,
    Public,
    Signature,
    compute_name,
)
from agent.protocol.token import AttestationKey, TpmToken
from agent.tpm.primes import derive_rsa_key

ENDORSEMENT_HIERARCHY = struct.pack(">I", 0x4000000B)  # TPM_RH_ENDORSEMENT, its own name
MAX_KEY_FILE_BYTES = 16 * 1024


class SoftwareTpm:
    """Satisfies `Tpm`. The attestation key is made when first needed, and kept for the object's life."""

    auth: Literal["tpm", "emulated-tpm"] = "emulated-tpm"

    def __init__(
        self,
        endorsement_key: EndorsementPrivateKey,
        *,
        certificate: bytes = b"",
        attestation: "SoftwareAttestation | None" = None,
    ) -> None:
        """`certificate` is PEM; `attestation` takes the place of one made when needed."""
        self._endorsement_key = endorsement_key
        self._certificate = certificate
        self._attestation = attestation

    @classmethod
    def from_seed(cls, seed: int) -> "SoftwareTpm":
        """The identity of `--emulated-tpm-seed`; not the one Elemental's simulator makes of the same seed."""
        return cls(derive_rsa_key(f"skerry emulated TPM {seed}".encode()))

    def attest(self) -> TpmToken:
        public = render_public_key(self._endorsement_key.public_key())
        return TpmToken(self._certificate or public, self._attest().key)

    def activate(self, challenge: Challenge) -> bytes:
        return open_credential(self._endorsement_key, self._attest().name, challenge=challenge)

    def close(self) -> None:
        self._attestation = None

    def _attest(self) -> "SoftwareAttestation":
        if self._attestation is None:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            self._attestation = attest_key(key)
        return self._attestation


@dataclass(frozen=True, slots=True)
class SoftwareAttestation:
    key: AttestationKey
    name: bytes


def attest_key(
    key: rsa.RSAPrivateKey, *, attributes: int = ATTESTATION_KEY_ATTRIBUTES
) -> SoftwareAttestation:
    """Build what TPM2_CreatePrimary and TPM2_CertifyCreation would return for this key."""
    numbers = key.public_key().public_numbers()
    public = Public(
        attributes=attributes,
        modulus=numbers.n.to_bytes(key.key_size // 8),
        key_bits=key.key_size,
        exponent=numbers.e,
    ).render()
    name = compute_name(public)
    create_data = CreationData(
        parent_name=ENDORSEMENT_HIERARCHY,
        parent_qualified_name=ENDORSEMENT_HIERARCHY,
        parent_name_alg=ALG_NULL,
    ).render()
    attestation = CreationAttestation(
        qualified_signer=compute_name(ENDORSEMENT_HIERARCHY + name),
        object_name=name,
        creation_hash=hashlib.sha256(create_data).digest(),
    ).render()
    signature = key.sign(attestation, padding.PKCS1v15(), hashes.SHA256())
    return SoftwareAttestation(
        AttestationKey(public, create_data, attestation, Signature(signature).render()), name
    )


def load_or_create(path: Path) -> SoftwareTpm:
    """An identity of its own, made once and kept in `path` (0600): for hosts that stay without a TPM.

    A file that holds something else is StateInvalid: a new identity must be somebody's decision.
    """
    try:
        key = _load_key(path)
    except ValueError as error:
        raise StateInvalid(
            f"{path} does not hold a software TPM's key: {error}",
            hint="delete it to give this host a new identity; it must then be approved again",
        ) from error
    except FileNotFoundError:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _write_key(path, key)
    return SoftwareTpm(key)


def _load_key(path: Path) -> rsa.RSAPrivateKey:
    """Read a key file of bounded size; anything but one RSA key in it is a ValueError."""
    with path.open("rb") as file:
        content = file.read(MAX_KEY_FILE_BYTES)
    try:
        key = load_pem_private_key(content, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


def _write_key(path: Path, key: rsa.RSAPrivateKey) -> None:
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    make_directories(path.parent, mode=0o700)
    write_durably(path, content, mode=0o600)
