"""SeedImages over the real store and a workshop of one shelf: built, exposed, expired, rebuilt, cut off."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.controllers.manager import Result
from appliance.controllers.media import Build, Medium
from appliance.controllers.queue import Key
from appliance.controllers.seed_image import SeedImageController
from appliance.controllers.writes import render_time
from appliance.resources.core import EVENT
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Document, decode, find_condition
from appliance.resources.seed_image import SEED_IMAGE, SeedImage, SeedImageStatus
from appliance.store.base import AlreadyExists, NotFound, Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.dying import DyingStore, PowerCut
from tests.appliance.controllers.factories import NAMESPACE, Clock, registration, settings

KEY = Key(NAMESPACE, "stick")


class Shelf:
    """A builder whose builds are done when they are told to be; its files outlive the appliance."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ca = "CA"
        self.building: set[str] = set()
        self.files: set[str] = set()
        self.failed: dict[str, Build] = {}
        self.started: list[Medium] = []

    def render_registration(self, registration: MachineRegistration) -> bytes:
        url = registration.status.registration_url
        return f"{url} {self.ca}".encode() if url else b""

    async def look(self, medium: Medium) -> Build:
        if medium.name in self.building:
            return Build("building")
        if medium.name in self.files:
            return Build("built")
        return self.failed.get(medium.name, Build("absent"))

    async def start(self, medium: Medium) -> None:
        self.started.append(medium)
        self.building.add(medium.name)

    async def remove(self, owner: str, *, keep: str = "") -> None:
        self.building &= {keep}
        self.files &= {keep}

    def finish(self) -> None:
        self.files |= self.building
        self.building.clear()

    def fail(self, message: str) -> None:
        at = render_time(self.clock())
        self.failed |= {name: Build("failed", message, at) for name in self.building}
        self.building.clear()


class Bench:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.shelf = Shelf(self.clock)
        self.controller = self.start(store)

    def start(self, store: Store) -> SeedImageController:
        """The controller of an appliance that has just started."""
        return SeedImageController(store, replace(settings(self.clock), media=self.shelf))

    async def register(self, url: str = "https://box.lan/elemental/registration/tok") -> None:
        with suppress(AlreadyExists):
            await self.store.create(MACHINE_REGISTRATION, registration())
        body = {"status": {"registrationURL": url}}
        await self.store.patch(
            MACHINE_REGISTRATION, "plant", merge(body), namespace=NAMESPACE, subresource="status"
        )

    async def put(self, **spec: object) -> Result:
        body = {"type": "iso", "baseImage": "edge/iso:1", "registrationRef": {"name": "plant"}, **spec}
        metadata = {"name": KEY.name, "namespace": NAMESPACE}
        await self.store.create(SEED_IMAGE, {"metadata": metadata, "spec": body})
        return await self.look()

    async def change(self, **spec: object) -> Result:
        await self.store.patch(SEED_IMAGE, KEY.name, merge({"spec": spec}), namespace=NAMESPACE)
        return await self.look()

    async def look(self) -> Result:
        return await self.controller.reconcile(KEY)

    async def document(self) -> Document:
        return await self.store.get(SEED_IMAGE, KEY.name, namespace=NAMESPACE)

    async def status(self) -> SeedImageStatus:
        return decode(SeedImage, await self.document()).status

    async def ready(self) -> tuple[str, str, str]:
        found = find_condition((await self.status()).conditions, "SeedImageReady")
        assert found is not None
        return found.status, found.reason, found.message

    async def build(self) -> str:
        """To the end; the URL."""
        await self.look()
        self.shelf.finish()
        await self.look()
        return (await self.status()).download_url


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        bench = Bench(store)
        await bench.register()
        yield bench


