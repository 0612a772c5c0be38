"""The Authorization header of a registering machine: attestation data of a TPM, or a plain identifier.

There is no space between the scheme word and its value. This parses and renders; whether the attestation
proves anything is `appliance.attestation.verifier`'s to say.
"""

import base64
from dataclasses import dataclass
from typing import TypeAlias

from agent.protocol.documents import JSON, as_object, parse_json, render_json
from agent.protocol.errors import Malformed, TooLarge
from agent.protocol.messages import parse_base64

TPM_PREFIX = "Bearer TPM"
PLAIN_PREFIX = "Bearer PLAIN"

MAX_HEADER_CHARACTERS = 32 * 1024  # 7,700 for a large EK certificate; Elemental asks for as much room
MAX_IDENTIFIER_CHARACTERS = 128


@dataclass(frozen=True, slots=True)
class AttestationKey:
    """The AK's four structures without their TPM2B size: TPMT_PUBLIC, TPMS_CREATION_DATA, and so on."""

    public: bytes
    create_data: bytes
    create_attestation: bytes
    create_signature: bytes


@dataclass(frozen=True, slots=True)
class TpmToken:
    """`endorsement` is PEM: the EK certificate when the TPM has one, else its public key."""

    endorsement: bytes
    attestation_key: AttestationKey


@dataclass(frozen=True, slots=True)
class PlainToken:
    """A MAC address or a system UUID; the receiver cannot tell which."""

    identifier: str


Token: TypeAlias = "TpmToken | PlainToken"  # noqa: S105 - a type


def parse_authorization(header: str) -> Token:
    """Decode the header's value. Raises TooLarge or Malformed with a text that may go to the client."""
    if len(header) > MAX_HEADER_CHARACTERS:
        raise TooLarge(f"the Authorization header is longer than {MAX_HEADER_CHARACTERS} characters")
    if header.startswith(TPM_PREFIX):
        return _parse_tpm(header.removeprefix(TPM_PREFIX))
    if header.startswith(PLAIN_PREFIX):
        return PlainToken(check_identifier(header.removeprefix(PLAIN_PREFIX)))
    raise Malformed(
        "the Authorization header has no known scheme",
        hint="a registering machine sends Bearer TPM… or Bearer PLAIN…",
    )


def render_authorization(token: Token) -> str:
    match token:
        case PlainToken(identifier):
            return PLAIN_PREFIX + check_identifier(identifier)
        case TpmToken(endorsement, key):
            document = {
                "EK": _to_base64(endorsement),
                "AK": {
                    "Public": _to_base64(key.public),
                    "UseTCSDActivationFormat": False,
                    "CreateData": _to_base64(key.create_data),
                    "CreateAttestation": _to_base64(key.create_attestation),
                    "CreateSignature": _to_base64(key.create_signature),
                },
            }
            return TPM_PREFIX + _to_base64(render_json(document))


def check_identifier(identifier: str) -> str:
    """Refuse what would make different machines one: nothing at all, and the "unknown" of unreadable DMI."""
    if not identifier.strip():
        raise Malformed("the machine's identifier is empty")
    if identifier.lower() == "unknown":
        raise Malformed(
            "the machine's identifier is 'unknown', which every machine with unreadable DMI would send",
            hint="register this machine with a TPM or by its MAC address",
        )
    if len(identifier) > MAX_IDENTIFIER_CHARACTERS:
        raise TooLarge(f"the machine's identifier has {len(identifier)} characters")
    if not identifier.isascii() or not identifier.isprintable():
        raise Malformed("the machine's identifier has characters outside printable ASCII")
    return identifier


def _parse_tpm(encoded: str) -> TpmToken:
    what = "the TPM's attestation data"
    payload = parse_base64(encoded, what=what)
    document = as_object(parse_json(payload, what=what, limit=MAX_HEADER_CHARACTERS), what=what)
    key = as_object(document.get("AK"), what=f"{what}'s AK")
    if key.get("UseTCSDActivationFormat") not in (None, False):
        raise Malformed(f"{what} asks for the TPM 1.2 activation format, which is not supported")
    return TpmToken(
        endorsement=_field(document, "EK", what=what),
        attestation_key=AttestationKey(
            public=_field(key, "Public", what=what),
            create_data=_field(key, "CreateData", what=what),
            create_attestation=_field(key, "CreateAttestation", what=what),
            create_signature=_field(key, "CreateSignature", what=what),
        ),
    )


def _field(document: dict[str, JSON], name: str, *, what: str) -> bytes:
    return parse_base64(document.get(name), what=f"{what}'s {name}")


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
