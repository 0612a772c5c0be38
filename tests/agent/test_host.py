"""The door to the machine: everything below the root, limits on programs, no reboot of the wrong machine."""

import sys
from pathlib import Path

import pytest

from agent.errors import CommandFailed, NoSpace
from agent.host import MAX_OUTPUT_BYTES, Host, check_space, to_mib


def test_absolute_paths_are_below_the_root(tmp_path: Path) -> None:
    host = Host(tmp_path)

    assert host.path("/etc/x") == tmp_path / "etc/x"
    assert host.volume("state") == tmp_path / "run/elemental/state"


def test_a_program_gets_this_hosts_root_and_path(tmp_path: Path) -> None:
    host = Host(tmp_path)
    script = host.path("/usr/bin/hello")
    script.parent.mkdir(parents=True)
    script.write_text('#!/bin/sh\necho "$SKERRY_AGENT_ROOT $GREETING"\n')
    script.chmod(0o755)

    done = host.run(["hello"], environment={"GREETING": "hi"})

    assert done.output.decode().split() == [str(tmp_path), "hi"]


def test_output_beyond_the_limit_is_cut_from_the_front(tmp_path: Path) -> None:
    code = f"print('x' * {MAX_OUTPUT_BYTES} + 'end')"

    done = Host(tmp_path).run([sys.executable, "-c", code])

    assert len(done.output) == MAX_OUTPUT_BYTES
    assert done.output.endswith(b"end\n")


@pytest.mark.parametrize("command", [["no-such-program"], ["/etc/passwd"], ["/"]])
def test_a_program_that_cannot_be_started_says_so(tmp_path: Path, command: list[str]) -> None:
    with pytest.raises(CommandFailed, match=command[0]):
        Host(tmp_path).run(command)


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"did not end within 0.1 s"):
        Host(tmp_path).run(["sleep", "30"], timeout=0.1)


def test_a_required_program_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="status 3: no light"):
        Host(tmp_path).require(["sh", "-c", "echo no light >&2; exit 3"])


def test_a_simulated_host_never_reboots_the_machine_it_runs_on(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="not rebooting"):
        Host(tmp_path).reboot(["touch", str(tmp_path / "rebooted")])

    assert not (tmp_path / "rebooted").exists()


def test_what_a_host_does_not_have_reads_as_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path)

    assert (host.read_text("/etc/nothing"), host.command_line(), host.uptime_seconds()) == ("", {}, 0)
    assert host.os_release() == {}


def test_numbers_in_a_refusal_round_up(tmp_path: Path) -> None:
    assert (to_mib(0), to_mib(1), to_mib(1024 * 1024)) == (0, 1, 1)
    with pytest.raises(NoSpace) as refused:
        check_space(tmp_path, 2**60, what="pulling")
    assert "free at least" in refused.value.hint
