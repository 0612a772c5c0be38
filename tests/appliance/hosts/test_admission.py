"""Complete registrations with the agent's own client and an emulated TPM, and what they leave behind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.errors import Denied
from agent.facts import Facts
from agent.register import Outcome, Refused, Registered, WaitingForApproval
from appliance.hosts.records import choose_name
from appliance.resources.machine_inventory import APPROVAL, MACHINE_INVENTORY, REGISTERED_WITH, RESETTABLE
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.meta import Document, Kind
from appliance.store.base import Store, Unavailable, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.hosts.box import NAMESPACE, Box, open_box, software_tpm, until

SERIAL = Facts(smbios={"System Information": {"Serial Number": "SN 0001!"}}, system_data={})
NAMED_BY_SERIAL: Document = {"machineName": "node-${System Information/Serial Number}"}

# The registration and the client's words of the captured exchange (wire-protocol 10.4 and 15).
CAPTURED_SPEC: Document = {
    "machineName": "Node-d612",
    "machineInventoryLabels": {"location": "europe", "gone": "${CPU/TotalThreads}"},
    "machineInventoryAnnotations": {"note": "hello ${CPU/TotalThreads}"},
    "config": {
        "elemental": {
            "install": {"device": "/dev/sda", "debug": True},
            "reset": {"enabled": True},
            "registration": {"emulate-tpm": True, "emulated-tpm-seed": 42, "auth": "tpm"},
        },
        "cloud-config": {"users": [{"name": "root", "passwd": "root"}]},
    },
}
CAPTURED_ANNOTATIONS = {
    "os.id": "debian",
    "os.name": "Debian GNU/Linux",
    "os.version": "12 (bookworm)",
    "reg-version": "0.1.0-dev",
}


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with open_box(tmp_path, CAPTURED_SPEC) as box:
        yield box


def admitted(outcome: Outcome) -> Registered:
    assert isinstance(outcome, Registered)
    return outcome


async def test_a_registration_leaves_the_record_that_was_captured_from_upstream(box: Box) -> None:
    await box.register(
        software_tpm(42),
        annotations=CAPTURED_ANNOTATIONS,
        labels={"foo": "b ar", "host": "${Runtime/Hostname}"},
    )

    (machine,) = await box.machines()
    ours = {key for key in machine.metadata.annotations if key.startswith("skerry.dev/")}
    assert (machine.metadata.namespace, machine.metadata.name) == (NAMESPACE, "node-d612")
    assert machine.metadata.labels == {"elemental.cattle.io/foo": "b-ar", "location": "europe"}
    assert {key: value for key, value in machine.metadata.annotations.items() if key not in ours} == {
        "elemental.cattle.io/auth": "emulated-tpm",
        "elemental.cattle.io/os.id": "debian",
        "elemental.cattle.io/os.name": "Debian GNU/Linux",
        "elemental.cattle.io/os.version": "12 (bookworm)",
        "elemental.cattle.io/reg-version": "0.1.0-dev",
        "elemental.cattle.io/registration-ip": "127.0.0.1",
        "elemental.cattle.io/resettable": "true",
        "note": "hello ${CPU/TotalThreads}",
    }
    assert (len(machine.spec.tpm_hash), machine.spec.machine_hash) == (64, "")
    assert machine.spec.network.configurator == "none"


async def test_the_configuration_holds_everything_the_host_needs(box: Box) -> None:
    outcome = admitted(await box.register(software_tpm(42)))

    elemental = outcome.config.elemental
    (machine,) = await box.machines()
    token = elemental.system_agent.token.reveal()
    identity = box.tokens.identify(token)
    assert identity is not None
    assert (identity.namespace, identity.name, identity.uid) == (NAMESPACE, "node-d612", machine.metadata.uid)
    assert elemental.system_agent.url == f"{box.url}/k8s/clusters/local"
    assert (elemental.system_agent.secret_namespace, elemental.system_agent.secret_name) == (
        NAMESPACE,
        "node-d612",
    )
    assert elemental.registration.url == box.registration_url
    assert (elemental.install.device, elemental.install.snapshotter.type) == ("/dev/sda", "loopdevice")
    assert elemental.install.snapshotter.max_snaps == 2
    assert (elemental.reset.enabled, elemental.reset.reset_persistent) == (True, True)
    assert outcome.config.cloud_config == {"users": [{"name": "root", "passwd": "root"}]}


async def test_the_same_tpm_is_the_same_machine_whatever_it_lost(tmp_path: Path) -> None:
    async with open_box(tmp_path, NAMED_BY_SERIAL) as box:
        first = admitted(await box.register(software_tpm(1), facts=SERIAL))
        renamed = Facts(smbios={"System Information": {"Serial Number": "other"}}, system_data={})
        again = admitted(await box.register(software_tpm(1), facts=renamed, labels={"new": "label"}))
        updated = admitted(await box.register(software_tpm(1), updating=True))

        (machine,) = await box.machines()
        assert machine.metadata.name == "node-sn-0001"
        assert machine.metadata.labels == {"elemental.cattle.io/new": "label"}
        agents = [outcome.config.elemental.system_agent for outcome in (first, again, updated)]
        assert agents[0] == agents[1] == agents[2]


async def test_registering_again_without_news_writes_nothing(box: Box) -> None:
    await box.register(software_tpm(1), labels={"a": "b"})
    before = await box.machines()
    await box.register(software_tpm(1), labels={"a": "b"})

    assert await box.machines() == before


async def test_a_machine_of_before_the_restart_is_known_after_it(tmp_path: Path) -> None:
    async with open_box(tmp_path, NAMED_BY_SERIAL) as box:
        await box.register(software_tpm(1), facts=SERIAL)
    async with open_box(tmp_path, NAMED_BY_SERIAL) as box:
        assert isinstance(await box.register(software_tpm(1), updating=True), Registered)
        assert len(await box.machines()) == 1


async def test_a_deleted_machine_is_unknown_to_an_update_and_new_to_a_registration(box: Box) -> None:
    await box.register(software_tpm(1))
    (first,) = await box.machines()
    await box.remove(first.metadata.name)

    async def is_forgotten() -> bool:
        try:
            return not await box.register(software_tpm(1), updating=True)
        except Denied as error:
            return "MachineInventory not found" in str(error)

    await until(is_forgotten)
    await box.register(software_tpm(1))
    (second,) = await box.machines()
    assert second.metadata.uid != first.metadata.uid


# --- approval ----------------------------------------------------------------------------------------------


async def test_a_machine_waits_until_a_person_approves_it(tmp_path: Path) -> None:
    async with open_box(tmp_path, NAMED_BY_SERIAL, approval="required") as box:
        waiting = await box.register(software_tpm(1), facts=SERIAL)
        (machine,) = await box.machines()
        still = await box.register(software_tpm(1), facts=SERIAL)
        await box.decide(machine.metadata.name, "approved")
        approved = await box.register(software_tpm(1), facts=SERIAL)

        assert machine.approval == "pending"
        assert (
            waiting
            == still
            == WaitingForApproval(
                f"waiting for approval: node-sn-0001 (TPM …{machine.spec.tpm_hash[-8:]}) "
                "must be approved on the appliance"
            )
        )
        assert isinstance(approved, Registered)


async def test_a_rejected_machine_is_told_so(tmp_path: Path) -> None:
    async with open_box(tmp_path, NAMED_BY_SERIAL, approval="required") as box:
        await box.register(software_tpm(1), facts=SERIAL)
        await box.decide("node-sn-0001", "rejected")

        outcome = await box.register(software_tpm(1), facts=SERIAL)
        assert isinstance(outcome, Refused)
        assert outcome.message.startswith("refused: node-sn-0001")


@pytest.mark.parametrize(
    ("prefix", "key"), [("-", APPROVAL), ("skerry.dev", "approval"), ("-", RESETTABLE), ("", "resettable")]
)
async def test_a_host_cannot_decide_for_a_person(tmp_path: Path, prefix: str, key: str) -> None:
    async with open_box(tmp_path, {"labelPrefix": prefix}, approval="required") as box:
        words = {key: "approved"}
        for _ in range(2):  # as a new machine, and as one that is known
            outcome = await box.register(software_tpm(1), annotations=words, labels=words)
            assert isinstance(outcome, WaitingForApproval)

        (machine,) = await box.machines()
        assert machine.approval == "pending"
        assert RESETTABLE not in machine.metadata.annotations


@pytest.mark.parametrize(("prefix", "key"), [("-", REGISTERED_WITH), ("skerry.dev", "machine-registration")])
async def test_a_record_names_its_registration_and_the_host_cannot_name_another(
    tmp_path: Path, prefix: str, key: str
) -> None:
    """Whoever is named there may read the host's plans."""
    async with open_box(tmp_path, {"labelPrefix": prefix}) as box:
        words = {key: "another"}
        for _ in range(2):  # as a new machine, and as one that is known
            await box.register(software_tpm(1), annotations=words, labels=words)

        (machine,) = await box.machines()
        assert machine.metadata.annotations[REGISTERED_WITH] == "plant"


