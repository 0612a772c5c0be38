"""Which devices are safe, on machines made of plain files."""

import os
from pathlib import Path

import pytest

from bundles.errors import DeviceRefused
from bundles.media.devices import Device, Machine, check_target, list_devices

USB = "pci0000:00/0000:00:14.0/usb2/2-3/2-3:1.0/host6/target6:0:0/6:0:0:0"
SATA = "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0"
NVME = "pci0000:00/0000:01:00.0/nvme/nvme0"
CARD = "pci0000:00/0000:00:1a.0/mmc_host/mmc0/mmc0:aaaa"
EMMC = "pci0000:00/0000:00:1b.0/mmc_host/mmc1/mmc1:0001"


class FakeMachine:
    """A /sys, a mount table, a swap table and a /dev below one folder."""

    def __init__(self, root: Path) -> None:
        self.paths = Machine(root / "sys", root / "mountinfo", root / "swaps", root / "dev")
        self.paths.dev.mkdir(parents=True)
        (self.paths.sysfs / "block").mkdir(parents=True)
        self.paths.mountinfo.write_text("23 1 0:22 / /proc rw shared:5 - proc proc rw\n")
        self.paths.swaps.write_text("Filename Type Size Used Priority\n")

    def add_disk(
        self,
        name: str,
        lineage: str,
        *,
        number: int,
        size: int = 1 << 30,
        removable: bool = True,
        **attributes: str,
    ) -> Path:
        device = self.paths.sysfs / "devices" / lineage
        place = device / "block" / name
        place.mkdir(parents=True)
        (self.paths.sysfs / "block" / name).symlink_to(os.path.relpath(place, self.paths.sysfs / "block"))
        (place / "device").symlink_to(os.path.relpath(device, place))
        self._write(place, dev=f"8:{number}", size=str(size // 512), ro="0", removable=str(int(removable)))
        self._write(device, **{"vendor": "ACME    ", "model": "Stick 3000      ", **attributes})
        if "usb" in lineage:
            self._write(device.parents[3], idProduct="1234", serial="SN-0042")
        (self.paths.dev / name).touch()
        return place

    def add_partition(self, disk: Path, name: str, *, number: int) -> Path:
        (disk / name).mkdir()
        self._write(disk / name, partition="1", dev=f"8:{number}")
        (self.paths.dev / name).touch()
        return disk / name

    def mount(self, *, number: str, source: str, where: str) -> None:
        with self.paths.mountinfo.open("a") as file:
            file.write(f"30 1 {number} / {where} rw,relatime shared:1 - ext4 {source} rw\n")

    def _write(self, place: Path, **attributes: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        for attribute, value in attributes.items():
            (place / attribute).write_text(value + "\n")


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def safe_devices(machine: Machine) -> list[Device]:
    return [device for device in list_devices(machine) if device.is_safe]


def refusals(machine: FakeMachine, name: str) -> str:
    return "; ".join(next(each for each in list_devices(machine.paths) if each.name == name).refusals)


def test_a_stick_is_offered_with_what_is_printed_on_it(machine: FakeMachine) -> None:
    machine.add_disk("sdb", USB, number=16, size=8 << 30)

    (stick,) = safe_devices(machine.paths)

    assert (stick.vendor, stick.model, stick.serial) == ("ACME", "Stick 3000", "SN-0042")
    assert (stick.bus, stick.port, stick.size) == ("usb", "2-3", 8 << 30)
    assert check_target(machine.paths.dev / "sdb", machine.paths) == stick


def test_a_usb_disk_that_claims_not_to_be_removable_is_offered(machine: FakeMachine) -> None:
    machine.add_disk("sdb", USB, number=16, removable=False)

    assert [each.name for each in safe_devices(machine.paths)] == ["sdb"]


@pytest.mark.parametrize(("name", "lineage"), [("sda", SATA), ("nvme0n1", NVME)])
def test_a_built_in_disk_is_never_offered_even_if_it_claims_to_be_removable(
    machine: FakeMachine, name: str, lineage: str
) -> None:
    machine.add_disk(name, lineage, number=0, removable=True)

    assert "built in" in refusals(machine, name)
    with pytest.raises(DeviceRefused, match="built in"):
        check_target(machine.paths.dev / name, machine.paths)


def test_an_sd_card_is_offered_and_soldered_flash_is_not(machine: FakeMachine) -> None:
    machine.add_disk("mmcblk0", CARD, number=0, type="SD")
    machine.add_disk("mmcblk1", EMMC, number=8, type="MMC")

    assert [each.name for each in safe_devices(machine.paths)] == ["mmcblk0"]


def test_a_mounted_stick_is_refused(machine: FakeMachine) -> None:
    machine.add_disk("sdb", USB, number=16)
    machine.mount(number="8:16", source="/dev/sdb", where="/mnt")

    assert refusals(machine, "sdb") == "sdb is in use: mounted on /mnt"


def test_a_stick_with_a_mounted_partition_is_refused(machine: FakeMachine) -> None:
    disk = machine.add_disk("sdb", USB, number=16)
    machine.add_partition(disk, "sdb1", number=17)
    machine.mount(number="8:17", source="/dev/sdb1", where="/media/my\\040stick")

    assert refusals(machine, "sdb") == "sdb1 is in use: mounted on /media/my stick"


def test_a_mount_without_a_device_number_is_found_by_its_source(machine: FakeMachine) -> None:
    disk = machine.add_disk("sdb", USB, number=16)
    machine.add_partition(disk, "sdb1", number=17)
    (machine.paths.dev / "disk/by-label").mkdir(parents=True)
    (machine.paths.dev / "disk/by-label/DATA").symlink_to("../../sdb1")
    machine.mount(number="0:45", source="/dev/disk/by-label/DATA", where="/srv")

    assert "mounted on /srv" in refusals(machine, "sdb")


def test_swap_on_a_stick_is_refused(machine: FakeMachine) -> None:
    disk = machine.add_disk("sdb", USB, number=16)
    machine.add_partition(disk, "sdb1", number=17)
    with machine.paths.swaps.open("a") as file:
        file.write("/dev/sdb1 partition 1000 0 -2\n")

    assert refusals(machine, "sdb") == "sdb1 is in use: swap space"


@pytest.mark.parametrize("on_partition", [True, False])
def test_a_member_of_a_volume_group_is_refused(machine: FakeMachine, on_partition: bool) -> None:
    disk = machine.add_disk("sdb", USB, number=16)
    part = machine.add_partition(disk, "sdb1", number=17)
    ((part if on_partition else disk) / "holders/dm-0").mkdir(parents=True)

    assert "part of dm-0" in refusals(machine, "sdb")


def test_an_empty_reader_and_a_locked_card_are_refused(machine: FakeMachine) -> None:
    machine.add_disk("sdb", USB, number=16, size=0)
    locked = machine.add_disk("mmcblk0", CARD, number=0, type="SD")
    (locked / "ro").write_text("1\n")

    assert refusals(machine, "sdb") == "there is no medium in it"
    assert refusals(machine, "mmcblk0") == "it is write-protected"


def test_a_partition_is_refused_and_its_disk_is_named(machine: FakeMachine) -> None:
    disk = machine.add_disk("sdb", USB, number=16)
    machine.add_partition(disk, "sdb1", number=17)

    with pytest.raises(DeviceRefused, match="partition of sdb") as refusal:
        check_target(machine.paths.dev / "sdb1", machine.paths)

    assert refusal.value.hint.endswith("dev/sdb")


def test_a_link_by_id_leads_to_its_device(machine: FakeMachine) -> None:
    machine.add_disk("sdb", USB, number=16)
    (machine.paths.dev / "disk/by-id").mkdir(parents=True)
    (machine.paths.dev / "disk/by-id/usb-ACME").symlink_to("../../sdb")

    assert check_target(machine.paths.dev / "disk/by-id/usb-ACME", machine.paths).name == "sdb"


def test_what_is_no_disk_is_refused(machine: FakeMachine) -> None:
    with pytest.raises(DeviceRefused, match="not a disk"):
        check_target(machine.paths.dev / "null", machine.paths)


def test_devices_made_of_others_are_not_listed(machine: FakeMachine) -> None:
    (machine.paths.sysfs / "block/loop0").mkdir()

    assert list_devices(machine.paths) == []


def test_a_hostile_label_cannot_paint_the_screen(machine: FakeMachine) -> None:
    machine.add_disk("sdb", USB, number=16, model="\x1b[2J\u202eevil\u200b " + "x" * 9000)

    (stick,) = list_devices(machine.paths)

    assert stick.model.isprintable()
    assert "\u202e" not in stick.model
    assert len(stick.model) <= 64


def test_another_stick_in_the_same_port_is_another_identity(machine: FakeMachine) -> None:
    machine.add_disk("sdb", USB, number=16)
    (before,) = safe_devices(machine.paths)
    (machine.paths.sysfs / "devices/pci0000:00/0000:00:14.0/usb2/2-3/serial").write_text("SN-9999\n")

    (after,) = safe_devices(machine.paths)

    assert before.identity != after.identity


@pytest.mark.parametrize(
    "line", ["", "junk", "1 2 3", "30 1 8:16 / /mnt rw", "30 1 8:16 / /mnt rw - ", "\xff\xfe"]
)
def test_a_mount_table_that_cannot_be_read_hides_nothing_else(machine: FakeMachine, line: str) -> None:
    machine.add_disk("sdb", USB, number=16)
    with machine.paths.mountinfo.open("a") as file:
        file.write(line + "\n")
    machine.mount(number="8:16", source="/dev/sdb", where="/mnt")

    assert safe_devices(machine.paths) == []
