"""Our server and our client against an independent implementation of the protocol.

The peer is made of the libraries that Elemental's own client and server are made of: go-attestation, its
TPM simulator, and gorilla/websocket. Elemental's own modules cannot be had everywhere; that the peer's TPM
is theirs shows in the hashes of its seeds, which are those of the real client.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.facts import Facts
from agent.identity import TpmIdentity
from agent.protocol.client_config import Registration, parse_config
from agent.register import Registered, register
from agent.tpm.software import SoftwareTpm
from tests.agent.protocol import vectors
from tests.appliance.hosts.box import Box, open_box
from tests.conformance import registration_peer as peer

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not peer.has_go(), reason="building the registration peer needs Go"),
]

# What the real client's emulated TPM of these seeds is known by.
SEED_HASHES = {1: "a2e5b231dac4e90151454e2ebc76a6b118f7d1b826b810d22868b2d09b38b7f7", 42: vectors.TPM_HASH}


@pytest.fixture(scope="module")
def binary() -> Path:
    return peer.build()


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with open_box(tmp_path) as box:
        yield box


@pytest.mark.parametrize("seed", SEED_HASHES)
async def test_the_peer_registers_with_us_under_the_real_clients_hash(
    binary: Path, box: Box, seed: int
) -> None:
    done = await asyncio.to_thread(peer.register, binary, box.registration_url, "-seed", str(seed))

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    (machine,) = await box.machines()
    assert answer["tpmHash"] == machine.spec.tpm_hash == SEED_HASHES[seed]
    assert answer["version"] == 12
    assert machine.metadata.labels["elemental.cattle.io/host"] == "peer"
    system_agent = parse_config(answer["config"].encode()).elemental.system_agent
    assert system_agent.secret_name == machine.metadata.name


async def test_the_peer_comes_back_as_the_same_machine(binary: Path, box: Box) -> None:
    for flags in ([], ["-update"], ["-version", "13"]):
        done = await asyncio.to_thread(peer.register, binary, box.registration_url, *flags)
        assert done.returncode == 0, done.stderr

    assert len(await box.machines()) == 1


async def test_fragmented_system_data_is_put_together(binary: Path, box: Box) -> None:
    done = await asyncio.to_thread(peer.register, binary, box.registration_url, "-padding", "100000")

    assert done.returncode == 0, done.stderr


async def test_the_peer_with_a_wrong_answer_is_told_and_leaves_no_trace(binary: Path, box: Box) -> None:
    done = await asyncio.to_thread(peer.register, binary, box.registration_url, "-wrong-answer")

    assert done.returncode == 1
    assert "the answer to the challenge is wrong" in done.stderr
    assert await box.machines() == []


async def test_the_peer_sees_our_words_before_the_upgrade_and_in_errors(binary: Path, box: Box) -> None:
    unknown = await asyncio.to_thread(peer.register, binary, f"{box.url}/elemental/registration/nobody")
    forgotten = await asyncio.to_thread(peer.register, binary, box.registration_url, "-update")

    assert unknown.stderr.startswith("404: failed to find machine registration")
    assert "MachineInventory not found" in forgotten.stderr


@pytest.mark.parametrize(
    "tpm",
    [
        SoftwareTpm.from_seed(1),
        SoftwareTpm(ec.generate_private_key(ec.SECP256R1())),
        SoftwareTpm(ec.generate_private_key(ec.SECP384R1())),
    ],
    ids=["RSA 2048", "P-256", "P-384"],
)
def test_we_register_with_the_peer(binary: Path, tpm: SoftwareTpm) -> None:
    facts = Facts(smbios={"System Information": {"UUID": "u"}}, system_data={"Padding": "x" * 100_000})
    with peer.serving(binary) as (url, _):
        outcome = register(Registration(url=url), TpmIdentity(tpm), facts=facts, labels={"a": "b"})

    assert isinstance(outcome, Registered)
    assert outcome.version == 12
    assert outcome.config.cloud_config == {"users": []}
    assert outcome.config.elemental.system_agent.secret_namespace == "fleet-default"
