"""Rules beyond a schema: finalizers, owners, keys, and what may not change."""

import pytest

from appliance.resources.core import CONFIG_MAP, SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document, Kind
from appliance.resources.rbac import ROLE_BINDING
from appliance.store.base import Invalid, Patch, Store, merge
from tests.conformance.store_engines import NAMESPACE, get, machine, patch

OWNER = {"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster", "name": "c", "uid": "1"}
TLS = {"tls.crt": "YQ==", "tls.key": "YQ=="}


def thing(**parts: object) -> Document:
    metadata = parts.pop("metadata", {})
    assert isinstance(metadata, dict)
    return {"metadata": {"name": "a", "namespace": NAMESPACE, **metadata}, **parts}


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (MACHINE_INVENTORY, machine(metadata={"finalizers": ["a b"]})),
        (MACHINE_INVENTORY, machine(metadata={"finalizers": ["a/b/c"]})),
        (SECRET, thing(metadata={"finalizers": ["machineinventory.elemental.cattle.io"]})),
        (
            MACHINE_INVENTORY,
            machine(metadata={"ownerReferences": [{**OWNER, "kind": "Event", "apiVersion": "v1"}]}),
        ),
        (
            MACHINE_INVENTORY,
            machine(
                metadata={
                    "ownerReferences": [
                        {**OWNER, "controller": True},
                        {**OWNER, "name": "d", "uid": "2", "controller": True},
                    ]
                }
            ),
        ),
        (SECRET, thing(data={"a b": "YQ=="})),
        (SECRET, thing(data={"..": "YQ=="})),
        (CONFIG_MAP, thing(data={"a/b": "c"})),
        (CONFIG_MAP, thing(binaryData={"a/b": "YQ=="})),
        (SECRET, thing(type="kubernetes.io/tls")),
        (SECRET, thing(type="kubernetes.io/tls", data={"tls.crt": "YQ=="})),
    ],
)
async def test_what_a_server_does_not_take_is_refused(store: Store, kind: Kind, document: Document) -> None:
    with pytest.raises(Invalid):
        await store.create(kind, document)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (
            MACHINE_INVENTORY,
            machine(metadata={"finalizers": ["machineinventory.elemental.cattle.io", "a.b/c"]}),
        ),
        (SECRET, thing(metadata={"finalizers": ["a.b/c"]})),
        (MACHINE_INVENTORY, machine(metadata={"ownerReferences": [{**OWNER, "controller": True}]})),
        (CONFIG_MAP, thing(data={".a-b_C": "c"})),
        (SECRET, thing(type="kubernetes.io/tls", data=TLS)),
    ],
)
async def test_what_a_server_takes_is_taken(store: Store, kind: Kind, document: Document) -> None:
    assert (await store.create(kind, document))["metadata"]["uid"]


@pytest.mark.parametrize(
    ("kind", "document", "change"),
    [
        (SECRET, thing(type="a/b"), {"type": "c/d"}),
        (SECRET, thing(immutable=True), {"data": {"a": "YQ=="}}),
        (SECRET, thing(immutable=True), {"immutable": False}),
        (CONFIG_MAP, thing(immutable=True), {"data": {"a": "b"}}),
        (CONFIG_MAP, thing(immutable=True), {"immutable": None}),
        (
            ROLE_BINDING,
            thing(roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}),
            {"roleRef": {"name": "b"}},
        ),
    ],
)
async def test_what_may_not_change_does_not(
    store: Store, kind: Kind, document: Document, change: Document
) -> None:
    created = await store.create(kind, document)

    with pytest.raises(Invalid):
        await store.patch(kind, "a", merge(change), namespace=NAMESPACE)

    labelled = await store.patch(kind, "a", merge({"metadata": {"labels": {"b": "c"}}}), namespace=NAMESPACE)
    assert labelled["metadata"]["uid"] == created["metadata"]["uid"]


async def test_what_is_left_empty_is_left_out(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine(metadata={"labels": {"a": "b"}, "annotations": {}}))

    await patch(store, {"metadata": {"labels": {"a": None}, "finalizers": []}})

    assert not {"labels", "annotations", "finalizers"} & (await get(store))["metadata"].keys()


async def test_who_applies_has_a_name(store: Store) -> None:
    with pytest.raises(Invalid, match="fieldManager"):
        await store.patch(MACHINE_INVENTORY, "press-1", Patch("apply", machine()), namespace=NAMESPACE)


async def test_a_limit_below_nothing_is_none(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    assert len((await store.list(MACHINE_INVENTORY, limit=-1)).items) == 1
