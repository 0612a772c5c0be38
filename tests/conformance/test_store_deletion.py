"""How objects go: preconditions, finalizers, owners, namespaces. What depends may go a little later."""

import pytest

from appliance.resources.core import NAMESPACE as NAMESPACE_KIND
from appliance.resources.core import SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.store.base import (
    Conflict,
    Invalid,
    NotFound,
    Preconditions,
    Store,
    merge,
)
from tests.conformance.store_engines import (
    HOLD,
    NAMESPACE,
    delete,
    eventually,
    get,
    is_gone,
    machine,
    names,
    owner_of,
    patch,
)


async def test_a_deleted_object_is_gone_and_its_name_free(store: Store) -> None:
    first = await store.create(MACHINE_INVENTORY, machine())
    await delete(store)

    with pytest.raises(NotFound):
        await delete(store)
    second = await store.create(MACHINE_INVENTORY, machine())
    assert second["metadata"]["uid"] != first["metadata"]["uid"]


async def test_preconditions_hold_for_a_delete(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())
    await patch(store, {"spec": {"machineHash": "1"}})

    for wrong in (
        Preconditions(uid="another"),
        Preconditions(resource_version=created["metadata"]["resourceVersion"]),
    ):
        with pytest.raises(Conflict):
            await store.delete(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE, preconditions=wrong)
    right = Preconditions(uid=created["metadata"]["uid"])
    await store.delete(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE, preconditions=right)


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine(metadata={"finalizers": [HOLD]}))

    marked = await delete(store)
    assert marked["metadata"]["deletionTimestamp"]
    assert (await delete(store))["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]
    with pytest.raises(Invalid, match="being deleted"):
        await patch(store, {"metadata": {"finalizers": [HOLD, "another/one"]}})

    await patch(store, {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await get(store)


async def owners(store: Store, secret: str) -> list[Document]:
    document = await store.get(SECRET, secret, namespace=NAMESPACE)
    found: list[Document] = document["metadata"].get("ownerReferences", [])
    return found


async def test_what_an_object_owns_goes_with_it(store: Store) -> None:
    owner = await store.create(MACHINE_INVENTORY, machine())
    for name, finalizers in (("plan", []), ("held", ["skerry.dev/hold"])):
        await store.create(
            SECRET,
            {
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "ownerReferences": [owner_of(owner)],
                    "finalizers": finalizers,
                }
            },
        )
    await store.create(SECRET, {"metadata": {"name": "other", "namespace": NAMESPACE}})

    await delete(store)

    await eventually(lambda: names(store, SECRET), expected=["held", "other"])
    held = await store.get(SECRET, "held", namespace=NAMESPACE)
    assert held["metadata"]["deletionTimestamp"]


async def let_the_collector_see(store: Store) -> None:
    """Return when what was written before is known to whoever collects garbage.

    A cluster's collector learns of Secrets in their order, and of a dependent that it does not know yet it
    takes no heed: so when it has collected a later one, it knows the earlier.
    """
    owner = await store.create(MACHINE_INVENTORY, machine("later"))
    metadata = {"name": "later", "namespace": NAMESPACE, "ownerReferences": [owner_of(owner)]}
    await store.create(SECRET, {"metadata": metadata})
    await delete(store, "later")
    await eventually(lambda: is_gone(store, SECRET, "later", namespace=NAMESPACE))


async def test_an_object_of_two_owners_goes_with_the_last(store: Store) -> None:
    first = await store.create(MACHINE_INVENTORY, machine("press-1"))
    second = await store.create(MACHINE_INVENTORY, machine("press-2"))
    references = [owner_of(first), owner_of(second)]
    await store.create(
        SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE, "ownerReferences": references}}
    )

    await delete(store, "press-1")
    await eventually(lambda: owners(store, "s"), expected=[owner_of(second)])

    await delete(store, "press-2")
    await eventually(lambda: names(store, SECRET), expected=[])


async def test_in_the_foreground_an_owner_waits_for_those_that_block_it(store: Store) -> None:
    owner = await store.create(MACHINE_INVENTORY, machine())
    blocking = {**owner_of(owner), "blockOwnerDeletion": True}
    for name, reference, finalizers in (
        ("free", owner_of(owner), []),
        ("held", blocking, ["skerry.dev/hold"]),
    ):
        metadata = {"name": name, "namespace": NAMESPACE, "ownerReferences": [reference]}
        await store.create(SECRET, {"metadata": {**metadata, "finalizers": finalizers}})
    await let_the_collector_see(store)

    marked = await store.delete(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE, propagation="Foreground")

    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]
    await eventually(lambda: names(store, SECRET), expected=["held"])
    assert (await get(store))["metadata"]["uid"] == owner["metadata"]["uid"]
    await store.patch(SECRET, "held", merge({"metadata": {"finalizers": None}}), namespace=NAMESPACE)
    await eventually(lambda: is_gone(store, MACHINE_INVENTORY, "press-1", namespace=NAMESPACE))
    assert await names(store, SECRET) == []


async def test_an_owner_of_nothing_goes_in_the_foreground_too(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    await store.delete(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE, propagation="Foreground")

    await eventually(lambda: is_gone(store, MACHINE_INVENTORY, "press-1", namespace=NAMESPACE))


async def test_orphans_stay_when_asked(store: Store) -> None:
    owner = await store.create(MACHINE_INVENTORY, machine())
    await store.create(
        SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE, "ownerReferences": [owner_of(owner)]}}
    )
    await let_the_collector_see(store)

    await store.delete(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE, propagation="Orphan")

    await eventually(lambda: owners(store, "s"), expected=[])
    await eventually(lambda: is_gone(store, MACHINE_INVENTORY, "press-1", namespace=NAMESPACE))
    assert await names(store, SECRET) == ["s"]


async def test_what_is_made_for_an_owner_that_is_gone_goes_too(store: Store) -> None:
    owner = await store.create(MACHINE_INVENTORY, machine())
    await delete(store)

    await store.create(
        SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE, "ownerReferences": [owner_of(owner)]}}
    )

    await eventually(lambda: names(store, SECRET), expected=[])


async def test_owners_of_kinds_kept_elsewhere_count_as_there(store: Store) -> None:
    reference = {"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster", "name": "c", "uid": "1"}

    await store.create(
        SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE, "ownerReferences": [reference]}}
    )

    assert await names(store, SECRET) == ["s"]


async def test_a_namespace_takes_what_is_in_it_and_waits_for_what_is_held(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine("free"))
    await store.create(MACHINE_INVENTORY, machine("held", metadata={"finalizers": [HOLD]}))

    await store.delete(NAMESPACE_KIND, NAMESPACE)

    await eventually(lambda: names(store), expected=["held"])
    with pytest.raises(Conflict, match=r"being (deleted|terminated)"):
        await store.create(MACHINE_INVENTORY, machine("late"))
    await patch(store, {"metadata": {"finalizers": None}}, "held")
    await eventually(lambda: is_gone(store, NAMESPACE_KIND, NAMESPACE))
