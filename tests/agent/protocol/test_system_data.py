"""An old client's inventory, and the tree that templates read."""

from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.documents import JSON
from agent.protocol.system_data import build_system_data

INVENTORY: dict[str, JSON] = {
    "memory": {"total_physical_bytes": 25769803776, "total_usable_bytes": 25276502016},
    "cpu": {
        "total_cores": 2,
        "total_threads": 4,
        "processors": [{"model": "Xeon", "vendor": "GenuineIntel", "capabilities": ["fpu", "vme"]}, {}],
    },
    "gpu": {"cards": [{"pci": {"product": {"name": "QXL"}, "vendor": {"name": "Red Hat"}}}]},
    "network": {"nics": [{"name": "eth0", "mac_address": "02:fc:00:00:00:01", "is_virtual": False}]},
    "block": {
        "disks": [
            {
                "name": "sda",
                "size_bytes": 21474836480,
                "drive_type": "ssd",
                "storage_controller": "scsi",
                "removable": False,
            }
        ]
    },
    "runtime": {"hostname": "vm"},
}


def test_an_inventory_becomes_the_legacy_tree() -> None:
    assert build_system_data(INVENTORY) == {
        "System Data": {
            "Memory": {"Total Physical Bytes": "25769803776", "Total Usable Bytes": "25276502016"},
            "CPU": {
                "Total Cores": "2",
                "Total Threads": "4",
                "Model": "Xeon",
                "Vendor": "GenuineIntel",
                "Capabilities": ["fpu", "vme"],
            },
            "GPU": {"Model": "QXL", "Vendor": "Red Hat"},
            "Network": {
                "Number Interfaces": "1",
                "eth0": {"Name": "eth0", "MacAddress": "02:fc:00:00:00:01", "IsVirtual": "false"},
            },
            "Block Devices": {
                "Number Devices": "1",
                "sda": {
                    "Name": "sda",
                    "Size": "21474836480",
                    "Drive Type": "SSD",
                    "Storage Controller": "SCSI",
                    "Removable": "false",
                },
            },
            "Runtime": {"Hostname": "vm"},
        }
    }


def test_what_is_missing_has_no_name() -> None:
    assert build_system_data({}) == {"System Data": {}}
    assert build_system_data({"cpu": {"total_cores": None}}) == {"System Data": {"CPU": {"Total Cores": ""}}}


keys = st.sampled_from([*INVENTORY, "processors", "cards", "pci", "product", "nics", "disks", "name"])
trees: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
)


@given(st.dictionaries(keys, trees))
def test_any_inventory_gives_a_tree(inventory: dict[str, JSON]) -> None:
    assert list(build_system_data(inventory)) == ["System Data"]