async def test_a_medium_is_built_and_can_be_downloaded(bench: Bench) -> None:
    await bench.put(**{"cloud-config": {"users": []}})
    under_way = ((await bench.status()).state, (await bench.ready())[1])
    bench.shelf.finish()
    result = await bench.look()

    status, name = await bench.status(), bench.shelf.started[0].name
    assert under_way == ("Started", "SeedImageBuildOngoing")
    assert (status.state, (await bench.ready())[:2]) == ("Completed", ("True", "SeedImageBuildSuccess"))
    assert len(status.download_token) == 54
    assert status.download_url == f"https://box.lan/elemental/seedimage/{status.download_token}/{name}"
    assert status.checksum_url == f"{status.download_url}.sha256"
    assert bench.shelf.started[0].cloud_config == b"#cloud-config\nusers: []\n"
    assert result.again_in == 3600
    owner = (await bench.document())["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner.get("controller")) == ("MachineRegistration", None)


async def test_a_second_look_changes_nothing(bench: Bench) -> None:
    await bench.put()
    await bench.build()
    before = (await bench.document())["metadata"]["resourceVersion"]
    await bench.look()
    await bench.start(bench.store).reconcile(KEY)

    assert (await bench.document())["metadata"]["resourceVersion"] == before
    assert len(bench.shelf.started) == 1


async def test_a_medium_is_cleared_away_when_its_time_is_up(bench: Bench) -> None:
    await bench.put(cleanupAfterMinutes=10)
    await bench.build()
    bench.clock.advance(minutes=10)
    result = await bench.look()
    left = set(bench.shelf.files)
    again = await bench.look()

    status = await bench.status()
    assert (status.download_url, status.checksum_url, left) == ("", "", set())
    assert (await bench.ready())[:2] == ("True", "SeedImageBuildDeadline")
    assert (result.again_in, again.again_in, len(bench.shelf.started)) == (None, None, 1)


async def test_a_medium_of_zero_minutes_is_kept_for_ever(bench: Bench) -> None:
    await bench.put(cleanupAfterMinutes=0)
    await bench.build()
    bench.clock.advance(days=400)

    assert (await bench.look()).again_in is None
    assert (await bench.ready())[1] == "SeedImageBuildSuccess"


async def test_a_build_that_is_asked_for_again_takes_the_old_ones_place(bench: Bench) -> None:
    await bench.put(cleanupAfterMinutes=10)
    first = await bench.build()
    bench.clock.advance(minutes=10)
    await bench.look()
    await bench.change(retriggerBuild=True)
    meanwhile = (await bench.status()).download_url
    second = await bench.build()

    assert (await bench.document())["spec"].get("retriggerBuild", False) is False
    assert meanwhile == ""
    assert second
    assert second != first
    assert bench.shelf.files == {bench.shelf.started[1].name}


@pytest.mark.parametrize("what", ["spec", "registration", "CA"])
async def test_a_change_of_what_goes_onto_it_builds_another(bench: Bench, what: str) -> None:
    await bench.put()
    first = await bench.build()
    match what:
        case "spec":
            await bench.change(baseImage="edge/iso:2")
        case "registration":
            await bench.register("https://box.lan/elemental/registration/another")
        case "CA":
            bench.shelf.ca = "a renewed CA"
    second = await bench.build()

    assert second
    assert second != first
    assert len(bench.shelf.files) == 1


async def test_a_registration_wakes_the_media_that_carry_it(bench: Bench) -> None:
    await bench.put()
    document = await bench.store.get(MACHINE_REGISTRATION, "plant", namespace=NAMESPACE)

    assert list(bench.controller.watches[0].keys(document)) == [KEY]
    assert list(bench.controller.watches[0].keys(registration("another"))) == []


async def test_without_a_registration_nothing_is_built_and_that_is_said(bench: Bench) -> None:
    await bench.put(registrationRef={"name": "another"})

    ready = find_condition((await bench.status()).conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "RegistrationNotFound")
    assert ready.message == "MachineRegistration another does not exist"
    assert ((await bench.status()).state, bench.shelf.started) == ("NotStarted", [])


async def test_what_cannot_be_built_is_said_and_an_edit_mends_it(bench: Bench) -> None:
    await bench.put(type="raw")
    refused = (await bench.ready(), (await bench.status()).state)
    await bench.change(type="iso")

    assert refused[0] == (
        "False",
        "SeedImageBuildFailure",
        "spec.type: raw images are not built here; use iso",
    )
    assert refused[1] == "Failed"
    assert await bench.build()


async def test_a_failed_build_says_why_and_is_tried_again_after_a_while(bench: Bench) -> None:
    await bench.put()
    bench.shelf.fail("the mirror does not hold edge/iso:1")
    result = await bench.look()
    failed = (await bench.ready(), (await bench.status()).state)
    bench.clock.advance(minutes=5)
    bench.shelf.failed.clear()
    await bench.look()

    assert failed == (("False", "SeedImageBuildFailure", "the mirror does not hold edge/iso:1"), "Failed")
    assert result.again_in == 300
    assert len(bench.shelf.started) == 2
    events = {each["reason"]: each["type"] for each in (await bench.store.list(EVENT)).items}
    assert events["SeedImageBuildFailure"] == "Warning"


async def test_a_file_that_was_lost_is_built_again(bench: Bench) -> None:
    await bench.put()
    await bench.build()
    bench.shelf.files.clear()
    await bench.look()

    assert (await bench.ready())[1] == "SeedImageBuildOngoing"
    assert (await bench.status()).download_url == ""


async def test_the_files_go_with_the_image(bench: Bench) -> None:
    await bench.put()
    await bench.build()
    await bench.store.delete(SEED_IMAGE, KEY.name, namespace=NAMESPACE)
    held = await bench.document()
    await bench.look()

    assert held["metadata"]["deletionTimestamp"]
    assert bench.shelf.files == set()
    with pytest.raises(NotFound):
        await bench.document()


@pytest.mark.parametrize("writes", range(12))
async def test_an_appliance_that_dies_before_any_write_ends_with_one_medium(
    tmp_path: Path, writes: int
) -> None:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        bench = Bench(store)
        await bench.register()
        metadata = {"name": KEY.name, "namespace": NAMESPACE}
        spec = {"type": "iso", "baseImage": "edge/iso:1", "registrationRef": {"name": "plant"}}
        await store.create(SEED_IMAGE, {"metadata": metadata, "spec": {**spec, "retriggerBuild": True}})
        dying = bench.start(DyingStore(store, writes=writes))
        try:
            for _ in range(3):
                await dying.reconcile(KEY)
                bench.shelf.finish()
        except PowerCut:
            pass
        for _ in range(4):
            await bench.look()
            bench.shelf.finish()

        status = await bench.status()
        assert (await bench.ready())[1] == "SeedImageBuildSuccess"
        assert {status.download_url.rpartition("/")[2]} == bench.shelf.files
