"""Processors by /proc/cpuinfo and /sys, of several architectures."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.facts.processors import parse_cpuinfo, read_processors
from agent.host import Host
from tests.agent.machines import make_machine, write

ARM = "processor\t: {}\nCPU implementer\t: 0x41\nFeatures\t: fp asimd\n\n"


def test_sockets_and_cores_are_counted(tmp_path: Path) -> None:
    processors = read_processors(make_machine(tmp_path))

    assert [(one.id, one.cores, one.threads) for one in processors] == [(0, 1, 2), (1, 1, 1)]


def test_an_arm_machine_tells_its_cores_in_sysfs(tmp_path: Path) -> None:
    write(tmp_path, "/proc/cpuinfo", "".join(ARM.format(number) for number in range(4)))
    for number in range(4):
        write(tmp_path, f"/sys/devices/system/cpu/cpu{number}/topology/core_id", f"{number // 2}\n")
        write(tmp_path, f"/sys/devices/system/cpu/cpu{number}/topology/physical_package_id", "-1\n")

    (processor,) = read_processors(Host(tmp_path))

    assert (processor.vendor, processor.cores, processor.threads) == ("ARM", 2, 4)
    assert processor.capabilities == ("fp", "asimd")


def test_a_thread_of_which_nothing_is_known_is_a_core(tmp_path: Path) -> None:
    write(tmp_path, "/proc/cpuinfo", "".join(ARM.format(number) for number in range(3)))

    (processor,) = read_processors(Host(tmp_path))

    assert (processor.cores, processor.threads, processor.model) == (3, 3, "")


@given(st.text("processor:0 \n\tcoreid"))
def test_any_cpuinfo_is_parsed(text: str) -> None:
    assert all("processor" in thread for thread in parse_cpuinfo(text))
