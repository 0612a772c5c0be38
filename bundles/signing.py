"""Ed25519 signatures over a bundle's manifest, and the one decision about whom to trust.

Keys are PEM files (PKCS#8 and SubjectPublicKeyInfo), so openssl reads them. A key's id is the first 16 hex
digits of the SHA-256 of its SubjectPublicKeyInfo DER. Nothing here opens a connection or reads a clock.

The signature file is canonical JSON (sorted keys, no spaces, hex in small letters): any other spelling of
the same signature is refused, so no bit of it can change unnoticed.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bundles.errors import BadSignature, KeyUnusable, OutputExists, UntrustedSigner

MAX_SIGNATURE_BYTES = 4096
MAX_KEY_BYTES = 16 * 1024
DOMAIN = b"skerry-bundle-v1\0"  # so that a signature over a bundle can never pass for one over something else
PUBLIC_SUFFIX = ".pub"

Trust = Mapping[str, "PublicKey"]


class Signature(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    algorithm: str
    key_id: str
    signature: str


class PublicKey:
    """A signer that can be trusted; `key_id` is its name."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.key_id = _key_id(key)

    def __repr__(self) -> str:
        return f"PublicKey({self.key_id})"

    def has_signed(self, content: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, DOMAIN + content)
        except InvalidSignature:
            return False
        return True

    def render(self) -> bytes:
        return _render_public(self._key)


class PrivateKey:
    """A signing key; it shows nothing of itself but its id."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.key_id}, ****)"

    def sign(self, content: bytes) -> bytes:
        return self._key.sign(DOMAIN + content)


def generate_key() -> tuple[bytes, bytes]:
    """Make a key pair: the private key's PEM and the public key's."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, _render_public(key.public_key())


def write_key_pair(path: Path) -> PublicKey:
    """Make a key pair at `path` (mode 0600) and `path`.pub; an existing key is never overwritten."""
    private, public = generate_key()
    public_path = path.with_name(path.name + PUBLIC_SUFFIX)
    for place in (path, public_path):
        if place.exists() or place.is_symlink():
            raise OutputExists(
                f"{place} exists already", hint="choose another name; keys are never overwritten"
            )
    _write_new(path, private, mode=0o600)
    _write_new(public_path, public, mode=0o644)
    return parse_public_key(public, name=str(public_path))


def load_private_key(path: Path) -> PrivateKey:
    return parse_private_key(_read_key(path), name=str(path))


def parse_private_key(pem: bytes, *, name: str = "the key") -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(
            f"{name} is not a readable private key", hint="make one with: skerry bundle keygen"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{name} is not an Ed25519 private key", hint="make one with: skerry bundle keygen")
    return PrivateKey(key)


def parse_public_key(pem: bytes, *, name: str = "the key") -> PublicKey:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"{name} is not a readable public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable(f"{name} is not an Ed25519 public key")
    return PublicKey(key)


def load_trust(directory: Path) -> dict[str, PublicKey]:
    """Read every `*.pub` in `directory`. A missing directory trusts nobody; a damaged key is an error."""
    paths = sorted(directory.glob("*" + PUBLIC_SUFFIX)) if directory.is_dir() else []
    return trust_of(*(parse_public_key(_read_key(path), name=str(path)) for path in paths))


def trust_of(*keys: PublicKey) -> dict[str, PublicKey]:
    return {key.key_id: key for key in keys}


def sign(content: bytes, key: PrivateKey) -> bytes:
    """Return the signature file for `content`."""
    return _render(
        Signature(algorithm="ed25519", key_id=key.public.key_id, signature=key.sign(content).hex())
    )


def verify(content: bytes, signature_file: bytes, trust: Trust) -> str:
    """Return the id of the trusted key that signed `content`; raise UntrustedSigner or BadSignature."""
    signature = _parse(signature_file)
    signer = trust.get(signature.key_id)
    if signer is None:
        raise UntrustedSigner(
            f"the bundle is signed by key {signature.key_id}, which this appliance does not trust",
            hint="ask the sender for the public key by another way, then add it to the trusted keys",
        )
    if not signer.has_signed(content, bytes.fromhex(signature.signature)):
        raise BadSignature(
            f"bundle.json is not what key {signature.key_id} signed: it was damaged or altered",
            hint="copy the bundle again from its source",
        )
    return signer.key_id


def _parse(signature_file: bytes) -> Signature:
    try:
        signature = msgspec.json.decode(signature_file, type=Signature)
        well_formed = (
            signature.algorithm == "ed25519"
            and len(signature.signature) == 128
            and bytes.fromhex(signature.signature).hex() == signature.signature
            and _render(signature) == signature_file
            and _is_key_id(signature.key_id)
        )
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadSignature("bundle.json.sig is not a readable signature", hint=_COPY_AGAIN) from error
    if not well_formed:
        raise BadSignature("bundle.json.sig is not a well formed Ed25519 signature", hint=_COPY_AGAIN)
    return signature


_COPY_AGAIN = "copy the bundle again from its source"


def _render(signature: Signature) -> bytes:
    return msgspec.json.encode(signature, order="sorted") + b"\n"


def _is_key_id(text: str) -> bool:
    return len(text) == 16 and all(character in "0123456789abcdef" for character in text)


def _key_id(key: Ed25519PublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:16]


def _render_public(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _read_key(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_KEY_BYTES:
        raise KeyUnusable(f"{path} is too large to be a key")
    return content


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
