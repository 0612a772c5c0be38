"""Endorsement certificates: those of a trusted maker are believed, and everything else is told apart."""

import warnings
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from hypothesis import given
from hypothesis import strategies as st

from appliance.attestation.chains import (
    ChainVerdict,
    Doubtful,
    Genuine,
    Roots,
    check_authority,
    check_chain,
    is_anchor,
    latest_time,
)
from appliance.attestation.profile import NotOfProfile, check_profile
from tests.appliance.attestation.makers import (
    MAKER,
    NOW,
    SERVER_PURPOSE,
    Authority,
    issue,
    make_authority,
    rsa_key,
)

EK = rsa_key(1).public_key()
EC_EK = ec.generate_private_key(ec.SECP256R1()).public_key()
ROOT = make_authority("Maker Root")
MIDDLE = ROOT.authority("Maker CA 1")
ROOTS = Roots([ROOT.certificate], [MIDDLE.certificate])
ROOT_TIME = datetime(2021, 1, 1, tzinfo=UTC)


def check(certificate: x509.Certificate | None, roots: Roots = ROOTS, *, now: datetime = NOW) -> ChainVerdict:
    return check_chain(certificate, EK, roots, now=now)


def doubt(certificate: x509.Certificate | None, roots: Roots = ROOTS, *, now: datetime = NOW) -> Doubtful:
    verdict = check(certificate, roots, now=now)
    assert isinstance(verdict, Doubtful), "the certificate was believed"
    return verdict


@pytest.mark.parametrize("key", [EK, EC_EK], ids=["RSA", "P-256"])
def test_a_certificate_below_a_trusted_maker_is_genuine(key: "ec.EllipticCurvePublicKey") -> None:
    verdict = check_chain(issue(MIDDLE, key), key, ROOTS, now=NOW)

    assert isinstance(verdict, Genuine)
    assert (verdict.maker.manufacturer, verdict.maker.model) == ("id:49465800", "SLB9670")
    assert verdict.root == "CN=Maker Root"


def test_a_certificate_directly_below_the_root_is_genuine() -> None:
    assert isinstance(check(issue(ROOT, EK)), Genuine)


def test_a_subject_makes_the_other_names_criticality_a_matter_of_taste() -> None:
    assert isinstance(check(issue(MIDDLE, EK, has_subject=True, is_critical=False)), Genuine)


def test_no_certificate_is_told_from_a_wrong_one() -> None:
    assert doubt(None).doubt == "absent"


def test_a_certificate_of_another_key_is_refused() -> None:
    assert doubt(issue(MIDDLE, rsa_key(2).public_key())).doubt == "key"


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        pytest.param(issue(MIDDLE, EK, purposes=None), "not for an endorsement key", id="no purpose"),
        pytest.param(
            issue(MIDDLE, EK, purposes=[SERVER_PURPOSE]), "not for an endorsement key", id="wrong purpose"
        ),
        pytest.param(issue(MIDDLE, EK, allowed=()), "does not say what its key is for", id="no usage"),
        pytest.param(
            issue(MIDDLE, EK, allowed=("digital_signature",)), "not for key encipherment", id="wrong usage"
        ),
        pytest.param(
            issue(MIDDLE, EK, allowed=("key_encipherment", "key_cert_sign")),
            "may sign certificates",
            id="signing usage",
        ),
        pytest.param(issue(MIDDLE, EK, is_authority=True), "an authority's", id="authority"),
        pytest.param(issue(MIDDLE, EK, strange=True), "1.3.6.1.4.1.99999.1", id="critical extension"),
        pytest.param(issue(MIDDLE, EK, maker=None), "who made the TPM", id="no maker"),
        pytest.param(issue(MIDDLE, EK, maker=MAKER[:1]), "name the TPM's model, version", id="half a maker"),
        pytest.param(issue(MIDDLE, EK, is_critical=False), "not critical", id="name not critical"),
    ],
)
def test_what_breaks_the_profile_is_named(certificate: x509.Certificate, said: str) -> None:
    refused = doubt(certificate)

    assert refused.doubt == "profile"
    assert said in refused.reason


def test_an_ec_key_must_be_for_agreement() -> None:
    refused = check_profile(issue(MIDDLE, EC_EK, allowed=("key_encipherment",)))

    assert refused == NotOfProfile("the certificate's key is not for key agreement")


def test_an_ended_certificate_is_refused_with_its_day() -> None:
    refused = doubt(issue(MIDDLE, EK, end=NOW - timedelta(days=1)))

    assert (refused.doubt, "2026-11-20" in refused.reason) == ("expired", True)


def test_a_clock_that_stands_in_the_past_refuses_nobody() -> None:
    assert isinstance(check(issue(MIDDLE, EK), now=datetime(1970, 1, 1, tzinfo=UTC)), Genuine)


def test_time_is_the_latest_that_there_is_a_witness_for() -> None:
    assert latest_time(ROOT_TIME, None, NOW) == NOW
    assert latest_time(NOW, ROOT_TIME) == NOW


def test_an_ended_intermediate_is_refused_and_an_ended_root_is_not() -> None:
    old = ROOT.authority("Old CA", end=NOW - timedelta(days=1))
    old_root = make_authority("Old Root", end=NOW - timedelta(days=1))

    assert doubt(issue(old, EK), Roots([ROOT.certificate], [old.certificate])).doubt == "expired"
    assert isinstance(check(issue(old_root, EK), Roots([old_root.certificate])), Genuine)


