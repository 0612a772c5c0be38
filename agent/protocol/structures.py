"""The TPM structures that attest a key: TPMT_PUBLIC, TPMS_CREATION_DATA, TPMS_ATTEST, TPMT_SIGNATURE.

Parsing is exact: every byte is accounted for, so `render(parse(x)) == x`, and an attacker has no slack to
hide anything in. Only what a registering machine sends is known here: RSA keys and creation
attestations. Layouts: TCG "TPM 2.0 Library, Part 2: Structures", sections as noted; integers are big-endian.
"""

import hashlib
import struct
from dataclasses import dataclass

from agent.protocol.errors import Malformed, Unsupported

ALG_RSA = 0x0001
ALG_SHA256 = 0x000B
ALG_SHA384 = 0x000C
ALG_SHA512 = 0x000D
ALG_NULL = 0x0010
ALG_RSASSA = 0x0014
HASHES = {ALG_SHA256: "sha256", ALG_SHA384: "sha384", ALG_SHA512: "sha512"}

GENERATED_VALUE = 0xFF544347  # TPM_GENERATED_VALUE, "\xffTCG": made inside a TPM
ATTEST_CREATION = 0x801A  # TPM_ST_ATTEST_CREATION

FIXED_TPM = 0x00000002  # TPMA_OBJECT bits, Part 2 section 8.3
FIXED_PARENT = 0x00000010
SENSITIVE_DATA_ORIGIN = 0x00000020
USER_WITH_AUTH = 0x00000040
NO_DA = 0x00000400
RESTRICTED = 0x00010000
SIGN = 0x00040000

ATTESTATION_KEY_ATTRIBUTES = (
    SIGN | RESTRICTED | NO_DA | USER_WITH_AUTH | SENSITIVE_DATA_ORIGIN | FIXED_PARENT | FIXED_TPM
)

DEFAULT_EXPONENT = 65537
MAX_PCR_SELECTIONS = 16


@dataclass(frozen=True, slots=True)
class Public:
    """TPMT_PUBLIC of an RSA signing key (12.2.4). `exponent` is the real one; 65537 is written as 0."""

    attributes: int
    modulus: bytes
    name_alg: int = ALG_SHA256
    auth_policy: bytes = b""
    scheme: int = ALG_RSASSA
    scheme_hash: int = ALG_SHA256
    key_bits: int = 2048
    exponent: int = DEFAULT_EXPONENT

    def render(self) -> bytes:
        exponent = 0 if self.exponent == DEFAULT_EXPONENT else self.exponent
        return (
            struct.pack(">HHI", ALG_RSA, self.name_alg, self.attributes)
            + sized(self.auth_policy)
            + struct.pack(">HHHHI", ALG_NULL, self.scheme, self.scheme_hash, self.key_bits, exponent)
            + sized(self.modulus)
        )


@dataclass(frozen=True, slots=True)
class PcrSelection:
    hash: int
    select: bytes


@dataclass(frozen=True, slots=True)
class CreationData:
    """TPMS_CREATION_DATA (15.1). A parent name is a key's name, or a hierarchy's 4-byte handle."""

    parent_name: bytes
    parent_qualified_name: bytes
    pcr_selections: tuple[PcrSelection, ...] = ()
    pcr_digest: bytes = hashlib.sha256().digest()
    locality: int = 1
    parent_name_alg: int = ALG_SHA256
    outside_info: bytes = b""

    def render(self) -> bytes:
        selections = b"".join(
            struct.pack(">HB", selection.hash, len(selection.select)) + selection.select
            for selection in self.pcr_selections
        )
        return (
            struct.pack(">I", len(self.pcr_selections))
            + selections
            + sized(self.pcr_digest)
            + struct.pack(">BH", self.locality, self.parent_name_alg)
            + sized(self.parent_name)
            + sized(self.parent_qualified_name)
            + sized(self.outside_info)
        )


