"""What a host says of its operating system and of us; the hardware is told in the tests beside this one."""

from pathlib import Path

from agent.facts import NO_FACTS, Facts, read_annotations, read_facts
from agent.host import Host
from tests.agent.machines import make_machine


def test_annotations_name_the_operating_system_and_us(tmp_path: Path) -> None:
    assert read_annotations(make_machine(tmp_path), software="0.1.0") == {
        "os.name": "Debian GNU/Linux",
        "os.version": "12 (bookworm)",
        "os.version-id": "12",
        "os.id": "debian",
        "reg-version": "0.1.0",
    }


def test_an_unmanaged_host_says_so(tmp_path: Path) -> None:
    annotations = read_annotations(Host(tmp_path), software="1", unmanaged=True)

    assert annotations == {"reg-version": "1", "os.unmanaged": "true"}


def test_facts_are_three_trees_of_this_host(tmp_path: Path) -> None:
    facts = read_facts(make_machine(tmp_path))

    assert "System Information" in facts.smbios
    assert "Runtime" in facts.system_data
    assert "runtime" in facts.inventory


def test_no_facts_are_empty() -> None:
    assert Facts() == NO_FACTS


def test_a_real_host_is_read_without_any_program() -> None:
    facts = read_facts(Host())

    assert facts.system_data["CPU"] != {}
    assert facts.inventory["runtime"] != {"hostname": ""}
