"""Was this endorsement certificate issued by a TPM maker that we trust? Values and a time in, a verdict out.

Everything is offline: the certificates of makers are those a person gave us, the places that certificates
name for fetching more are never asked, and a revocation counts when its list was given to us too.

About time, for a box's clock may be wrong: a certificate that is not valid *yet* is not refused, because a
clock that was lost stands in the past. One that is over is refused by the time the caller says, which must
be the latest that it has reason to believe (`latest_time`), so that a clock put back revives nothing.
A root's own end does not count: trust in it ends when a person removes it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from agent.protocol.endorsement import EndorsementKey, hash_endorsement_key
from appliance.attestation.profile import UNDERSTOOD, Maker, NotOfProfile, check_profile, find_damage

MAX_INTERMEDIATES = 4
MIN_RSA_BITS = 2048
STRONG = (hashes.SHA256, hashes.SHA384, hashes.SHA512, hashes.SHA3_256, hashes.SHA3_384, hashes.SHA3_512)
AUTHORITY_UNDERSTOOD = UNDERSTOOD | {x509.CertificatePolicies.oid}

Doubt = Literal["absent", "key", "profile", "issuer", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class Genuine:
    """A TPM of a maker that is trusted; `root` names the authority its certificate goes back to."""

    maker: Maker
    root: str


@dataclass(frozen=True, slots=True)
class Doubtful:
    """`reason` is a sentence for the technician and may be sent to the machine."""

    doubt: Doubt
    reason: str


ChainVerdict: TypeAlias = Genuine | Doubtful


@dataclass(frozen=True, slots=True)
class Roots:
    """What a person trusts: self-signed anchors, the makers' certificates between, and revocation lists."""

    anchors: Sequence[x509.Certificate] = ()
    intermediates: Sequence[x509.Certificate] = ()
    revocations: Sequence[x509.CertificateRevocationList] = ()
    _by_subject: dict[bytes, list[x509.Certificate]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for certificate in (*self.anchors, *self.intermediates):
            self._by_subject.setdefault(certificate.subject.public_bytes(), []).append(certificate)

    def find_issuers(self, certificate: x509.Certificate) -> Sequence[x509.Certificate]:
        return self._by_subject.get(certificate.issuer.public_bytes(), ())


def check_chain(
    certificate: x509.Certificate | None, key: EndorsementKey, roots: Roots, *, now: datetime
) -> ChainVerdict:
    """The verdict on the certificate that came with the endorsement key `key`."""
    if certificate is None:
        return Doubtful("absent", "the TPM has no endorsement certificate")
    if damage := find_damage(certificate):
        return Doubtful("profile", damage)
    if not _is_key_of(certificate, key):
        return Doubtful("key", "the endorsement certificate is about another key")
    maker = check_profile(certificate)
    if isinstance(maker, NotOfProfile):
        return Doubtful("profile", maker.reason)
    if certificate.not_valid_after_utc < now:
        return Doubtful("expired", f"the endorsement certificate ended on {_day(certificate)}")
    if not roots.anchors:
        return Doubtful("issuer", "no TPM maker is trusted here: skerry trust ek-roots add FILE")
    doubts: list[Doubtful] = []
    for path in _paths(certificate, roots, doubts, below=()):
        doubt = _check_path(path, roots, now=now)
        if doubt is None:
            return Genuine(maker, _name(path[-1]))
        doubts.append(doubt)
    if doubts:
        return doubts[0]
    issuer = certificate.issuer.rfc4514_string()[:120] or "nobody"
    return Doubtful("issuer", f"the endorsement certificate's issuer is not trusted here: {issuer}")


def latest_time(clock: datetime, *witnesses: datetime | None) -> datetime:
    """The latest of what the clock says and of moments that have certainly passed."""
    return max([clock, *(moment for moment in witnesses if moment is not None)])


def is_anchor(certificate: x509.Certificate) -> bool:
    """Whether it is signed by itself."""
    return certificate.issuer == certificate.subject and _is_signed_by(certificate, certificate)


def check_authority(certificate: x509.Certificate, *, below: int = 0) -> str:
    """Why it may not issue certificates with `below` authorities between it and a TPM; empty if it may."""
    if damage := find_damage(certificate):
        return damage
    name, extensions = _name(certificate), certificate.extensions
    for extension in extensions:
        if extension.critical and extension.oid not in AUTHORITY_UNDERSTOOD:
            return f"{name} has the critical extension {extension.oid.dotted_string}, which is not known here"
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return f"{name} is no authority"
    if not constraints.ca:
        return f"{name} is no authority"
    if constraints.path_length is not None and below > constraints.path_length:
        return f"{name} allows {constraints.path_length} authorities below it; there are {below}"
    try:
        if not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
            return f"{name} may not sign certificates"
    except x509.ExtensionNotFound:
        pass
    return ""


def _paths(
    certificate: x509.Certificate, roots: Roots, doubts: list[Doubtful], *, below: Sequence[x509.Certificate]
) -> Iterable[Sequence[x509.Certificate]]:
    """Every way from the certificate up to an anchor by name and signature, the shortest steps first."""
    path = (*below, certificate)
    for issuer in roots.find_issuers(certificate):
        if issuer in path:
            continue
        if not _is_signed_by(certificate, issuer):
            doubts.append(
                Doubtful("issuer", f"{_name(certificate)} names {_name(issuer)}, which did not sign it")
            )
        elif issuer in roots.anchors:
            yield (*path, issuer)
        elif len(path) > MAX_INTERMEDIATES:
            doubts.append(
                Doubtful("issuer", f"more than {MAX_INTERMEDIATES} authorities stand between TPM and root")
            )
        else:
            yield from _paths(issuer, roots, doubts, below=path)


def _check_path(path: Sequence[x509.Certificate], roots: Roots, *, now: datetime) -> Doubtful | None:
    for index, issuer in enumerate(path[1:]):
        subject = path[index]
        if reason := check_authority(issuer, below=index):
            return Doubtful("issuer", reason)
        if issuer is not path[-1] and issuer.not_valid_after_utc < now:
            return Doubtful("expired", f"the certificate of {_name(issuer)} ended on {_day(issuer)}")
        for revocation in roots.revocations:
            if _is_revoked(subject, issuer, revocation):
                return Doubtful("revoked", f"{_name(issuer)} revoked the certificate of {_name(subject)}")
    return None


def _is_revoked(
    subject: x509.Certificate, issuer: x509.Certificate, revocation: x509.CertificateRevocationList
) -> bool:
    """A list counts when the same issuer signed it, however old it is: what was revoked stays so."""
    if revocation.issuer != issuer.subject:
        return False
    try:
        is_issuers = revocation.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False
    return (
        is_issuers and revocation.get_revoked_certificate_by_serial_number(subject.serial_number) is not None
    )


def _is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """By a key and a hash that still prove something."""
    try:
        if not isinstance(certificate.signature_hash_algorithm, STRONG):
            return False
        key = issuer.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
            return False
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            return False
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _is_key_of(certificate: x509.Certificate, key: EndorsementKey) -> bool:
    held = certificate.public_key()
    if not isinstance(held, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return False
    return hash_endorsement_key(held) == hash_endorsement_key(key)


def _name(certificate: x509.Certificate) -> str:
    text = certificate.subject.rfc4514_string()[:120]
    return text or f"the certificate with serial {certificate.serial_number:x}"[:80]


def _day(certificate: x509.Certificate) -> str:
    return certificate.not_valid_after_utc.strftime("%Y-%m-%d")
