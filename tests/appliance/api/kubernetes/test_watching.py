"""The watch stream: lines, bookmarks, ends."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.store.base import Limits, merge
from tests.appliance.api.kubernetes.serving import MACHINES, NAMESPACE, Face, machine, serve


async def next_line(response: aiohttp.ClientResponse) -> Document:
    async with asyncio.timeout(10):
        line = await response.content.readline()
    assert line.endswith(b"\n"), "the watch ended"
    document: Document = json.loads(line)
    return document


async def touch(face: Face, name: str, value: str) -> None:
    await face.store.patch(
        MACHINE_INVENTORY, name, merge({"spec": {"machineHash": value}}), namespace=NAMESPACE
    )


async def test_a_watch_follows_from_a_list_without_a_gap(face: Face) -> None:
    version = (await face.ask("GET", MACHINES))["metadata"]["resourceVersion"]
    await face.ask("POST", MACHINES, machine("press-1"), status=201)

    async with face.session.get(f"{MACHINES}?watch=true&resourceVersion={version}") as response:
        added = await next_line(response)
        await touch(face, "press-1", "1")
        modified = await next_line(response)
        await face.ask("DELETE", f"{MACHINES}/press-1")
        deleted = await next_line(response)

    assert [event["type"] for event in (added, modified, deleted)] == ["ADDED", "MODIFIED", "DELETED"]
    assert modified["object"]["spec"]["machineHash"] == "1"


@pytest.mark.parametrize("query", ["watch=1", "watch=1&resourceVersion=0"])
async def test_a_watch_from_nowhere_begins_with_what_exists(face: Face, query: str) -> None:
    await face.ask("POST", MACHINES, machine("press-1"), status=201)

    async with face.session.get(f"{MACHINES}?{query}") as response:
        assert (await next_line(response))["type"] == "ADDED"
        await touch(face, "press-1", "1")
        assert (await next_line(response))["type"] == "MODIFIED"


async def test_headers_come_before_the_first_event(face: Face) -> None:
    async with asyncio.timeout(10), face.session.get(f"{MACHINES}?watch=1&timeoutSeconds=60") as response:
        assert response.status == 200


async def test_one_object_is_watched_by_name_as_the_plan_agent_does(face: Face) -> None:
    async with face.session.get(f"{MACHINES}?watch=1&fieldSelector=metadata.name%3Dpress-2") as response:
        for name in ("press-1", "press-2"):
            await face.ask("POST", MACHINES, machine(name), status=201)
        assert (await next_line(response))["object"]["metadata"]["name"] == "press-2"


async def test_streaming_lists_end_their_beginning_with_a_bookmark(face: Face) -> None:
    await face.ask("POST", MACHINES, machine("press-1"), status=201)
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"

    async with face.session.get(f"{MACHINES}?{query}") as response:
        added, bookmark = await next_line(response), await next_line(response)

    assert [added["type"], bookmark["type"]] == ["ADDED", "BOOKMARK"]
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_may_leave_out_what_exists(face: Face) -> None:
    await face.ask("POST", MACHINES, machine("press-1"), status=201)

    async with face.session.get(
        f"{MACHINES}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    ) as response:
        await touch(face, "press-1", "1")
        assert (await next_line(response))["type"] == "MODIFIED"


async def test_rows_are_watched_as_rows(face: Face) -> None:
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    await face.ask("POST", MACHINES, machine("press-1"), status=201)

    async with face.session.get(f"{MACHINES}?watch=1", headers=accept) as response:
        event = await next_line(response)

    assert (event["object"]["kind"], event["object"]["rows"][0]["cells"][0]) == ("Table", "press-1")


async def test_a_version_that_is_no_longer_kept_is_an_error_event(face: Face) -> None:
    created = await face.ask("POST", MACHINES, machine("press-1"), status=201)
    for index in range(60):
        await touch(face, "press-1", str(index))

    version = created["metadata"]["resourceVersion"]
    async with face.session.get(f"{MACHINES}?watch=1&resourceVersion={version}") as response:
        event = await next_line(response)

    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_watch_ends_cleanly_when_its_time_is_up(face: Face) -> None:
    async with asyncio.timeout(10), face.session.get(f"{MACHINES}?watch=1&timeoutSeconds=1") as response:
        assert await response.read() == b""


async def test_a_server_that_stops_ends_its_watches(tmp_path: Path) -> None:
    async with asyncio.timeout(10):
        async with serve(tmp_path) as face:
            response = await face.session.get(f"{MACHINES}?watch=1")
            reading = asyncio.create_task(response.read())
        assert await reading == b""


async def test_a_watcher_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=Limits(history=5_000, watch_buffer=8)) as face:
        await face.ask("POST", MACHINES, machine("press-1"), status=201)
        async with (
            face.session.get(f"{MACHINES}?watch=1") as sleeping,
            face.session.get(f"{MACHINES}?watch=1") as awake,
        ):
            for response in (sleeping, awake):
                await next_line(response)
            big = "x" * 20_000  # together more than the sockets between us hold
            for index in range(200):
                await touch(face, "press-1", f"{index}{big}")
                assert (await next_line(awake))["object"]["spec"]["machineHash"] == f"{index}{big}"

            # Once it wakes up it reads everything, in order, from the history.
            seen = [(await next_line(sleeping))["object"]["spec"]["machineHash"] for _ in range(200)]
    assert seen == [f"{index}{big}" for index in range(200)]
