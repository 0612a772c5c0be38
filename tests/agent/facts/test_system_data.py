"""The hardware trees of a machine made of files, leaf by leaf where templates look."""

from pathlib import Path

import pytest

from agent.facts import Facts, read_facts
from agent.facts.inventory import Inventory
from agent.facts.system_data import describe_system
from agent.host import Host
from agent.protocol.documents import JSON
from agent.protocol.messages import MAX_DATA_BYTES, MessageType, render_object
from agent.protocol.system_data import build_system_data
from tests.agent.facts import smbios_factory as factory
from tests.agent.facts.workstation import make_workstation
from tests.agent.machines import UUID, make_machine, write


def leaf(tree: JSON, path: str) -> JSON:
    for key in path.split("/"):
        assert isinstance(tree, dict), path
        tree = tree[key]
    return tree


@pytest.fixture
def machine(tmp_path: Path) -> Facts:
    return read_facts(make_machine(tmp_path))


@pytest.fixture
def workstation(tmp_path: Path) -> Facts:
    return read_facts(make_workstation(tmp_path))


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
        ("Memory/TotalPhysicalBytes", "25276502016"),
        ("Memory/Modules", ""),
        ("CPU/TotalProcessors", "2"),
        ("CPU/TotalCores", "2"),
        ("CPU/TotalThreads", "3"),
        ("CPU/Processor/Model", "Xeon"),
        ("CPU/Processor/Capabilities", "fpu, vme"),
        ("CPU/Processors/1/NumThreads", "1"),
        ("CPU/Processors/1/ID", "1"),
        ("GPU/TotalCards", "0"),
        ("Network/TotalNICs", "3"),
        ("Network/NICs/eth0/MacAddress", "02:fc:00:00:00:09"),
        ("Network/NICs/eth0/IsVirtual", "false"),
        ("Network/NICs/eth0/IPv6Address", "fe80::1"),
        ("Network/NICs/eth0/IPv6Addresses/0", "fe80::1"),
        ("Network/NICs/eth0/IPv4Addresses", ""),
        ("Network/NICs/docker0/IsVirtual", "true"),
        ("Network/NICs/docker0/PCIAddress", None),
        ("Network/NICs/0/Name", "docker0"),
        ("Storage/TotalDisks", "3"),
        ("Storage/Disks/sda/Size", "21474836480"),
        ("Storage/Disks/sda/DriveType", "SSD"),
        ("Storage/Disks/sda/StorageController", "SCSI"),
        ("Storage/Disks/sda/Model", "QEMU HARDDISK"),
        ("Storage/Disks/sda/Removable", "false"),
        ("Storage/Disks/nvme0n1/StorageController", "NVMe"),
        ("Storage/Disks/sr0/DriveType", "ODD"),
        ("Storage/Disks/sr0/Size", "unknown"),
        ("Runtime/Hostname", "press-7"),
        ("System Data/CPU/Total Threads", "3"),
        ("System Data/CPU/Capabilities", ["fpu", "vme"]),
        ("System Data/Network/eth0/MacAddress", "02:fc:00:00:00:09"),
        ("System Data/Block Devices/sda/Size", "21474836480"),
        ("System Data/Block Devices/sda/Drive Type", "SSD"),
        ("System Data/Block Devices/nvme0n1/Storage Controller", "NVMe"),
        ("System Data/Runtime/Hostname", "press-7"),
    ],
)
def test_the_tree_has_upstreams_names(machine: Facts, path: str, value: JSON) -> None:
    assert leaf(dict(machine.system_data), path) == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Memory/TotalPhysicalBytes", str(3 * 0x8000000)),
        ("Memory/SupportedPageSizes", "1073741824, 2097152"),
        ("Memory/Modules/0/Label", "DIMM A1"),
        ("Memory/Modules/0/Location", "BANK 0"),
        ("Memory/Modules/0/SizeBytes", str(16 << 30)),
        ("Memory/Modules/0/Vendor", "Samsung"),
        ("Memory/Modules/0/SerialNumber", "12345678"),
        ("Network/NICs/enp3s0/Speed", "1000Mb/s"),
        ("Network/NICs/enp3s0/Duplex", "Full"),
        ("Network/NICs/enp3s0/PCIAddress", "0000:03:00.0"),
        ("Storage/Disks/nvme0n1/Model", "Samsung SSD 980"),
        ("Storage/Disks/nvme0n1/SerialNumber", "S64DNX0R"),
        ("Storage/Disks/nvme0n1/WWN", "eui.0025385b"),
        ("Storage/Disks/sda/Model", "ST4000NM0035"),
        ("Storage/Disks/sda/SerialNumber", "ZC1A"),
        ("Storage/Disks/sda/WWN", "0x5000c500a1b2c3d4"),
        ("Storage/Disks/sda/DriveType", "HDD"),
        ("Storage/Disks/sdb/Removable", "true"),
        ("Storage/Disks/sdb/SerialNumber", "PG80-SERIAL"),
        ("Storage/Disks/sdb/WWN", "0x600508b1"),
        ("Storage/Disks/vda/StorageController", "virtio"),
        ("GPU/TotalCards", "2"),
        ("GPU/GraphicsCards/ProductName", "TigerLake-LP GT2 [Iris Xe Graphics]"),
        ("GPU/GraphicsCards/0/VendorName", "Intel Corporation"),
        ("GPU/GraphicsCards/0/Driver", "i915"),
        ("GPU/GraphicsCards/1/VendorName", "NVIDIA Corporation"),
        ("GPU/GraphicsCards/1/ProductName", "Device 1db6"),
        ("System Data/GPU/Vendor", "Intel Corporation"),
    ],
)
def test_a_workstation_tells_its_parts(workstation: Facts, path: str, value: JSON) -> None:
    assert leaf(dict(workstation.system_data), path) == value


