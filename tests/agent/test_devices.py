"""The choice of a disk: upstream's rules, but the same answer every time and never the wrong one."""

from pathlib import Path

import pytest

from agent.devices import BlockDevice, choose_device, list_devices, parse_quantity, partition_node
from agent.errors import DiskRefused
from agent.host import Host
from agent.protocol.client_config import DeviceSelector

GIB = 1024**3
SMALL = BlockDevice("sda", 20 * GIB)
LARGE = BlockDevice("nvme0n1", 500 * GIB)
STICK = BlockDevice("sdb", 8 * GIB, removable=True)
MEDIUM = BlockDevice("sdc", 100 * GIB, mounted=True)
ALL = [LARGE, STICK, SMALL, MEDIUM]


def rule(key: str, operator: str, *values: str) -> DeviceSelector:
    return DeviceSelector(key=key, operator=operator, values=list(values))  # type: ignore[arg-type]


def test_the_smallest_disk_that_fits_is_taken_every_time() -> None:
    assert choose_device(ALL) is SMALL
    assert choose_device(list(reversed(ALL))) is SMALL
    assert choose_device([BlockDevice("sdb", 5), BlockDevice("sda", 5)]).name == "sda"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule("Size", "Gt", "20Gi")], LARGE),
        ([rule("Size", "Lt", "1T")], SMALL),
        ([rule("Name", "In", "/dev/nvme0n1", "sdz")], LARGE),
        ([rule("Name", "In", "nvme0n1")], LARGE),
        ([rule("Name", "NotIn", "/dev/sda")], LARGE),
        ([rule("Size", "Gt", "10G"), rule("Name", "NotIn", "sda")], LARGE),
    ],
)
def test_all_rules_must_hold(rules: list[DeviceSelector], expected: BlockDevice) -> None:
    assert choose_device(ALL, selector=rules) is expected


def test_a_refusal_says_why_each_disk_is_not_it() -> None:
    with pytest.raises(DiskRefused) as refused:
        choose_device(ALL, selector=[rule("Size", "Gt", "1Ti")])

    for words in ("sda: its size is not Gt 1Ti", "sdb: it is removable", "sdc: it is mounted"):
        assert words in str(refused.value)


def test_a_named_disk_may_be_removable_but_never_mounted() -> None:
    assert choose_device(ALL, device="/dev/sdb") is STICK
    with pytest.raises(DiskRefused, match="mounted"):
        choose_device(ALL, device="/dev/sdc")
    with pytest.raises(DiskRefused, match="no disk /dev/sdx"):
        choose_device(ALL, device="/dev/sdx")


@pytest.mark.parametrize("bad", [rule("Size", "In", "1"), rule("Name", "Gt", "sda"), rule("Size", "Gt")])
def test_a_rule_that_means_nothing_is_an_error(bad: DeviceSelector) -> None:
    with pytest.raises(DiskRefused, match="means nothing"):
        choose_device(ALL, selector=[bad])


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1000", 1000), ("1Ki", 1024), ("1.5Gi", 3 * GIB // 2), ("20G", 20 * 10**9), ("1k", 1000)],
)
def test_quantities_are_kubernetes(text: str, size: int) -> None:
    assert parse_quantity(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1 TB", "1Kib", "1e5", "５G", "1m"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(DiskRefused):
        parse_quantity(text)


def test_partitions_are_named_as_the_kernel_does() -> None:
    assert partition_node("/dev/sda", 4) == "/dev/sda4"
    assert partition_node("/dev/nvme0n1", 4) == "/dev/nvme0n1p4"


def test_the_hosts_disks_are_read_from_sysfs(tmp_path: Path) -> None:
    host = Host(tmp_path)
    for name, size, removable in (("sda", 100, 0), ("sdb", 50, 1), ("loop0", 10, 0), ("dm-0", 10, 0)):
        directory = tmp_path / "sys/block" / name
        directory.mkdir(parents=True)
        (directory / "size").write_text(f"{size}\n")
        (directory / "removable").write_text(f"{removable}\n")
        (directory / "ro").write_text("0\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/mounts").write_text("/dev/sdb1 /run/live iso9660 ro 0 0\nproc /proc proc rw 0 0\n")

    assert list_devices(host) == [
        BlockDevice("sda", 51200),
        BlockDevice("sdb", 25600, removable=True, mounted=True),
    ]
    assert "loop0" in {device.name for device in list_devices(host, allow_loop=True)}