# --- names, labels, annotations ----------------------------------------------------------------------------


async def test_a_name_that_is_taken_is_an_error_in_upstreams_words(tmp_path: Path) -> None:
    async with open_box(tmp_path, {"machineName": "the-only-one"}) as box:
        await box.register(software_tpm(1))
        upstreams_words = "failed to create machine inventory fleet-default/the-only-one.*already exists"
        with pytest.raises(Denied, match=upstreams_words):
            await box.register(software_tpm(2))
        assert len(await box.machines()) == 1


async def test_a_name_of_unknown_things_falls_back_to_a_random_one(tmp_path: Path) -> None:
    async with open_box(tmp_path, {"machineName": "x-${Nothing/Known}"}) as box:
        await box.register(software_tpm(1))
        (machine,) = await box.machines()
        assert machine.metadata.name.startswith("m-")
        assert len(machine.metadata.name) == 38


@pytest.mark.parametrize("template", ["${Random/Hex/99}", "!!!"])
async def test_a_name_that_cannot_be_is_explained_to_the_host(tmp_path: Path, template: str) -> None:
    async with open_box(tmp_path, {"machineName": template}) as box:
        with pytest.raises(Denied, match=r"[nN]ame"):
            await box.register(software_tpm(1))


def test_an_empty_template_names_by_uuid() -> None:
    assert choose_name("", {}).startswith("m-")


