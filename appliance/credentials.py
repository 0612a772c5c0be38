"""Who the appliance is and how it knows the others: its CA, its server certificate, and its tokens.

Everything is made on first start and found again later; nothing here talks to the network. Keys and
tokens are created with mode 0600 from their first byte. It does not decide what a token may do: that is
`appliance.api.identity`.

Certificates start in 1970 on purpose: a machine whose clock battery died boots at the epoch and must
still be able to trust the box it was told to trust. What is trusted is the pinned CA, not the calendar.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.protocol.secrets import SecretText
from appliance.files import PRIVATE, PUBLIC, make_private_directory, write_durably

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CA_LIFETIME = timedelta(days=30 * 365)
SERVER_LIFETIME = timedelta(days=825)  # what strict TLS clients accept at most
RENEW_BEFORE = timedelta(days=60)
MAX_TOKEN_LENGTH = 2048
HOST_TOKEN_PREFIX = "skh1"  # noqa: S105 - a format name, not a secret


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """PEM files as a TLS server wants them; `certificate` holds the CA after the leaf."""

    certificate: Path
    key: Path
    names: tuple[str, ...]


class Authority:
    """The appliance's own CA. One key for the life of the data directory: hosts have it pinned."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def load_or_create(cls, directory: Path) -> "Authority":
        """Read `ca.crt` and `ca.key` below `directory`, making both when there is no key yet."""
        certificate_file, key_file = directory / "ca.crt", directory / "ca.key"
        if not key_file.exists() or not certificate_file.exists():
            make_private_directory(directory)
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = _self_sign(key)
            # The key last: with only one of the two on disk, the next start makes both again.
            write_durably(certificate_file, _render_certificate(certificate), mode=PUBLIC)
            write_durably(key_file, _render_key(key), mode=PRIVATE)
            return cls(certificate, key)
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        return cls(certificate, _parse_key(key_file.read_bytes()))

    @property
    def certificate_pem(self) -> str:
        return _render_certificate(self._certificate).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CA's public key, hex: what a label or an mDNS record can carry."""
        return hashlib.sha256(_public_bytes(self._certificate.public_key())).hexdigest()

    def issue_server_certificate(
        self, names: Sequence[str], *, now: datetime | None = None
    ) -> tuple[bytes, bytes]:
        """Return a fresh (certificate chain PEM, key PEM) for these DNS names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            x509.CertificateBuilder()
            .subject_name(_name(names[0]))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(EPOCH)
            .not_valid_after((now or datetime.now(UTC)) + SERVER_LIFETIME)
            .add_extension(
                x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return _render_certificate(leaf) + _render_certificate(self._certificate), _render_key(key)

    def issue_client_certificate(
        self, name: str, role: str, *, expires: datetime
    ) -> tuple[bytes, bytes, str]:
        """Return a fresh (certificate PEM, key PEM, serial in hex) that says who its bearer is.

        As Kubernetes reads them: the common name is the user, the organization their group.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        subject = [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, role),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(EPOCH)
            .not_valid_after(expires)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return _render_certificate(leaf), _render_key(key), f"{serial:x}"

    def keep_server_certificate(
        self, directory: Path, names: Sequence[str], *, now: datetime | None = None
    ) -> ServerCertificate:
        """Return `server.crt` and `server.key`, issued again when names changed or expiry is near."""
        wanted = tuple(dict.fromkeys(names))
        kept = ServerCertificate(directory / "server.crt", directory / "server.key", wanted)
        if not self._is_good(kept, now=now or datetime.now(UTC)):
            certificate, key = self.issue_server_certificate(wanted, now=now)
            write_durably(kept.key, key, mode=PRIVATE)
            write_durably(kept.certificate, certificate, mode=PUBLIC)
        return kept

    def _is_good(self, kept: ServerCertificate, *, now: datetime) -> bool:
        """A pair torn by a crash, issued by another CA, for other names or near its end is not."""
        try:
            leaf = x509.load_pem_x509_certificate(kept.certificate.read_bytes())
            key = _parse_key(kept.key.read_bytes())
            leaf.verify_directly_issued_by(self._certificate)
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except Exception:  # whatever is wrong with the pair, the cure is a new one
            return False
        return (
            _public_bytes(leaf.public_key()) == _public_bytes(key.public_key())
            and list(names) == [_alternative(name) for name in kept.names]
            and leaf.not_valid_after_utc - now > RENEW_BEFORE
        )


