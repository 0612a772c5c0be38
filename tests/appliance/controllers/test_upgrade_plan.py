"""The system-upgrade-controller's Plan: its names, its content, and a store that serves that kind."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.controllers.managed_os_image import ManagedOSImageController
from appliance.controllers.queue import Key
from appliance.controllers.upgrade_plan import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    name_plan,
    render_environment,
    shorten,
    split_image,
)
from appliance.resources.core import SECRET
from appliance.resources.kinds import KINDS
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE, ManagedOSImage
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.meta import Document, decode
from appliance.resources.rollout import ROLLOUT
from appliance.resources.service_account import SERVICE_ACCOUNT
from appliance.resources.system_upgrade_plan import SYSTEM_UPGRADE_PLAN
from appliance.store.base import NotFound, Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.dying import DyingStore, PowerCut
from tests.appliance.controllers.factories import NAMESPACE, Clock, settings

KEY = Key(NAMESPACE, "line7")
SYSTEM = "cattle-system"
NAME = "os-upgrader-line7"
PARTS = (CLUSTER_ROLE, CLUSTER_ROLE_BINDING, SERVICE_ACCOUNT, SECRET, SYSTEM_UPGRADE_PLAN)


@pytest.mark.parametrize(
    ("reference", "split"),
    [
        ("reg.lan/os/edge:2.3.1", ("reg.lan/os/edge", "2.3.1")),
        ("reg.lan:5000/os/edge", ("reg.lan:5000/os/edge", "latest")),
        ("edge:1", ("edge", "1")),
        ("reg.lan:5000/os@sha256:abcd", ("reg.lan:5000/os@sha256", "abcd")),
        ("reg.lan:5000/os:1@sha256:abcd", ("reg.lan:5000/os@sha256", "abcd")),
    ],
    ids=range(5),
)
def test_an_image_and_its_version_are_told_apart(reference: str, split: tuple[str, str]) -> None:
    assert split_image(reference) == split


@pytest.mark.parametrize("length", [63, 64, 100, 253])
def test_long_names_are_shortened_and_stay_apart(length: int) -> None:
    one, other = shorten("a" * length), shorten("a" * (length - 1) + "b")

    assert len(one) <= 63
    assert one != other


def test_a_name_ends_in_a_letter_before_its_digest() -> None:
    cut = shorten("a" * 56 + "-" + "b" * 40)

    assert cut.startswith("a" * 56 + "-")
    assert len(cut) == 63
    assert name_plan("my.line_7") == "os-upgrader-my-line-7"


def test_metadata_becomes_environment_and_wins() -> None:
    given = [{"name": "FORCE", "value": "true"}, {"name": "METADATA_CREATED", "value": "mine"}]

    assert render_environment({"created": 7, "displayName": "Edge 2"}, given) == [
        {"name": "FORCE", "value": "true"},
        {"name": "METADATA_CREATED", "value": "7"},
        {"name": "METADATA_DISPLAYNAME", "value": "Edge 2"},
    ]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    kinds = [*KINDS, SYSTEM_UPGRADE_PLAN, CLUSTER_ROLE, CLUSTER_ROLE_BINDING]
    async with SqliteStore.open(tmp_path / "skerry.db", kinds=kinds) as store:
        yield store


async def put(store: Store, **spec: object) -> ManagedOSImageController:
    metadata = {"name": KEY.name, "namespace": NAMESPACE}
    await store.create(MANAGED_OS_IMAGE, {"metadata": metadata, "spec": spec})
    controller = ManagedOSImageController(store, settings(Clock()))
    await controller.reconcile(KEY)
    return controller


async def plan(store: Store) -> Document:
    spec: Document = (await store.get(SYSTEM_UPGRADE_PLAN, NAME, namespace=SYSTEM))["spec"]
    return spec


async def present(store: Store) -> list[str]:
    found = []
    for kind in PARTS:
        documents = (await store.list(kind)).items
        found += [f"{kind} {each['metadata']['name']}" for each in documents]
    return found


async def conditions(store: Store) -> dict[str, tuple[str, str]]:
    document = await store.get(MANAGED_OS_IMAGE, KEY.name, namespace=NAMESPACE)
    status = decode(ManagedOSImage, document).status
    return {each.type: (each.status, each.reason) for each in status.conditions}


async def test_where_the_kind_is_served_a_plan_is_written_and_no_rollout(store: SqliteStore) -> None:
    await put(store, osImage="reg.lan/os/edge:2.3.1", cloudConfig={"users": []}, concurrency=3)

    secret = await store.get(SECRET, NAME, namespace=SYSTEM)
    assert await plan(store) == {
        "concurrency": 3,
        "version": "2.3.1",
        "nodeSelector": {},
        "serviceAccountName": NAME,
        "tolerations": [{"operator": "Exists"}],
        "cordon": True,
        "drain": {
            "force": True,
            "skipWaitForDeleteTimeout": 60,
            "ignoreDaemonSets": True,
            "deleteLocalData": True,
        },
        "secrets": [{"name": NAME, "path": "/run/data"}],
        "upgrade": {"image": "reg.lan/os/edge", "command": ["/usr/sbin/suc-upgrade"]},
    }
    assert base64.b64decode(secret["data"]["cloud-config"]) == b"#cloud-config\nusers: []\n"
    assert await present(store) == [f"{kind} {NAME}" for kind in PARTS]
    assert (await store.list(ROLLOUT)).items == []
    assert (await conditions(store))["Ready"] == ("Unknown", "Progressing")


async def test_a_version_gives_image_container_and_environment(store: SqliteStore) -> None:
    version = {
        "version": "v2",
        "type": "container",
        "metadata": {"upgradeImage": "reg.lan/os:2", "displayName": "Two"},
        "upgradeContainer": {"envs": [{"name": "FORCE", "value": "true"}]},
    }
    await store.create(
        MANAGED_OS_VERSION, {"metadata": {"name": "v2", "namespace": NAMESPACE}, "spec": version}
    )
    await put(store, managedOSVersionName="v2")

    upgrade = (await plan(store))["upgrade"]
    assert upgrade["image"] == "reg.lan/os"
    assert [each["name"] for each in upgrade["envs"]] == [
        "FORCE",
        "METADATA_DISPLAYNAME",
        "METADATA_UPGRADEIMAGE",
    ]


async def test_a_plan_that_is_done_makes_the_image_ready(store: SqliteStore) -> None:
    controller = await put(store, osImage="reg.lan/os:2")
    done = {
        "type": "Complete",
        "status": "True",
        "reason": "PlanCompleted",
        "lastTransitionTime": "2026-11-20T12:00:00Z",
    }
    await store.patch(
        SYSTEM_UPGRADE_PLAN,
        NAME,
        merge({"status": {"conditions": [done]}}),
        namespace=SYSTEM,
        subresource="status",
    )
    await controller.reconcile(KEY)

    found = await conditions(store)
    assert (found["Ready"], found["Complete"]) == (("True", "Completed"), ("True", "PlanCompleted"))


async def test_the_users_container_is_read_and_never_written(store: SqliteStore) -> None:
    controller = await put(store, osImage="reg.lan/os:2", upgradeContainer={"envs": [{"name": "FORCE"}]})
    body = {"spec": {"osImage": "reg.lan/other:3"}}
    await store.patch(MANAGED_OS_IMAGE, KEY.name, merge(body), namespace=NAMESPACE)
    await controller.reconcile(KEY)

    document = await store.get(MANAGED_OS_IMAGE, KEY.name, namespace=NAMESPACE)
    assert document["spec"]["upgradeContainer"] == {"envs": [{"name": "FORCE"}]}
    assert (await plan(store))["upgrade"]["image"] == "reg.lan/other"


async def test_no_drain_and_no_cordon_are_what_they_say(store: SqliteStore) -> None:
    await put(
        store, osImage="reg.lan/os:2", drain=None, cordon=False, nodeSelector={"matchLabels": {"a": "b"}}
    )

    spec = await plan(store)
    assert "drain" not in spec
    assert (spec["cordon"], spec["nodeSelector"]) == (False, {"matchLabels": {"a": "b"}})


async def test_a_missing_version_is_a_condition(store: SqliteStore) -> None:
    await put(store, managedOSVersionName="v9")

    assert (await conditions(store))["FleetBundleCreation"] == ("False", "FleetBundleCreateFailure")
    assert await present(store) == []


async def test_another_images_plan_is_not_taken_over(store: SqliteStore) -> None:
    await put(store, osImage="reg.lan/os:2")
    other = Key("another", "line7")
    await store.create(
        MANAGED_OS_IMAGE,
        {"metadata": {"name": "line7", "namespace": "another"}, "spec": {"osImage": "reg.lan/x:1"}},
    )
    await ManagedOSImageController(store, settings(Clock())).reconcile(other)

    assert (await plan(store))["upgrade"]["image"] == "reg.lan/os"


async def test_everything_goes_with_the_image(store: SqliteStore) -> None:
    controller = await put(store, osImage="reg.lan/os:2")
    await store.delete(MANAGED_OS_IMAGE, KEY.name, namespace=NAMESPACE)
    await controller.reconcile(KEY)

    assert await present(store) == []
    with pytest.raises(NotFound):
        await store.get(MANAGED_OS_IMAGE, KEY.name, namespace=NAMESPACE)


@pytest.mark.parametrize("writes", range(9))
async def test_an_appliance_that_dies_before_any_write_leaves_a_whole_plan(
    store: SqliteStore, writes: int
) -> None:
    spec = {"osImage": "reg.lan/os:2"}
    await store.create(
        MANAGED_OS_IMAGE, {"metadata": {"name": KEY.name, "namespace": NAMESPACE}, "spec": spec}
    )
    try:
        await ManagedOSImageController(DyingStore(store, writes=writes), settings(Clock())).reconcile(KEY)
    except PowerCut:
        await ManagedOSImageController(store, settings(Clock())).reconcile(KEY)

    assert await present(store) == [f"{kind} {NAME}" for kind in PARTS]
