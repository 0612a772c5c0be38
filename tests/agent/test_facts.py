"""What a host says of itself: dmidecode's text by upstream's rules, and a machine made of files."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.facts import parse_dmidecode, read_annotations, read_facts, read_kernel_smbios, read_smbios
from agent.host import Host
from tests.agent.machines import UUID, make_machine

DMIDECODE = """\
# dmidecode 3.4
Getting SMBIOS data from sysfs.
SMBIOS 2.8 present.

Handle 0x0000, DMI type 0, 24 bytes
BIOS Information
\tVendor: SeaBIOS
\tBIOS Revision: 0.0
\tCharacteristics:
\t\tBIOS characteristics not supported
\t\tTargeted content distribution is supported

Handle 0x0100, DMI type 1, 27 bytes
System Information
\tManufacturer: ACME
\tUUID: 4c4c4544-0051-3810-8057-b4c04f4a4e31
\tWake-up Type: Power: Switch

Handle 0x0400, DMI type 4, 42 bytes
Processor Information
\tFlags:
\t\tFPU (Floating-point unit on-chip)
\tCore Count: 2

Handle 0x0401, DMI type 4, 42 bytes
Processor Information
\tCore Count: 4
\t\ta detail of nothing

Handle 0x0b00, DMI type 11, 5 bytes
OEM Strings
\tString 1: hello
"""


def test_dmidecodes_text_becomes_upstreams_tree() -> None:
    assert parse_dmidecode(DMIDECODE) == {
        "BIOS Information": {
            "Vendor": "SeaBIOS",
            "BIOS Revision": "0.0",
            "Characteristics:": [
                "BIOS characteristics not supported",
                "Targeted content distribution is supported",
            ],
        },
        "System Information": {"Manufacturer": "ACME", "UUID": UUID, "Wake-up Type": "Power: Switch"},
        "Processor Information": {"Flags:": ["FPU (Floating-point unit on-chip)"], "Core Count": "4"},
        "OEM Strings": {"String 1": "hello"},
    }


@given(st.text("Handle 0x:\t\nab"))
def test_any_text_gives_a_tree(text: str) -> None:
    assert all(isinstance(record, dict) for record in parse_dmidecode(text).values())


def test_a_simulated_host_describes_itself(tmp_path: Path) -> None:
    host = make_machine(tmp_path)

    assert (
        read_smbios(host)
        == read_kernel_smbios(host)
        == {
            "BIOS Information": {"Vendor": "SeaBIOS"},
            "System Information": {
                "Manufacturer": "ACME",
                "Product Name": "Edge Box 9000",
                "Serial Number": "SN-0001",
                "UUID": UUID,
            },
        }
    )


def test_a_host_that_says_nothing_has_no_smbios(tmp_path: Path) -> None:
    assert read_smbios(Host(tmp_path)) == {}


def test_both_trees_are_facts(tmp_path: Path) -> None:
    facts = read_facts(make_machine(tmp_path))

    assert "System Information" in facts.smbios
    assert "Runtime" in facts.system_data


def test_annotations_name_the_operating_system_and_us(tmp_path: Path) -> None:
    assert read_annotations(make_machine(tmp_path), software="0.1.0") == {
        "os.name": "Debian GNU/Linux",
        "os.version": "12 (bookworm)",
        "os.version-id": "12",
        "os.id": "debian",
        "reg-version": "0.1.0",
    }


class HostWithDmidecode(Host):
    """A real host, as far as `read_smbios` is concerned: its root is the root."""

    def path(self, absolute: str) -> Path:
        return Path("/") if absolute == "/" else super().path(absolute)


def install_dmidecode(root: Path, script: str) -> None:
    program = root / "usr/bin/dmidecode"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(program, 0o755)


def test_dmidecode_is_asked_for_each_type_where_it_runs(tmp_path: Path) -> None:
    install_dmidecode(tmp_path, r'printf "Handle 0x0\nType $2\n\tKey: $1\n"')

    assert list(read_smbios(HostWithDmidecode(tmp_path))) == [f"Type {n}" for n in (0, 1, 2, 3, 4, 11)]


def test_the_kernel_answers_where_dmidecode_fails(tmp_path: Path) -> None:
    make_machine(tmp_path)
    install_dmidecode(tmp_path, "exit 1")

    assert "System Information" in read_smbios(HostWithDmidecode(tmp_path))
