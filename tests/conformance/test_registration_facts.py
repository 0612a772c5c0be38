"""Facts over the wire with the independent peer: ours to its server, and its client's to ours, by version."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.facts import Facts, read_facts
from agent.identity import TpmIdentity
from agent.protocol.client_config import Registration
from agent.protocol.documents import JSON
from agent.register import Registered, register
from agent.tpm.software import SoftwareTpm
from tests.agent.facts.workstation import make_workstation
from tests.appliance.hosts.box import Box, open_box
from tests.conformance import registration_peer as peer

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not peer.has_go(), reason="building the registration peer needs Go"),
]

SMBIOS, SYSTEM, SYSTEM_DATA_V2 = 2, 6, 11
LABELS = {
    "serial": "${System Information/Serial Number}",
    "disk": "${System Data/Block Devices/nvme0n1/Storage Controller}",
    "threads": "${System Data/CPU/Total Threads}",
    "new": "${Storage/Disks/nvme0n1/SerialNumber|old-client}",
}


@pytest.fixture(scope="module")
def binary() -> Path:
    return peer.build()


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return read_facts(make_workstation(tmp_path_factory.mktemp("workstation")))


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with open_box(tmp_path, {"machineInventoryLabels": LABELS}) as box:
        yield box


@pytest.mark.parametrize(
    ("version", "kinds"),
    [
        (5, [SMBIOS]),
        (6, [SMBIOS, SYSTEM]),
        (7, [SMBIOS, SYSTEM]),
        (10, [SMBIOS, SYSTEM]),
        (11, [SMBIOS, SYSTEM_DATA_V2]),
        (12, [SMBIOS, SYSTEM_DATA_V2]),
    ],
)
def test_a_server_of_each_version_hears_our_facts_in_its_form(
    binary: Path, facts: Facts, version: int, kinds: list[int]
) -> None:
    with peer.conversing(binary, version=version) as server:
        outcome = register(Registration(url=server.url), TpmIdentity(SoftwareTpm.from_seed(1)), facts=facts)
        heard = server.read_heard()

    assert isinstance(outcome, Registered)
    assert outcome.version == version
    assert list(heard) == kinds
    trees = {SMBIOS: facts.smbios, SYSTEM: facts.inventory, SYSTEM_DATA_V2: facts.system_data}
    assert heard == {kind: trees[kind] for kind in kinds}


def test_every_leaf_that_templates_name_is_text(binary: Path, facts: Facts) -> None:
    with peer.conversing(binary) as server:
        register(Registration(url=server.url), TpmIdentity(SoftwareTpm.from_seed(1)), facts=facts)
        heard = server.read_heard()

    others = {path for path, value in walk(heard[SYSTEM_DATA_V2]) if not isinstance(value, str)}
    assert {path.rpartition("/")[2] for path in others} <= {"PCIAddress", "Capabilities"}


@pytest.mark.parametrize(
    ("version", "new"),
    [(6, "old-client"), (9, "old-client"), (11, "S64DNX0R"), (12, "S64DNX0R")],
)
async def test_a_client_of_each_version_gets_the_same_labels(
    binary: Path, box: Box, facts: Facts, tmp_path: Path, version: int, new: str
) -> None:
    file = tmp_path / "facts.json"
    trees = {"smbios": facts.smbios, "inventory": facts.inventory, "system-data": facts.system_data}
    file.write_text(json.dumps(trees))

    done = await asyncio.to_thread(
        peer.register, binary, box.registration_url, "-version", str(version), "-facts", str(file)
    )

    assert done.returncode == 0, done.stderr
    (machine,) = await box.machines()
    assert {key: machine.metadata.labels.get(key) for key in LABELS} == {
        "serial": "SN-0001",
        "disk": "NVMe",
        "threads": "16",
        "new": new,
    }


def walk(tree: JSON, path: str = "") -> list[tuple[str, JSON]]:
    if not isinstance(tree, dict):
        return [(path, tree)]
    return [leaf for key, value in tree.items() for leaf in walk(value, f"{path}/{key}")]
