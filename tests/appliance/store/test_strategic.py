"""Strategic merge patches, as a table; tests/appliance/api/kubernetes holds them against the real thing."""

import pytest

from appliance.resources.core import CONFIG_MAP, NAMESPACE, SECRET
from appliance.resources.ipam import IP_ADDRESS
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document, Kind
from appliance.resources.rbac import ROLE
from appliance.resources.service_account import SERVICE_ACCOUNT
from appliance.store.base import Malformed
from appliance.store.strategic import has_strategy, strategic_patch

OWNER_A, OWNER_B = {"uid": "a", "name": "one"}, {"uid": "b", "name": "two"}


def owned(*owners: Document) -> Document:
    return {"metadata": {"ownerReferences": list(owners)}}


@pytest.mark.parametrize(
    ("kind", "document", "patch", "expected"),
    [
        (CONFIG_MAP, {"data": {"a": "1"}}, {"data": {"b": "2"}}, {"data": {"a": "1", "b": "2"}}),
        (CONFIG_MAP, {"data": {"a": "1", "b": "2"}}, {"data": {"a": None}}, {"data": {"b": "2"}}),
        (CONFIG_MAP, {}, {"data": {"a": None, "b": "2"}}, {"data": {"b": "2"}}),
        (CONFIG_MAP, {"data": {"a": "1"}}, {"data": {"$patch": "replace", "b": "2"}}, {"data": {"b": "2"}}),
        (CONFIG_MAP, {"data": {"a": "1"}}, {"data": {"$patch": "delete"}}, {"data": {}}),
        (CONFIG_MAP, {"data": {"a": "1", "b": "2"}}, {"data": {"$retainKeys": ["b"]}}, {"data": {"b": "2"}}),
        (SECRET, owned(OWNER_A), owned(OWNER_B), owned(OWNER_A, OWNER_B)),
        (SECRET, owned(OWNER_A), owned({"uid": "a", "x": 1}), owned({**OWNER_A, "x": 1})),
        (SECRET, owned(OWNER_A, OWNER_B), owned({"uid": "a", "$patch": "delete"}), owned(OWNER_B)),
        (SECRET, owned(OWNER_A), owned({"$patch": "replace"}, OWNER_B), owned(OWNER_B)),
        (
            SECRET,
            owned(OWNER_A),
            {
                "metadata": {
                    "$setElementOrder/ownerReferences": [{"uid": "b"}, {"uid": "a"}],
                    "ownerReferences": [OWNER_B],
                }
            },
            owned(OWNER_B, OWNER_A),
        ),
        (
            SECRET,
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"finalizers": ["c", "a"]}},
            {"metadata": {"finalizers": ["a", "b", "c"]}},
        ),
        (
            SECRET,
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
        ),
        (
            SERVICE_ACCOUNT,
            {"secrets": [{"name": "a"}]},
            {"secrets": [{"name": "b"}]},
            {"secrets": [{"name": "a"}, {"name": "b"}]},
        ),
        (
            NAMESPACE,
            {"status": {"conditions": [{"type": "A", "status": "True"}]}},
            {"status": {"conditions": [{"type": "A", "status": "False"}]}},
            {"status": {"conditions": [{"type": "A", "status": "False"}]}},
        ),
        (
            ROLE,
            {"rules": [{"verbs": ["get"]}]},
            {"rules": [{"verbs": ["list"]}]},
            {"rules": [{"verbs": ["list"]}]},
        ),
    ],
)
def test_maps_merge_and_lists_as_their_kind_is_marked(
    kind: Kind, document: Document, patch: Document, expected: Document
) -> None:
    assert strategic_patch(kind, document, patch) == expected


@pytest.mark.parametrize(
    "patch",
    [
        {"data": {"$patch": "mince"}},
        {"data": {"$patch": ["replace"]}},
        {"$retainKeys": "data"},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}},
        {"metadata": {"finalizers": ["a"], "$setElementOrder/finalizers": "a"}},
        owned({"name": "without-uid"}),
        {"metadata": {"ownerReferences": ["text"]}},
    ],
)
def test_a_directive_that_cannot_be_is_malformed(patch: Document) -> None:
    with pytest.raises(Malformed):
        strategic_patch(SECRET, {"data": {"a": "1"}, "metadata": {}}, patch)


def test_only_kubernetes_own_kinds_have_a_strategy() -> None:
    kinds = (SECRET, ROLE, MACHINE_INVENTORY, IP_ADDRESS)

    assert [has_strategy(kind) for kind in kinds] == [True, True, False, False]
