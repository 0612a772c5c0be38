"""A registration's annotations of ours: safe defaults, every value, and nothing unreadable taken for off."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.hosts.policy import (
    APPROVE_EXPECTED,
    EK_CHAIN,
    ENFORCE_AUTH,
    EXPECTED_HOSTS,
    MAX_OLD_TOKENS,
    OLD_TOKENS,
    TOKEN_EXPIRES,
    TOKEN_USED,
    TOKEN_USES,
    RegistrationPolicy,
    check_emulation,
    check_method,
    check_token,
    digest_token,
    has_old_token,
    next_old_tokens,
    parse_policy,
    render_old_tokens,
)
from appliance.resources.machine_registration import (
    APPROVAL_POLICY,
    MACHINE_REGISTRATION,
    MachineRegistration,
)
from appliance.resources.meta import decode

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
KEYS = [
    *(APPROVAL_POLICY, ENFORCE_AUTH, EK_CHAIN, EXPECTED_HOSTS, APPROVE_EXPECTED),
    *(TOKEN_EXPIRES, TOKEN_USES, TOKEN_USED, OLD_TOKENS),
]
MAC, UUID = "02:fc:00:00:00:01", "4C4C4544-0051-3610-8052-b4c04f564231"


def registration(annotations: dict[str, str], auth: str = "tpm") -> MachineRegistration:
    return decode(
        MachineRegistration,
        {
            "apiVersion": MACHINE_REGISTRATION.api_version,
            "kind": MACHINE_REGISTRATION.kind,
            "metadata": {"name": "plant", "annotations": annotations},
            "spec": {"config": {"elemental": {"registration": {"auth": auth}}}},
        },
    )


def test_without_annotations_the_safe_is_meant() -> None:
    policy = parse_policy(registration({}))

    assert policy == RegistrationPolicy()
    assert (policy.approval, policy.enforces_auth, policy.ek_chain) == ("required", True, "record")


@pytest.mark.parametrize(
    ("key", "value", "field", "read"),
    [
        (APPROVAL_POLICY, "two-person", "approval", "two-person"),
        (ENFORCE_AUTH, "false", "enforces_auth", False),
        (EK_CHAIN, "require", "ek_chain", "require"),
        (EXPECTED_HOSTS, "record", "expected", "record"),
        (APPROVE_EXPECTED, "proved", "approve_expected", "proved"),
        (TOKEN_EXPIRES, "2026-11-21T05:00:00+02:00", "token_expires", NOW),
        (TOKEN_EXPIRES, "2026-11-21T03:00:00", "token_expires", NOW),
        (TOKEN_USES, "40", "token_uses", 40),
        (TOKEN_USED, "3", "token_used", 3),
    ],
    ids=lambda value: str(value).rpartition("/")[2],
)
def test_every_value_is_read(key: str, value: str, field: str, read: object) -> None:
    policy = parse_policy(registration({key: value}))

    assert (getattr(policy, field), policy.problems) == (read, ())


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.rpartition("/")[2])
@pytest.mark.parametrize("value", ["", "yes", "Require", "0x1", "9" * 9, "[1]", "\ud800"], ids=ascii)
def test_what_cannot_be_read_is_a_problem_that_names_its_key(key: str, value: str) -> None:
    (problem,) = parse_policy(registration({key: value})).problems

    assert key in problem


@given(st.dictionaries(st.sampled_from(KEYS), st.text(max_size=40)))
def test_nothing_that_is_written_makes_it_laxer_without_a_problem(annotations: dict[str, str]) -> None:
    policy = parse_policy(registration(annotations))

    if not policy.problems:
        assert policy.enforces_auth or annotations[ENFORCE_AUTH] == "false"
        assert policy.ek_chain != "ignore" or annotations[EK_CHAIN] == "ignore"
        assert policy.approval == "required" or annotations[APPROVAL_POLICY] == policy.approval


def test_a_way_to_prove_that_does_not_exist_is_a_problem() -> None:
    (problem,) = parse_policy(registration({}, auth="password")).problems

    assert "auth is 'password'" in problem


@pytest.mark.parametrize("times", ['"2026-01-01T00:00:00"', '"2026-01-01T00:00:00Z"'], ids=["naive", "aware"])
def test_old_tokens_must_be_as_we_write_them(times: str) -> None:
    text = f'[{{"digest":"a","replaced":{times},"until":{times}}}]'

    assert bool(parse_policy(registration({OLD_TOKENS: text})).problems) == ("Z" not in times)


@pytest.mark.parametrize(
    ("auth", "identifier", "enforces", "said"),
    [
        ("tpm", None, True, ""),
        ("mac", None, True, "not for a TPM"),
        ("mac", None, False, ""),
        ("tpm", MAC, False, "proves nothing"),
        ("mac", MAC, True, ""),
        ("mac", UUID, True, "asks for a MAC address"),
        ("mac", UUID, False, ""),
        ("sys-uuid", UUID, True, ""),
        ("sys-uuid", MAC, True, "asks for a system UUID"),
    ],
)
def test_the_proof_is_the_one_that_is_asked_for(
    auth: str, identifier: str | None, enforces: bool, said: str
) -> None:
    policy = RegistrationPolicy(auth=auth, enforces_auth=enforces)  # type: ignore[arg-type]

    reason = check_method(policy, identifier=identifier)

    assert (said in reason) if said else reason == ""


@pytest.mark.parametrize(
    ("enforces", "allows", "said", "refused"),
    [
        (True, False, "emulated-tpm", True),
        (True, True, "emulated-tpm", False),
        (False, False, "emulated-tpm", False),
        (True, False, "tpm", False),
    ],
)
def test_an_emulated_tpm_is_refused_where_none_may_come(
    enforces: bool, allows: bool, said: str, refused: bool
) -> None:
    policy = RegistrationPolicy(enforces_auth=enforces, allows_emulation=allows)

    assert bool(check_emulation(policy, {"auth": said})) == refused


def test_tokens_end_by_time_use_and_replacement() -> None:
    hour = timedelta(hours=1)
    policy = RegistrationPolicy(token_expires=NOW, token_uses=2, token_used=2)
    replaced = RegistrationPolicy(
        old_tokens=next_old_tokens(RegistrationPolicy(), "old", now=NOW, until=NOW + hour)
    )

    assert "expired" in check_token(policy, "t", "t", now=NOW)
    assert "for 2 machines" in check_token(policy, "t", "t", now=NOW - hour)
    assert check_token(replaced, "old", "new", now=NOW) == ""
    assert "replaced on 2026-11-21" in check_token(replaced, "old", "new", now=NOW + hour)
    assert "was replaced" in check_token(replaced, "never", "new", now=NOW)
    assert check_token(replaced, "new", "new", now=NOW) == ""


def test_the_list_of_old_tokens_is_bounded_reads_back_and_holds_no_token() -> None:
    policy = RegistrationPolicy()
    for number in range(MAX_OLD_TOKENS + 5):
        tokens = next_old_tokens(policy, f"token-{number}", now=NOW, until=NOW)
        text = render_old_tokens(tokens)
        policy = parse_policy(registration({OLD_TOKENS: text}))

    newest = f"token-{MAX_OLD_TOKENS + 4}"
    document = {"metadata": {"annotations": {OLD_TOKENS: text}}}
    assert (len(policy.old_tokens), policy.problems, "token-" in text) == (MAX_OLD_TOKENS, (), False)
    assert has_old_token(document, digest_token(newest))
    assert not has_old_token(document, digest_token("token-0"))
