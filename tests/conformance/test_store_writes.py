"""Updates, patches of all three types, the status subresource, dry runs, and many writers at once."""

import asyncio
from contextlib import aclosing

import pytest

from appliance.resources.core import CONFIG_MAP, SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.store.base import (
    AlreadyExists,
    Conflict,
    Invalid,
    NotFound,
    Patch,
    Store,
    merge,
)
from tests.conformance.store_engines import (
    NAMESPACE,
    get,
    machine,
    names,
    next_event,
    patch,
)


async def test_an_update_of_an_old_version_conflicts(store: Store) -> None:
    old = await store.create(MACHINE_INVENTORY, machine())
    await patch(store, {"spec": {"machineHash": "1"}})

    with pytest.raises(Conflict, match="press-1"):
        await store.update(MACHINE_INVENTORY, {**old, "spec": {"machineHash": "2"}})

    assert (await get(store))["spec"]["machineHash"] == "1"


async def test_an_update_must_say_which_version_it_replaces(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    with pytest.raises(Invalid, match="resourceVersion"):
        await store.update(MACHINE_INVENTORY, machine())


async def test_a_conditional_patch_conflicts_and_an_unconditional_one_does_not(store: Store) -> None:
    old = await store.create(MACHINE_INVENTORY, machine())
    await patch(store, {"spec": {"machineHash": "1"}})

    with pytest.raises(Conflict):
        await patch(store, {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "spec": {}})
    assert (await patch(store, {"spec": {"machineHash": "2"}}))["spec"]["machineHash"] == "2"


async def test_versions_grow_and_the_generation_follows_the_spec_only(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())
    labelled = await patch(store, {"metadata": {"labels": {"site": "north"}}})
    ready = await patch(store, {"status": {"plan": {"state": "Applied"}}}, subresource="status")
    changed = await patch(store, {"spec": {"machineHash": "1"}})

    history = [document["metadata"] for document in (created, labelled, ready, changed)]
    versions = [int(metadata["resourceVersion"]) for metadata in history]
    assert versions == sorted(set(versions))
    assert [metadata["generation"] for metadata in history] == [1, 1, 1, 2]


async def test_a_write_that_changes_nothing_is_none(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())

    assert await patch(store, {"spec": {"tpmHash": "ab12"}}) == created
    assert await store.update(MACHINE_INVENTORY, created) == created


async def test_true_and_one_are_not_the_same_value(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine(spec={"network": {"config": {"dhcp": True}}}))

    patched = await patch(store, {"spec": {"network": {"config": {"dhcp": 1}}}})

    assert patched["spec"]["network"]["config"]["dhcp"] is not True
    assert patched["metadata"]["generation"] == 2


async def test_status_and_the_rest_are_written_apart(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())
    both: Document = {"spec": {"machineHash": "1"}, "status": {"plan": {"state": "Applied"}}}

    plain = await patch(store, both)
    assert (plain["spec"].get("machineHash"), plain.get("status")) == ("1", None)

    status = await patch(store, {**both, "spec": {"machineHash": "2"}}, subresource="status")
    assert (status["spec"]["machineHash"], status["status"]["plan"]["state"]) == ("1", "Applied")


async def test_a_kind_without_status_has_no_status_to_write(store: Store) -> None:
    await store.create(SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE}})

    with pytest.raises(NotFound, match="no status"):
        await store.patch(SECRET, "s", merge({}), namespace=NAMESPACE, subresource="status")


async def test_a_json_patch_applies_whole_or_not_at_all(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())
    operations: list[Document] = [
        {"op": "replace", "path": "/spec/tpmHash", "value": "cd34"},
        {"op": "test", "path": "/spec/machineHash", "value": "nothing like it"},
    ]

    with pytest.raises(Invalid):  # a real server does not say which operation
        await store.patch(MACHINE_INVENTORY, "press-1", Patch("json", operations), namespace=NAMESPACE)
    assert (await get(store))["spec"] == {"tpmHash": "ab12"}

    patched = await store.patch(
        MACHINE_INVENTORY, "press-1", Patch("json", operations[:1]), namespace=NAMESPACE
    )
    assert patched["spec"] == {"tpmHash": "cd34"}


async def test_no_patch_renames_an_object(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    with pytest.raises(Invalid, match="press-1"):
        await patch(store, {"metadata": {"name": "press-2"}})


async def test_only_apply_makes_what_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound):
        await patch(store, {"spec": {}})

    applied = await store.patch(
        MACHINE_INVENTORY, "press-1", Patch("apply", machine(), manager="me"), namespace=NAMESPACE
    )
    assert applied["metadata"]["generation"] == 1
    assert applied["metadata"]["managedFields"][0]["manager"] == "me"


async def test_two_appliers_conflict_over_a_field_until_one_forces(store: Store) -> None:
    def intent(value: str, manager: str, *, force: bool = False) -> Patch:
        return Patch("apply", machine(spec={"machineHash": value}), manager=manager, force=force)

    async def apply(patch: Patch) -> Document:
        return await store.patch(MACHINE_INVENTORY, "press-1", patch, namespace=NAMESPACE)

    first = await apply(intent("1", "argo"))
    assert await apply(intent("1", "argo")) == first
    with pytest.raises(Conflict, match=r"argo.*\.spec\.machineHash"):
        await apply(intent("2", "kubectl"))
    forced = await apply(intent("2", "kubectl", force=True))
    assert forced["spec"]["machineHash"] == "2"
    with pytest.raises(Conflict, match="kubectl"):
        await apply(intent("1", "argo"))


async def test_a_dry_run_is_decided_like_a_write_and_not_done(store: Store) -> None:
    tried = await store.create(MACHINE_INVENTORY, machine(), dry_run=True)
    assert tried["metadata"]["uid"]
    assert await names(store) == []

    created = await store.create(MACHINE_INVENTORY, machine())
    with pytest.raises(AlreadyExists):
        await store.create(MACHINE_INVENTORY, machine(), dry_run=True)
    await store.delete(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE, dry_run=True)
    assert await get(store) == created


# many writers


async def test_of_many_writers_of_one_version_one_wins(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())

    async def attempt(index: int) -> bool:
        try:
            await store.update(MACHINE_INVENTORY, {**created, "spec": {"machineHash": str(index)}})
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(index) for index in range(20)))) == 1


async def test_many_patches_of_one_object_all_count(store: Store) -> None:
    await store.create(CONFIG_MAP, {"metadata": {"name": "c", "namespace": NAMESPACE}})

    await asyncio.gather(
        *(
            store.patch(CONFIG_MAP, "c", merge({"data": {f"k{index}": "v"}}), namespace=NAMESPACE)
            for index in range(30)
        )
    )

    assert len((await store.get(CONFIG_MAP, "c", namespace=NAMESPACE))["data"]) == 30


async def test_a_refused_write_does_not_take_its_neighbours_along(store: Store) -> None:
    results = await asyncio.gather(
        *(store.create(MACHINE_INVENTORY, machine(f"press-{index // 2}")) for index in range(10)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, AlreadyExists) for result in results) == 5
    assert len(await names(store)) == 5


async def test_what_a_caller_does_to_its_answer_touches_nobody_else(store: Store) -> None:
    async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
        await anext(events)
        created = await store.create(MACHINE_INVENTORY, machine())
        created["spec"]["tpmHash"] = "changed by its caller"

        assert (await next_event(events)).document["spec"]["tpmHash"] == "ab12"
        assert (await get(store))["spec"]["tpmHash"] == "ab12"
