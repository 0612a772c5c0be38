"""The TPM makers' certificates that a person trusts: PEM files of one folder, read again when it changes.

One certificate or revocation list a file, named by its digest, so that adding one twice changes nothing.

RootsFault (an ApplianceFault): a file holds nothing that could be trusted, or there is none of that id
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.attestation.chains import Roots, check_authority, is_anchor
from appliance.attestation.profile import find_damage
from appliance.errors import ApplianceFault
from appliance.files import PUBLIC, make_private_directory, sync_directory, write_durably

FOLDER = "ek-roots"
MAX_FILE_BYTES = 512 * 1024  # a maker's revocation list can be long
MAX_FILES = 1_000
_BLOCK = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CRL)-----.+?-----END \1-----", re.DOTALL)
_ID = re.compile(r"[0-9a-f]{16}")


class RootsFault(ApplianceFault):
    pass


@dataclass(frozen=True, slots=True)
class Root:
    """One of them as people see it. `ends` is a day; a revocation list's is when the next one was due."""

    id: str
    kind: Literal["root", "intermediate", "revocations"]
    name: str
    ends: str


def add_roots(folder: Path, pem: bytes) -> list[Root]:
    """Trust everything in a PEM file, or nothing of it. Raises RootsFault."""
    if len(pem) > MAX_FILE_BYTES:
        raise RootsFault(f"The file is over {MAX_FILE_BYTES} bytes.", hint="Give certificates one by one.")
    blocks = [(match[1], match[0] + b"\n") for match in _BLOCK.finditer(pem)]
    if not blocks:
        raise RootsFault("The file holds no certificate in PEM.", hint="openssl x509 -inform der -in FILE")
    parsed = [(_parse(label, block), block) for label, block in blocks]
    for each, _ in parsed:
        if isinstance(each, x509.Certificate) and (reason := check_authority(each)):
            raise RootsFault(f"This cannot be a TPM maker's authority: {reason}.")
    make_private_directory(folder)
    if len(list(folder.glob("*.pem"))) + len(parsed) > MAX_FILES:
        raise RootsFault(f"More than {MAX_FILES} certificates of TPM makers are too many.")
    for each, block in parsed:
        write_durably(folder / f"{_identify(each)}.pem", block, mode=PUBLIC)
    return [_describe(each) for each, _ in parsed]


def list_roots(folder: Path) -> list[Root]:
    """Everything that is trusted, by id. Raises RootsFault when a file of the folder cannot be read."""
    return sorted((_describe(each) for each in _read(folder)), key=lambda root: root.id)


def remove_root(folder: Path, id: str) -> Root:
    """Trust it no longer; machines that are in stay in. Raises RootsFault."""
    found = next((root for root in list_roots(folder) if root.id == id), None) if _ID.fullmatch(id) else None
    if found is None:
        raise RootsFault(
            f"No TPM maker's certificate has the id {id[:40]!r}.", hint="skerry trust ek-roots list"
        )
    for path in folder.glob("*.pem"):
        if _describe(_parse_file(path)).id == id:
            path.unlink()
    sync_directory(folder)
    return found


class TrustedRoots:
    """The folder as a value, read again when it was written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = -1
        self._roots = Roots()

    def current(self) -> Roots:
        """Raises RootsFault: with a file that cannot be read nobody is believed."""
        try:
            seen = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return Roots()
        if seen != self._seen:
            self._roots = load_roots(self._folder)
            self._seen = seen
        return self._roots


def load_roots(folder: Path) -> Roots:
    """Raises RootsFault."""
    found = _read(folder)
    certificates = [each for each in found if isinstance(each, x509.Certificate)]
    return Roots(
        anchors=[each for each in certificates if is_anchor(each)],
        intermediates=[each for each in certificates if not is_anchor(each)],
        revocations=[each for each in found if not isinstance(each, x509.Certificate)],
    )


def _read(folder: Path) -> "Sequence[x509.Certificate | x509.CertificateRevocationList]":
    return [_parse_file(path) for path in sorted(folder.glob("*.pem"))] if folder.is_dir() else []


def _parse_file(path: Path) -> "x509.Certificate | x509.CertificateRevocationList":
    content = path.read_bytes()[: MAX_FILE_BYTES + 1]
    match = _BLOCK.search(content)
    if match is None or len(content) > MAX_FILE_BYTES:
        raise RootsFault(f"{path} is no certificate.", hint="skerry trust ek-roots add, or remove the file")
    return _parse(match[1], match[0])


def _parse(label: bytes, block: bytes) -> "x509.Certificate | x509.CertificateRevocationList":
    try:
        if label == b"X509 CRL":
            return x509.load_pem_x509_crl(block)
        certificate = x509.load_pem_x509_certificate(block)
        if damage := find_damage(certificate):
            raise RootsFault(f"A certificate is damaged: {damage}.")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RootsFault(f"A certificate cannot be read: {error}") from error
    return certificate


def _describe(each: "x509.Certificate | x509.CertificateRevocationList") -> Root:
    if isinstance(each, x509.Certificate):
        kind: Literal["root", "intermediate"] = "root" if is_anchor(each) else "intermediate"
        ends = each.not_valid_after_utc.strftime("%Y-%m-%d")
        return Root(_identify(each), kind, each.subject.rfc4514_string()[:200], ends)
    due = each.next_update_utc
    ends = due.strftime("%Y-%m-%d") if due else ""
    return Root(_identify(each), "revocations", each.issuer.rfc4514_string()[:200], ends)


def _identify(each: "x509.Certificate | x509.CertificateRevocationList") -> str:
    return hashlib.sha256(each.public_bytes(Encoding.DER)).hexdigest()[:16]