def test_smbios_comes_from_the_tables_and_lacking_them_from_the_kernel(
    machine: Facts, workstation: Facts
) -> None:
    assert machine.smbios["System Information"] == {
        "Manufacturer": "ACME",
        "Product Name": "Edge Box 9000",
        "Serial Number": "SN-0001",
        "UUID": UUID,
    }
    assert leaf(dict(workstation.smbios), "System Information/Wake-up Type") == "Power Switch"
    assert leaf(dict(workstation.smbios), "OEM Strings/String 2") == "two"


def test_the_raw_inventory_of_old_servers_tells_the_same(workstation: Facts) -> None:
    legacy = build_system_data(workstation.inventory)

    assert legacy["System Data"] == workstation.system_data["System Data"]
    assert leaf(dict(workstation.inventory), "memory/total_physical_bytes") == 3 * 0x8000000


def test_a_machine_that_says_nothing_is_unknown(tmp_path: Path) -> None:
    facts = read_facts(Host(tmp_path))

    assert facts.smbios == {}
    assert leaf(dict(facts.system_data), "Memory/TotalPhysicalBytes") == "unknown"
    assert leaf(dict(facts.system_data), "Runtime/Hostname") == "unknown"
    assert leaf(dict(facts.system_data), "CPU/TotalCores") == "0"
    assert leaf(dict(facts.system_data), "Network/TotalNICs") == "0"


def test_what_no_source_answered_is_unknown_too() -> None:
    assert leaf(describe_system(Inventory()), "Storage/TotalDisks") == "0"


def test_the_largest_machine_fits_into_a_message(tmp_path: Path) -> None:
    make_machine(tmp_path)
    for number in range(400):
        write(tmp_path, f"/sys/block/sd{number:04}/size", "1")
        write(tmp_path, f"/sys/block/sd{number:04}/device/model", "x" * 5000)
        write(tmp_path, f"/sys/class/net/veth{number}/address", "02:00:00:00:00:01")
    factory.install(tmp_path, [factory.memory_device() for _ in range(400)])

    facts = read_facts(Host(tmp_path))

    assert leaf(dict(facts.system_data), "Storage/TotalDisks") == "256"
    assert leaf(dict(facts.system_data), "Network/TotalNICs") == "256"
    for kind, data in (
        (MessageType.SMBIOS, facts.smbios),
        (MessageType.SYSTEM_DATA_V2, facts.system_data),
        (MessageType.SYSTEM, facts.inventory),
    ):
        assert len(render_object(kind, data)) < MAX_DATA_BYTES
