"""Every twin that the console shows is a command that the command line has, with arguments that it takes."""

import shlex

import pytest
from typer.core import TyperGroup

from appliance.cli.app import command
from tui import twins

TWINS = [
    twins.HOSTS,
    twins.INBOX,
    twins.ROLLOUTS,
    twins.BUNDLES,
    twins.show_host("host-3", "fleet-default"),
    twins.show_rollout("to-v2", "fleet-default"),
    twins.approve("host-3", "fleet-default"),
    twins.reject("host-3", "fleet-default"),
    twins.pair("new-4e1a02-9c3f"),
    twins.forget("host-3", "fleet-default"),
    twins.pause_rollout("to-v2", "fleet-default"),
    twins.resume_rollout("to-v2", "fleet-default"),
    twins.cancel_operation("op-1"),
]


@pytest.mark.parametrize("twin", TWINS)
def test_the_command_line_understands_the_twin(twin: str) -> None:
    program, *words = shlex.split(twin)
    group = command()
    context = group.make_context(program, words, resilient_parsing=True)
    while True:
        name, *words = words
        child = group.get_command(context, name)
        assert child is not None, f"there is no command {name}"
        if not isinstance(child, TyperGroup):
            break
        group, context = child, child.make_context(name, list(words), parent=context, resilient_parsing=True)

    parsed = child.make_context(name, list(words), parent=context)

    assert program == "skerry"
    assert parsed.args == []


def test_a_name_that_the_shell_would_misread_is_quoted() -> None:
    assert twins.approve("host; reboot", "ns") == "skerry approve 'host; reboot' -n ns"
