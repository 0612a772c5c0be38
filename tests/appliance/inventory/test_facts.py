"""What a tree says of a machine's parts, and what happened between two trees."""

import pytest

from agent.protocol.documents import JSON
from appliance.inventory.facts import Change, compare, read_hardware
from tests.appliance.inventory.factories import disk, facts, nic

MAC_1, MAC_2 = "00:1b:21:00:00:01", "00:1b:21:00:00:02"


def changes(before: dict[str, JSON], after: dict[str, JSON]) -> list[Change]:
    return compare(read_hardware(before), read_hardware(after))


def test_a_replaced_nic_names_both_cards() -> None:
    assert changes(facts(nics=[nic("eth0", MAC_1)]), facts(nics=[nic("eth0", MAC_2)])) == [
        Change("replaced", "nic eth0", MAC_1, MAC_2)
    ]


def test_a_replaced_disk_names_both_disks() -> None:
    before, after = facts(disks=[disk("sda", "S1")]), facts(disks=[disk("sda", "S2", size=1000)])

    assert changes(before, after) == [Change("replaced", "disk sda", "S1 500 GB", "S2 1000 GB")]


def test_a_disk_without_a_serial_is_told_by_its_size() -> None:
    assert [
        each.kind for each in changes(facts(disks=[disk("sda")]), facts(disks=[disk("sda", size=900)]))
    ] == ["replaced"]


def test_parts_that_come_and_go_are_added_and_removed() -> None:
    before = facts(nics=[nic("eth0", MAC_1)], disks=[disk("sda", "S1"), disk("sdb", "S2")])
    after = facts(nics=[nic("eth0", MAC_1), nic("eth1", MAC_2)], disks=[disk("sda", "S1")])

    assert {(each.kind, each.what) for each in changes(before, after)} == {
        ("added", "nic eth1"),
        ("removed", "disk sdb"),
    }


def test_changed_firmware_and_memory_are_changes() -> None:
    before = facts(BIOS={"Version": "1.0"}, Memory={"TotalPhysicalBytes": str(16 * 10**9)})
    after = facts(BIOS={"Version": "1.1"}, Memory={"TotalPhysicalBytes": str(32 * 10**9)})

    assert changes(before, after) == [
        Change("changed", "bios version", "1.0", "1.1"),
        Change("changed", "memory", "16 GB", "32 GB"),
    ]


def test_a_replaced_memory_module_is_told_by_its_slot() -> None:
    def memory(serial: str) -> dict[str, JSON]:
        module: JSON = {"Location": "DIMM_A1", "SerialNumber": serial, "SizeBytes": "8000000000"}
        return facts(Memory={"Modules": {"0": module}})

    assert changes(memory("M1"), memory("M2")) == [
        Change("replaced", "memory module DIMM_A1", "M1 8 GB", "M2 8 GB")
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(facts("S1"), facts("unknown"), id="a fact that is not known any more"),
        pytest.param(facts("unknown"), facts("S1"), id="a fact that is known now"),
        pytest.param(facts(disks=[disk("sda")]), facts(disks=[disk("sda", "S1")]), id="a serial learned"),
        pytest.param(facts(disks=[disk("sda", "S1")]), facts(), id="a tree without disks"),
        pytest.param(
            facts(disks=[disk("sda", WWN="0x5")]),
            facts(disks=[disk("sda", "S1", WWN="0x5")]),
            id="a serial learned of a disk known by its WWN",
        ),
        pytest.param(
            facts(Memory={"Modules": ""}), facts(Memory={"Modules": {"0": {}}}), id="modules learned"
        ),
        pytest.param(facts(), facts(disks=[disk("sda", "S1")]), id="the first tree with disks"),
        pytest.param(
            facts(nics=[nic("eth0", MAC_1), nic("eth1", MAC_2)]),
            facts(nics=[nic("eth0", MAC_2), nic("eth1", MAC_1)]),
            id="cards that the kernel named otherwise",
        ),
        pytest.param(
            facts(Memory={"TotalPhysicalBytes": "16000000000"}),
            facts(Memory={"TotalPhysicalBytes": "16100000000"}),
            id="memory that another kernel kept",
        ),
        pytest.param(
            facts(nics=[nic("eth0", MAC_1)]),
            facts(nics=[nic("eth0", MAC_1), nic("cni0", MAC_2, IsVirtual="true")]),
            id="a bridge made by software",
        ),
        pytest.param(
            facts(disks=[disk("sda", "S1"), disk("sdb", "USB", Removable="true")]),
            facts(disks=[disk("sda", "S1")]),
            id="the stick it was installed from",
        ),
    ],
)
def test_nothing_happened(before: dict[str, JSON], after: dict[str, JSON]) -> None:
    assert changes(before, after) == []


def test_a_tree_of_nonsense_says_nothing() -> None:
    hardware = read_hardware(
        {"Network": {"NICs": [1, 2]}, "Storage": "x", "CPU": None, "BIOS": {"Version": {}}}
    )

    assert not hardware.facts
    assert not hardware.parts
    assert hardware.disks is None


def test_only_burned_in_addresses_tell_a_machine() -> None:
    nics = [
        nic("eth0", MAC_1.upper()),
        nic("vmnet", "02:00:00:00:00:01"),
        nic("x", "not a mac"),
        nic("z", "00:00:00:00:00:00"),
    ]

    assert read_hardware(facts(nics=nics)).macs == [MAC_1]


def test_old_clients_trees_are_read_too() -> None:
    hardware = read_hardware(
        {
            "System Data": {
                "Network": {"Number Interfaces": "1", "eth0": {"Name": "eth0", "MacAddress": MAC_1}},
                "Block Devices": {"Number Devices": "1", "sda": {"Name": "sda", "Size": "1"}},
            }
        }
    )

    assert (hardware.macs, [part.slot for part in hardware.disks or ()]) == ([MAC_1], ["sda"])
