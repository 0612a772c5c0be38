"""Many hosts at once, and many who only look like hosts: nobody honest is lost, nobody is there twice."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from agent.errors import Unreachable
from agent.identity import TpmIdentity
from agent.protocol.client_config import Registration
from agent.register import Registered, authorize, register
from agent.tpm.software import SoftwareAttestation, SoftwareTpm, attest_key
from appliance.api.client import Client
from appliance.demo import NAMESPACE, Box, box, wait_until
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_registration import (
    APPROVAL_POLICY,
    MACHINE_REGISTRATION,
    MachineRegistration,
)
from appliance.resources.meta import decode
from tests.simulators.hostile_crowd import besieged

ATTEMPTS = 20  # an agent that does not get through comes again, as Elemental's does


@dataclass(frozen=True, slots=True)
class Plant:
    client: Client
    registration: Registration

    def hashes(self) -> list[str]:
        page = self.client.list_objects(MACHINE_INVENTORY, NAMESPACE)
        return [machine["spec"]["tpmHash"] for machine in page]


@contextmanager
def plant(place: Path) -> Iterator[Plant]:
    """A running appliance with a registration that admits by itself."""
    with box(place / "box") as appliance:
        client = Client(f"unix:{appliance.socket}")
        client.create_object(
            {
                "apiVersion": MACHINE_REGISTRATION.api_version,
                "kind": MACHINE_REGISTRATION.kind,
                "metadata": {
                    "name": "plant",
                    "namespace": NAMESPACE,
                    "annotations": {APPROVAL_POLICY: "automatic"},
                },
                "spec": {"config": {"elemental": {"registration": {"emulate-tpm": True}}}},
            }
        )
        wait_until("the registration has a URL", lambda: bool(read_url(client)))
        yield Plant(client, Registration(url=read_url(client), ca_cert=read_ca(appliance)))


def read_url(client: Client) -> str:
    document = client.get_object(MACHINE_REGISTRATION, "plant", NAMESPACE)
    return decode(MachineRegistration, document).status.registration_url


def read_ca(appliance: Box) -> str:
    return appliance.ca_file.read_text()


@lru_cache
def attestation() -> SoftwareAttestation:
    return attest_key(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def machine() -> TpmIdentity:
    """A machine of its own: the identity is the endorsement key. One made in no time."""
    return TpmIdentity(SoftwareTpm(ec.generate_private_key(ec.SECP256R1()), attestation=attestation()))


def come(registration: Registration, identity: TpmIdentity) -> bool:
    """Register as an agent does: who does not get through comes again."""
    for attempt in range(ATTEMPTS):
        try:
            return isinstance(register(registration, identity), Registered)
        except Unreachable:
            time.sleep(0.2 * attempt)
    return False


def check_storm(place: Path, *, hosts: int, at_once: int) -> None:
    identities = [machine() for _ in range(hosts)]
    with plant(place) as here, ThreadPoolExecutor(at_once) as pool:
        outcomes = list(pool.map(lambda identity: come(here.registration, identity), identities))
        hashes = here.hashes()

    assert outcomes == [True] * hosts
    assert len(hashes) == len(set(hashes)) == hosts


async def check_siege(place: Path, *, hostile: int, honest: int) -> None:
    overheard = authorize(machine())
    with plant(place) as here:
        async with besieged(here.registration.url, overheard, count=hostile) as siege:
            came = await asyncio.gather(
                *(asyncio.to_thread(come, here.registration, machine()) for _ in range(honest))
            )
        hashes = await asyncio.to_thread(here.hashes)

    assert siege.came > 0.5 * siege.asked_for
    assert list(came) == [True] * honest
    assert len(hashes) == honest, "one of the hostile was admitted"


def test_hosts_that_come_at_once_are_all_there_and_each_only_once(tmp_path: Path) -> None:
    check_storm(tmp_path, hosts=60, at_once=30)


async def test_hundreds_of_hostile_connections_do_not_keep_a_host_from_registering(tmp_path: Path) -> None:
    await check_siege(tmp_path, hostile=300, honest=4)


@pytest.mark.system
def test_two_thousand_hosts_in_a_row_are_all_there_and_each_only_once(tmp_path: Path) -> None:
    # The clients share the processor with the appliance: more at a time would not meet their own deadline.
    check_storm(tmp_path, hosts=2000, at_once=60)


@pytest.mark.system
async def test_ten_thousand_hostile_connections_do_not_keep_a_host_from_registering(tmp_path: Path) -> None:
    await check_siege(tmp_path, hostile=10_000, honest=20)
