"""Which findings stop an install, by the facts of a node."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.k3s.files import CONFIG
from appliance.k3s.preflight import NodeFacts, gather, judge, machine_of
from tests.appliance.k3s.conftest import elf

SOUND = NodeFacts(
    machine="x86_64",
    binary_machine="x86_64",
    free_bytes=10 * 1024**3,
    needed_bytes=3 * 1024**3,
    is_running=False,
    is_port_taken=False,
    has_default_route=True,
    controllers=frozenset(("cpu", "memory", "pids", "io")),
)


def stops(facts: NodeFacts, *, is_starting: bool = True, take_over: bool = False) -> list[str]:
    return [
        finding.message
        for finding in judge(facts, is_starting=is_starting, replace=take_over)
        if finding.is_stop
    ]


def test_a_sound_node_is_stopped_by_nothing() -> None:
    assert stops(SOUND) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"binary_machine": "aarch64"}, "for aarch64, this node is x86_64"),
        ({"binary_machine": ""}, "no program"),
        ({"free_bytes": 1}, "are needed"),
        ({"foreign_files": ("/etc/rancher/k3s/config.yaml",)}, "by other hands"),
    ],
    ids=["other machine", "no program", "no room", "foreign"],
)
def test_what_stops_even_the_laying_down(change: dict[str, object], says: str) -> None:
    (message,) = stops(replace(SOUND, **change), is_starting=False)  # type: ignore[arg-type]

    assert says in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"is_port_taken": True}, "port 6443 is taken"),
        ({"has_default_route": False}, "no default route"),
        ({"controllers": frozenset(("cpu", "pids"))}, "no memory cgroup"),
    ],
    ids=["port", "route", "cgroup"],
)
def test_what_stops_only_a_start(change: dict[str, object], says: str) -> None:
    facts = replace(SOUND, **change)  # type: ignore[arg-type]

    assert stops(facts, is_starting=False) == []
    assert says in stops(facts)[0]


def test_a_running_k3s_may_have_its_own_port() -> None:
    assert stops(replace(SOUND, is_port_taken=True, is_running=True)) == []


def test_files_of_other_hands_are_taken_over_only_when_told() -> None:
    facts = replace(SOUND, foreign_files=("/usr/local/bin/k3s",))

    assert stops(facts, take_over=True) == []


def test_every_stop_says_what_to_do() -> None:
    worst = NodeFacts("x86_64", "aarch64", 0, 1, False, True, False, frozenset(), ("/x",))

    assert all(finding.hint for finding in judge(worst, is_starting=True, replace=False))


@pytest.mark.parametrize(
    ("head", "machine"),
    [
        (elf(62), "x86_64"),
        (elf(183), "aarch64"),
        (elf(8), "ELF machine 8"),
        (b"#!/bin/sh\n" * 9, ""),
        (b"", ""),
    ],
    ids=["x86", "arm", "mips", "script", "empty"],
)
def test_what_a_binary_was_built_for_is_read_from_its_header(head: bytes, machine: str) -> None:
    assert machine_of(head) == machine


def test_our_own_files_of_an_earlier_install_are_not_foreign(tmp_path: Path) -> None:
    (tmp_path / CONFIG).parent.mkdir(parents=True)
    (tmp_path / CONFIG).touch()

    assert gather(tmp_path, binary_head=elf(62), size=1, ours=frozenset()).foreign_files == (f"/{CONFIG}",)
    assert gather(tmp_path, binary_head=elf(62), size=1, ours=frozenset((CONFIG,))).foreign_files == ()