async def test_a_registrations_label_wins_over_the_hosts(tmp_path: Path) -> None:
    spec = {"labelPrefix": "-", "machineInventoryLabels": {"line": "seven"}}
    async with open_box(tmp_path, spec) as box:
        await box.register(software_tpm(1), labels={"line": "mine", "other": "x"})
        (machine,) = await box.machines()
        assert machine.metadata.labels == {"line": "seven", "other": "x"}


async def test_a_custom_prefix_is_used_and_unmanaged_stays_findable(tmp_path: Path) -> None:
    async with open_box(tmp_path, {"labelPrefix": "acme.org"}) as box:
        await box.register(software_tpm(1), labels={"a": "b"}, annotations={"os.unmanaged": "true"})
        (machine,) = await box.machines()
        assert machine.metadata.labels == {"acme.org/a": "b"}
        assert machine.metadata.annotations["acme.org/os.unmanaged"] == "true"
        assert machine.metadata.annotations["elemental.cattle.io/os.unmanaged"] == "true"


async def test_random_values_are_drawn_once(tmp_path: Path) -> None:
    spec: Document = {
        "machineInventoryLabels": {"id": "${Random/Hex/8}"},
        "machineInventoryAnnotations": {"id": "${Random/UUID}"},
    }
    async with open_box(tmp_path, spec) as box:
        await box.register(software_tpm(1))
        (first,) = await box.machines()
        await box.register(software_tpm(1))
        assert await box.machines() == [first]
        assert "$" not in first.metadata.annotations["id"]


async def test_what_a_host_says_is_escaped_and_not_rendered(tmp_path: Path) -> None:
    async with open_box(tmp_path, {}) as box:
        await box.register(software_tpm(1), annotations={"os.name": "<b>${Random/UUID}</b>\n"})
        (machine,) = await box.machines()
        assert (
            machine.metadata.annotations["elemental.cattle.io/os.name"] == "&lt;b&gt;${Random/UUID}&lt;/b&gt;"
        )


