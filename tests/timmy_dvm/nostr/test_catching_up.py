"""A relay has caught us up when all it had is read, and not before: not when it is gone, nor when it is silent."""

import asyncio

from relay_client.filter import Filter
from relay_client.hearing import Stored
from tests.timmy_dvm.nostr.kit import ALICE, NOW, P_TIMMY, RELAY, signed
from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr.catching_up import CatchingUp

SINCE = NOW - 1_000
JOBS, DELETIONS, OTHERS = (Filter(kinds=frozenset({kind})) for kind in (5050, 5, 7))
AT_ONCE = 3


def events(kind, count):
    return [signed(P_TIMMY, ("n", str(n)), kind=kind, at=NOW - 10 * n, keys=ALICE) for n in range(1, count + 1)]


class Relay:
    """Has events, of which it gives for each filter the newest few."""

    def __init__(self, *stored):
        self.events = sorted((event for some in stored for event in some), key=lambda event: -event.created_at)
        self.is_there = True
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = []

    def _given(self, filter_):
        return [event for event in self.events if filter_.matches(event)][:AT_ONCE]

    def stored(self, sub_id, url):
        assert (sub_id, url) == ("jobs", RELAY)
        told = [self._given(filter_) for filter_ in (JOBS, DELETIONS, OTHERS)]
        return (
            tuple(Stored(len(some), some[-1].created_at if some else 0) for some in told)
            if self.is_there
            else None
        )

    async def query(self, filters, *, urls, timeout_s):
        assert urls == [RELAY]
        assert timeout_s > 0
        self.asked.append(filters[0])
        await self.answers.wait()
        return self._given(filters[0]) if self.is_there else []


class Reader:
    """Reads, and writes down what it was given and who has caught up."""

    def __init__(self, relay, clock=None):
        self.taken, self.done = set(), []
        self.catching_up = CatchingUp(
            relay, clock or ManualClock(NOW), "jobs", [JOBS, DELETIONS], take=self._take, done=self.done.append
        )

    async def _take(self, url, page):
        assert url == RELAY
        self.taken |= {event.id for event in page}


async def read(relay, clock=None):
    """Connect, hear that the relay has told its newest, and read until nothing is left to read."""
    reader = Reader(relay, clock)
    reader.catching_up.begin(RELAY, SINCE)
    async with asyncio.TaskGroup() as group:
        reader.catching_up.told(RELAY, group)
    return reader


async def test_a_relay_that_had_nothing_is_asked_nothing():
    relay = Relay()
    assert (await read(relay)).done == [RELAY]
    assert relay.asked == []


async def test_all_of_what_is_read_back_is_read_and_then_it_has_caught_up():
    jobs, deletions, others = events(5050, 20), events(5, 10), events(7, 10)
    relay = Relay(jobs, deletions, others)
    reader = await read(relay)
    oldest_told = {event.id for event in (*jobs[:2], *deletions[:2])}
    assert reader.taken == {event.id for event in (*jobs, *deletions)} - oldest_told
    assert reader.done == [RELAY]
    assert not any(7 in asked.kinds for asked in relay.asked)


async def test_what_others_left_no_room_for_is_asked_for():
    """A relay may bound what it tells for all filters together."""
    jobs = events(5050, 5)

    class Narrow(Relay):
        def stored(self, sub_id, url):
            return (Stored(), Stored(), Stored(AT_ONCE, NOW))

    assert (await read(Narrow(jobs))).taken == {event.id for event in jobs}


async def test_what_is_older_than_the_connection_asked_for_is_left():
    relay = Relay([signed(P_TIMMY, ("n", str(n)), at=SINCE - 5 + n, keys=ALICE) for n in range(10)])
    reader = await read(relay)
    assert {event.created_at for event in relay.events if event.id in reader.taken} <= set(range(SINCE, NOW))
    assert all(asked.since == SINCE for asked in relay.asked)


async def test_a_relay_that_is_gone_again_has_not_caught_up():
    relay = Relay(events(5050, 5))
    relay.is_there = False
    assert (await read(relay)).done == []


async def test_a_relay_that_does_not_tell_the_rest_has_not_caught_up(caplog):
    class Forgetful(Relay):
        async def query(self, filters, *, urls, timeout_s):
            return []

    class Napping(ManualClock):
        async def sleep(self, seconds):
            del seconds

    reader = await read(Forgetful(events(5050, 5)), Napping(NOW))
    assert reader.done == []
    (told,) = [record for record in caplog.records if record.action == "backlog_unread"]
    assert RELAY in told.getMessage() + str(told.fields)


async def test_a_new_connection_begins_anew_and_a_stop_ends_it():
    relay = Relay(events(5050, 5))
    relay.answers.clear()
    reader = Reader(relay)
    reader.catching_up.begin(RELAY, SINCE)
    async with asyncio.TaskGroup() as group:
        reader.catching_up.told(RELAY, group)
        await asyncio.sleep(0)
        reader.catching_up.begin(RELAY, SINCE)
        reader.catching_up.told(RELAY, group)
        await asyncio.sleep(0)
        relay.answers.set()
    assert reader.done == [RELAY]
    relay.answers.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        reader.catching_up.told(RELAY, group)
        await asyncio.sleep(0)
        reader.catching_up.stop()
    assert reader.done == [RELAY]


async def test_a_relay_that_has_told_its_newest_after_the_stop_begins_nothing():
    """Somebody else reads the stream, and may end later than we."""
    relay = Relay(events(5050, 5))
    reader = Reader(relay)
    async with asyncio.TaskGroup() as group:
        reader.catching_up.begin(RELAY, SINCE)
        reader.catching_up.stop()
        reader.catching_up.told(RELAY, group)
    reader.catching_up.told(RELAY, group)
    assert (relay.asked, reader.done) == ([], [])
