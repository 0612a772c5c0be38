"""The mirror's care as jobs of the appliance: what the store names stays, and damage is a failure."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from appliance.api.contract import DEFAULT_NAMESPACE
from appliance.jobs.load_bundle import render_record
from appliance.jobs.mirror_care import (
    CollectMirror,
    MirrorDamaged,
    VerifyMirror,
    collect_mirror_kind,
    digests_in,
    find_held_digests,
    verify_mirror_kind,
)
from appliance.jobs.os_versions import render_version
from appliance.jobs.workshop import Workshop
from appliance.resources.core import CONFIG_MAP
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.store.sqlite import SqliteStore
from bundles.load import LoadedBundle, LoadedImage
from bundles.progress import Cancelled, ProgressEvent
from mirror.care import read_care
from mirror.errors import RequestInvalid
from mirror.oci import Digest, digest_of
from mirror.registry import Registry
from tests.mirror.pushing import push_image

T = TypeVar("T")


class Surroundings:
    """An `OperationContext` on a loop that runs while the job is in its thread."""

    def __init__(self, *, is_cancelled: bool = False) -> None:
        self.events: list[ProgressEvent] = []
        self._is_cancelled = is_cancelled
        self._loop = asyncio.get_running_loop()

    def progress(self, event: ProgressEvent, /) -> None:
        if self._is_cancelled:
            raise Cancelled("told to end")
        self.events.append(event)

    def on_loop(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    registry = Registry(tmp_path / "mirror")
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        yield Workshop(store, registry, "box:5000", tmp_path / "trust", "")
    registry.close()


async def name_it(workshop: Workshop, digest: Digest) -> None:
    document = render_version(
        reference="os:v1", digest=digest, version="v1", display_name="", bundle="spring", mirror="box:5000"
    )
    await workshop.store.create(MANAGED_OS_VERSION, document)


def age(registry: Registry) -> None:
    for file in list(registry.blobs.files()):
        os.utime(registry.blobs.path(file.digest), (0, 0))


async def test_what_a_version_names_stays_without_a_tag(workshop: Workshop) -> None:
    held = push_image(workshop.registry, "os", b"held")
    push_image(workshop.registry, "os", b"loose")
    await name_it(workshop, held)
    age(workshop.registry)

    result = await asyncio.to_thread(collect_mirror_kind(workshop).work, CollectMirror(), Surroundings())

    assert workshop.registry.has_manifest("os", held)
    assert not workshop.registry.has_blob(digest_of(b"loose"))
    assert result["blobs"] == 2
    assert result["reasons"]["untagged"]["blobs"] == 1


async def test_what_a_bundle_brought_stays_when_a_newer_one_takes_its_tag(workshop: Workshop) -> None:
    old = push_image(workshop.registry, "os", b"old", "stable")
    image = LoadedImage("os:stable", old, "v1", "", kind="image", size=1, was_present=False)
    record = LoadedBundle("spring", "", 1, "me", [image], 1, 0, 1)
    await workshop.store.create(CONFIG_MAP, render_record(record, now=datetime.now(UTC)))
    push_image(workshop.registry, "os", b"new", "stable")
    age(workshop.registry)

    await asyncio.to_thread(collect_mirror_kind(workshop).work, CollectMirror(), Surroundings())
    assert workshop.registry.has_manifest("os", old)

    await workshop.store.delete(CONFIG_MAP, "bundle-spring", namespace=DEFAULT_NAMESPACE)
    age(workshop.registry)
    await asyncio.to_thread(collect_mirror_kind(workshop).work, CollectMirror(), Surroundings())
    assert not workshop.registry.has_manifest("os", old)


async def test_how_it_ended_is_written_down_and_dry_runs_are_not(workshop: Workshop) -> None:
    root = workshop.registry.blobs.staging.parent
    push_image(workshop.registry, "os", b"layer", "v1")
    await asyncio.to_thread(collect_mirror_kind(workshop).work, CollectMirror(dry_run=True), Surroundings())
    assert read_care(root, "collection") is None

    with pytest.raises(RequestInvalid):
        await asyncio.to_thread(
            collect_mirror_kind(workshop).work, CollectMirror(grace_hours=-1), Surroundings()
        )
    collected = read_care(root, "collection")
    assert collected is not None
    assert not collected.is_sound

    workshop.registry.blobs.delete(digest_of(b"layer"))
    with pytest.raises(MirrorDamaged):
        await asyncio.to_thread(verify_mirror_kind(workshop).work, VerifyMirror(), Surroundings())
    verified = read_care(root, "verification")
    assert verified is not None
    assert (verified.is_sound, verified.findings > 0) == (False, True)


async def test_a_dry_run_only_tells(workshop: Workshop) -> None:
    push_image(workshop.registry, "os", b"loose")
    age(workshop.registry)

    result = await asyncio.to_thread(
        collect_mirror_kind(workshop).work, CollectMirror(dry_run=True), Surroundings()
    )

    assert (result["dryRun"], result["blobs"]) == (True, 3)
    assert len(list(workshop.registry.blobs.files())) == 3


async def test_a_grace_that_is_too_short_is_refused(workshop: Workshop) -> None:
    with pytest.raises(RequestInvalid, match="too short"):
        await asyncio.to_thread(
            collect_mirror_kind(workshop).work, CollectMirror(grace_hours=-1), Surroundings()
        )


async def test_verifying_tells_how_far_it_is(workshop: Workshop) -> None:
    push_image(workshop.registry, "os", b"layer", "v1")
    surroundings = Surroundings()

    result = await asyncio.to_thread(verify_mirror_kind(workshop).work, VerifyMirror(), surroundings)

    assert (result["blobs"], result["tags"]) == (3, 1)
    assert surroundings.events[-1].done == surroundings.events[-1].total == result["bytes"]


async def test_damage_fails_and_is_named(workshop: Workshop) -> None:
    push_image(workshop.registry, "os", b"layer", "v1")
    workshop.registry.blobs.delete(digest_of(b"layer"))

    with pytest.raises(MirrorDamaged, match=f"missing: os {digest_of(b'layer')}"):
        await asyncio.to_thread(verify_mirror_kind(workshop).work, VerifyMirror(), Surroundings())


async def test_both_end_when_they_are_told_to(workshop: Workshop) -> None:
    push_image(workshop.registry, "os", b"layer", "v1")

    with pytest.raises(Cancelled):
        await asyncio.to_thread(
            collect_mirror_kind(workshop).work, CollectMirror(), Surroundings(is_cancelled=True)
        )
    with pytest.raises(Cancelled):
        await asyncio.to_thread(
            verify_mirror_kind(workshop).work, VerifyMirror(), Surroundings(is_cancelled=True)
        )


async def test_digests_are_found_wherever_they_are_written(workshop: Workshop) -> None:
    long = "sha512:" + "a" * 128
    assert digests_in([{"spec": {"a": f"box/os@{digest_of(b'1')}", "b": [long, "sha256:short"]}}]) == {
        digest_of(b"1"),
        long,
    }
    assert await find_held_digests(workshop.store) == frozenset()
