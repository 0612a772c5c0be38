"""Keys, signatures and whom to trust."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from bundles.errors import BadSignature, KeyUnusable, OutputExists, UntrustedSigner
from bundles.signing import (
    load_private_key,
    load_trust,
    parse_private_key,
    parse_public_key,
    sign,
    verify,
    write_key_pair,
)
from tests.bundles.factories import KEY, STRANGER, TRUST


@given(st.binary(max_size=200))
def test_what_a_trusted_key_signed_is_believed(content: bytes) -> None:
    assert verify(content, sign(content, KEY), TRUST) == KEY.public.key_id


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_flipped_bit_of_the_content_is_noticed(content: bytes, data: st.DataObject) -> None:
    signature = sign(content, KEY)

    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(BadSignature):
        verify(bytes(changed), signature, TRUST)


def test_every_flipped_bit_of_the_signature_is_noticed() -> None:
    signature = sign(b"content", KEY)

    for position in range(len(signature) * 8):
        changed = bytearray(signature)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises((BadSignature, UntrustedSigner)):
            verify(b"content", bytes(changed), TRUST)


def test_an_unknown_signer_is_refused_by_name() -> None:
    with pytest.raises(UntrustedSigner, match=STRANGER.public.key_id):
        verify(b"content", sign(b"content", STRANGER), TRUST)


def test_a_stranger_who_borrows_a_trusted_name_is_refused() -> None:
    forged = sign(b"content", STRANGER).replace(STRANGER.public.key_id.encode(), KEY.public.key_id.encode())

    with pytest.raises(BadSignature):
        verify(b"content", forged, TRUST)


@pytest.mark.parametrize(
    "spelling",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"algorithm":"ed25519","keyId":"../../etc/passwd","signature":""}\n',
        b'{"algorithm":"ed25519","keyId":"0000000000000000","signature":"zz"}\n',
        b'{"algorithm":"none","keyId":"0000000000000000","signature":"' + b"00" * 64 + b'"}\n',
    ],
)
def test_what_is_no_signature_is_refused(spelling: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(b"content", spelling, TRUST)


def test_the_same_signature_spelled_otherwise_is_refused() -> None:
    with pytest.raises(BadSignature):
        verify(b"content", sign(b"content", KEY) + b" ", TRUST)


def test_a_key_pair_is_written_for_its_owner_only(tmp_path: Path) -> None:
    public = write_key_pair(tmp_path / "signer")

    assert (tmp_path / "signer").stat().st_mode & 0o777 == 0o600
    assert load_private_key(tmp_path / "signer").public.key_id == public.key_id
    assert list(load_trust(tmp_path)) == [public.key_id]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "signer")
    before = (tmp_path / "signer").read_bytes()

    with pytest.raises(OutputExists):
        write_key_pair(tmp_path / "signer")

    assert (tmp_path / "signer").read_bytes() == before


def test_a_private_key_shows_nothing_of_itself() -> None:
    assert repr(KEY) == f"PrivateKey({KEY.public.key_id}, ****)"


def test_no_folder_of_trusted_keys_trusts_nobody(tmp_path: Path) -> None:
    assert load_trust(tmp_path / "none") == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", b"x" * 100_000, KEY.public.render()[:-40]],
    ids=["empty", "junk", "too long", "cut off"],
)
def test_a_damaged_trusted_key_is_an_error_that_names_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "site.pub").write_bytes(content)

    with pytest.raises(KeyUnusable, match=r"site\.pub"):
        load_trust(tmp_path)


def test_a_key_of_another_kind_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    with pytest.raises(KeyUnusable, match="Ed25519"):
        parse_private_key(private)
    with pytest.raises(KeyUnusable, match="Ed25519"):
        parse_public_key(public)
    with pytest.raises(KeyUnusable):
        parse_private_key(public)


@pytest.mark.interop
def test_openssl_derives_the_same_key_id(tmp_path: Path) -> None:
    public = write_key_pair(tmp_path / "signer")

    der = subprocess.run(
        ["openssl", "pkey", "-in", str(tmp_path / "signer"), "-pubout", "-outform", "DER"],
        check=True,
        capture_output=True,
    ).stdout
    digest = subprocess.run(["sha256sum"], input=der, check=True, capture_output=True).stdout

    assert digest[:16].decode() == public.key_id
