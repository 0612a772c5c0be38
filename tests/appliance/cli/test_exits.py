"""Exit codes: the contract's numbers, and which misfortune gets which."""

import json

import pytest

from appliance.api.client import ApplianceError, Unreachable
from appliance.cli.exits import CODE_OF_REASON, CommandFailed, Complaint, ExitCode, check_all_done, complain
from appliance.cli.run import wants_json
from appliance.cli.topics import EXIT_CODES
from appliance.errors import ConfigurationError, DataDirectoryBusy, Refused
from appliance.store.base import Unavailable
from bundles import errors as bundles
from mirror import errors as mirror


def test_the_numbers_never_change() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "TIMED_OUT": 4,
        "REFUSED": 5,
        "INTEGRITY": 6,
        "PARTIAL": 7,
        "NEEDS_APPROVAL": 8,
        "INTERRUPTED": 130,
    }


def test_the_help_topic_explains_every_number() -> None:
    explained = {line.split()[0] for line in EXIT_CODES.splitlines() if line.startswith("  ")}

    assert explained == {str(int(code)) for code in ExitCode}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("x"), 3),
        (ApplianceError("NotFound", "x"), 1),
        (ApplianceError("Conflict", "x"), 1),
        (ApplianceError("Unauthorized", "x"), 2),
        (ApplianceError("Forbidden", "x"), 5),
        (ApplianceError("Refused", "x"), 5),
        (ConfigurationError("x"), 2),
        (DataDirectoryBusy("x"), 5),
        (Refused("x"), 5),
        (bundles.DigestMismatch("x"), 6),
        (bundles.UntrustedSigner("x"), 6),
        (bundles.DeviceRefused("x"), 5),
        (bundles.ReadBackMismatch("x"), 6),
        (bundles.NoSpace("x"), 1),
        (mirror.DigestInvalid("x"), 6),
        (CommandFailed("TimedOut", "x"), 4),
        (CommandFailed("NeedsApproval", "x"), 8),
        (Unavailable("x"), 1),
        (FileNotFoundError(2, "No such file", "f"), 1),
    ],
)
def test_each_misfortune_has_its_code(error: Exception, code: int) -> None:
    complaint = complain(error)

    assert complaint is not None
    assert complaint.code == code
    assert complaint.message


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), AssertionError(), OSError()])
def test_a_defect_is_no_complaint(error: Exception) -> None:
    assert complain(error) is None


def test_every_refusal_of_a_bundle_is_a_matter_of_integrity() -> None:
    refusals = [
        each.__name__
        for each in bundles.Refused.__subclasses__()
        if each not in (bundles.TooLarge, bundles.Unreadable)
    ]

    assert {CODE_OF_REASON.get(name) for name in refusals} == {ExitCode.INTEGRITY}


def test_the_json_form_says_whether_to_try_again() -> None:
    said = Complaint("Unreachable", "m", "h").as_json()

    assert json.loads(json.dumps(said)) == {
        "apiVersion": "skerry.dev/v1",
        "kind": "Error",
        "reason": "Unreachable",
        "message": "m",
        "hint": "h",
        "retryable": True,
        "exitCode": 3,
    }


@pytest.mark.parametrize(
    ("failures", "total", "code"),
    [
        ([Complaint("NotFound", "x")], 1, 1),
        ([Complaint("Refused", "x")], 1, 5),
        ([Complaint("Refused", "x")], 2, 7),
        ([Complaint("Refused", "x"), Complaint("Refused", "y")], 2, 5),
        ([Complaint("Refused", "x"), Complaint("NotFound", "y")], 2, 1),
    ],
)
def test_the_verdict_over_several_things(failures: list[Complaint], total: int, code: int) -> None:
    with pytest.raises(CommandFailed) as failed:
        check_all_done(failures, total=total, what="were not done")

    assert failed.value.complaint.code == code


def test_nothing_failed_is_no_verdict() -> None:
    check_all_done([], total=0, what="were not done")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["get", "x", "-o", "json"], True),
        (["get", "x", "-ojson"], True),
        (["get", "x", "--output=json"], True),
        (["get", "x", "--output", "json"], True),
        (["get", "x", "-o", "yaml"], False),
        (["get", "json"], False),
        (["get", "x", "-o"], False),
        ([], False),
    ],
)
def test_whether_errors_are_wanted_as_json(arguments: list[str], answer: bool) -> None:
    assert wants_json(arguments) is answer
