"""TPM makers for tests: authorities and endorsement certificates, right and wrong in one way each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.protocol.endorsement import EndorsementKey
from agent.tpm.primes import derive_rsa_key
from appliance.attestation.profile import EK_PURPOSE, MANUFACTURER, MODEL, VERSION

START, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
MAKER = (
    x509.NameAttribute(MANUFACTURER, "id:49465800"),
    x509.NameAttribute(MODEL, "SLB9670"),
    x509.NameAttribute(VERSION, "id:0007"),
)
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


@cache
def rsa_key(seed: int) -> rsa.RSAPrivateKey:
    return derive_rsa_key(f"maker {seed}".encode())


def usage(*allowed: str) -> x509.KeyUsage:
    words = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{word: word in allowed for word in words})


@dataclass(frozen=True)
class Authority:
    """An authority that may sign; each has a key of its own."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def authority(self, name: str, **wrong: object) -> "Authority":
        return make_authority(name, issuer=self, **wrong)  # type: ignore[arg-type]

    def revoke(self, *certificates: x509.Certificate) -> x509.CertificateRevocationList:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(START)
            .next_update(END)
        )
        for certificate in certificates:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(START)
                .build()
            )
        return builder.sign(self.key, hashes.SHA256())


def make_authority(
    name: str,
    *,
    issuer: Authority | None = None,
    ca: bool = True,
    path_length: int | None = None,
    end: datetime = END,
    signs: bool = True,
    strange: bool = False,
    has_constraints: bool = True,
    subject: x509.Name | None = None,
) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    own = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(issuer.certificate.subject if issuer else own)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(end)
        .add_extension(usage("key_cert_sign" if signs else "digital_signature"), critical=True)
    )
    if has_constraints:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
    if strange:
        builder = builder.add_extension(STRANGE, critical=True)
    return Authority(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def issue(
    issuer: Authority,
    key: EndorsementKey,
    *,
    purposes: Sequence[x509.ObjectIdentifier] | None = (EK_PURPOSE,),
    allowed: Sequence[str] | None = None,
    maker: Sequence[x509.NameAttribute[str]] | None = MAKER,
    is_critical: bool = True,
    has_subject: bool = False,
    end: datetime = END,
    start: datetime = START,
    is_authority: bool = False,
    strange: bool = False,
) -> x509.Certificate:
    """An endorsement certificate as the profile wants it, but for what is said otherwise."""
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, "TPM")] if has_subject else []
    fitting = ("key_encipherment",) if isinstance(key, rsa.RSAPublicKey) else ("key_agreement",)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    )
    if allowed is None or allowed:
        builder = builder.add_extension(usage(*(allowed or fitting)), critical=True)
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if maker is not None:
        names = x509.SubjectAlternativeName([x509.DirectoryName(x509.Name(maker))])
        builder = builder.add_extension(names, critical=is_critical)
    if strange:
        builder = builder.add_extension(STRANGE, critical=True)
    return builder.sign(issuer.key, hashes.SHA256())


def pem(*certificates: "x509.Certificate | x509.CertificateRevocationList") -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


SERVER_PURPOSE = ExtendedKeyUsageOID.SERVER_AUTH