def test_without_roots_nobody_is_believed_and_the_way_out_is_said() -> None:
    assert "ek-roots add" in doubt(issue(MIDDLE, EK), Roots()).reason


def test_an_unknown_maker_is_named() -> None:
    stranger = make_authority("Stranger Root")

    assert "CN=Stranger Root" in doubt(issue(stranger, EK)).reason


def test_a_self_signed_certificate_is_nobodys() -> None:
    forged = Authority(ROOT.certificate, rsa_key(1))  # type: ignore[arg-type]
    certificate = issue(forged, EK)

    assert "did not sign it" in doubt(certificate).reason


def test_a_forger_with_the_makers_name_is_found_out_and_does_not_hide_the_maker() -> None:
    forger = make_authority("Maker Root", subject=ROOT.certificate.subject)

    assert "did not sign it" in doubt(issue(forger, EK)).reason
    both = Roots([forger.certificate, ROOT.certificate])
    assert isinstance(check(issue(ROOT, EK), both), Genuine)


def test_an_intermediate_alone_is_no_anchor() -> None:
    assert "no TPM maker is trusted" in doubt(issue(MIDDLE, EK), Roots([], [MIDDLE.certificate])).reason


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param({"ca": False}, "is no authority", id="not a CA"),
        pytest.param({"has_constraints": False}, "is no authority", id="no constraints"),
        pytest.param({"signs": False}, "may not sign certificates", id="wrong usage"),
        pytest.param({"strange": True}, "critical extension", id="critical extension"),
    ],
)
def test_an_intermediate_must_be_an_authority(wrong: dict[str, bool], said: str) -> None:
    middle = ROOT.authority("Wrong CA", **wrong)

    refused = doubt(issue(middle, EK), Roots([ROOT.certificate], [middle.certificate]))

    assert (refused.doubt, said in refused.reason) == ("issuer", True)


def test_a_path_longer_than_its_root_allows_is_refused() -> None:
    root = make_authority("Short Root", path_length=0)
    middle = root.authority("Below")

    refused = doubt(issue(middle, EK), Roots([root.certificate], [middle.certificate]))

    assert "allows 0 authorities below it; there are 1" in refused.reason


def test_a_chain_that_is_too_long_is_refused() -> None:
    chain = [ROOT]
    for number in range(6):
        chain.append(chain[-1].authority(f"Level {number}"))
    roots = Roots([ROOT.certificate], [each.certificate for each in chain[1:]])

    assert "more than 4 authorities" in doubt(issue(chain[6], EK), roots).reason
    assert isinstance(check(issue(chain[4], EK), roots), Genuine)


def test_authorities_that_sign_each_other_end_the_walk() -> None:
    first = make_authority("Loop A")
    second = make_authority("Loop B", issuer=first)
    crossed = make_authority("Loop A", issuer=second, subject=first.certificate.subject)
    roots = Roots([ROOT.certificate], [second.certificate, crossed.certificate])

    assert doubt(issue(second, EK), roots).doubt == "issuer"


def test_a_revoked_certificate_is_refused_and_so_is_all_below_a_revoked_authority() -> None:
    certificate = issue(MIDDLE, EK)
    by_middle = Roots([ROOT.certificate], [MIDDLE.certificate], [MIDDLE.revoke(certificate)])
    by_root = Roots([ROOT.certificate], [MIDDLE.certificate], [ROOT.revoke(MIDDLE.certificate)])

    assert doubt(certificate, by_middle).doubt == "revoked"
    assert doubt(certificate, by_root).doubt == "revoked"


def test_a_revocation_that_its_issuer_did_not_sign_counts_for_nothing() -> None:
    certificate = issue(MIDDLE, EK)
    forger = make_authority("x", subject=MIDDLE.certificate.subject)
    lists = [forger.revoke(certificate), ROOT.revoke(certificate), MIDDLE.revoke(ROOT.certificate)]

    assert isinstance(check(certificate, Roots([ROOT.certificate], [MIDDLE.certificate], lists)), Genuine)


def test_only_the_self_signed_are_anchors() -> None:
    assert is_anchor(ROOT.certificate)
    assert not is_anchor(MIDDLE.certificate)
    assert not check_authority(ROOT.certificate)


@given(st.data())
def test_no_changed_certificate_is_believed(data: st.DataObject) -> None:
    der = DER
    at = data.draw(st.integers(0, len(der) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != der[at]))
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # negative serials and the like
    try:
        changed = x509.load_der_x509_certificate(der[:at] + bytes([byte]) + der[at + 1 :])
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm):
        return

    assert isinstance(check(changed), Doubtful)


@pytest.mark.parametrize("part", [b"Maker CA 1", b"\x67\x81\x05\x08\x01"], ids=["issuer", "purpose"])
def test_a_part_that_cannot_be_read_refuses_the_whole(part: bytes) -> None:
    tag = DER.index(part) - 2
    certificate = x509.load_der_x509_certificate(DER[:tag] + b"\x00" + DER[tag + 1 :])

    refused = doubt(certificate)

    assert (refused.doubt, "cannot be read" in refused.reason) == ("profile", True)
    assert "cannot be read" in check_authority(certificate)
    assert isinstance(check_profile(certificate), NotOfProfile)


DER = issue(MIDDLE, EK).public_bytes(Encoding.DER)
