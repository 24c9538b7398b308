"""Time and randomness: the real ones keep their promises, the manual ones are repeatable to the byte."""

import asyncio
import re

import pytest

from timmy_dvm.clock import ManualClock, SeededRandomness, SystemClock, SystemRandomness, doze

pytestmark = pytest.mark.usefixtures("bounded")


@pytest.fixture
async def bounded():
    async with asyncio.timeout(10):
        yield


async def test_sleepers_wake_in_the_order_of_their_moments_and_see_exactly_those():
    clock = ManualClock(start=1_000)
    seen = []

    async def sleeper(name, seconds):
        await clock.sleep(seconds)
        seen.append((name, clock.now(), clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        for name, seconds in [("c", 30), ("a", 10), ("b", 20), ("a2", 10)]:
            group.create_task(sleeper(name, seconds))
        await clock.wait_for_sleepers(4)
        await clock.advance(60)
    assert seen == [("a", 1_010, 10), ("a2", 1_010, 10), ("b", 1_020, 20), ("c", 1_030, 30)]
    assert clock.now() == 1_060


async def test_a_task_that_sleeps_again_within_one_step_is_woken_again():
    clock = ManualClock(start=0)
    ticks = []

    async def ticker():
        for _ in range(3):
            await clock.sleep(5)
            ticks.append(clock.now())

    async with asyncio.TaskGroup() as group:
        group.create_task(ticker())
        await clock.wait_for_sleepers(1)
        await clock.advance(15)
    assert ticks == [5, 10, 15]


async def test_nobody_wakes_a_moment_too_early():
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(10))
    await clock.wait_for_sleepers(1)
    await clock.advance(9.999)
    assert not task.done()
    await clock.advance(0.001)
    assert task.done()


async def test_a_cancelled_sleeper_leaves_nothing_behind():
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(10))
    await clock.wait_for_sleepers(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.sleepers == 0
    await clock.advance(20)


async def test_sleeping_for_nothing_only_lets_others_run():
    clock = ManualClock()
    await clock.sleep(0)
    await clock.sleep(-1)
    assert clock.sleepers == 0


async def test_setting_the_wall_clock_moves_no_duration():
    clock = ManualClock(start=1_000)
    await clock.advance(5)
    clock.set_wall_clock(10)
    assert (clock.now(), clock.monotonic()) == (10, 5)
    await clock.advance(1)
    assert (clock.now(), clock.monotonic()) == (11, 6)


async def test_the_system_clock_goes_forward_and_sleeps():
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() > before
    assert clock.now() > 1_700_000_000


@pytest.mark.parametrize("randomness", [SystemRandomness(), SeededRandomness(1)])
def test_ids_are_128_bits_of_hex_and_never_twice(randomness):
    ids = {randomness.new_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert len(randomness.token(7)) == 7
    assert all(0 <= randomness.uniform() < 1 for _ in range(1_000))


def test_the_same_seed_gives_the_same_bytes_on_every_machine():
    randomness = SeededRandomness(42)
    assert randomness.token(4).hex() == "dbff23da"
    assert randomness.new_id() == "33f3d9c17358562508fd19d22b7d754c"
    assert randomness.uniform() == 0.10503926776114358
    assert SeededRandomness(43).token(4) != SeededRandomness(42).token(4)


async def test_a_doze_ends_with_the_time_or_with_the_event_and_leaves_nothing_behind():
    clock, awake = ManualClock(), asyncio.Event()
    first = asyncio.create_task(doze(clock, 60, awake))
    await clock.wait_for_sleepers(1)
    awake.set()
    await asyncio.wait_for(first, 5)
    assert clock.sleepers == 0
    awake.clear()
    second = asyncio.create_task(doze(clock, 60, awake))
    await clock.wait_for_sleepers(1)
    await clock.advance(60)
    await asyncio.wait_for(second, 5)
