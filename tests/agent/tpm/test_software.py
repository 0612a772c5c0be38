"""The software TPM: an identity that lasts, and attestations a verifier believes."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent.errors import StateInvalid
from agent.protocol.credential import make_credential
from agent.protocol.endorsement import hash_endorsement_key, parse_endorsement
from agent.protocol.errors import CredentialRejected
from agent.protocol.token import TpmToken
from agent.tpm.base import Tpm
from agent.tpm.primes import derive_rsa_key
from agent.tpm.software import SoftwareTpm, attest_key, load_or_create
from appliance.attestation.verifier import Trusted, verify


def tpm_hash(tpm: Tpm) -> str:
    return hash_endorsement_key(parse_endorsement(tpm.attest().endorsement).key)


def test_a_seed_is_an_identity() -> None:
    assert tpm_hash(SoftwareTpm.from_seed(42)) == tpm_hash(SoftwareTpm.from_seed(42))
    assert tpm_hash(SoftwareTpm.from_seed(42)) != tpm_hash(SoftwareTpm.from_seed(43))


def test_a_verifier_believes_it_and_it_opens_its_own_challenge() -> None:
    tpm: Tpm = SoftwareTpm.from_seed(1)
    verdict = verify(tpm.attest())
    assert isinstance(verdict, Trusted)

    challenge = make_credential(verdict.endorsement_key, verdict.attestation_name, secret=b"s" * 32)

    assert tpm.activate(challenge) == b"s" * 32
    assert tpm.auth == "emulated-tpm"


def test_closing_gives_the_attestation_key_up() -> None:
    tpm = SoftwareTpm.from_seed(1)
    token = tpm.attest()
    assert tpm.attest() == token
    verdict = verify(token)
    assert isinstance(verdict, Trusted)
    challenge = make_credential(verdict.endorsement_key, verdict.attestation_name, secret=b"s" * 32)

    tpm.close()

    with pytest.raises(CredentialRejected):
        tpm.activate(challenge)


def test_a_certificate_takes_the_place_of_the_public_key() -> None:
    attestation = attest_key(derive_rsa_key(b"attestation"))
    tpm = SoftwareTpm(ec.derive_private_key(7, ec.SECP256R1()), certificate=b"PEM", attestation=attestation)

    assert tpm.attest() == TpmToken(b"PEM", attestation.key)


def test_an_identity_of_its_own_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "secret" / "tpm.pem"

    first = tpm_hash(load_or_create(path))

    assert tpm_hash(load_or_create(path)) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["tpm.pem"]


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\xff" * 100_000, pem(ec.generate_private_key(ec.SECP256R1()))]
)
def test_a_spoilt_identity_is_not_silently_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tpm.pem"
    path.write_bytes(content)

    with pytest.raises(StateInvalid, match=r"tpm\.pem does not hold") as caught:
        load_or_create(path)

    assert "approved again" in caught.value.hint
    assert path.read_bytes() == content
