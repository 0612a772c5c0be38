"""ManagedOSVersion and ManagedOSImage: who holds whom, and the Rollout that an image becomes."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from appliance.resources.managed_os_image import DEFAULT_DRAIN, MANAGED_OS_IMAGE, ManagedOSImage
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.meta import Document, Kind, decode, find_condition
from appliance.resources.rollout import ROLLOUT
from appliance.resources.seed_image import SEED_IMAGE
from appliance.store.base import NotFound, merge
from tests.appliance.controllers.factories import NAMESPACE, V2, rollout
from tests.appliance.controllers.plant import Plant, open_plant

LABEL = "elemental.cattle.io/managed-os-version-name"


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    async with open_plant(tmp_path) as plant:
        await plant.add_host("host-0")
        await plant.settle()
        await plant.answer("host-0")
        await plant.settle()
        yield plant


def version(image: str = "demo:v2", **spec: object) -> Document:
    return {
        "metadata": {"name": "v2", "namespace": NAMESPACE},
        "spec": {"version": "v2", "type": "container", "metadata": {"upgradeImage": image}, **spec},
    }


def image(**spec: object) -> Document:
    return {"metadata": {"name": "line", "namespace": NAMESPACE}, "spec": spec}


async def put(plant: Plant, **spec: object) -> None:
    await plant.store.create(MANAGED_OS_IMAGE, image(**spec))
    await plant.settle()


async def ready(plant: Plant) -> tuple[str, str]:
    document = await plant.store.get(MANAGED_OS_IMAGE, "line", namespace=NAMESPACE)
    condition = find_condition(decode(ManagedOSImage, document).status.conditions, "Ready")
    assert condition is not None
    return condition.status, condition.reason


async def test_an_image_becomes_a_rollout_and_is_ready_when_that_is_completed(plant: Plant) -> None:
    selector = {"matchLabels": {"line": "demo"}}
    await put(plant, osImage="demo:v2", concurrency=3, nodeSelector=selector)
    owned = await plant.store.get(ROLLOUT, "line", namespace=NAMESPACE)
    progressing = await ready(plant)
    await plant.finish_upgrade("host-0", V2)
    await plant.settle()

    assert owned["spec"] == {"image": "demo:v2", "maxUnavailable": 3, "selector": selector}
    assert owned["metadata"]["ownerReferences"][0]["kind"] == "ManagedOSImage"
    assert progressing == ("Unknown", "Progressing")
    assert await ready(plant) == ("True", "Completed")


async def test_a_changed_image_changes_its_rollout_but_not_what_a_person_added(plant: Plant) -> None:
    await put(plant, osImage="demo:v2")
    await plant.store.patch(ROLLOUT, "line", merge({"spec": {"soakSeconds": 5}}), namespace=NAMESPACE)
    body = {"spec": {"osImage": None, "managedOSVersionName": "v2"}}
    await plant.store.create(MANAGED_OS_VERSION, version())
    await plant.store.patch(MANAGED_OS_IMAGE, "line", merge(body), namespace=NAMESPACE)
    await plant.settle()

    owned = await plant.store.get(ROLLOUT, "line", namespace=NAMESPACE)
    assert owned["spec"] == {"managedOSVersionName": "v2", "maxUnavailable": 1, "soakSeconds": 5}
    assert (await plant.rollout("line")).digest == V2


async def test_the_users_spec_is_never_written_to(plant: Plant) -> None:
    await put(plant, osImage="demo:v2", upgradeContainer={"envs": [{"name": "FORCE", "value": "true"}]})

    document = await plant.store.get(MANAGED_OS_IMAGE, "line", namespace=NAMESPACE)
    assert document["spec"] == {
        "osImage": "demo:v2",
        "upgradeContainer": {"envs": [{"name": "FORCE", "value": "true"}]},
        "drain": msgspec.to_builtins(DEFAULT_DRAIN),  # the schema's default, the server's doing
    }


async def test_an_image_that_names_nothing_says_so(plant: Plant) -> None:
    await put(plant)

    assert await ready(plant) == ("False", "InvalidSpec")


async def test_a_rollout_of_somebody_else_is_not_taken_over(plant: Plant) -> None:
    await plant.store.create(ROLLOUT, rollout("line", paused=True))
    await put(plant, osImage="demo:v3")

    assert await ready(plant) == ("False", "RolloutExists")
    assert (await plant.store.get(ROLLOUT, "line", namespace=NAMESPACE))["spec"]["image"] == "demo:v2"


async def test_the_rollout_goes_with_its_image(plant: Plant) -> None:
    await put(plant, osImage="demo:v2")
    asked = await plant.planned()
    await plant.store.delete(MANAGED_OS_IMAGE, "line", namespace=NAMESPACE)
    await plant.settle()

    with pytest.raises(NotFound):
        await plant.rollout("line")
    assert (asked, await plant.planned()) == (["host-0"], [])


async def test_the_version_label_follows_the_spec(plant: Plant) -> None:
    await plant.store.create(MANAGED_OS_VERSION, version())
    await put(plant, managedOSVersionName="v2")
    labelled = await plant.store.get(MANAGED_OS_IMAGE, "line", namespace=NAMESPACE)
    await plant.store.patch(
        MANAGED_OS_IMAGE, "line", merge({"spec": {"osImage": "demo:v2"}}), namespace=NAMESPACE
    )
    await plant.settle()

    assert labelled["metadata"]["labels"] == {LABEL: "v2"}
    unlabelled = await plant.store.get(MANAGED_OS_IMAGE, "line", namespace=NAMESPACE)
    assert not unlabelled["metadata"].get("labels")


async def test_a_version_in_use_stays_until_the_image_lets_it_go(plant: Plant) -> None:
    await plant.store.create(MANAGED_OS_VERSION, version())
    await put(plant, managedOSVersionName="v2")
    await plant.store.delete(MANAGED_OS_VERSION, "v2", namespace=NAMESPACE)
    await plant.settle()
    held = await plant.store.get(MANAGED_OS_VERSION, "v2", namespace=NAMESPACE)
    await plant.store.delete(MANAGED_OS_IMAGE, "line", namespace=NAMESPACE)
    await plant.settle()

    assert held["metadata"]["deletionTimestamp"]
    with pytest.raises(NotFound):
        await plant.store.get(MANAGED_OS_VERSION, "v2", namespace=NAMESPACE)


async def test_an_unused_version_goes_at_once(plant: Plant) -> None:
    await plant.store.create(MANAGED_OS_VERSION, version())
    await plant.settle()
    await plant.store.delete(MANAGED_OS_VERSION, "v2", namespace=NAMESPACE)
    await plant.settle()

    with pytest.raises(NotFound):
        await plant.store.get(MANAGED_OS_VERSION, "v2", namespace=NAMESPACE)


@pytest.mark.parametrize(
    ("kind", "user"),
    [
        (SEED_IMAGE, {"registrationRef": {"name": "plant"}, "type": "iso", "baseImage": "demo:v2"}),
        (ROLLOUT, {"managedOSVersionName": "v2", "paused": True}),
    ],
    ids=["seed image", "rollout"],
)
async def test_what_needs_a_version_holds_it_and_is_named(plant: Plant, kind: Kind, user: Document) -> None:
    await plant.store.create(MANAGED_OS_VERSION, version())
    await plant.settle()
    await plant.store.create(kind, {"metadata": {"name": "line", "namespace": NAMESPACE}, "spec": user})
    await plant.store.delete(MANAGED_OS_VERSION, "v2", namespace=NAMESPACE)
    await plant.settle()
    held = await plant.store.get(MANAGED_OS_VERSION, "v2", namespace=NAMESPACE)
    told = await plant.events("StillUsed")
    await plant.store.delete(kind, "line", namespace=NAMESPACE)
    await plant.settle()

    assert held["metadata"]["deletionTimestamp"]
    assert told == [f"{kind} line still needs this version"]
    with pytest.raises(NotFound):
        await plant.store.get(MANAGED_OS_VERSION, "v2", namespace=NAMESPACE)


async def test_a_stale_label_holds_nothing(plant: Plant) -> None:
    await plant.store.create(MANAGED_OS_VERSION, version())
    labelled = image(osImage="demo:v2")
    labelled["metadata"]["labels"] = {LABEL: "v2"}
    await plant.store.create(MANAGED_OS_IMAGE, labelled)
    await plant.settle()
    await plant.store.delete(MANAGED_OS_VERSION, "v2", namespace=NAMESPACE)
    await plant.settle()

    with pytest.raises(NotFound):
        await plant.store.get(MANAGED_OS_VERSION, "v2", namespace=NAMESPACE)


async def test_a_version_for_installation_media_cannot_be_rolled_out(plant: Plant) -> None:
    await plant.store.create(MANAGED_OS_VERSION, version(type="iso"))
    await put(plant, managedOSVersionName="v2")

    assert "names no container image" in (await plant.rollout("line")).reason


async def test_the_rollouts_conditions_are_the_images_too(plant: Plant) -> None:
    await put(plant, osImage="demo:v9")
    document = await plant.store.get(MANAGED_OS_IMAGE, "line", namespace=NAMESPACE)
    conditions = {each.type: each for each in decode(ManagedOSImage, document).status.conditions}

    assert conditions["ImageResolved"].message == "the mirror has no image demo:v9"
    assert (conditions["Ready"].status, conditions["Ready"].reason) == ("Unknown", "Pending")
    assert conditions["FleetBundleCreation"].reason == "FleetBundleCreateSuccess"


async def test_what_is_wrong_with_an_image_is_upstreams_condition_too(plant: Plant) -> None:
    await put(plant)
    document = await plant.store.get(MANAGED_OS_IMAGE, "line", namespace=NAMESPACE)
    created = find_condition(decode(ManagedOSImage, document).status.conditions, "FleetBundleCreation")

    assert created is not None
    assert (created.status, created.reason) == ("False", "FleetBundleCreateFailure")
    assert "neither osImage nor managedOSVersionName" in created.message


async def test_configuration_goes_with_the_image_and_can_be_changed_alone(plant: Plant) -> None:
    await put(plant, osImage="demo:v2", cloudConfig={"runcmd": ["a"], "users": []})
    await plant.finish_upgrade("host-0", V2)
    await plant.settle()
    before = await ready(plant)
    body = {"spec": {"cloudConfig": {"runcmd": ["b"], "users": None}}}
    await plant.store.patch(MANAGED_OS_IMAGE, "line", merge(body), namespace=NAMESPACE)
    await plant.settle()

    owned = await plant.store.get(ROLLOUT, "line", namespace=NAMESPACE)
    assert before == ("True", "Completed")
    assert owned["spec"]["cloudConfig"] == {"runcmd": ["b"]}
    assert await plant.planned() == ["host-0"]


async def test_an_image_that_is_not_for_this_cluster_moves_nothing(plant: Plant) -> None:
    await put(plant, osImage="demo:v2")
    body = {"spec": {"clusterTargets": [{"clusterName": "another"}]}}
    await plant.store.patch(MANAGED_OS_IMAGE, "line", merge(body), namespace=NAMESPACE)
    await plant.settle()

    assert await ready(plant) == ("False", "NotTargeted")
    assert await plant.planned() == []
    with pytest.raises(NotFound):
        await plant.rollout("line")
