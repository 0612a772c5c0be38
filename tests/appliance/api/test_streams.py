"""Merging many sources into one stream: all of it, in each source's order, and no task left behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from appliance.api import streams
from appliance.api.contract import WatchEvent
from appliance.api.streams import MAX_BUFFERED, merge, with_heartbeat


async def numbers(start: int, count: int) -> AsyncIterator[int]:
    for number in range(start, start + count):
        yield number
        await asyncio.sleep(0)


async def forever(closed: list[str]) -> AsyncIterator[int]:
    try:
        while True:
            yield 0
            await asyncio.sleep(0)
    finally:
        closed.append("closed")


async def failing() -> AsyncIterator[int]:
    yield 1
    raise LookupError("the source broke")


async def test_everything_comes_and_each_source_keeps_its_order() -> None:
    count = 3 * MAX_BUFFERED

    merged = [number async for number in merge([numbers(0, count), numbers(10_000, count), numbers(0, 0)])]

    assert [number for number in merged if number < 10_000] == list(range(count))
    assert [number for number in merged if number >= 10_000] == list(range(10_000, 10_000 + count))


async def test_a_source_that_fails_ends_the_whole_with_its_error() -> None:
    closed: list[str] = []

    with pytest.raises(LookupError, match="broke"):
        async for _ in merge([forever(closed), failing()]):
            pass

    assert closed == ["closed"]


async def test_leaving_early_closes_every_source_and_leaves_no_task() -> None:
    closed: list[str] = []
    before = asyncio.all_tasks()
    merged = merge([forever(closed), forever(closed)])

    assert await anext(merged) == 0
    await merged.aclose()

    assert closed == ["closed", "closed"]
    assert asyncio.all_tasks() == before


async def test_a_reader_that_is_slow_holds_its_source_back() -> None:
    sent = 0

    async def source() -> AsyncIterator[int]:
        nonlocal sent
        while True:
            sent += 1
            yield sent

    merged = merge([source()])
    await anext(merged)
    for _ in range(10):
        await asyncio.sleep(0)

    assert sent <= MAX_BUFFERED + 3
    await merged.aclose()


async def test_a_quiet_source_is_interspersed_with_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.01)
    go_on = asyncio.Event()

    async def quiet() -> AsyncIterator[WatchEvent]:
        await go_on.wait()
        yield WatchEvent(type="SYNCED", kind="hosts")

    types = []
    async for item in with_heartbeat(quiet(), streams.BOOKMARK):
        assert isinstance(item, WatchEvent)
        types.append(item.type)
        if len(types) == 3:
            go_on.set()

    assert types[:3] == ["BOOKMARK"] * 3
    assert types[-1] == "SYNCED"