class HostIdentity(msgspec.Struct, frozen=True, array_like=True):
    """Whom a host token speaks for: one MachineInventory, by its uid so that a namesake gets nothing."""

    namespace: str
    name: str
    uid: str


T = TypeVar("T", bound=msgspec.Struct)


class SignedTokens(Generic[T]):
    """Bearer tokens that carry a claim in the open and our signature over it.

    Deterministic: the same claim is the same token. The signature proves only that we issued it.
    """

    def __init__(self, key: bytes, *, prefix: str, claim: type[T]) -> None:
        self._key = key
        self._prefix = prefix
        self._claim = claim

    def issue(self, claim: T) -> SecretText:
        payload = _encode(msgspec.json.encode(claim))
        return SecretText(f"{self._prefix}.{payload}.{_encode(self._sign(payload))}")

    def read(self, token: str) -> T | None:
        """Return the claim of `token`, or None when we did not issue it."""
        parts = token.split(".") if len(token) <= MAX_TOKEN_LENGTH and token.isascii() else []
        if len(parts) != 3 or parts[0] != self._prefix:
            return None
        with contextlib.suppress(binascii.Error, ValueError, msgspec.DecodeError):
            if hmac.compare_digest(_decode(parts[2]), self._sign(parts[1])):
                return msgspec.json.decode(_decode(parts[1]), type=self._claim)
        return None

    def _sign(self, payload: str) -> bytes:
        return hmac.digest(self._key, f"{self._prefix}.{payload}".encode(), "sha256")


class HostTokens:
    """Bearer tokens of hosts: deterministic, so registering again returns the same token.

    Whether that MachineInventory still exists is for the caller to check; deleting it is how a token is
    revoked.
    """

    def __init__(self, key: bytes) -> None:
        self._tokens = SignedTokens(key, prefix=HOST_TOKEN_PREFIX, claim=HostIdentity)

    @classmethod
    def load_or_create(cls, path: Path) -> "HostTokens":
        return cls(load_or_create_key(path))

    def issue(self, *, namespace: str, name: str, uid: str) -> SecretText:
        return self._tokens.issue(HostIdentity(namespace, name, uid))

    def identify(self, token: str) -> HostIdentity | None:
        """Return whom `token` speaks for, or None when we did not issue it."""
        return self._tokens.read(token)


class AdminToken:
    """The one token that may do everything over TLS; the socket needs none."""

    def __init__(self, secret: SecretText) -> None:
        self.secret = secret

    @classmethod
    def load_or_create(cls, path: Path) -> "AdminToken":
        text = _load_or_create(path, lambda: f"ska1.{secrets.token_urlsafe(32)}\n".encode())
        return cls(SecretText(text.decode().strip()))

    def matches(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(errors="replace"), self.secret.reveal().encode())


def load_or_create_key(path: Path) -> bytes:
    """A signing key of 32 bytes, kept at `path`."""
    return _load_or_create(path, lambda: secrets.token_bytes(32))


def _load_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    if not path.exists():
        make_private_directory(path.parent)
        write_durably(path, make(), mode=PRIVATE)
    return path.read_bytes()


def _self_sign(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    # The serial in the name keeps two boxes' CAs apart in a technician's key store.
    name = _name(f"Skerry CA {secrets.token_hex(4)}")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(EPOCH)
        .not_valid_after(datetime.now(UTC) + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _render_certificate(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _render_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _parse_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("The key is not an elliptic curve key.")
    return key


def _public_bytes(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
