"""The hardware tree of a machine made of files, leaf by leaf where templates look."""

from pathlib import Path

import pytest

from agent.hardware import MAX_DEVICES, read_disks, read_nics, read_processors, read_system_data
from agent.host import Host
from agent.protocol.documents import JSON
from tests.agent.machines import UUID, make_machine, write


def leaf(tree: JSON, path: str) -> JSON:
    for key in path.split("/"):
        assert isinstance(tree, dict), path
        tree = tree[key]
    return tree


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Product/Name", "Edge Box 9000"),
        ("Product/UUID", UUID),
        ("Product/SKU", "unknown"),
        ("BIOS/Vendor", "SeaBIOS"),
        ("Chassis/Type", "35"),
        ("Chassis/TypeDescription", "Mini PC"),
        ("Memory/TotalUsableBytes", "25276502016"),
        ("CPU/TotalProcessors", "2"),
        ("CPU/TotalCores", "2"),
        ("CPU/TotalThreads", "3"),
        ("CPU/Processor/Model", "Xeon"),
        ("CPU/Processors/1/NumThreads", "1"),
        ("Network/TotalNICs", "3"),
        ("Network/NICs/eth0/MacAddress", "02:fc:00:00:00:09"),
        ("Network/NICs/eth0/IsVirtual", "false"),
        ("Network/NICs/eth0/PCIAddress", "0000:00:03.0"),
        ("Network/NICs/eth0/IPv6Address", "fe80::1"),
        ("Network/NICs/docker0/IsVirtual", "true"),
        ("Network/NICs/docker0/PCIAddress", None),
        ("Network/NICs/0/Name", "docker0"),
        ("Storage/TotalDisks", "3"),
        ("Storage/Disks/sda/Size", "21474836480"),
        ("Storage/Disks/sda/DriveType", "ssd"),
        ("Storage/Disks/sda/StorageController", "scsi"),
        ("Storage/Disks/sda/Model", "QEMU HARDDISK"),
        ("Storage/Disks/nvme0n1/StorageController", "nvme"),
        ("Storage/Disks/sr0/DriveType", "odd"),
        ("Storage/Disks/sr0/Size", "unknown"),
        ("Runtime/Hostname", "press-7"),
        ("System Data/CPU/Total Threads", "3"),
        ("System Data/CPU/Capabilities", ["fpu", "vme"]),
        ("System Data/Network/eth0/MacAddress", "02:fc:00:00:00:09"),
        ("System Data/Block Devices/sda/Size", "21474836480"),
        ("System Data/Runtime/Hostname", "press-7"),
    ],
)
def test_the_tree_has_upstreams_names(tmp_path: Path, path: str, value: JSON) -> None:
    assert leaf(read_system_data(make_machine(tmp_path)), path) == value


def test_a_machine_that_says_nothing_is_unknown(tmp_path: Path) -> None:
    tree = read_system_data(Host(tmp_path))

    assert leaf(tree, "Memory/TotalPhysicalBytes") == "unknown"
    assert leaf(tree, "Runtime/Hostname") == "unknown"
    assert leaf(tree, "CPU/TotalCores") == "0"
    assert leaf(tree, "Network/TotalNICs") == "0"


def test_loopback_and_loop_devices_are_not_hardware(tmp_path: Path) -> None:
    host = make_machine(tmp_path)

    assert "lo" not in [nic["Name"] for nic in read_nics(host)]
    assert "loop0" not in [disk["Name"] for disk in read_disks(host)]


def test_a_processor_of_another_architecture_is_described(tmp_path: Path) -> None:
    write(tmp_path, "/proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\nFeatures\t: fp asimd\n")

    (processor,) = read_processors(Host(tmp_path))

    assert processor["Vendor"] == "0x41"
    assert processor["Capabilities"] == "fp asimd"
    assert processor["NumCores"] == "1"


def test_the_tree_does_not_outgrow_a_message(tmp_path: Path) -> None:
    for number in range(MAX_DEVICES + 50):
        write(tmp_path, f"/sys/block/sd{number:04}/size", "1")

    assert len(read_disks(Host(tmp_path))) == MAX_DEVICES
