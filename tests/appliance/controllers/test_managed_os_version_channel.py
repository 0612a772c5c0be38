"""Channels over the real store: what they write, what they retire, when they try again, and power cuts."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from appliance.controllers.managed_os_version import ManagedOSVersionController
from appliance.controllers.managed_os_version_channel import (
    ManagedOSVersionChannelController,
    retry_after,
)
from appliance.controllers.manager import Result, identify
from appliance.controllers.queue import Key
from appliance.controllers.settings import ListUnreadable
from appliance.controllers.version_list import ListAddress
from appliance.resources.core import EVENT
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.managed_os_version_channel import (
    MANAGED_OS_VERSION_CHANNEL,
    ManagedOSVersionChannel,
    ManagedOSVersionChannelStatus,
)
from appliance.resources.meta import Document, decode, find_condition
from appliance.store.base import Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.dying import DyingStore, PowerCut
from tests.appliance.controllers.factories import NAMESPACE, Clock, settings

KEY = Key(NAMESPACE, "edge")
LABEL = "elemental.cattle.io/channel"
GONE = "elemental.cattle.io/channel-no-longer-in-sync"


class Site:
    """A list somewhere, that can change and can be out of order."""

    def __init__(self) -> None:
        self.names = ["v1", "v2"]
        self.reads = 0
        self.fault = ""
        self.min_version: object = ""  # of the first

    def read(self, address: ListAddress) -> bytes:
        self.reads += 1
        if self.fault:
            raise ListUnreadable(self.fault)
        image = {"upgradeImage": "demo:v2", "displayName": "Demo"}
        entries: list[Document] = [
            {"metadata": {"name": name}, "spec": {"type": "container", "version": name, "metadata": image}}
            for name in self.names
        ]
        for entry in entries[:1]:
            entry["spec"]["minVersion"] = self.min_version
        return msgspec.json.encode(entries)


class Bench:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.site = Site()
        self.controller = self.start(store)

    def start(self, store: Store) -> ManagedOSVersionChannelController:
        """The controller of an appliance that has just started."""
        given = replace(settings(self.clock), read_list=self.site.read)
        return ManagedOSVersionChannelController(store, given)

    async def put(self, **spec: object) -> Result:
        body = {"type": "json", "syncInterval": "10m", "options": {"uri": "http://box/list"}, **spec}
        await self.store.create(
            MANAGED_OS_VERSION_CHANNEL,
            {"metadata": {"name": KEY.name, "namespace": NAMESPACE}, "spec": body},
        )
        return await self.controller.reconcile(KEY)

    async def change(self, **spec: object) -> Result:
        await self.store.patch(
            MANAGED_OS_VERSION_CHANNEL, KEY.name, merge({"spec": spec}), namespace=NAMESPACE
        )
        return await self.controller.reconcile(KEY)

    async def status(self) -> ManagedOSVersionChannelStatus:
        document = await self.store.get(MANAGED_OS_VERSION_CHANNEL, KEY.name, namespace=NAMESPACE)
        return decode(ManagedOSVersionChannel, document).status

    async def ready(self) -> tuple[str, str, str]:
        found = find_condition((await self.status()).conditions, "Ready")
        assert found is not None
        return found.status, found.reason, found.message

    async def versions(self) -> dict[str, Document]:
        return {each["metadata"]["name"]: each for each in (await self.store.list(MANAGED_OS_VERSION)).items}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        yield Bench(store)


async def test_a_channel_makes_the_versions_that_its_list_names(bench: Bench) -> None:
    result = await bench.put()

    versions, status = await bench.versions(), await bench.status()
    assert list(versions) == ["v1", "v2"]
    assert versions["v1"]["spec"]["metadata"]["upgradeImage"] == "demo:v2"
    assert versions["v1"]["metadata"]["labels"] == {LABEL: "edge"}
    assert versions["v1"]["metadata"]["ownerReferences"][0]["name"] == "edge"
    assert await bench.ready() == ("True", "Synchronized", "2 versions")
    assert (status.synced_generation, status.failed_synchronization_attempts) == (1, 0)
    assert result.again_in == 600


async def test_a_version_that_the_store_refuses_is_named_and_does_not_cost_the_others(bench: Bench) -> None:
    bench.site.min_version = 5
    result = await bench.put()

    status, reason, message = await bench.ready()
    assert (status, reason) == ("False", "FailedToSync")
    assert "ManagedOSVersion v1" in message
    assert "minVersion" in message
    assert list(await bench.versions()) == ["v2"]
    assert result.again_in


async def test_a_second_look_reads_nothing_before_the_interval_is_over(bench: Bench) -> None:
    await bench.put()
    bench.clock.advance(minutes=4)
    early = await bench.controller.reconcile(KEY)
    restarted = await bench.start(bench.store).reconcile(KEY)
    reads = bench.site.reads
    bench.clock.advance(minutes=6)
    await bench.controller.reconcile(KEY)

    assert (early.again_in, restarted.again_in) == (360, 360)
    assert (reads, bench.site.reads) == (1, 2)


async def test_an_edit_synchronises_at_once(bench: Bench) -> None:
    await bench.put()
    await bench.change(registry="box:5000")

    assert (await bench.versions())["v1"]["spec"]["metadata"]["upgradeImage"] == "box:5000/demo:v2"
    assert (await bench.status()).synced_generation == 2


async def test_what_a_person_added_to_a_version_stays_and_what_they_changed_goes_back(bench: Bench) -> None:
    await bench.put()
    edit = {
        "metadata": {"labels": {"mine": "yes"}},
        "spec": {"version": "mine", "minVersion": "v0", "metadata": {"note": "mine"}},
    }
    await bench.store.patch(MANAGED_OS_VERSION, "v1", merge(edit), namespace=NAMESPACE)
    bench.clock.advance(minutes=10)
    await bench.controller.reconcile(KEY)

    version = (await bench.versions())["v1"]
    assert version["metadata"]["labels"] == {LABEL: "edge", "mine": "yes"}
    assert version["spec"]["version"] == "v1"
    assert "note" not in version["spec"]["metadata"]
    assert not version["spec"].get("minVersion")


@pytest.mark.parametrize(
    ("label", "whose"), [("other", "of channel other"), ("", "not of a channel")], ids=["channel", "person"]
)
async def test_a_version_of_somebody_else_is_left_alone_and_named(
    bench: Bench, label: str, whose: str
) -> None:
    labels = {LABEL: label} if label else {}
    await bench.store.create(
        MANAGED_OS_VERSION,
        {"metadata": {"name": "v1", "namespace": NAMESPACE, "labels": labels}, "spec": {"version": "x"}},
    )
    await bench.put()

    versions = await bench.versions()
    assert versions["v1"]["spec"]["version"] == "x"
    assert "v2" in versions
    assert await bench.ready() == (
        "False",
        "FailedToSync",
        f"ManagedOSVersion v1 is {whose} and is left alone",
    )


async def test_what_is_no_longer_listed_is_marked_and_comes_back_unmarked(bench: Bench) -> None:
    await bench.put()
    bench.site.names = ["v1"]
    bench.clock.advance(minutes=10)
    await bench.controller.reconcile(KEY)
    marked = (await bench.versions())["v2"]["metadata"]["annotations"].get(GONE)
    bench.site.names = ["v1", "v2"]
    bench.clock.advance(minutes=10)
    await bench.controller.reconcile(KEY)

    assert marked == "true"
    assert GONE not in (await bench.versions())["v2"]["metadata"]["annotations"]


async def test_what_is_no_longer_listed_is_deleted_unless_it_is_used(bench: Bench) -> None:
    await bench.put(deleteNoLongerInSyncVersions=True)
    keeper = ManagedOSVersionController(bench.store, settings(bench.clock))
    for version in (await bench.versions()).values():
        await keeper.reconcile(identify(version))
    image = {"metadata": {"name": "line", "namespace": NAMESPACE}, "spec": {"managedOSVersionName": "v2"}}
    await bench.store.create(MANAGED_OS_IMAGE, image)
    bench.site.names = []
    bench.clock.advance(minutes=10)
    await bench.controller.reconcile(KEY)
    for version in (await bench.versions()).values():
        await keeper.reconcile(identify(version))

    versions = await bench.versions()
    assert list(versions) == ["v2"]
    assert "deletionTimestamp" not in versions["v2"]["metadata"]
    assert versions["v2"]["metadata"]["annotations"][GONE] == "true"


async def test_a_channel_that_is_switched_off_reads_nothing_and_marks_its_versions(bench: Bench) -> None:
    await bench.put()
    await bench.change(enabled=False)

    assert bench.site.reads == 1
    assert (await bench.ready())[:2] == ("True", "ChannelDisabled")
    assert all(each["metadata"]["annotations"][GONE] == "true" for each in (await bench.versions()).values())


async def test_a_channel_that_makes_no_sense_says_where_and_is_not_tried_again(bench: Bench) -> None:
    result = await bench.put(type="pod")
    invalid = await bench.ready()
    await bench.change(type="json")

    assert invalid == ("False", "InvalidConfiguration", "spec.type: 'pod' is neither json nor custom")
    assert result.again_in is None
    assert (await bench.ready())[1] == "Synchronized"


async def test_a_failing_channel_says_why_and_backs_off_to_its_interval(bench: Bench) -> None:
    bench.site.fault = "http://box/list answered 404 Not Found"
    waits = [(await bench.put()).again_in]
    early = await bench.controller.reconcile(KEY)
    for _ in range(4):
        bench.clock.advance(seconds=waits[-1] or 0)
        waits.append((await bench.controller.reconcile(KEY)).again_in)
    failing, attempts = await bench.ready(), (await bench.status()).failed_synchronization_attempts
    bench.site.fault = ""
    bench.clock.advance(minutes=10)
    await bench.controller.reconcile(KEY)

    assert waits == [4, 8, 16, 32, 600]
    assert early.again_in == 4
    assert failing == ("False", "FailedToSync", "http://box/list answered 404 Not Found")
    assert (attempts, (await bench.status()).failed_synchronization_attempts) == (5, 0)
    assert (await bench.ready())[1] == "Synchronized"


async def test_a_failure_and_a_success_are_told_as_events(bench: Bench) -> None:
    bench.site.fault = "no route to host"
    await bench.put()
    bench.site.fault = ""
    await bench.change(registry="box")

    events = {each["reason"]: each for each in (await bench.store.list(EVENT)).items}
    assert (events["FailedToSync"]["type"], events["FailedToSync"]["message"]) == (
        "Warning",
        "no route to host",
    )
    assert events["Synchronized"]["type"] == "Normal"


def test_the_wait_between_failures_doubles_and_has_an_end() -> None:
    long = timedelta(days=1)
    waits = [retry_after(attempts, long).total_seconds() for attempts in range(6)]

    assert waits == [4, 4, 8, 16, 32, long.total_seconds()]


@pytest.mark.parametrize("writes", range(12))
async def test_a_channel_that_dies_before_any_write_ends_like_one_that_did_not(
    tmp_path: Path, writes: int
) -> None:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        bench = Bench(store)
        await bench.put()
        bench.site.names = ["v2", "v3"]
        await store.patch(
            MANAGED_OS_VERSION_CHANNEL,
            KEY.name,
            merge({"spec": {"deleteNoLongerInSyncVersions": True}}),
            namespace=NAMESPACE,
        )
        try:
            await bench.start(DyingStore(store, writes=writes)).reconcile(KEY)
        except PowerCut:
            await bench.start(store).reconcile(KEY)

        assert list(await bench.versions()) == ["v2", "v3"]
        assert await bench.ready() == ("True", "Synchronized", "2 versions")
