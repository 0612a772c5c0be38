"""Does this certificate look like a TPM's endorsement certificate? The TCG EK Credential Profile 2.x, pure.

The profile's section 3 names what must be in it: who made the TPM, its model and version (a directory name in
the subject's alternative name), the purpose 2.23.133.8.1, a key usage that fits the key, and no right to sign
other certificates. Whether its signature is worth anything is the question of `appliance.attestation.chains`.
"""

from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

T = TypeVar("T", bound=x509.ExtensionType)

EK_PURPOSE = x509.ObjectIdentifier("2.23.133.8.1")  # tcg-kp-EKCertificate
MANUFACTURER = x509.ObjectIdentifier("2.23.133.2.1")
MODEL = x509.ObjectIdentifier("2.23.133.2.2")
VERSION = x509.ObjectIdentifier("2.23.133.2.3")

# What may be critical in an endorsement certificate; anything else we could not honour.
UNDERSTOOD = frozenset(
    (
        x509.SubjectAlternativeName.oid,
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
    )
)


@dataclass(frozen=True, slots=True)
class Maker:
    """What the certificate says of its TPM: `manufacturer` is a vendor id such as id:49465800."""

    manufacturer: str
    model: str
    version: str


@dataclass(frozen=True, slots=True)
class NotOfProfile:
    """`reason` is a sentence for the technician."""

    reason: str


def find_damage(certificate: x509.Certificate) -> str:
    """Why a part of the certificate cannot be read; empty if all of it can.

    The library reads most parts only when they are asked for, and raises then: so this comes first.
    """
    try:
        _ = certificate.version, certificate.serial_number, certificate.issuer, certificate.subject
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        _ = list(certificate.extensions), certificate.public_key(), certificate.signature_algorithm_oid
    except (
        *(ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion),
        *(x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
    ) as error:
        return f"the certificate cannot be read: {str(error)[:120]}"
    return ""


def check_profile(certificate: x509.Certificate) -> Maker | NotOfProfile:
    """Who made the TPM, or the first thing that keeps this from being its certificate."""
    if damage := find_damage(certificate):
        return NotOfProfile(damage)
    extensions = certificate.extensions
    if certificate.version is not x509.Version.v3:
        return NotOfProfile("the certificate is not of version 3")
    for extension in extensions:
        if extension.critical and extension.oid not in UNDERSTOOD:
            return NotOfProfile(
                f"the certificate has the critical extension {extension.oid.dotted_string}, "
                "which is not known here"
            )
    return (
        _check_constraints(extensions)
        or _check_purpose(extensions)
        or _check_usage(extensions, is_rsa=isinstance(certificate.public_key(), rsa.RSAPublicKey))
        or _read_maker(extensions, has_subject=bool(list(certificate.subject)))
    )


def _check_constraints(extensions: x509.Extensions) -> NotOfProfile | None:
    constraints = _find(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        return NotOfProfile("the certificate is an authority's, not a TPM's")
    return None


def _check_purpose(extensions: x509.Extensions) -> NotOfProfile | None:
    purposes = _find(extensions, x509.ExtendedKeyUsage)
    if purposes is None or EK_PURPOSE not in purposes:
        return NotOfProfile("the certificate is not for an endorsement key (2.23.133.8.1)")
    return None


def _check_usage(extensions: x509.Extensions, *, is_rsa: bool) -> NotOfProfile | None:
    usage = _find(extensions, x509.KeyUsage)
    if usage is None:
        return NotOfProfile("the certificate does not say what its key is for")
    wanted = usage.key_encipherment if is_rsa else usage.key_agreement
    if not wanted:
        word = "key encipherment" if is_rsa else "key agreement"
        return NotOfProfile(f"the certificate's key is not for {word}")
    if usage.key_cert_sign or usage.crl_sign:
        return NotOfProfile("the certificate's key may sign certificates")
    return None


def _read_maker(extensions: x509.Extensions, *, has_subject: bool) -> Maker | NotOfProfile:
    try:
        extension = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return NotOfProfile("the certificate does not say who made the TPM")
    if not extension.critical and not has_subject:
        return NotOfProfile("the certificate has no subject, and its other name is not critical")
    found: dict[x509.ObjectIdentifier, str] = {}
    for name in extension.value.get_values_for_type(x509.DirectoryName):
        for attribute in name:
            found.setdefault(attribute.oid, str(attribute.value)[:64])
    missing = [
        word
        for word, oid in (("manufacturer", MANUFACTURER), ("model", MODEL), ("version", VERSION))
        if not found.get(oid)
    ]
    if missing:
        return NotOfProfile(f"the certificate does not name the TPM's {', '.join(missing)}")
    return Maker(found[MANUFACTURER], found[MODEL], found[VERSION])


def _find(extensions: x509.Extensions, type: type[T]) -> T | None:
    try:
        return extensions.get_extension_for_class(type).value
    except x509.ExtensionNotFound:
        return None
