"""MachineRegistration: tokens, URLs and the conditions of upstream."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.controllers.machine_registration import MachineRegistrationController
from appliance.controllers.manager import Result
from appliance.controllers.queue import Key
from appliance.resources.core import EVENT, SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY, REGISTERED_WITH
from appliance.resources.machine_registration import (
    MACHINE_REGISTRATION,
    MachineRegistration,
    MachineRegistrationStatus,
)
from appliance.resources.meta import Document, Kind, decode, find_condition
from appliance.resources.rbac import ROLE, ROLE_BINDING
from appliance.resources.service_account import SERVICE_ACCOUNT
from appliance.store.base import Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.factories import NAMESPACE, Clock, inventory, registration, settings


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        yield store


async def reconcile(store: Store, name: str = "plant", *, server_url: str = "https://box.lan/") -> Result:
    controller = MachineRegistrationController(store, settings(Clock(), server_url=server_url))
    return await controller.reconcile(Key(NAMESPACE, name))


async def status_of(store: Store, name: str = "plant") -> MachineRegistrationStatus:
    document = await store.get(MACHINE_REGISTRATION, name, namespace=NAMESPACE)
    return decode(MachineRegistration, document).status


def reason(status: MachineRegistrationStatus) -> tuple[str, str]:
    ready = find_condition(status.conditions, "Ready")
    assert ready is not None
    return ready.status, ready.reason


async def put(store: Store, name: str, **spec: object) -> Document:
    return await store.create(MACHINE_REGISTRATION, registration(name, **spec))


async def test_a_token_of_upstreams_alphabet_is_made_once(store: SqliteStore) -> None:
    await put(store, "plant")
    await reconcile(store)
    first = await status_of(store)
    await reconcile(store)

    assert re.fullmatch(r"[bcdfghjklmnpqrstvwxz2456789]{54}", first.registration_token)
    assert first.registration_url == f"https://box.lan/elemental/registration/{first.registration_token}"
    assert reason(first) == ("True", "SuccessfullyCreated")
    assert await status_of(store) == first


async def test_a_static_token_is_taken_and_followed_and_kept_when_it_is_removed(store: SqliteStore) -> None:
    tokens = []
    await put(store, "plant", token="first")
    for token in ("first", "second", None):
        await store.patch(
            MACHINE_REGISTRATION, "plant", merge({"spec": {"token": token}}), namespace=NAMESPACE
        )
        await reconcile(store)
        tokens.append((await status_of(store)).registration_token)

    assert tokens == ["first", "second", "second"]


async def test_the_url_follows_the_appliances_address(store: SqliteStore) -> None:
    await put(store, "plant", token="tok")
    await reconcile(store)
    await reconcile(store, server_url="https://10.0.0.7:8443")

    assert (await status_of(store)).registration_url == "https://10.0.0.7:8443/elemental/registration/tok"


async def test_a_token_in_use_elsewhere_is_refused_until_it_is_free(store: SqliteStore) -> None:
    await put(store, "plant", token="tok")
    await put(store, "copy", token="tok")
    await reconcile(store)
    again = await reconcile(store, "copy")
    refused = await status_of(store, "copy")
    await store.delete(MACHINE_REGISTRATION, "plant", namespace=NAMESPACE)
    await reconcile(store, "copy")

    assert again.again_in is not None
    assert reason(refused) == ("False", "DuplicateToken")
    assert (refused.registration_token, refused.registration_url) == ("", "")
    assert (await status_of(store, "copy")).registration_token == "tok"


async def test_of_two_that_want_one_token_at_once_one_gets_it(store: SqliteStore) -> None:
    await put(store, "one", token="tok")
    await put(store, "two", token="tok")
    controller = MachineRegistrationController(store, settings(Clock()))
    await asyncio.gather(*(controller.reconcile(Key(NAMESPACE, name)) for name in ("one", "two")))

    reasons = {reason(await status_of(store, name))[1] for name in ("one", "two")}
    assert reasons == {"DuplicateToken", "SuccessfullyCreated"}


async def test_an_appliance_without_an_address_says_so(store: SqliteStore) -> None:
    await put(store, "plant")
    await reconcile(store, server_url="")

    assert reason(await status_of(store)) == ("False", "MissingTokenOrServerURL")


async def test_what_happened_is_told_once(store: SqliteStore) -> None:
    await put(store, "plant")
    await reconcile(store)
    await reconcile(store)

    events = (await store.list(EVENT)).items
    assert [(event["reason"], event["type"], event["count"]) for event in events] == [
        ("SuccessfullyCreated", "Normal", 1)
    ]
    assert events[0]["involvedObject"]["name"] == "plant"


async def test_a_registration_that_is_gone_is_no_matter(store: SqliteStore) -> None:
    assert (await reconcile(store, "nobody")).again_in is None


async def add_host(store: Store, name: str, *, registration: str = "plant", has_plan: bool = True) -> None:
    await store.create(MACHINE_INVENTORY, inventory(name, **{REGISTERED_WITH: registration}))
    if has_plan:
        body = {"status": {"plan": {"secretRef": {"namespace": NAMESPACE, "name": name}}}}
        await store.patch(MACHINE_INVENTORY, name, merge(body), namespace=NAMESPACE, subresource="status")


async def rules(store: Store, name: str = "plant") -> list[Document]:
    found: list[Document] = (await store.get(ROLE, name, namespace=NAMESPACE)).get("rules") or []
    return found


async def test_the_children_are_upstreams_and_belong_to_the_registration(store: SqliteStore) -> None:
    document = await put(store, "plant")
    await reconcile(store)

    account = await store.get(SERVICE_ACCOUNT, "plant", namespace=NAMESPACE)
    binding = await store.get(ROLE_BINDING, "plant", namespace=NAMESPACE)
    role = await store.get(ROLE, "plant", namespace=NAMESPACE)
    secret = await store.get(SECRET, "plant-token", namespace=NAMESPACE)
    for child in (account, binding, role, secret):
        assert [owner["uid"] for owner in child["metadata"]["ownerReferences"]] == [
            document["metadata"]["uid"]
        ]
    for child in (account, binding, role):
        assert child["metadata"]["labels"] == {"elemental.cattle.io/managed": "true"}
    assert secret["type"] == "kubernetes.io/service-account-token"
    assert secret["metadata"]["annotations"] == {"kubernetes.io/service-account.name": "plant"}
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "plant"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "plant", "namespace": NAMESPACE}]
    reference = (await status_of(store)).service_account_ref
    assert reference is not None
    assert (reference.kind, reference.namespace, reference.name) == ("ServiceAccount", NAMESPACE, "plant")


async def test_the_role_names_the_plans_of_its_own_hosts_and_does_not_list(store: SqliteStore) -> None:
    await put(store, "plant")
    await reconcile(store)
    before = await rules(store)
    await add_host(store, "host-1")
    await add_host(store, "host-0")
    await add_host(store, "other", registration="elsewhere")
    await add_host(store, "plant-token", has_plan=False)  # a host that was named like somebody's Secret
    await reconcile(store)

    assert before == []  # a rule without names would be a rule about every Secret
    assert await rules(store) == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["host-0", "host-1"],
            "verbs": ["get", "watch", "update", "patch"],
        }
    ]


async def test_the_role_forgets_the_last_host(store: SqliteStore) -> None:
    await put(store, "plant")
    await add_host(store, "host-0")
    await reconcile(store)
    before = await rules(store)
    await store.delete(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    await reconcile(store)

    assert (len(before), await rules(store)) == (1, [])


@pytest.mark.parametrize(
    ("kind", "name"),
    [(SERVICE_ACCOUNT, "plant"), (ROLE, "plant"), (ROLE_BINDING, "plant"), (SECRET, "plant-token")],
    ids=["account", "role", "binding", "secret"],
)
async def test_a_child_comes_back_or_is_put_right_and_anothers_is_left_alone(
    store: SqliteStore, kind: Kind, name: str
) -> None:
    await put(store, "plant")
    await reconcile(store)
    made = await store.get(kind, name, namespace=NAMESPACE)
    await store.delete(kind, name, namespace=NAMESPACE)
    await reconcile(store)
    again = await store.get(kind, name, namespace=NAMESPACE)
    await store.delete(kind, name, namespace=NAMESPACE)
    foreign = {key: value for key, value in made.items() if key != "metadata"}
    await store.create(kind, {**foreign, "metadata": {"name": name, "namespace": NAMESPACE}})
    looked = await reconcile(store)

    assert again["metadata"]["uid"] != made["metadata"]["uid"]
    assert looked.again_in is not None
    assert reason(await status_of(store)) == ("False", "RbacCreationFailure")
    assert "ownerReferences" not in (await store.get(kind, name, namespace=NAMESPACE))["metadata"]


async def test_a_role_that_somebody_widened_is_narrow_again(store: SqliteStore) -> None:
    await put(store, "plant")
    await reconcile(store)
    wide = {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    await store.patch(ROLE, "plant", merge(wide), namespace=NAMESPACE)
    await reconcile(store)

    assert await rules(store) == []


async def test_the_children_go_with_the_registration_and_its_hosts_stay(store: SqliteStore) -> None:
    await put(store, "plant")
    await add_host(store, "host-0")
    await reconcile(store)
    await store.delete(MACHINE_REGISTRATION, "plant", namespace=NAMESPACE)

    for kind in (SERVICE_ACCOUNT, ROLE, ROLE_BINDING, SECRET):
        assert (await store.list(kind)).items == []
    assert len((await store.list(MACHINE_INVENTORY)).items) == 1


async def test_of_two_that_hold_one_token_the_older_keeps_it(store: SqliteStore) -> None:
    """As two appliances at once could leave it, each having looked before the other wrote."""
    for name in ("one", "two"):
        await put(store, name, token="tok")
        status = merge({"status": {"registrationToken": "tok"}})
        await store.patch(MACHINE_REGISTRATION, name, status, namespace=NAMESPACE, subresource="status")
    for name in ("one", "two"):
        await reconcile(store, name)

    reasons = [reason(await status_of(store, name))[1] for name in ("one", "two")]
    assert sorted(reasons) == ["DuplicateToken", "SuccessfullyCreated"]


async def test_a_machine_wakes_its_registration_when_it_comes_moves_and_goes(store: SqliteStore) -> None:
    controller = MachineRegistrationController(store, settings(Clock()))
    watch = next(watch for watch in controller.watches if watch.kind == MACHINE_INVENTORY)
    await add_host(store, "host-0")
    document = await store.get(MACHINE_INVENTORY, "host-0", namespace=NAMESPACE)
    came = list(watch.keys(document))
    ready = {**document, "status": {**document["status"], "conditions": []}}
    unchanged = list(watch.keys(ready))
    annotations = {REGISTERED_WITH: "elsewhere"}
    moved = sorted(watch.keys({**document, "metadata": {**document["metadata"], "annotations": annotations}}))
    deleted = {**document["metadata"], "deletionTimestamp": "2026-11-20T12:00:00Z"}
    went = list(watch.keys({**document, "metadata": deleted}))

    assert (came, unchanged) == ([Key(NAMESPACE, "plant")], [])
    assert moved == [Key(NAMESPACE, "elsewhere"), Key(NAMESPACE, "plant")]
    assert Key(NAMESPACE, "plant") in went
