"""The agent on a real disk: Debian 12 pulled by digest, installed, upgraded, rolled back, and read back.

The disk is a loop device over a sparse file; the partition table, the file systems and the mounts are real.
What is read back at the end is read by other programs: sfdisk, blkid, fsck and mount.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.config import (
    MIB,
    AgentConfig,
    DiskConfig,
    HealthConfig,
    MirrorConfig,
    SnapshotConfig,
    VolumeSizes,
)
from agent.devices import list_devices
from agent.disk import PartitionDisk, is_marked
from agent.errors import DiskRefused
from agent.grubenv import read_variables
from agent.health import Verdict, check_health
from agent.host import VOLUMES, Host
from agent.install import OemFile, install
from agent.installation import Installation, open_installation
from agent.protocol.client_config import DeviceSelector, Install
from agent.reference import parse_reference
from agent.registry import Registry
from agent.settle import Settled, settle
from agent.simulation.firmware import pick
from agent.status import list_slots
from agent.upgrade import switch_back, upgrade
from bundles.images.debian import build_debian_image
from bundles.tarball import file

pytestmark = pytest.mark.system

DISK_BYTES = 14 * 1024 * MIB
SIZES = VolumeSizes(efi=64, oem=64, recovery=2048, state=6144)
REPOSITORY = "os/debian"
CHECKER = "usr/libexec/elemental-checker/50-line.sh"
LABELS = {
    "efi": ("COS_GRUB", "vfat"),
    "oem": ("COS_OEM", "ext4"),
    "recovery": ("COS_RECOVERY", "ext4"),
    "state": ("COS_STATE", "ext4"),
    "persistent": ("COS_PERSISTENT", "ext4"),
}
KERNEL_HAS_VFAT = "vfat" in Path("/proc/filesystems").read_text()
MOUNT = """\
#!/bin/sh
for target; do :; done
case "$target" in */run/elemental/efi) ;; *) exec {program} "$@" ;; esac
{program} -t tmpfs esp "$target" || exit 1
if mdir -b -i {node} :: | grep -q .; then exec mcopy -s -n -i {node} '::/*' "$target"; fi
"""
UMOUNT = """\
#!/bin/sh
case "$1" in */run/elemental/efi) ;; *) exec {program} "$@" ;; esac
mcopy -s -o -D o -i {node} "$1"/* :: && sync {node} && exec {program} "$1"
"""


def call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass
class Machine:
    """A machine whose disk is real and whose firmware is the test: it only picks and says what it picked."""

    directory: Path
    node: str
    mirror: str
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> Host:
        return Host(self.directory / "root")

    @property
    def installation(self) -> Installation:
        disk = DiskConfig(sizes=SIZES, allow_loop=True, device=self.node)
        config = AgentConfig(
            disk=disk,
            snapshot=SnapshotConfig(format="ext2", headroom_mib=64),
            mirror=MirrorConfig(plain_http=True),
            health=HealthConfig(attempts=1),
        )
        return open_installation(self.host, config)

    def reference(self, version: str) -> str:
        return f"{self.mirror}/{REPOSITORY}@{self.digests[version]}"

    def registry(self) -> Registry:
        return Registry(self.mirror, context=None)

    def prepare(self) -> None:
        """The live medium: this machine's devices, and a root of its own for the rest."""
        root = self.host.root
        (root / "proc").mkdir(parents=True)
        (root / "proc/cmdline").write_text("elemental.mode=live")
        (root / "proc/mounts").symlink_to("/proc/self/mounts")
        (root / "dev").symlink_to("/dev")
        (root / "sys").symlink_to("/sys")

    def reboot(self) -> int | None:
        """Follow the ladder and tell the kernel command line what was picked."""
        self.installation.disk.mount()
        boot = pick(self.host)
        words = [f"elemental.mode={boot.mode}"]
        if boot.snapshot is not None:
            words.append(f"skerry.snapshot={boot.snapshot}")
        self.host.path("/proc/cmdline").write_text(" ".join(words))
        self.host.path("/run/skerry/reboot-requested").unlink(missing_ok=True)
        return boot.snapshot

    def settle(self, snapshot: int) -> Settled:
        """Judge with the checkers of the image that runs, mounted as it would be."""
        installation = self.installation

        def judge() -> Verdict:
            with mounted(
                installation.snapshots.image(snapshot), self.directory / "booted", "loop,ro"
            ) as root:
                return check_health(Host(root), installation.config.health)

        return settle(installation, judge=judge)


def put_vfat_tools(machine: Machine) -> None:
    """Where the kernel has no vfat, `mount` of the ESP reads it into a tmpfs and `umount` writes it back."""
    if KERNEL_HAS_VFAT:
        return
    directory = machine.host.path("/usr/bin")
    directory.mkdir(parents=True)
    for name, body in (("mount", MOUNT), ("umount", UMOUNT)):
        program = shutil.which(name)
        assert program is not None
        text = body.format(program=program, node=f"{machine.node}p1")
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)


@contextmanager
def mounted_esp(machine: Machine, target: Path) -> Iterator[Path]:
    """The ESP as it is on the disk, read by the kernel or by mtools."""
    if KERNEL_HAS_VFAT:
        with mounted(f"{machine.node}p1", target, "ro") as esp:
            yield esp
        return
    copy = machine.directory / "esp-read"
    copy.mkdir()
    call("mcopy", "-s", "-i", f"{machine.node}p1", "::/*", str(copy))
    yield copy


@contextmanager
def mounted(source: Path | str, target: Path, options: str) -> Iterator[Path]:
    target.mkdir(exist_ok=True)
    call("mount", "-o", options, str(source), str(target))
    try:
        yield target
    finally:
        call("umount", str(target))


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The mirror as a process of its own; yields its address."""
    root = tmp_path_factory.mktemp("mirror")
    command = [sys.executable, "-m", "mirror", "serve", "--root", str(root), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["listen"]
        process.terminate()


@pytest.fixture(scope="module")
def digests(mirror: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Three versions of Debian 12, the third unhealthy, pushed into the mirror by skopeo."""
    layout = tmp_path_factory.mktemp("layout")
    pushed = {}
    for version, answer in (("v1", "exit 0"), ("v2", "exit 0"), ("v3", "echo the line stands still; exit 1")):
        checker = file(CHECKER, f"#!/bin/sh\n{answer}\n", mode=0o755)
        digest = build_debian_image(layout, name="debian", version=version, extra=[checker])
        source, target = f"oci:{layout}:debian:{version}", f"docker://{mirror}/{REPOSITORY}:{version}"
        call("skopeo", "copy", "--dest-tls-verify=false", "--preserve-digests", source, target)
        pushed[version] = str(digest)
    return pushed


@pytest.fixture
def machine(tmp_path: Path, mirror: str, digests: dict[str, str]) -> Iterator[Machine]:
    image = tmp_path / "disk.img"
    with image.open("wb") as disk:
        disk.truncate(DISK_BYTES)
    node = call("losetup", "--partscan", "--find", "--show", str(image)).strip()
    machine = Machine(tmp_path, node, mirror, digests)
    machine.prepare()
    put_vfat_tools(machine)
    try:
        yield machine
    finally:
        for name in reversed(VOLUMES):
            if os.path.ismount(machine.host.volume(name)):
                call("umount", str(machine.host.volume(name)))
        call("losetup", "--detach", node)


def test_debian_is_installed_upgraded_and_rolled_back_on_a_real_disk(machine: Machine) -> None:
    name = machine.node.removeprefix("/dev/")
    options = Install(device_selector=[DeviceSelector(key="Name", operator="In", values=[name])])
    install(
        machine.installation,
        parse_reference(machine.reference("v1")),
        options=options,
        registry=machine.registry(),
        oem={"registration/config.yaml": OemFile(b"elemental: {}\n")},
    )
    assert machine.reboot() == 1
    assert _outcome(machine.settle(1)) == "committed"

    upgrade(machine.installation, parse_reference(machine.reference("v2")), registry=machine.registry())
    assert machine.reboot() == 2
    assert _outcome(machine.settle(2)) == "committed"

    upgrade(machine.installation, parse_reference(machine.reference("v3")), registry=machine.registry())
    assert machine.reboot() == 3
    assert machine.settle(3).needs_reboot
    assert machine.reboot() == 2
    settled = machine.settle(2)
    assert _outcome(settled) == "rolled-back"
    assert settled.record is not None
    assert settled.record.reason == "50-line.sh failed: the line stands still"

    slots = {slot.name: slot for slot in list_slots(machine.installation.state())}
    assert (slots["b"].state, slots["b"].version) == ("good", "v2")
    assert (slots["a"].state, slots["a"].version) == ("bad", "v3")

    check_what_others_read(machine)


def test_an_installation_is_found_by_its_partition_labels(machine: Machine) -> None:
    device = next(one for one in list_devices(machine.host, allow_loop=True) if one.node == machine.node)
    machine.installation.disk.format(device)

    found = PartitionDisk(machine.host, AgentConfig())

    assert found.node() == machine.node
    found.mount()
    assert all(os.path.ismount(machine.host.volume(name)) for name in VOLUMES)


def test_a_disk_with_data_is_refused_and_left_as_it_is(machine: Machine) -> None:
    call("mkfs.ext4", "-q", "-L", "PRECIOUS", machine.node)
    name = machine.node.removeprefix("/dev/")
    selector = [DeviceSelector(key="Name", operator="In", values=[name])]

    with pytest.raises(DiskRefused, match="already holds data"):
        install(
            machine.installation,
            parse_reference(machine.reference("v1")),
            options=Install(device_selector=selector),
            registry=machine.registry(),
            oem={},
        )

    assert call("blkid", "-s", "LABEL", "-o", "value", machine.node).strip() == "PRECIOUS"


def test_a_person_can_go_back_and_a_mounted_disk_is_never_chosen(machine: Machine) -> None:
    install(
        machine.installation,
        parse_reference(machine.reference("v1")),
        options=Install(device=machine.node),
        registry=machine.registry(),
        oem={},
    )
    machine.reboot()
    machine.settle(1)
    upgrade(machine.installation, parse_reference(machine.reference("v2")), registry=machine.registry())
    machine.reboot()
    machine.settle(2)

    switch_back(machine.installation)
    assert machine.reboot() == 1
    assert _outcome(machine.settle(1)) == "committed"

    with pytest.raises(DiskRefused, match="mounted"):
        install(
            machine.installation,
            parse_reference(machine.reference("v2")),
            options=Install(device=machine.node),
            registry=machine.registry(),
            oem={},
        )


def check_what_others_read(machine: Machine) -> None:
    """Unmount everything, then ask the system's own tools what is on the disk."""
    device = next(one for one in list_devices(machine.host, allow_loop=True) if one.node == machine.node)
    assert not is_marked(machine.host, device)
    machine.installation.disk.unmount()
    check_partition_table(machine.node)
    for number, (name, (label, file_system)) in enumerate(LABELS.items(), start=1):
        partition = f"{machine.node}p{number}"
        assert probe(partition) == {"LABEL": label, "PARTLABEL": name, "TYPE": file_system}
        checker = ["fsck.vfat", "-n"] if file_system == "vfat" else ["e2fsck", "-f", "-n"]
        call(*checker, partition)
    target = machine.directory / "look"
    with mounted_esp(machine, target) as esp:
        check_esp(esp)
    with mounted(f"{machine.node}p2", target, "ro") as oem:
        assert (oem / "registration/config.yaml").stat().st_mode & 0o777 == 0o600
    with mounted(f"{machine.node}p3", target, "ro") as recovery:
        assert {path.name for path in (recovery / "boot").iterdir()} == {
            "bootargs.cfg",
            "initrd",
            "kernel",
            "recovery.img",
        }
        assert probe(str(recovery / "boot/recovery.img"))["LABEL"] == "COS_SYSTEM"
        recovery_state = (recovery / "state.yaml").read_bytes()
    with mounted(f"{machine.node}p4", target, "ro") as state:
        assert (state / "state.yaml").read_bytes() == recovery_state
        assert os.readlink(state / ".snapshots/active") == "2/snapshot.img"
        assert sorted(path.name for path in (state / ".snapshots").iterdir()) == ["2", "3", "active"]
        check_snapshot(state / ".snapshots/2/snapshot.img", machine.directory / "snapshot", number=2)


def check_partition_table(node: str) -> None:
    table = json.loads(call("sfdisk", "--json", node))["partitiontable"]
    call("sfdisk", "--verify", node)
    names = [partition["name"] for partition in table["partitions"]]
    sizes = [partition["size"] * 512 // MIB for partition in table["partitions"]]
    assert (table["label"], names) == ("gpt", list(LABELS))
    assert table["partitions"][0]["start"] == 2048
    assert table["partitions"][0]["type"] == "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
    assert sizes[:4] == [SIZES.efi, SIZES.oem, SIZES.recovery, SIZES.state]


def check_esp(esp: Path) -> None:
    variables = read_variables(esp / "grub_oem_env")
    assert len((esp / "grub_oem_env").read_bytes()) == 1024
    assert variables["state_label"] == "COS_STATE"
    assert (variables["ab_good"], variables["active_snap"]) == ("2", "2")
    assert (variables["passive_snaps"], variables["default_fallback"]) == ("3", "0 1 2")
    assert "ab_next" not in variables
    for directory in ("EFI/BOOT", "EFI/ELEMENTAL"):
        found = {path.name.lower() for path in (esp / directory).iterdir()}
        assert found >= {"grub.cfg", "bootx64.efi", "grubx64.efi"}


def check_snapshot(image: Path, target: Path, *, number: int) -> None:
    assert probe(str(image)) == {"LABEL": f"EL_SNAP{number}", "TYPE": "ext2"}
    call("e2fsck", "-f", "-n", str(image))
    with mounted(image, target, "loop,ro") as root:
        assert "IMAGE_TAG=v2" in (root / "etc/os-release").read_text().replace('"', "")
        assert (root / "boot/vmlinuz").stat().st_size > MIB
        assert (root / "usr/lib/systemd/systemd").is_file()
        assert (root / "etc/shadow").stat().st_mode & 0o007 == 0
        assert os.lstat(root / "etc/passwd").st_uid == 0


def probe(source: str) -> dict[str, str]:
    wanted: Sequence[str] = ("LABEL", "PARTLABEL", "TYPE")
    lines = call("blkid", "--probe", "-o", "export", source).splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    found = {key.replace("PART_ENTRY_NAME", "PARTLABEL"): value for key, value in found.items()}
    return {key: found[key] for key in wanted if key in found}


def _outcome(settled: Settled) -> str:
    return settled.record.outcome if settled.record else "nothing"