@dataclass(frozen=True, slots=True)
class CreationAttestation:
    """TPMS_ATTEST holding a TPMS_CREATION_INFO (10.12.12): what the TPM signed about a key's creation.

    `magic` and `type` are kept as they came; whether they are right is a decision, not a format.
    """

    qualified_signer: bytes
    object_name: bytes
    creation_hash: bytes
    magic: int = GENERATED_VALUE
    type: int = ATTEST_CREATION
    extra_data: bytes = b""
    clock: int = 0
    reset_count: int = 0
    restart_count: int = 0
    safe: int = 1
    firmware_version: int = 0

    def render(self) -> bytes:
        return (
            struct.pack(">IH", self.magic, self.type)
            + sized(self.qualified_signer)
            + sized(self.extra_data)
            + struct.pack(
                ">QIIBQ", self.clock, self.reset_count, self.restart_count, self.safe, self.firmware_version
            )
            + sized(self.object_name)
            + sized(self.creation_hash)
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """TPMT_SIGNATURE of an RSA key (11.3.4)."""

    signature: bytes
    scheme: int = ALG_RSASSA
    hash: int = ALG_SHA256

    def render(self) -> bytes:
        return struct.pack(">HH", self.scheme, self.hash) + sized(self.signature)


def parse_public(data: bytes) -> Public:
    """Read the public area of an RSA signing key. Raises Malformed, Unsupported for any other key."""
    reader = _Reader(data, "the key's public area")
    key_type = reader.uint16()
    if key_type != ALG_RSA:
        raise Unsupported(f"the key is of type {key_type:#06x}; only RSA keys can attest here")
    name_alg = reader.uint16()
    attributes = reader.uint32()
    auth_policy = reader.sized()
    symmetric = reader.uint16()
    if symmetric != ALG_NULL:
        raise Unsupported(f"the key has symmetric algorithm {symmetric:#06x}; a signing key has none")
    scheme = reader.uint16()
    if scheme != ALG_RSASSA:
        raise Unsupported(f"the key has signing scheme {scheme:#06x}; only RSASSA is known here")
    public = Public(
        name_alg=name_alg,
        attributes=attributes,
        auth_policy=auth_policy,
        scheme=scheme,
        scheme_hash=reader.uint16(),
        key_bits=reader.uint16(),
        exponent=reader.uint32() or DEFAULT_EXPONENT,
        modulus=reader.sized(),
    )
    reader.end()
    return public


def parse_creation_data(data: bytes) -> CreationData:
    reader = _Reader(data, "the key's creation data")
    count = reader.uint32()
    if count > MAX_PCR_SELECTIONS:
        raise Malformed(f"the key's creation data has {count} PCR selections; a TPM has at most 16 banks")
    selections = tuple(
        PcrSelection(hash=reader.uint16(), select=reader.take(reader.uint8())) for _ in range(count)
    )
    creation = CreationData(
        pcr_selections=selections,
        pcr_digest=reader.sized(),
        locality=reader.uint8(),
        parent_name_alg=reader.uint16(),
        parent_name=reader.sized(),
        parent_qualified_name=reader.sized(),
        outside_info=reader.sized(),
    )
    reader.end()
    return creation


def parse_creation_attestation(data: bytes) -> CreationAttestation:
    """Read the structure as that of a creation whatever its type says; a decision checks the type."""
    reader = _Reader(data, "the attestation")
    attestation = CreationAttestation(
        magic=reader.uint32(),
        type=reader.uint16(),
        qualified_signer=reader.sized(),
        extra_data=reader.sized(),
        clock=reader.uint64(),
        reset_count=reader.uint32(),
        restart_count=reader.uint32(),
        safe=reader.uint8(),
        firmware_version=reader.uint64(),
        object_name=reader.sized(),
        creation_hash=reader.sized(),
    )
    reader.end()
    return attestation


def parse_signature(data: bytes) -> Signature:
    reader = _Reader(data, "the attestation's signature")
    scheme = reader.uint16()
    if scheme != ALG_RSASSA:
        raise Unsupported(f"the attestation is signed with scheme {scheme:#06x}; only RSASSA is known here")
    signature = Signature(scheme=scheme, hash=reader.uint16(), signature=reader.sized())
    reader.end()
    return signature


def hash_name(alg: int) -> str:
    """hashlib's name for a TPM hash algorithm. Raises Unsupported, also for the broken ones."""
    try:
        return HASHES[alg]
    except KeyError:
        raise Unsupported(f"hash algorithm {alg:#06x} is not accepted; use SHA-256, 384 or 512") from None


def compute_name(public: bytes, name_alg: int = ALG_SHA256) -> bytes:
    """A key's name: the algorithm, then its hash of the TPMT_PUBLIC (Part 1, section 16)."""
    return struct.pack(">H", name_alg) + hashlib.new(hash_name(name_alg), public).digest()


def sized(data: bytes) -> bytes:
    """A TPM2B: two bytes of length before the data."""
    return struct.pack(">H", len(data)) + data


def unsized(data: bytes, *, what: str) -> bytes:
    """What a TPM2B holds, when it is the whole of `data`."""
    reader = _Reader(data, what)
    content = reader.sized()
    reader.end()
    return content


class _Reader:
    """Takes big-endian fields off the front; every lack and every leftover is Malformed."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise Malformed(f"{self._what} ends early, at byte {len(self._data)}")
        self._at += count
        return taken

    def end(self) -> None:
        if self._at != len(self._data):
            raise Malformed(f"{self._what} has {len(self._data) - self._at} bytes too many")

    def uint8(self) -> int:
        return self.take(1)[0]

    def uint16(self) -> int:
        return int.from_bytes(self.take(2))

    def uint32(self) -> int:
        return int.from_bytes(self.take(4))

    def uint64(self) -> int:
        return int.from_bytes(self.take(8))

    def sized(self) -> bytes:
        return self.take(self.uint16())
