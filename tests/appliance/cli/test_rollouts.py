"""`skerry rollout`: started, shown, paused, resumed, waited for."""

import json
import time
from collections.abc import Callable

import pytest

from appliance.cli.exits import CommandFailed, complain
from appliance.cli.rollouts import parse_selector, wait_for_end
from appliance.resources.meta import Document, Kind
from appliance.resources.rollout import ROLLOUT
from tests.appliance.cli.typing_in import Terminal
from tests.appliance.running import Appliance

NOBODY = ("-l", "line=nobody")


def test_a_rollout_is_started_as_asked_and_not_over_another(skerry: Terminal, appliance: Appliance) -> None:
    options = ("--image", "skerry/os:v9", "--waves", "1, 25%,100%", "--max-unavailable", "3", "--soak", "60")

    dry = skerry("rollout", "start", "ro-a", *options, *NOBODY, "--dry-run")
    started = skerry("rollout", "start", "ro-a", *options, "-l", "line=nobody,cell!=4", "--paused")
    again = skerry("rollout", "start", "ro-a", *options)

    assert dry.out == "rollout.skerry.dev/ro-a started (dry run)\n"
    assert started.out == "rollout.skerry.dev/ro-a started\n"
    assert again.code == 1
    spec = appliance.client().get_object(ROLLOUT, "ro-a")["spec"]
    assert spec["waves"] == [{"size": "1"}, {"size": "25%"}, {"size": "100%"}]
    assert (spec["image"], spec["maxUnavailable"], spec["soakSeconds"], spec["paused"]) == (
        "skerry/os:v9",
        3,
        60,
        True,
    )
    assert spec["selector"] == {
        "matchLabels": {"line": "nobody"},
        "matchExpressions": [{"key": "cell", "operator": "NotIn", "values": ["4"]}],
    }


@pytest.mark.parametrize("options", [[], ["--image", "a:b", "--version", "c"]])
def test_a_rollout_goes_to_exactly_one_thing(skerry: Terminal, options: list[str]) -> None:
    outcome = skerry("rollout", "start", "ro-none", *options)

    assert outcome.code == 2
    assert "either --image or --version" in outcome.err


def test_pause_and_resume(skerry: Terminal, appliance: Appliance) -> None:
    skerry("rollout", "start", "ro-b", "--image", "skerry/os:v9", *NOBODY)

    def paused() -> object:
        return appliance.client().get_object(ROLLOUT, "ro-b")["spec"]["paused"]

    dry = skerry("rollout", "pause", "ro-b", "--dry-run")
    untouched = paused()
    pause = skerry("rollout", "pause", "ro-b")
    held = paused()
    resume = skerry("rollout", "resume", "ro-b")

    assert dry.out == "rollout.skerry.dev/ro-b paused (dry run)\n"
    assert (pause.out, resume.out) == (
        "rollout.skerry.dev/ro-b paused\n",
        "rollout.skerry.dev/ro-b resumed\n",
    )
    assert (untouched, held, paused()) == (False, True, False)
    assert skerry("rollout", "pause", "ro-nothing").code == 1


def test_status_and_list_show_why_nothing_moves(skerry: Terminal) -> None:
    skerry("rollout", "start", "ro-c", "--image", "skerry/os:nowhere", *NOBODY)
    wait_for(lambda: "nowhere" in skerry("rollout", "status", "ro-c").out.splitlines()[1])

    listed = skerry("rollout", "list", "-o", "wide")
    data = json.loads(skerry("rollout", "status", "ro-c", "-o", "json").out)

    assert any(line.startswith("ro-c") and "nowhere" in line for line in listed.out.splitlines())
    assert data["metadata"]["name"] == "ro-c"


def test_waiting_ends_with_time_or_with_the_rollouts_end(skerry: Terminal, appliance: Appliance) -> None:
    skerry("rollout", "start", "ro-d", "--image", "skerry/os:nowhere", *NOBODY)

    late = skerry("rollout", "wait", "ro-d", "--timeout", "0")

    assert late.code == 4
    assert "is Pending after 0 s" in late.err


class Ended:
    """An appliance that holds one rollout, in the phase that is wanted."""

    def __init__(self, phase: str) -> None:
        self._status = {"phase": phase, "reason": "because"}

    def get_object(self, kind: Kind, name: str, namespace: str) -> Document:
        return {"kind": kind.kind, "metadata": {"name": name, "namespace": namespace}, "status": self._status}


def test_waiting_for_a_rollout_that_completed_is_a_success() -> None:
    wait_for_end(Ended("Completed"), "spring", "fleet-default", 0)


@pytest.mark.parametrize(("phase", "code"), [("Failed", 1), ("Progressing", 4), ("Paused", 7)])
def test_how_a_rollout_ends_is_an_exit_code(phase: str, code: int) -> None:
    with pytest.raises(CommandFailed, match="spring") as failed:
        wait_for_end(Ended(phase), "spring", "fleet-default", 0)

    complaint = complain(failed.value)
    assert complaint is not None
    assert complaint.code == code


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("", {}),
        ("a=b", {"matchLabels": {"a": "b"}}),
        ("a==b, c = d", {"matchLabels": {"a": "b", "c": "d"}}),
        ("a!=b", {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}),
        (
            "a,!b",
            {
                "matchExpressions": [
                    {"key": "a", "operator": "Exists"},
                    {"key": "b", "operator": "DoesNotExist"},
                ]
            },
        ),
    ],
)
def test_selectors_on_the_command_line(text: str, selector: dict[str, object]) -> None:
    assert parse_selector(text) == selector


def test_a_selector_that_is_not_understood_is_refused() -> None:
    with pytest.raises(CommandFailed, match="not understood"):
        parse_selector("a in (b, c)")


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.02)
