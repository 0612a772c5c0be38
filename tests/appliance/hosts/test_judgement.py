"""The verdict on a machine that proved who it is, from values alone."""

from dataclasses import replace

import pytest

from appliance.attestation.chains import Doubtful, Genuine
from appliance.attestation.profile import Maker
from appliance.hosts.claims import Claims
from appliance.hosts.expected import ExpectedHost
from appliance.hosts.handshake import Machine, Registrant
from appliance.hosts.judgement import EK_MAKER, EK_VERDICT, EXPECTED_AS, Findings, describe_doubt, judge
from appliance.hosts.policy import RegistrationPolicy
from appliance.resources.machine_inventory import (
    APPROVAL,
    APPROVALS_NEEDED,
    APPROVED_BY,
    IDENTITY_ACCEPTED,
    IDENTITY_DOUBT,
    SERIAL,
    WANTED_REGISTRATION,
    MachineInventory,
)
from appliance.resources.meta import ObjectMeta

TPM = Machine("tpm", "ab" * 32)
COMER = Registrant(TPM)
NEW = Findings(registration="plant", claims=Claims("SN-1"))
LINE = ExpectedHost(line=2, serial="SN-1")
PROVED = ExpectedHost(line=3, ek_hash="ab" * 32)
CLASH = [(("ns", "m-2"), "serial=SN-1")]


def known(**annotations: str) -> MachineInventory:
    return MachineInventory(
        api_version="elemental.cattle.io/v1beta1",
        kind="MachineInventory",
        metadata=ObjectMeta(name="m-1", namespace="ns", annotations=annotations),
    )


def annotations(policy: RegistrationPolicy, findings: Findings, comer: Registrant = COMER) -> dict[str, str]:
    judgement = judge(policy, comer, findings)
    assert judgement.refusal == ""
    return dict(judgement.annotations)


def test_problems_refuse_everybody_with_the_first() -> None:
    policy = RegistrationPolicy(problems=("one", "two"))

    assert judge(policy, COMER, NEW).refusal == "the registration plant is not in order: one"


def test_an_emulated_tpm_is_refused_where_a_real_one_is_asked_for() -> None:
    comer = replace(COMER, annotations={"auth": "emulated-tpm"})

    assert "emulated" in judge(RegistrationPolicy(), comer, NEW).refusal


@pytest.mark.parametrize(
    ("policy", "findings", "wanted"),
    [
        (RegistrationPolicy(), NEW, {APPROVAL: "pending"}),
        (
            RegistrationPolicy(approval="automatic"),
            NEW,
            {APPROVAL: "approved", APPROVED_BY: "registration plant"},
        ),
        (RegistrationPolicy(approval="two-person"), NEW, {APPROVAL: "pending", APPROVALS_NEEDED: "2"}),
        (RegistrationPolicy(approval="automatic"), replace(NEW, clashes=CLASH), {APPROVAL: "pending"}),
        (
            RegistrationPolicy(approval="two-person"),
            replace(NEW, clashes=CLASH),
            {APPROVAL: "pending", APPROVALS_NEEDED: "2"},
        ),
        (
            RegistrationPolicy(expected="record", approve_expected="any"),
            replace(NEW, expected=LINE),
            {APPROVAL: "approved", APPROVED_BY: "expected hosts, line 2", EXPECTED_AS: "serial=SN-1"},
        ),
        (
            RegistrationPolicy(expected="record", approve_expected="proved"),
            replace(NEW, expected=LINE),
            {APPROVAL: "pending", EXPECTED_AS: "serial=SN-1"},
        ),
        (
            RegistrationPolicy(expected="require", approve_expected="proved"),
            replace(NEW, expected=PROVED),
            {
                APPROVAL: "approved",
                APPROVED_BY: "expected hosts, line 3",
                EXPECTED_AS: "ek=abababababababab",
            },
        ),
        (
            RegistrationPolicy(expected="record", approve_expected="any"),
            replace(NEW, expected=LINE, expected_taken_by="m-9"),
            {APPROVAL: "pending"},
        ),
        (
            RegistrationPolicy(expected="record", approve_expected="any"),
            replace(NEW, expected=LINE, clashes=CLASH),
            {APPROVAL: "pending", EXPECTED_AS: "serial=SN-1"},
        ),
    ],
    ids=[
        *("required", "automatic", "two people", "double", "double for two people", "expected"),
        *("expected, not proved", "expected and proved", "line taken", "expected double"),
    ],
)
def test_what_a_new_machine_starts_with(
    policy: RegistrationPolicy, findings: Findings, wanted: dict[str, str]
) -> None:
    assert annotations(policy, findings) == {SERIAL: "SN-1", **wanted}


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        (NEW, "not on the list of hosts that plant expects"),
        (
            replace(NEW, expected=LINE, expected_taken_by="m-9"),
            "line 2 of the expected hosts has come already",
        ),
        (replace(NEW, known=known(**{APPROVAL: "pending"})), "not on the list"),
    ],
    ids=["unknown", "taken", "known, not approved"],
)
def test_only_expected_hosts_come_where_that_is_required(findings: Findings, said: str) -> None:
    assert said in judge(RegistrationPolicy(expected="require"), COMER, findings).refusal


