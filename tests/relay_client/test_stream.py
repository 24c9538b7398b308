"""A bounded stream that can end, and a memory that forgets."""

import asyncio

import pytest

from relay_client.stream import RecentIds, Stream
from tests.faults import until


async def test_items_come_out_in_order():
    stream = Stream(3)
    for item in (1, 2, 3):
        await stream.put(item)
    assert [await stream.get() for _ in range(3)] == [1, 2, 3]


async def test_a_full_stream_makes_the_writer_wait_and_loses_nothing():
    stream = Stream(2)
    written = []

    async def write():
        for item in range(10):
            await stream.put(item)
            written.append(item)

    writer = asyncio.create_task(write())
    await until(lambda: len(written) == 2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert written == [0, 1]
    assert [await stream.get() for _ in range(10)] == list(range(10))
    await writer


async def test_two_writers_never_overfill_it():
    stream = Stream(1)
    writers = [asyncio.create_task(stream.put(n)) for n in range(5)]
    taken = set()
    for _ in range(5):
        taken.add(await stream.get())
        assert len(stream) <= 1
    assert taken == set(range(5))
    await asyncio.gather(*writers)


async def test_what_is_in_it_at_the_end_is_still_read():
    stream = Stream(2)
    await stream.put("last")
    stream.end()
    assert await stream.get() == "last"
    assert await stream.get() is None
    await stream.put("too late")
    assert await stream.get() is None


async def test_the_end_wakes_those_who_wait():
    stream = Stream(1)
    reader = asyncio.create_task(stream.get())
    await asyncio.sleep(0)
    stream.end()
    assert await reader is None
    full = Stream(1)
    await full.put(1)
    writer = asyncio.create_task(full.put(2))
    await asyncio.sleep(0)
    full.end()
    await writer


async def test_a_cancelled_reader_takes_nothing_with_it():
    stream = Stream(1)
    reader = asyncio.create_task(stream.get())
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await stream.put(1)
    assert await stream.get() == 1


def test_the_id_not_met_for_longest_is_forgotten_first():
    recent = RecentIds(2)
    recent.remember("a")
    recent.remember("b")
    assert recent.has_met("a")
    recent.remember("c")
    assert len(recent) == 2
    assert [recent.has_met(id_) for id_ in "abc"] == [True, False, True]
