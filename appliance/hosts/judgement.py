"""May this machine have what its registration gives, and what is to be remembered of it? Pure.

Everything that is known comes in as an argument; the answer is a refusal in words or the annotations that
its MachineInventory gets. Who proved to be a known machine is never given another one's record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from appliance.attestation.chains import ChainVerdict, Doubtful, Genuine
from appliance.hosts.claims import Claims, find_changes, recorded_claims
from appliance.hosts.expected import ExpectedHost
from appliance.hosts.handshake import Registrant
from appliance.hosts.identities import Machine, describe_clashes
from appliance.hosts.policy import RegistrationPolicy, check_emulation
from appliance.resources.machine_inventory import (
    APPROVAL,
    APPROVALS_NEEDED,
    APPROVED_BY,
    IDENTITY_ACCEPTED,
    IDENTITY_DOUBT,
    REPORTED,
    WANTED_REGISTRATION,
    MachineInventory,
)

EK_VERDICT = "skerry.dev/ek-certificate"  # genuine, or what is doubtful about it
EK_MAKER = "skerry.dev/tpm-maker"
EXPECTED_AS = "skerry.dev/expected-as"  # the line of the expected-hosts list


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known beside the machine's own words. `known` is its record, if it has one."""

    registration: str
    claims: Claims
    known: MachineInventory | None = None
    registered_elsewhere: str = ""  # the other registration, while that still exists
    expected: ExpectedHost | None = None
    expected_taken_by: str = ""
    clashes: Sequence[tuple[Machine, str]] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """`refusal` is a sentence for the technician, empty if the machine may come."""

    refusal: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


def judge(policy: RegistrationPolicy, registrant: Registrant, findings: Findings) -> Judgement:
    """The verdict on a machine that proved who it is."""
    if policy.problems:
        return Judgement(f"the registration {findings.registration} is not in order: {policy.problems[0]}")
    if refusal := check_emulation(policy, registrant.annotations):
        return Judgement(refusal)
    known = findings.known
    if known is not None and findings.registered_elsewhere:
        name, other = known.metadata.name, findings.registered_elsewhere
        doubt = f"came again by registration {findings.registration}; it belongs to {other}"
        return Judgement(
            f"this machine is {name} of registration {other}; "
            f"on the appliance: skerry hosts resolve {name} --replace",
            {IDENTITY_DOUBT: doubt, WANTED_REGISTRATION: findings.registration},
        )
    if policy.expected == "require" and (refusal := _check_expected(findings)):
        return Judgement(refusal)
    return Judgement(
        annotations={
            **_describe_chain(registrant.machine.chain),
            **_describe_expected(policy, findings),
            **_remember_claims(findings),
            **(_decide_approval(policy, registrant, findings) if known is None else {}),
        }
    )


def _check_expected(findings: Findings) -> str:
    if findings.expected is None:
        if findings.known is not None and findings.known.approval == "approved":
            return ""  # a person let it in; the list says who comes, not who goes
        return f"this machine is not on the list of hosts that {findings.registration} expects"
    if findings.expected_taken_by:
        return (
            f"line {findings.expected.line} of the expected hosts has come already, "
            f"as {findings.expected_taken_by}"
        )
    return ""


def _describe_chain(chain: ChainVerdict | None) -> dict[str, str]:
    match chain:
        case None:
            return {}
        case Genuine(maker, root):
            return {
                EK_VERDICT: f"genuine: issued below {root}",
                EK_MAKER: f"{maker.manufacturer} {maker.model} {maker.version}",
            }
        case Doubtful(doubt, reason):
            return {EK_VERDICT: f"{doubt}: {reason}"}


def _describe_expected(policy: RegistrationPolicy, findings: Findings) -> dict[str, str]:
    if policy.expected == "off" or findings.expected is None or findings.expected_taken_by:
        return {}
    return {EXPECTED_AS: findings.expected.key}


def _remember_claims(findings: Findings) -> dict[str, str]:
    """What is recorded stays while it is in doubt: only a person makes the new words the record."""
    if findings.known is None:
        return findings.claims.annotations()
    changes = find_changes(recorded_claims(findings.known.metadata.annotations), findings.claims)
    if not changes:
        return findings.claims.annotations()
    said = {REPORTED + key.rpartition("/")[2]: value for key, value in findings.claims.annotations().items()}
    return {IDENTITY_DOUBT: f"came again with {changes}", **said}


def _decide_approval(
    policy: RegistrationPolicy, registrant: Registrant, findings: Findings
) -> dict[str, str]:
    """What a new machine starts with; one that claims to be another waits for a person in any case."""
    needed = {APPROVALS_NEEDED: "2"} if policy.approval == "two-person" else {}
    if findings.clashes:
        return {APPROVAL: "pending", **needed}
    if policy.approval == "automatic":
        return {APPROVAL: "approved", APPROVED_BY: f"registration {findings.registration}"}
    expected = findings.expected
    if expected is not None and not findings.expected_taken_by and policy.expected != "off":
        is_proved = bool(expected.ek_hash) and registrant.machine.kind == "tpm"
        if policy.approve_expected == "any" or (policy.approve_expected == "proved" and is_proved):
            return {APPROVAL: "approved", APPROVED_BY: f"expected hosts, line {expected.line}"}
    return {APPROVAL: "pending", **needed}


def describe_doubt(machine: MachineInventory, clashes: Sequence[tuple[Machine, str]]) -> str:
    """Why a machine may not be the only one with its identity; empty if nothing speaks for that."""
    accepted = machine.metadata.annotations.get(IDENTITY_ACCEPTED, "")
    said = [
        machine.metadata.annotations.get(IDENTITY_DOUBT, ""),
        describe_clashes(clashes),
    ]
    doubt = "; ".join(part for part in said if part)
    return "" if doubt == accepted else doubt
