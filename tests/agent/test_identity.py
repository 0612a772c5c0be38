"""Who a host is: the choices between TPM, MAC and system UUID, and the ways of having none."""

from pathlib import Path

import pytest

from agent.errors import AgentError
from agent.host import Host
from agent.identity import (
    PlainIdentity,
    TpmIdentity,
    choose_seed,
    find_device,
    find_mac,
    find_system_uuid,
    open_hardware,
    open_identity,
)
from agent.protocol.client_config import Registration
from agent.tpm.base import Tpm
from agent.tpm.software import SoftwareTpm
from tests.agent.machines import UUID, add_interface, make_machine, write


def test_the_lowest_mac_of_a_real_interface_is_chosen(tmp_path: Path) -> None:
    assert find_mac(make_machine(tmp_path)) == "02:fc:00:00:00:01"


def test_a_host_with_only_virtual_interfaces_has_no_mac(tmp_path: Path) -> None:
    add_interface(tmp_path, "docker0", mac="02:00:00:00:00:01", device="virtual/net")
    add_interface(tmp_path, "eth0", mac="00:00:00:00:00:00", device="pci0/a/net")
    add_interface(tmp_path, "ib0", mac="80:00:02:08", device="pci0/b/net")

    with pytest.raises(AgentError, match="no network interface"):
        find_mac(Host(tmp_path))


def test_the_system_uuid_is_the_kernels_text(tmp_path: Path) -> None:
    assert find_system_uuid(make_machine(tmp_path)) == UUID


@pytest.mark.parametrize("said", ["", "Unspecified", "None", "Not Settable", "Not Present"])
def test_firmware_that_says_nothing_gives_no_uuid(tmp_path: Path, said: str) -> None:
    write(tmp_path, "/sys/class/dmi/id/product_uuid", said)

    with pytest.raises(AgentError, match="no system UUID"):
        find_system_uuid(Host(tmp_path))


def test_a_registration_says_what_to_be(tmp_path: Path) -> None:
    host = make_machine(tmp_path)

    assert open_identity(host, Registration(auth="mac"), seed=0) == PlainIdentity("02:fc:00:00:00:01", "mac")
    assert open_identity(host, Registration(auth="sys-uuid"), seed=0) == PlainIdentity(UUID, "sys-uuid")


@pytest.mark.parametrize("auth", ["", "tpm"])
def test_an_emulated_tpm_is_made_from_the_seed(tmp_path: Path, auth: str) -> None:
    identity = open_identity(Host(tmp_path), Registration(auth=auth, emulate_tpm=True), seed=7)

    assert isinstance(identity, TpmIdentity)
    assert identity.tpm.auth == "emulated-tpm"
    assert identity.tpm.attest().endorsement == SoftwareTpm.from_seed(7).attest().endorsement


def test_a_real_tpm_is_opened_when_nothing_else_is_asked_for(tmp_path: Path) -> None:
    tpm = SoftwareTpm.from_seed(1)
    opened: list[Host] = []

    def open_tpm(host: Host) -> Tpm:
        opened.append(host)
        return tpm

    assert open_identity(Host(tmp_path), Registration(), seed=0, open_tpm=open_tpm) == TpmIdentity(tpm)
    assert opened == [Host(tmp_path)]


def test_a_seed_once_used_stays(tmp_path: Path) -> None:
    assert choose_seed(Host(tmp_path), configured=42, remembered=7) == 7
    assert choose_seed(Host(tmp_path), configured=42, remembered=0) == 42
    assert choose_seed(Host(tmp_path), configured=0, remembered=0) == 1


def test_a_fleets_seed_comes_from_the_system_uuid(tmp_path: Path) -> None:
    host = make_machine(tmp_path)

    seed = choose_seed(host, configured=-1, remembered=0)

    assert seed == int(UUID.replace("-", ""), 16) % 2**63
    assert choose_seed(host, configured=-1, remembered=0) == seed


@pytest.mark.parametrize("uuid", [None, "what"])
def test_a_fleets_seed_without_a_uuid_is_random(tmp_path: Path, uuid: str | None) -> None:
    if uuid:
        write(tmp_path, "/sys/class/dmi/id/product_uuid", uuid)
    seeds = {choose_seed(Host(tmp_path), configured=-1, remembered=0) for _ in range(3)}

    assert len(seeds) == 3
    assert all(0 < seed < 2**63 for seed in seeds)


def test_the_resource_managers_device_is_preferred(tmp_path: Path) -> None:
    (tmp_path / "sys/class/tpm/tpm0/device/tpmrm/tpmrm0").mkdir(parents=True)

    assert find_device(Host(tmp_path)) == tmp_path / "dev/tpmrm0"


def test_a_tpm_without_a_resource_manager_is_used_directly(tmp_path: Path) -> None:
    write(tmp_path, "/sys/class/tpm/tpm0/caps", "TCG version: 1.2")
    (tmp_path / "sys/class/tpm/tpm1").mkdir(parents=True)

    assert find_device(Host(tmp_path)) == tmp_path / "dev/tpm1"


def test_a_host_without_a_tpm_is_told_so(tmp_path: Path) -> None:
    write(tmp_path, "/sys/class/tpm/tpm0/caps", "TCG version: 1.2")

    with pytest.raises(AgentError, match=r"no TPM 2\.0") as caught:
        open_hardware(Host(tmp_path))

    assert "--emulate-tpm" in caught.value.hint
