"""The simulated disk and the mark of an unfinished install; the real disk is in tests/system."""

from pathlib import Path

import pytest

from agent.config import MIB, AgentConfig, DiskConfig, VolumeSizes
from agent.devices import BlockDevice
from agent.disk import (
    DirectoryDisk,
    PartitionDisk,
    check_overwrite,
    is_empty,
    is_marked,
    mark,
    open_disk,
    render_sfdisk_script,
    unmark,
)
from agent.errors import DiskRefused
from agent.gpt import read_table
from agent.host import VOLUMES, Host
from agent.layout import plan_partitions

SIZES = VolumeSizes(efi=8, oem=8, recovery=16, state=32)
CONFIG = AgentConfig(disk=DiskConfig(kind="directories", sizes=SIZES))
DEVICE = BlockDevice("vda", 100 * MIB)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    host.path("/dev").mkdir()
    with host.path("/dev/vda").open("wb") as disk:
        disk.truncate(DEVICE.size)
    return host


def test_formatting_makes_a_real_table_and_empty_volumes(host: Host) -> None:
    host.volume("state").mkdir(parents=True)
    (host.volume("state") / "old").touch()

    DirectoryDisk(host, CONFIG).format(DEVICE)

    with host.path("/dev/vda").open("rb") as disk:
        assert [entry.name for entry in read_table(disk)] == list(VOLUMES)
    assert all(not list(host.volume(name).iterdir()) for name in VOLUMES)


def test_mounting_what_is_not_installed_is_refused(host: Host) -> None:
    with pytest.raises(DiskRefused, match="nothing is installed"):
        DirectoryDisk(host, CONFIG).mount()


def test_the_kind_of_disk_is_the_configurations(host: Host) -> None:
    assert isinstance(open_disk(host, CONFIG), DirectoryDisk)
    assert isinstance(open_disk(host, AgentConfig()), PartitionDisk)


@pytest.mark.parametrize("position", [0, 1080, 65600, 100 * MIB - 512])
def test_data_at_either_end_is_seen_and_refused(host: Host, position: int) -> None:
    assert is_empty(host, DEVICE)
    with host.path("/dev/vda").open("r+b") as disk:
        disk.seek(position)
        disk.write(b"x")

    with pytest.raises(DiskRefused, match="already holds data"):
        check_overwrite(host, DEVICE, told=False)
    check_overwrite(host, DEVICE, told=True)


def test_an_unfinished_install_may_be_begun_again_and_a_finished_one_not(host: Host) -> None:
    mark(host, DEVICE)
    DirectoryDisk(host, CONFIG).format(DEVICE)
    assert is_marked(host, DEVICE)
    check_overwrite(host, DEVICE, told=False)

    unmark(host, "/dev/vda")

    assert not is_marked(host, DEVICE)
    with pytest.raises(DiskRefused):
        check_overwrite(host, DEVICE, told=False)


def test_the_mark_lies_outside_of_table_and_partitions(host: Host) -> None:
    DirectoryDisk(host, CONFIG).format(DEVICE)
    before = host.path("/dev/vda").read_bytes()
    mark(host, DEVICE)
    after = host.path("/dev/vda").read_bytes()

    changed = [position for position in range(2 * MIB) if before[position] != after[position]]

    assert changed[0] >= 34 * 512
    assert changed[-1] < MIB


def test_unmarking_touches_nothing_else(host: Host) -> None:
    DirectoryDisk(host, CONFIG).format(DEVICE)
    before = host.path("/dev/vda").read_bytes()

    unmark(host, "/dev/vda")

    assert host.path("/dev/vda").read_bytes() == before


def test_the_script_for_sfdisk_names_every_partition() -> None:
    script = render_sfdisk_script(plan_partitions(DEVICE.size, SIZES))

    assert script.startswith("label: gpt\n")
    assert 'start=2048, size=16384, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="efi"' in script
    assert script.count("0FC63DAF-8483-4772-8E79-3D69D8477DE4") == 4