async def test_a_key_that_kubernetes_refuses_is_an_error_at_get(tmp_path: Path) -> None:
    async with open_box(tmp_path, {}) as box:
        with pytest.raises(Denied, match="MachineInventory creation failed"):
            await box.register(software_tpm(1), labels={"no spaces, please": "x"})


# --- network -----------------------------------------------------------------------------------------------


async def test_a_network_configuration_waits_for_its_addresses(tmp_path: Path) -> None:
    network = {
        "configurator": "nmconnections",
        "ipAddresses": {"lan": {"apiGroup": "ipam.cluster.x-k8s.io", "kind": "InClusterIPPool", "name": "a"}},
        "config": {"eth0": "address1={lan}"},
    }
    async with open_box(tmp_path, {"machineName": "node", "config": {"network": network}}) as box:
        with pytest.raises(Denied, match="no address for lan"):
            await box.register(software_tpm(1))
        patch = merge({"spec": {"network": {"ipAddresses": {"lan": "192.0.2.10/24"}}}})
        await box.store.patch(MACHINE_INVENTORY, "node", patch, namespace=NAMESPACE)
        outcome = admitted(await box.register(software_tpm(1)))

        assert outcome.config.network.configurator == "nmconnections"
        assert outcome.config.network.ip_addresses == {"lan": "192.0.2.10/24"}
        assert outcome.config.network.config == {"eth0": "address1={lan}"}


# --- other writers and broken stores -----------------------------------------------------------------------


class OtherWriterFirst:
    """A store in which somebody else always creates the same machine a moment earlier."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def create(self, kind: Kind, document: Document) -> Document:
        await self._store.create(kind, document)
        return await self._store.create(kind, document)


class FullDisk(OtherWriterFirst):
    async def create(self, kind: Kind, document: Document) -> Document:
        raise Unavailable("the disk is full")


def as_store(store: object) -> Store:
    return store  # type: ignore[return-value]  # everything but create is the real store's


async def test_two_writers_of_one_machine_agree_on_one_record(tmp_path: Path) -> None:
    async with open_box(tmp_path, {"machineName": "n"}, wrap=lambda s: as_store(OtherWriterFirst(s))) as box:
        assert isinstance(await box.register(software_tpm(1)), Registered)
        assert len(await box.machines()) == 1


async def test_one_machine_that_registers_twice_at_once_is_one_machine(tmp_path: Path) -> None:
    async with open_box(tmp_path, {}) as box:
        outcomes = await asyncio.gather(*(box.register(software_tpm(1)) for _ in range(4)))
        tokens = {admitted(outcome).config.elemental.system_agent.token for outcome in outcomes}
        assert len(await box.machines()) == len(tokens) == 1


async def test_a_store_that_cannot_write_is_told_to_the_host(tmp_path: Path) -> None:
    async with open_box(tmp_path, {}, wrap=lambda s: as_store(FullDisk(s))) as box:
        with pytest.raises(Denied, match="the disk is full"):
            await box.register(software_tpm(1))
        assert await box.machines() == []


async def test_two_records_of_one_identity_are_for_a_person_to_settle(box: Box) -> None:
    await box.register(software_tpm(1))
    (machine,) = await box.machines()
    twin: Document = {
        "metadata": {"name": "twin", "namespace": NAMESPACE},
        "spec": {"tpmHash": machine.spec.tpm_hash},
    }
    await box.store.create(MACHINE_INVENTORY, twin)

    async def is_refused() -> bool:
        try:
            return not await box.register(software_tpm(1))
        except Denied as error:
            return "several machines have this identity" in str(error)

    await until(is_refused)


async def test_a_registration_that_goes_away_takes_its_url_along_and_leaves_its_machines(box: Box) -> None:
    await box.register(software_tpm(1))
    await box.store.delete(MACHINE_REGISTRATION, "plant", namespace=NAMESPACE)

    async def is_gone() -> bool:
        try:
            return not await box.register(software_tpm(1))
        except Denied as error:
            return error.status == 404

    await until(is_gone)
    assert len(await box.machines()) == 1
