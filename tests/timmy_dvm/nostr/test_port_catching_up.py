"""The relay door and what a relay had kept back: read, given room, and dealt with before the cursor moves."""

import asyncio
import functools

from relay_client.hearing import Stored
from tests.timmy_dvm.nostr.door import KEY, Books, Door, job
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, P_TIMMY, RELAY, signed, stranger
from timmy_dvm.nostr.lobby import Lobby

AWAY_SINCE = NOW - 50_000


class Shelf:
    """A relay's events, newest first, of which it gives a few for each filter."""

    def __init__(self, *events, at_once):
        self.events = sorted(events, key=lambda event: -event.created_at)
        self.at_once = at_once
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = []

    async def query(self, filters):
        await self.may_answer.wait()
        self.asked.append(filters[0])
        return [event for event in self.events if filters[0].matches(event)][: self.at_once]

    def tells(self, door):
        """What it tells at the connection, of its own accord."""
        told = [[event for event in self.events if wanted.matches(event)] for wanted in door.pool.filters]
        newest = [events[: self.at_once] for events in told]
        door.pool.told[RELAY] = tuple(Stored(len(some), some[-1].created_at if some else 0) for some in newest)
        door.pool.shelves[RELAY] = self
        door.pool.hear(*{event.id: event for some in newest for event in some}.values())
        door.pool.catch_up()


def away(**config):
    return Door(books=Books({KEY: str(AWAY_SINCE)}), **config)


async def test_what_a_relay_keeps_back_is_asked_for():
    """NIP-11 `max_limit`."""
    jobs = [job(str(n), at=NOW - 1_000 * n, keys=stranger(n)) for n in range(30)]
    async with away() as door:
        Shelf(*jobs, at_once=4).tells(door)
        heard = await door.engine.wait_for(len(jobs))
        assert sorted(fact.text for fact in heard) == sorted(map(str, range(30)))


async def test_requests_for_whoever_takes_them_and_cancellations_are_asked_for_too():
    openly = [signed(("i", f"open {n}"), at=NOW - 100 * n, keys=stranger(n)) for n in range(8)]
    taken_back = job("never mind", at=NOW - 900, keys=MALLORY)
    noise = [signed(("e", "0" * 64), P_TIMMY, kind=5, at=NOW - n, keys=stranger(n)) for n in range(8)]
    deletion = signed(("e", taken_back.id), P_TIMMY, kind=5, at=NOW - 800, keys=MALLORY)
    async with away() as door:
        door.books.has(taken_back)
        Shelf(*openly, *noise, deletion, at_once=3).tells(door)
        heard = await door.engine.wait_for(9)
    assert {getattr(fact, "text", type(fact).__name__) for fact in heard} == {
        *(f"open {n}" for n in range(8)),
        "CancelAsked",
    }


async def test_the_cursor_stands_still_until_it_is_read():
    old = job("asked while we were away", at=NOW - 40_000)
    shelf = Shelf(job("newer", at=NOW - 30_000, keys=stranger(1)), old, at_once=1)
    shelf.may_answer.clear()
    async with away() as door:
        shelf.tells(door)
        await door.engine.wait_for(1)
        await door.port.ready()
        await door.clock.advance(30, rounds=50)
        assert door.books[KEY] == str(AWAY_SINCE)
        shelf.may_answer.set()
        await door.engine.wait_for(2)
        await door.clock.advance(30, rounds=50)
        assert door.books[KEY] == str(NOW + 60)


async def test_at_the_very_first_start_nothing_older_is_asked_for():
    shelf = Shelf(*(job(str(n), at=NOW - 10 - n, keys=stranger(n)) for n in range(9)), at_once=3)
    async with Door(books=Books()) as door:
        shelf.tells(door)
        assert await door.marked() == []
        assert [asked for asked in shelf.asked if 5050 in asked.kinds] == []


async def test_it_waits_for_room_takes_none_from_those_who_ask_now_and_is_all_dealt_with(caplog):
    narrow = functools.partial(Lobby, turns_per_second=10, in_a_row=1, room=10)
    jobs = [job(str(n), at=NOW - 1_000 - n, keys=stranger(n)) for n in range(40)]
    foreign = [
        signed(("i", "Hi"), ("p", ALICE.public_key), at=NOW - 1_000 - n, keys=stranger(n)) for n in range(40)
    ]
    async with away(lobby=narrow) as door:
        shelf = Shelf(*jobs, *foreign, at_once=5)
        shelf.tells(door)
        async with asyncio.timeout(20):
            while len(shelf.asked) < 2:
                await door.clock.advance(0.1, rounds=20)
            door.pool.hear(job("now", keys=MALLORY))
            while len(door.engine.facts) <= len(jobs):
                await door.clock.advance(0.1, rounds=20)
        assert {fact.text for fact in door.engine.facts} == {"now", *map(str, range(40))}
    assert not [record for record in caplog.records if record.action == "turned_away"]


async def test_a_key_that_has_paid_needs_no_turn_for_it():
    narrow = functools.partial(Lobby, turns_per_second=1, in_a_row=1, room=10)
    jobs = [job(str(n), at=NOW - 1_000 - n) for n in range(20)]
    async with away(lobby=narrow, payers=[ALICE]) as door:
        Shelf(*jobs, at_once=5).tells(door)
        heard = await door.engine.wait_for(len(jobs))
    assert {fact.pubkey for fact in heard} == {ALICE.public_key}
