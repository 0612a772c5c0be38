"""What machines did not send becomes a condition and an Event on their registration, and goes again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.controllers.machine_registration import MachineRegistrationController
from appliance.controllers.manager import Manager
from appliance.controllers.queue import Key
from appliance.controllers.registration_templates import (
    RESOLVED,
    RegistrationTemplatesController,
    judge_templates,
)
from appliance.resources.core import EVENT
from appliance.resources.machine_inventory import MACHINE_INVENTORY, REGISTERED_WITH, UNRESOLVED_TEMPLATES
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Condition, Document, decode, find_condition
from appliance.store.base import Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.factories import NAMESPACE, Clock, inventory, registration, settings

SAID = "label site: the host sent no value for ${Rack/Unit}; the label is left out"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        await store.create(MACHINE_REGISTRATION, registration("plant"))
        yield store


def machine(name: str, said: str = SAID, *, by: str = "plant") -> Document:
    document = inventory(name)
    metadata = document["metadata"]
    told = {UNRESOLVED_TEMPLATES: said} if said else {}
    metadata["annotations"] = {**metadata.get("annotations", {}), REGISTERED_WITH: by, **told}
    return document


async def reconcile(store: Store) -> Condition | None:
    await RegistrationTemplatesController(store, settings(Clock())).reconcile(Key(NAMESPACE, "plant"))
    return await read_condition(store)


async def read_condition(store: Store) -> Condition | None:
    document = await store.get(MACHINE_REGISTRATION, "plant", namespace=NAMESPACE)
    return find_condition(decode(MachineRegistration, document).status.conditions, RESOLVED)


async def test_a_registration_without_trouble_has_no_condition(store: SqliteStore) -> None:
    await store.create(MACHINE_INVENTORY, machine("m-1", ""))
    await store.create(MACHINE_INVENTORY, machine("m-2", by="other"))

    assert await reconcile(store) is None


async def test_what_a_machine_lacks_is_told_on_its_registration(store: SqliteStore) -> None:
    await store.create(MACHINE_INVENTORY, machine("m-1"))

    condition = await reconcile(store)

    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "ValuesMissing")
    assert f"m-1: {SAID}" in condition.message
    (event,) = (await store.list(EVENT)).items
    assert (event["type"], event["involvedObject"]["name"]) == ("Warning", "plant")
    assert "${Rack/Unit}" in event["message"]


async def test_the_condition_is_true_once_all_values_came(store: SqliteStore) -> None:
    await store.create(MACHINE_INVENTORY, machine("m-1"))
    await reconcile(store)
    await store.delete(MACHINE_INVENTORY, "m-1", namespace=NAMESPACE)

    condition = await reconcile(store)

    assert condition is not None
    assert condition.status == "True"


async def test_the_registrations_own_controller_leaves_the_condition_alone(store: SqliteStore) -> None:
    await store.create(MACHINE_INVENTORY, machine("m-1"))
    before = await reconcile(store)

    own = MachineRegistrationController(store, settings(Clock(), server_url="https://box.lan"))
    await own.reconcile(Key(NAMESPACE, "plant"))

    assert await read_condition(store) == before


async def test_a_machine_that_comes_wakes_its_registration(store: SqliteStore) -> None:
    manager = Manager(store, [RegistrationTemplatesController(store, settings(Clock()))])
    running = asyncio.create_task(manager.run())
    await store.create(MACHINE_INVENTORY, machine("m-1"))
    async with asyncio.timeout(20):
        while (condition := await read_condition(store)) is None:
            await asyncio.sleep(0.01)
        assert condition.status == "False"
        gone = {"metadata": {"annotations": {UNRESOLVED_TEMPLATES: None}}}
        await store.patch(MACHINE_INVENTORY, "m-1", merge(gone), namespace=NAMESPACE)
        while condition is None or condition.status == "False":
            await asyncio.sleep(0.01)
            condition = await read_condition(store)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_many_machines_are_counted_and_some_named() -> None:
    verdict = judge_templates({f"m-{number}": "\n".join([SAID] * 9) for number in range(50)})

    assert verdict.message.startswith("50 machines did not send")
    assert verdict.message.count("m-") == 3
    assert verdict.message.count(SAID) == 9
