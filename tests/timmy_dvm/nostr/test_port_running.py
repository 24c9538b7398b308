"""The relay door over time: from when on relays are asked, what is remembered of it, start and stop."""

import asyncio

from ledger.store import StoreUnavailable
from tests.timmy_dvm.nostr.door import KEY, OTHER, TIMEOUT_S, Books, Door, job
from tests.timmy_dvm.nostr.kit import NOW, RELAY, TIMMY
from timmy_dvm.nostr.asked_for import wanted
from timmy_dvm.nostr.nip90 import OTHER_REQUESTS, Terms

# Subscriptions.


async def test_what_another_subscription_brings_is_laid_aside_and_makes_no_fact():
    aside = []
    async with Door(aside=aside.append) as door:
        door.pool.hear(job("for another part"), subscription="other")
        assert await door.marked() == []
    assert [(received.url, received.subscription) for received in aside] == [(RELAY, "other")]


# Cursors.


async def test_what_is_subscribed_to():
    async with Door(kinds=(5050, 5001, 5999)) as door:
        asked_for = [filter_.to_obj() for filter_ in door.pool.filters]
    assert asked_for == [
        {"kinds": [5001, 5050, 5999], "#p": [TIMMY.public_key]},
        {"kinds": sorted(OTHER_REQUESTS - {5001, 5050}), "#p": [TIMMY.public_key]},
        {"kinds": [5001, 5050, 5999]},
        {"kinds": [5], "#k": ["5001", "5050", "5999"]},
        {"kinds": [5], "#p": [TIMMY.public_key]},
        {"kinds": [5]},
    ]


async def test_without_open_jobs_only_those_that_name_us_are_asked_for():
    async with Door(open_jobs=False) as door:
        asked_for = [filter_.to_obj() for filter_ in door.pool.filters]
    assert {"kinds": [5050]} not in asked_for
    assert asked_for[0] == {"kinds": [5050], "#p": [TIMMY.public_key]}


def test_no_filter_names_more_kinds_than_relays_take():
    """An npm relay refuses the whole subscription for a filter of more than 20."""
    filters = wanted(Terms(kinds=frozenset(range(5500, 5550))), TIMMY.public_key)
    assert max(len(one.kinds) for one in filters) == 20
    assert set(range(5500, 5550)) <= set().union(*(one.kinds for one in filters if one.tags))


async def test_relays_are_asked_from_their_cursors_on():
    async with Door(books=Books({KEY: str(NOW - 5_000)})) as door:
        assert door.pool.sinces == {RELAY: NOW - 5_600, OTHER: NOW - 3_600}


async def test_a_customer_whose_clock_is_slow_is_heard_once_the_relay_has_caught_up_at_the_very_first_start():
    async with Door(books=Books()) as door:
        door.pool.hear(job("before we were ever here", at=NOW - 3_540))
        door.pool.catch_up()
        door.pool.hear(job("slow clock", at=NOW - 3_540))
        door.pool.hear(job("slower clock", at=NOW - 3_601))
        assert [fact.text for fact in await door.marked()] == ["slow clock"]


async def test_requests_that_came_while_we_were_away_are_taken_until_the_relay_has_caught_up():
    async with Door(books=Books({KEY: str(NOW - 50_000)})) as door:
        door.pool.hear(job("missed", at=NOW - 40_000))
        door.pool.hear(job("elsewhere", at=NOW - 40_000), url=OTHER)
        door.pool.catch_up()
        door.pool.hear(job("late", at=NOW - 39_000))
        assert [fact.text for fact in await door.marked()] == ["missed"]


async def test_the_cursor_moves_with_the_clock_and_is_saved():
    async with Door() as door:
        door.pool.catch_up()
        await door.marked()
        await door.clock.advance(30, rounds=50)
        assert door.books[KEY] == str(NOW + 30)
        door.pool.connected.clear()
        await door.clock.advance(300, rounds=50)
        assert door.books[KEY] == str(NOW + 30)


async def test_the_cursor_does_not_pass_an_event_that_waits_for_the_ledger():
    async with Door() as door:
        door.pool.catch_up()
        door.engine.plan = [StoreUnavailable("disk full")] * 100
        await door.clock.advance(29)
        door.pool.hear(job(at=NOW + 20))
        await door.waiting(2)
        await door.clock.advance(600, rounds=50)
        assert door.books[KEY] == str(NOW + 20)
        door.engine.plan.clear()
        await door.clock.advance(60, rounds=50)
        await door.engine.wait_for(1)
        await door.clock.advance(60, rounds=50)
        assert int(door.books[KEY]) >= NOW + 660


async def test_a_cursor_that_cannot_be_saved_ends_nothing():
    async with Door() as door:
        door.pool.catch_up()
        await door.marked()
        door.books.errors = [StoreUnavailable("disk full")]
        await door.clock.advance(30, rounds=50)
        assert door.books[KEY] == str(NOW)
        await door.clock.advance(30, rounds=50)
        assert door.books[KEY] == str(NOW + 60)


# Start and stop.


async def test_ready_is_when_a_relay_has_told_all_it_had():
    async with Door() as door:
        ready = asyncio.create_task(door.port.ready())
        await door.marked()
        assert not ready.done()
        door.pool.catch_up(OTHER)
        async with asyncio.timeout(TIMEOUT_S):
            await ready


async def test_a_relay_that_never_says_so_is_believed_after_a_while():
    async with Door() as door:
        door.pool.connected = {OTHER}
        await door.waiting(1)
        await door.clock.advance(30, rounds=50)
        async with asyncio.timeout(TIMEOUT_S):
            await door.port.ready()


async def test_stop_takes_no_more_and_lets_what_began_end():
    gate = asyncio.Event()
    async with Door() as door:
        door.pool.catch_up()
        door.engine.plan = [gate]
        door.pool.hear(job())
        await door.engine.wait_tried(1)
        async with asyncio.timeout(TIMEOUT_S):
            stopping = asyncio.create_task(door.port.stop())
            await asyncio.sleep(0)
            door.pool.hear(job("too late"))
            gate.set()
            await stopping
            await door.running
    assert [fact.text for fact in door.engine.facts] == ["Hi"]


async def test_stop_does_not_wait_for_a_ledger_that_is_away(monkeypatch):
    monkeypatch.setattr("timmy_dvm.nostr.port._LAST_MOMENTS_S", 0.01)
    async with Door() as door:
        door.pool.catch_up()
        door.engine.plan = [StoreUnavailable("disk full")] * 100
        await door.clock.advance(15)
        door.pool.hear(job(at=NOW + 10))
        await door.waiting(2)
        async with asyncio.timeout(TIMEOUT_S):
            await door.port.stop()
    assert door.books[KEY] == str(NOW + 10)


async def test_stop_before_the_start_and_the_end_of_the_pool_are_no_trouble():
    door = Door()
    async with asyncio.timeout(TIMEOUT_S):
        await door.port.stop()
        await door.port.run()
    async with Door() as other, asyncio.timeout(TIMEOUT_S):
        other.pool.end()
        await other.running