def test_who_was_approved_stays_when_its_line_goes() -> None:
    findings = replace(NEW, known=known(**{APPROVAL: "approved"}))

    assert annotations(RegistrationPolicy(expected="require"), findings) == {SERIAL: "SN-1"}


def test_a_machine_of_another_registration_is_refused_and_doubted_and_nothing_else_is_changed() -> None:
    findings = replace(NEW, known=known(), registered_elsewhere="hall")

    judgement = judge(RegistrationPolicy(approval="automatic"), COMER, findings)

    assert "m-1 of registration hall" in judgement.refusal
    assert set(judgement.annotations) == {IDENTITY_DOUBT, WANTED_REGISTRATION}


def test_a_known_machines_approval_is_never_decided_anew() -> None:
    findings = replace(NEW, known=known(**{APPROVAL: "pending"}))

    assert APPROVAL not in annotations(RegistrationPolicy(approval="automatic"), findings)


def test_what_a_machine_says_otherwise_is_kept_beside_the_record() -> None:
    findings = replace(NEW, known=known(**{SERIAL: "SN-0"}))

    assert annotations(RegistrationPolicy(), findings) == {
        IDENTITY_DOUBT: "came again with serial SN-1, which was SN-0",
        "skerry.dev/reported-serial": "SN-1",
    }


@pytest.mark.parametrize(
    ("chain", "wanted"),
    [
        (None, {}),
        (
            Genuine(Maker("id:1", "M", "2"), "CN=Root"),
            {EK_VERDICT: "genuine: issued below CN=Root", EK_MAKER: "id:1 M 2"},
        ),
        (Doubtful("issuer", "nobody's"), {EK_VERDICT: "issuer: nobody's"}),
    ],
    ids=["not asked", "genuine", "doubtful"],
)
def test_what_is_known_of_the_certificate_is_remembered(
    chain: Genuine | Doubtful | None, wanted: dict[str, str]
) -> None:
    comer = Registrant(replace(TPM, chain=chain))

    assert annotations(RegistrationPolicy(), replace(NEW, known=known()), comer) == {SERIAL: "SN-1", **wanted}


def test_a_doubt_that_a_person_put_aside_is_told_again_only_when_it_grows() -> None:
    doubt = describe_doubt(known(**{IDENTITY_DOUBT: "came again"}), CLASH)
    accepted = known(**{IDENTITY_DOUBT: "came again", IDENTITY_ACCEPTED: doubt})
    more = [*CLASH, (("ns", "m-3"), "serial=SN-1")]

    assert doubt == "came again; serial=SN-1 is also m-2's"
    assert describe_doubt(accepted, CLASH) == ""
    assert "m-3" in describe_doubt(accepted, more)
    assert describe_doubt(known(), []) == ""
