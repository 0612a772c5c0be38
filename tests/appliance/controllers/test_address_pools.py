"""Addresses from pools: claims, promises, exhaustion, release, and the machines that wait for them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.controllers import build
from appliance.controllers.address_pools import PROMISED, AddressPoolController
from appliance.controllers.queue import Key
from appliance.resources.ipam import IN_CLUSTER_IP_POOL, IP_ADDRESS, IP_ADDRESS_CLAIM
from appliance.resources.kinds import KINDS
from appliance.resources.machine_inventory import APPROVAL, MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import Document, decode, find_condition
from appliance.store.base import NotFound, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.dying import DyingStore
from tests.appliance.controllers.factories import NAMESPACE, Clock, inventory, pool, settings
from tests.appliance.controllers.plant import Plant, open_plant

LAN = {"apiGroup": "ipam.cluster.x-k8s.io", "kind": "InClusterIPPool", "name": "lan"}


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    async with open_plant(tmp_path) as plant:
        yield plant


def host(name: str = "host-0", *keys: str, **pools: object) -> Document:
    document = inventory(name)
    document["spec"]["ipAddressPools"] = dict.fromkeys(keys or ("eth0",), LAN) | pools
    return document


async def machine(plant: Plant, name: str = "host-0") -> MachineInventory:
    return decode(MachineInventory, await plant.store.get(MACHINE_INVENTORY, name, namespace=NAMESPACE))


async def condition(plant: Plant, type: str, name: str = "host-0") -> tuple[str, str, str]:
    found = find_condition((await machine(plant, name)).status.conditions, type)
    assert found is not None
    return found.status, found.reason, found.message


async def claim(plant: Plant, name: str) -> Document:
    return await plant.store.get(IP_ADDRESS_CLAIM, name, namespace=NAMESPACE)


async def addresses(plant: Plant) -> dict[str, str]:
    page = await plant.store.list(IP_ADDRESS)
    return {document["metadata"]["name"]: document["spec"]["address"] for document in page.items}


async def test_a_machine_gets_an_address_for_each_key(plant: Plant) -> None:
    await plant.store.create(IN_CLUSTER_IP_POOL, pool("lan", "10.0.0.0/28", gateway="10.0.0.1"))
    await plant.store.create(MACHINE_INVENTORY, host("host-0", "eth0", "eth1"))
    await plant.settle()

    spec = (await machine(plant)).spec
    assert spec.network.ip_addresses == {"eth0": "10.0.0.2", "eth1": "10.0.0.3"}
    assert {key: reference.name for key, reference in spec.ip_address_claims.items()} == {
        "eth0": "host-0-eth0",
        "eth1": "host-0-eth1",
    }
    assert await condition(plant, "NetworkConfigReady") == ("True", "ReconcilingNetworkConfig", "")
    made = await plant.store.get(IP_ADDRESS, "host-0-eth0", namespace=NAMESPACE)
    assert made["spec"] == {
        "claimRef": {"name": "host-0-eth0"},
        "poolRef": LAN,
        "address": "10.0.0.2",
        "prefix": 24,
        "gateway": "10.0.0.1",
    }
    status = (await claim(plant, "host-0-eth0"))["status"]
    assert status["addressRef"] == {"name": "host-0-eth0"}
    assert [(found["type"], found["status"], found["reason"]) for found in status["conditions"]] == [
        ("Ready", "True", "AddressAllocated")
    ]


async def test_the_ledger_is_empty_when_everything_promised_is_made(plant: Plant) -> None:
    await plant.store.create(IN_CLUSTER_IP_POOL, pool("lan", "10.0.0.10-10.0.0.12"))
    await plant.store.create(MACHINE_INVENTORY, host())
    await plant.settle()

    found = await plant.store.get(IN_CLUSTER_IP_POOL, "lan", namespace=NAMESPACE)
    assert PROMISED not in (found["metadata"].get("annotations") or {})
    assert found["status"]["ipAddresses"] == {"total": 3, "free": 2, "used": 1, "outOfRange": 0}


async def test_an_empty_pool_is_told_to_the_machine_and_by_an_event_once(plant: Plant) -> None:
    await plant.store.create(IN_CLUSTER_IP_POOL, pool("lan", "10.0.0.10"))
    for name in ("host-0", "host-1"):
        await plant.store.create(MACHINE_INVENTORY, host(name))
    for _ in range(3):
        await plant.settle()

    status, reason, message = await condition(plant, "NetworkConfigReady", "host-1")
    assert (status, reason) == ("False", "WaitingForIPAddress")
    assert "InClusterIPPool lan has no free address left" in message
    assert (await condition(plant, "Ready", "host-1"))[:2] == ("False", "ReconcilingNetworkConfig")
    told = set(await plant.events("PoolExhausted"))
    assert told == {"InClusterIPPool lan has no free address left"}


async def test_an_address_is_free_again_when_its_machine_goes(plant: Plant) -> None:
    await plant.store.create(IN_CLUSTER_IP_POOL, pool("lan", "10.0.0.10"))
    for name in ("host-0", "host-1"):
        await plant.store.create(MACHINE_INVENTORY, host(name))
    await plant.settle()
    await plant.store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await plant.settle()

    assert await addresses(plant) == {"host-1-eth0": "10.0.0.10"}
    assert (await machine(plant, "host-1")).spec.network.ip_addresses == {"eth0": "10.0.0.10"}


async def test_a_pool_that_grows_serves_those_who_wait(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, host())
    await plant.settle()
    nowhere = await condition(plant, "NetworkConfigReady")
    await plant.store.create(IN_CLUSTER_IP_POOL, pool("lan", "10.0.0.300"))
    await plant.settle()
    unreadable = await condition(plant, "NetworkConfigReady")
    body = {"spec": {"addresses": ["10.0.0.30"]}}
    await plant.store.patch(IN_CLUSTER_IP_POOL, "lan", merge(body), namespace=NAMESPACE)
    await plant.settle()

    assert nowhere[2] == "no address yet for eth0: InClusterIPPool lan has not answered"
    assert "no address" in unreadable[2]
    assert (await machine(plant)).spec.network.ip_addresses == {"eth0": "10.0.0.30"}


async def test_a_claim_on_a_pool_that_is_not_there_is_answered(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, host())
    await plant.settle()
    controller = AddressPoolController(plant.store, settings(plant.clock))
    await controller.reconcile(Key(NAMESPACE, "lan"))
    await plant.settle()

    assert await condition(plant, "NetworkConfigReady") == (
        "False",
        "WaitingForIPAddress",
        "no address yet for eth0: there is no InClusterIPPool lan",
    )


async def test_an_address_that_was_promised_before_the_power_went_is_kept(plant: Plant) -> None:
    """Another appliance promised the second address and died; the first stays free for the next claim."""
    made = pool("lan", "10.0.0.10-10.0.0.12")
    await plant.store.create(MACHINE_INVENTORY, host())
    await plant.settle()
    uid = (await claim(plant, "host-0-eth0"))["metadata"]["uid"]
    made["metadata"]["annotations"] = {PROMISED: f'{{"{uid}":"10.0.0.11","gone":"10.0.0.10"}}'}
    await plant.store.create(IN_CLUSTER_IP_POOL, made)
    await plant.store.create(MACHINE_INVENTORY, host("host-1"))
    await plant.settle()

    assert await addresses(plant) == {"host-0-eth0": "10.0.0.11", "host-1-eth0": "10.0.0.10"}


async def test_of_two_appliances_that_saw_the_same_address_free_one_gives_it(plant: Plant) -> None:
    await plant.store.create(MACHINE_INVENTORY, host("host-0"))
    await plant.settle()
    await plant.store.create(IN_CLUSTER_IP_POOL, pool("lan", "10.0.0.10-10.0.0.12"))
    is_late = True

    async def let_the_other_give_it_to_a_newcomer() -> None:
        nonlocal is_late
        if is_late:
            is_late = False
            body = {"metadata": {"name": "aa", "namespace": NAMESPACE}, "spec": {"poolRef": LAN}}
            await plant.store.create(IP_ADDRESS_CLAIM, body)
            other = AddressPoolController(plant.store, settings(plant.clock))
            for _ in range(2):
                await other.reconcile(Key(NAMESPACE, "lan"))

    late = DyingStore(plant.store, before_write=let_the_other_give_it_to_a_newcomer)
    with pytest.raises(Exception, match="somebody wrote first"):
        await AddressPoolController(late, settings(plant.clock)).reconcile(Key(NAMESPACE, "lan"))
    await plant.settle()

    given = await addresses(plant)
    assert sorted(given) == ["aa", "host-0-eth0"]
    assert len(set(given.values())) == 2


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
async def test_a_spoilt_ledger_stops_nobody(plant: Plant, text: str) -> None:
    made = pool("lan", "10.0.0.10")
    made["metadata"]["annotations"] = {PROMISED: text}
    await plant.store.create(IN_CLUSTER_IP_POOL, made)
    await plant.store.create(MACHINE_INVENTORY, host())
    await plant.settle()

    assert await addresses(plant) == {"host-0-eth0": "10.0.0.10"}


async def test_a_machine_that_nobody_approved_takes_no_address(plant: Plant) -> None:
    await plant.store.create(IN_CLUSTER_IP_POOL, pool("lan", "10.0.0.10"))
    document = host()
    document["metadata"]["annotations"][APPROVAL] = "pending"
    await plant.store.create(MACHINE_INVENTORY, document)
    await plant.settle()

    assert await addresses(plant) == {}
    assert (await condition(plant, "NetworkConfigReady"))[0] == "False"


async def test_an_address_set_by_hand_needs_no_claim(plant: Plant) -> None:
    document = host()
    document["spec"]["network"] = {"ipAddresses": {"eth0": "192.168.0.7"}}
    await plant.store.create(MACHINE_INVENTORY, document)
    await plant.settle()

    assert (await condition(plant, "NetworkConfigReady"))[0] == "True"
    assert (await plant.store.list(IP_ADDRESS_CLAIM)).items == []


async def test_a_claim_of_somebody_else_and_a_key_that_is_no_name_are_faults_in_words(plant: Plant) -> None:
    other = await plant.store.create(IN_CLUSTER_IP_POOL, pool("lan", "10.0.0.10"))
    owner = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": other["metadata"]["uid"]}
    taken = {"name": "host-0-eth0", "namespace": NAMESPACE, "ownerReferences": [owner]}
    await plant.store.create(IP_ADDRESS_CLAIM, {"metadata": taken, "spec": {"poolRef": LAN}})
    await plant.store.create(MACHINE_INVENTORY, host("host-0", "eth0", "No Name"))
    await plant.settle()

    status, reason, message = await condition(plant, "Ready")
    assert (status, reason) == ("False", "NetworkConfigFailure")
    assert "IPAddressClaim host-0-eth0 exists and is not this machine's" in message
    assert "No Name cannot be claimed" in message


async def test_where_a_provider_is_our_own_stays_out(plant: Plant, tmp_path: Path) -> None:
    clock = Clock()
    wanted = settings(clock)
    without = type(wanted)(server_url="", resolve=wanted.resolve, clock=clock, gives_addresses=False)

    assert IN_CLUSTER_IP_POOL in [controller.kind for controller in build(plant.store, wanted)]
    assert IN_CLUSTER_IP_POOL not in [controller.kind for controller in build(plant.store, without)]


async def test_where_claims_are_not_served_the_machine_says_so(tmp_path: Path) -> None:
    served = [kind for kind in KINDS if kind.group != IP_ADDRESS.group]
    async with SqliteStore.open(tmp_path / "skerry.db", kinds=served) as store:
        plant = Plant(store, Clock())
        plant.controllers = [found for found in plant.controllers if found.kind != IN_CLUSTER_IP_POOL]
        await store.create(MACHINE_INVENTORY, host())
        await plant.settle()

        status, reason, message = await condition(plant, "Ready")
        assert (status, reason) == ("False", "NetworkConfigFailure")
        assert "spec.network.ipAddresses" in message


async def test_a_foreign_providers_answer_is_taken(plant: Plant) -> None:
    """One that names its IPAddress in its own way and says so in the claim's status."""
    pools = {"kind": "GlobalInClusterIPPool", "name": "site", "apiGroup": "ipam.cluster.x-k8s.io"}
    await plant.store.create(MACHINE_INVENTORY, host("host-0", eth0=pools))
    await plant.settle()
    with pytest.raises(NotFound):
        await plant.store.get(IP_ADDRESS, "host-0-eth0", namespace=NAMESPACE)
    given = {
        "metadata": {"name": "site-17", "namespace": NAMESPACE},
        "spec": {"claimRef": {"name": "host-0-eth0"}, "poolRef": pools, "address": "10.9.0.17", "prefix": 24},
    }
    await plant.store.create(IP_ADDRESS, given)
    status = merge({"status": {"addressRef": {"name": "site-17"}}})
    await plant.store.patch(
        IP_ADDRESS_CLAIM, "host-0-eth0", status, namespace=NAMESPACE, subresource="status"
    )
    await plant.settle()

    assert (await machine(plant)).spec.network.ip_addresses == {"eth0": "10.9.0.17"}
