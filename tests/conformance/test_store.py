"""What every engine under the store protocol must do, as the Kubernetes API does it: objects come to be.

Its neighbours `test_store_*` hold the same engines to the rest: writes, deletion, lists, watches.
"""

from contextlib import aclosing

import pytest

from appliance.resources.core import CONFIG_MAP, SECRET
from appliance.resources.core import NAMESPACE as NAMESPACE_KIND
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import Document, decode
from appliance.resources.seed_image import SEED_IMAGE
from appliance.store.base import (
    AlreadyExists,
    Invalid,
    Malformed,
    NotFound,
    Patch,
    Store,
    TooLarge,
    merge,
)
from tests.conformance.store_engines import NAMESPACE, get, machine, names, next_event, patch


async def test_a_new_object_gets_what_only_the_server_gives(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine(metadata={"uid": "mine", "generation": 9}))

    metadata = decode(MachineInventory, created).metadata
    assert metadata.uid not in ("", "mine")
    assert metadata.generation == 1
    assert metadata.creation_timestamp is not None
    assert int(metadata.resource_version) > 0
    assert await get(store) == created


async def test_a_name_can_be_taken_once(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    with pytest.raises(AlreadyExists, match="press-1"):
        await store.create(MACHINE_INVENTORY, machine())


async def test_the_same_name_is_free_in_another_namespace_and_kind(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    await store.create(MACHINE_INVENTORY, machine(metadata={"namespace": "other"}))
    await store.create(CONFIG_MAP, {"metadata": {"name": "press-1", "namespace": NAMESPACE}})


async def test_generate_name_makes_names_that_differ(store: Store) -> None:
    document = machine()
    document["metadata"] = {"generateName": "m-", "namespace": NAMESPACE}

    first = await store.create(MACHINE_INVENTORY, document)
    second = await store.create(MACHINE_INVENTORY, document)

    assert first["metadata"]["name"].startswith("m-")
    assert first["metadata"]["name"] != second["metadata"]["name"]


async def test_fields_we_do_not_know_survive(store: Store) -> None:
    await store.create(
        MACHINE_INVENTORY, machine(spec={"tpmHash": "x", "network": {"config": {"a": [1, None]}}})
    )

    assert (await get(store))["spec"]["network"]["config"] == {"a": [1, None]}


async def test_status_cannot_be_created(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine(status={"plan": {"state": "Applied"}}))

    assert "status" not in created


async def test_what_is_missing_is_said_by_name(store: Store) -> None:
    with pytest.raises(NotFound, match="no MachineInventory press-9 in namespace fleet-default"):
        await get(store, "press-9")


async def test_an_object_is_made_together_with_its_namespace(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    assert (await store.get(NAMESPACE_KIND, NAMESPACE))["status"] == {"phase": "Active"}


# validation


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (machine(spec={"tpmHash": 3}), "spec.tpmHash: Invalid value: .*must be of type string"),
        (machine(spec={"network": {"ipAddresses": {"a": 1}}}), "spec.network.ipAddresses"),
        (machine("Press 1"), "metadata.name"),
        (machine("x" * 254), "metadata.name"),
        (machine(""), "metadata.name"),
        (machine(metadata={"namespace": ""}), "metadata.namespace"),
        (machine(metadata={"namespace": "a.b"}), "metadata.namespace"),
        (machine(metadata={"labels": {"a b": "c"}}), "metadata.labels"),
        (machine(metadata={"labels": {"a": "c d"}}), r"metadata\.labels.*c d"),
        (machine(metadata={"labels": {"a": 1}}), r"metadata\.labels|ObjectMeta\.labels"),
        (machine(metadata={"annotations": {"-": "c"}}), "metadata.annotations"),
        (machine(metadata={"resourceVersion": "4"}), "metadata.resourceVersion"),
        (machine(metadata={"finalizers": "one"}), r"metadata\.finalizers|ObjectMeta\.finalizers"),
        ({"kind": "Secret", "metadata": {"name": "a"}}, "kind"),
        ({"metadata": []}, "metadata"),
        ({}, "metadata"),
    ],
)
async def test_a_bad_document_is_refused_with_its_path(
    store: Store, document: Document, complaint: str
) -> None:
    with pytest.raises(Invalid, match=complaint):
        await store.create(MACHINE_INVENTORY, document)

    assert await names(store) == []


async def test_unknown_fields_are_not_kept_but_below_free_objects_they_are(store: Store) -> None:
    spec = {"tpmHash": "a", "tpmHsah": "b", "network": {"config": {"anything": [None, {"x": 1}]}}}

    created = await store.create(MACHINE_INVENTORY, machine(spec=spec, specs={}))

    assert created["spec"] == {
        "tpmHash": "a",
        "network": {"configurator": "none", "config": {"anything": [None, {"x": 1}]}},
    }
    assert "specs" not in created


async def test_defaults_are_filled_in_at_every_write_and_owned_by_nobody_who_left_them_out(
    store: Store,
) -> None:
    spec = {"registrationRef": {"name": "plant"}}
    document = {"metadata": {"name": "s", "namespace": NAMESPACE}, "spec": spec}
    defaults = {"type": "iso", "cleanupAfterMinutes": 60, "size": 6442450944}

    applied = await store.patch(SEED_IMAGE, "s", Patch("apply", document, manager="me"), namespace=NAMESPACE)
    updated = await store.update(SEED_IMAGE, {**applied, "spec": spec})

    assert applied["spec"] == updated["spec"] == spec | defaults
    assert updated["metadata"]["resourceVersion"] == applied["metadata"]["resourceVersion"]
    assert "f:size" not in str(applied["metadata"]["managedFields"])


async def test_an_object_over_the_limit_is_refused_and_nothing_of_it_stays(store: Store) -> None:
    with pytest.raises(TooLarge, match="4096"):
        await store.create(MACHINE_INVENTORY, machine(spec={"network": {"config": {"a": "x" * 5000}}}))

    assert await names(store) == []


async def test_an_object_of_nearly_a_mebibyte_is_kept(roomy: Store) -> None:
    config = {"a": "x" * 1_000_000}

    await roomy.create(MACHINE_INVENTORY, machine(spec={"network": {"config": config}}))

    assert (await get(roomy))["spec"]["network"]["config"] == config
    async with aclosing(roomy.watch(MACHINE_INVENTORY)) as events:
        assert (await anext(events)).document["spec"]["network"]["config"] == config
        await patch(roomy, {"spec": {"machineHash": "1"}})
        assert (await next_event(events)).document["spec"]["network"]["config"] == config


async def test_an_object_over_a_mebibyte_is_not(roomy: Store) -> None:
    with pytest.raises(TooLarge):
        await roomy.create(MACHINE_INVENTORY, machine(spec={"network": {"config": {"a": "x" * 1024 * 1024}}}))


async def test_an_absurdly_nested_object_is_refused(store: Store) -> None:
    nested: Document = {}
    for _ in range(500):
        nested = {"a": nested}

    with pytest.raises(Malformed, match="nested"):
        await store.create(MACHINE_INVENTORY, machine(spec={"network": {"config": nested}}))


async def test_secrets_hold_base64_and_take_plain_texts_too(store: Store) -> None:
    secret = {"metadata": {"name": "s", "namespace": NAMESPACE}, "stringData": {"plan": "{}"}}

    assert (await store.create(SECRET, secret))["data"] == {"plan": "e30="}
    with pytest.raises(Invalid, match="base64"):
        await store.patch(SECRET, "s", merge({"data": {"plan": "{}"}}), namespace=NAMESPACE)
