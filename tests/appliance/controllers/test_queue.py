"""The keyed queue: each key once, never in two hands, nothing lost."""

import asyncio

import pytest

from appliance.controllers.queue import Key, KeyedQueue

ONE, TWO = Key("ns", "one"), Key("ns", "two")


async def test_keys_come_in_order_and_each_once() -> None:
    queue = KeyedQueue()
    for key in (ONE, TWO, ONE):
        queue.add(key)

    assert [await queue.get(), await queue.get()] == [ONE, TWO]
    queue.done(ONE)
    queue.done(TWO)
    assert queue.is_idle


async def test_a_key_in_hand_comes_back_after_it_is_done_and_not_before() -> None:
    queue = KeyedQueue()
    queue.add(ONE)
    await queue.get()
    queue.add(ONE)
    queue.add(TWO)

    assert await queue.get() == TWO
    queue.done(ONE)
    assert await queue.get() == ONE


async def test_a_getter_waits_for_a_key() -> None:
    queue = KeyedQueue()
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not getting.done()
    queue.add(ONE)

    assert await getting == ONE


async def test_the_earliest_of_several_wishes_counts() -> None:
    queue = KeyedQueue()
    queue.add_after(ONE, 3600)
    queue.add_after(ONE, 0.001)
    queue.add_after(ONE, 1800)

    assert await queue.get() == ONE
    queue.close()


async def test_no_delay_is_now() -> None:
    queue = KeyedQueue()
    queue.add_after(ONE, 0)

    assert not queue.is_idle


@pytest.mark.parametrize(("key", "text"), [(ONE, "ns/one"), (Key("", "global"), "global")])
async def test_a_key_is_written_as_people_write_it(key: Key, text: str) -> None:
    assert str(key) == text
