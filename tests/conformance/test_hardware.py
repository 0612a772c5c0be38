"""What we read of a machine against the inventory library that Elemental's own client is built on.

`tell` is that library over the same files; `read` is how Elemental's server takes message 6 apart. We differ
on purpose in three things: devices made from other devices are no disks, a disk's model and serial are also
read where udev has none, and MAC addresses are told even where the kernel does not call them burnt in.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.facts import Facts, read_facts
from agent.host import Host
from tests.agent.facts.workstation import make_workstation
from tests.go_builds import build_program, has_go

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not has_go(), reason="building the inventory library needs Go"),
]

SOURCES = Path(__file__).parent / "hardware"
UNKNOWN = ("", "unknown")


@pytest.fixture(scope="module")
def program() -> Path:
    return build_program("hardware-peer", SOURCES)


@pytest.fixture(scope="module", params=["a workstation of files", "this machine"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Host:
    if request.param == "this machine":
        return Host()
    return make_workstation(tmp_path_factory.mktemp("workstation"))


@pytest.fixture(scope="module")
def ours(host: Host) -> Facts:
    return read_facts(host)


@pytest.fixture(scope="module")
def theirs(program: Path, host: Host) -> dict[str, Any]:
    return run(program, "tell", str(host.root))


def run(program: Path, *arguments: str, given: bytes = b"") -> dict[str, Any]:
    done = subprocess.run([program, *arguments], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def by_name(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in items}


def inventory(facts: Facts) -> dict[str, Any]:
    return dict(facts.inventory)


def test_memory_is_counted_alike(ours: Facts, theirs: dict[str, Any]) -> None:
    for key in ("total_physical_bytes", "total_usable_bytes", "supported_page_sizes"):
        assert inventory(ours)["memory"][key] == theirs["memory"][key]


def test_processors_are_counted_alike(ours: Facts, theirs: dict[str, Any]) -> None:
    mine, other = inventory(ours)["cpu"], theirs["cpu"]
    keys = ("id", "total_cores", "total_threads", "total_hardware_threads", "vendor", "model", "capabilities")

    for key in ("total_cores", "total_threads", "total_hardware_threads"):
        assert mine[key] == other[key]
    assert [{key: one[key] for key in keys} for one in mine["processors"]] == [
        {key: one[key] for key in keys} for one in sorted(other["processors"], key=lambda one: one["id"])
    ]


def test_disks_are_described_alike(ours: Facts, theirs: dict[str, Any]) -> None:
    mine, other = by_name(inventory(ours)["block"]["disks"]), by_name(theirs["block"]["disks"])

    assert mine.keys() <= other.keys()
    assert all(
        name.startswith(("loop", "dm-", "zram", "ram", "md", "nbd")) for name in other.keys() - mine.keys()
    )
    for name, disk in mine.items():
        for key in ("size_bytes", "drive_type", "storage_controller", "removable"):
            assert disk[key] == other[name][key], (name, key)
        for key in ("model", "serial_number", "wwn", "vendor"):
            assert other[name][key] in (disk[key], *UNKNOWN), (name, key)


def test_interfaces_are_described_alike(ours: Facts, theirs: dict[str, Any]) -> None:
    mine, other = by_name(inventory(ours)["network"]["nics"]), by_name(theirs["network"]["nics"])

    assert list(mine) == list(other)
    for name, nic in mine.items():
        assert nic["is_virtual"] == other[name]["is_virtual"]
        assert nic.get("pci_address") == other[name].get("pci_address")
        assert other[name]["mac_address"] in (nic["mac_address"], "")
        assert nic["speed"].removesuffix("Mb/s") in (other[name]["speed"], "")


def test_firmware_is_described_alike(ours: Facts, theirs: dict[str, Any]) -> None:
    for branch in ("chassis", "bios", "baseboard", "product"):
        assert inventory(ours)[branch] == theirs[branch]


def test_an_old_server_reads_our_inventory(program: Path, ours: Facts) -> None:
    mine = inventory(ours)

    read = run(program, "read", given=json.dumps(mine).encode())

    assert_within(mine, read, "inventory")


def assert_within(mine: Any, read: Any, place: str) -> None:
    """Everything that we said was taken over; what their structs do not know is not compared."""
    if isinstance(mine, dict):
        for key in mine.keys() & (read or {}).keys():
            assert_within(mine[key], read[key], f"{place}.{key}")
    elif isinstance(mine, list):
        assert len(mine) == len(read or []), place
        for index, (one, other) in enumerate(zip(mine, read or [], strict=True)):
            assert_within(one, other, f"{place}[{index}]")
    else:
        assert mine == read, place
