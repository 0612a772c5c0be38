"""What a command may bring into memory: a script calls it a hundred times."""

import os
import subprocess
import sys

import pytest

from tests.appliance.running import Appliance

HEAVY = frozenset(
    (
        *("aiohttp", "asyncio", "cryptography", "kubernetes", "mirror", "oras", "pycdlib", "rich"),
        *("sqlite_utils", "textual", "tui", "uvloop", "yaml", "zeroconf"),
    )
)
REPORT = (
    "import sys; from appliance.cli.run import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
)


def modules_after(*arguments: str) -> frozenset[str]:
    environment = {**os.environ, "TERM": "dumb"}
    outcome = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return frozenset(name.partition(".")[0] for name in outcome.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["hosts", "--help"], ["help"], ["rollout", "start", "--help"]]
)
def test_help_brings_in_nothing_heavy(arguments: list[str]) -> None:
    assert modules_after(*arguments) & HEAVY == frozenset()


@pytest.mark.parametrize(
    "arguments",
    [["hosts", "list"], ["hosts", "inbox"], ["rollout", "list"], ["get", "mi"], ["operation", "list"]],
)
def test_asking_the_appliance_brings_in_nothing_heavy(appliance: Appliance, arguments: list[str]) -> None:
    assert modules_after("--server", appliance.server, *arguments) & HEAVY == frozenset()


@pytest.mark.parametrize(
    "environment", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "xterm"}]
)
def test_help_has_no_boxes_where_they_could_not_be_shown(environment: dict[str, str]) -> None:
    kept = {key: value for key, value in os.environ.items() if key not in ("TERM", "NO_COLOR", "FORCE_COLOR")}

    outcome = subprocess.run(
        [sys.executable, "-m", "appliance", "--help"],
        capture_output=True,
        env={**kept, **environment},
        check=True,
    )

    assert outcome.stdout.isascii()
    assert b"\x1b" not in outcome.stdout


def test_every_command_explains_itself() -> None:
    from appliance.cli.app import command

    def leaves(node: object, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
        commands = getattr(node, "commands", None)
        if commands:
            return [leaf for name, child in commands.items() for leaf in leaves(child, (*path, name))]
        return [(path, str(getattr(node, "help", None) or ""))]

    unexplained = [" ".join(path) for path, text in leaves(command(), ()) if not text.strip()]
    assert unexplained == []
