"""Discovery and pairing across a real network: namespaces, a bridge, cables that are pulled, and impostors.

The appliance and every machine have an address, a firewall and a loopback of their own; what one knows of
another it has from the network. Seconds a test; needs root.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.api.client import ApplianceError, Client
from appliance.demo import NAMESPACE, wait_until
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from tests.flows.test_pairing import found_names, make_registration, read_code
from tests.system.lab import NETWORK, Lab, ending, lab, machine

pytestmark = pytest.mark.system

# On the impostor's machine: an appliance of its own that tries codes at the address that it is given.
GUESSING = """
import asyncio, sys, tempfile
from pathlib import Path
from agent.protocol.client_config import Registration, render_registration
from appliance.credentials import Authority
from appliance.discovery.calling import find_at, pair
from appliance.discovery.pairing import Self
from appliance.errors import Refused

async def main(address, name, codes):
    authority = Authority.load_or_create(Path(tempfile.mkdtemp()))
    own = Self("evil", "Plant 3", authority.fingerprint)
    document = render_registration(Registration(url="https://evil/r", ca_cert=authority.certificate_pem))
    for code in codes:
        try:
            place = await find_at((address, 8454), name)
            await pair(place, code, own=own, document=document)
            print("paired")
        except Refused as refusal:
            print(refusal)

asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
"""


@pytest.fixture
def network() -> Iterator[Lab]:
    with lab() as made:
        made.plug_in("box", 1)
        yield made


@contextmanager
def appliance(network: Lab, data: Path) -> Iterator[Client]:
    with (data.parent / f"{data.name}.log").open("ab") as log:
        addresses = ("--listen", "0.0.0.0:8443", "--mirror-listen", "0.0.0.0:5000")
        arguments = ("-m", "appliance", "serve", "--data", str(data), *addresses)
        process = network.start("box", *arguments, out=subprocess.PIPE, errors=log)
        with ending(process), process.stdout or log:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, Path(log.name).read_text()[-2000:]
            yield Client(f"unix:{json.loads(line)['socket']}")


def waiting(client: Client) -> list[str]:
    return [entry.name for entry in client.inbox() if entry.kind == "waiting"]


def wait_for_found(client: Client, count: int) -> list[str]:
    wait_until(f"{count} machines are found", lambda: len(found_names(client)) == count)
    return sorted(found_names(client))


def name_on(screen: Path) -> str:
    read_code(screen)
    return screen.read_text().split("Its name is ")[1].split(".")[0]


def test_two_machines_that_know_nobody_are_found_paired_and_registered(network: Lab, tmp_path: Path) -> None:
    network.plug_in("one", 11)
    network.plug_in("two", 12)
    with (
        appliance(network, tmp_path / "box") as client,
        machine(network, "one", tmp_path / "one", seed=11) as one,
        machine(network, "two", tmp_path / "two", seed=12) as two,
    ):
        make_registration(client)
        names = wait_for_found(client, 2)
        assert names == sorted([name_on(one), name_on(two)])

        with pytest.raises(ApplianceError, match="not the one that this host shows"):
            client.pair(name_on(one), read_code(two), "floor")
        wait_until("the first shows another code", lambda: one.read_text().count("CODE") == 2)
        client.pair(name_on(one), read_code(one), "floor")
        client.pair(name_on(two), read_code(two), "floor")

        wait_until("both wait for approval", lambda: len(waiting(client)) == 2)
        wait_until("neither is found as well", lambda: len(client.inbox()) == 2)


def test_a_link_that_is_lost_at_each_step_only_costs_time(network: Lab, tmp_path: Path) -> None:
    network.plug_in("one", 11)
    with (
        appliance(network, tmp_path / "box") as client,
        machine(network, "one", tmp_path / "one", seed=11) as screen,
    ):
        make_registration(client)
        (name,) = wait_for_found(client, 1)
        code = read_code(screen)

        network.cable(11, is_in=False)
        with pytest.raises(ApplianceError, match="does not answer"):
            client.pair(name, code, "floor")
        wait_until("it is not listed while it is gone", lambda: not found_names(client))
        network.cable(11, is_in=True)
        wait_for_found(client, 1)
        assert read_code(screen) == code

        client.pair(name, code, "floor")
        network.cable(11, is_in=False)
        network.cable(11, is_in=True)
        wait_until("it registers", lambda: len(waiting(client)) == 1)


def test_where_multicast_is_filtered_the_address_on_the_screen_pairs(network: Lab, tmp_path: Path) -> None:
    network.plug_in("one", 11)
    network.filter_multicast()
    with (
        appliance(network, tmp_path / "box") as client,
        machine(network, "one", tmp_path / "one", seed=11) as screen,
    ):
        make_registration(client)
        name, code = name_on(screen), read_code(screen)
        assert f"--address {NETWORK}11" in screen.read_text()
        assert found_names(client) == []

        with pytest.raises(ApplianceError, match="was heard"):
            client.pair(name, code, "floor")
        client.pair(name, code, "floor", address=f"{NETWORK}11")

        wait_until("it registers", lambda: len(waiting(client)) == 1)


def test_an_impostor_appliance_gets_three_guesses_and_then_a_locked_door(
    network: Lab, tmp_path: Path
) -> None:
    network.plug_in("one", 11)
    network.plug_in("evil", 66)
    with (
        appliance(network, tmp_path / "box") as client,
        machine(network, "one", tmp_path / "one", seed=11) as screen,
    ):
        make_registration(client)
        (name,) = wait_for_found(client, 1)
        code = read_code(screen)
        codes = [f"{(int(code) + n) % 10**6:06}" for n in (1, 2, 3, 4)]

        guessed = subprocess.run(
            [*network.inside("evil"), sys.executable, "-c", GUESSING, f"{NETWORK}11", name, *codes],
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout.splitlines()

        assert len(guessed) == 4, guessed
        assert all("not the one that this host shows" in line for line in guessed[:3]), guessed
        assert "refuses to pair for a while" in guessed[3]
        wait_until("the screen says so", lambda: "Wrong codes so far: 3" in screen.read_text())

        def is_paired() -> bool:
            try:
                client.pair(name, read_code(screen), "floor")
            except ApplianceError as error:
                if "for a while" not in str(error):
                    raise
                return False
            return True

        wait_until("the right appliance is let in when the door opens", is_paired)
        wait_until("it registers", lambda: len(waiting(client)) == 1)


def test_an_impostor_machine_under_the_same_id_is_noticed_and_gets_nothing(
    network: Lab, tmp_path: Path
) -> None:
    """Two machines with one system UUID: each shows a code, and neither is taken for the other."""
    network.plug_in("one", 11)
    network.plug_in("evil", 66)
    with (
        appliance(network, tmp_path / "box") as client,
        machine(network, "one", tmp_path / "one", seed=11) as screen,
        machine(network, "evil", tmp_path / "evil", seed=11, called="one") as evil,
    ):
        make_registration(client)
        wait_for_found(client, 2)
        (link_id,) = {entry.details["id"] for entry in client.inbox()}

        with pytest.raises(ApplianceError, match="Several machines say that they are"):
            client.pair(name_on(screen), read_code(screen), "floor")
        with pytest.raises(ApplianceError, match="not the one that this host shows"):
            client.pair(link_id, read_code(screen), "floor", address=f"{NETWORK}66")

        assert name_on(evil) != name_on(screen)
        assert waiting(client) == []


def test_an_appliance_that_got_another_address_is_found_again_by_its_ca(network: Lab, tmp_path: Path) -> None:
    network.plug_in("one", 11)
    with machine(network, "one", tmp_path / "one", seed=11) as screen:
        with appliance(network, tmp_path / "box") as client:
            make_registration(client)
            (name,) = wait_for_found(client, 1)
            client.pair(name, read_code(screen), "floor")
            wait_until("it waits", lambda: len(waiting(client)) == 1)
            (registered,) = waiting(client)
            client.delete_object(MACHINE_INVENTORY, registered, NAMESPACE)

        network.address("box", 9)
        with appliance(network, tmp_path / "box") as client:
            wait_until("it registers at the new address", lambda: len(waiting(client)) == 1)
            assert client.version().url == f"https://{NETWORK}9:8443"
