"""The relay door and what a relay had kept back: read, given room, and dealt with before the cursor moves."""

import asyncio
import functools

from relay_client.event import MAX_EVENT_BYTES
from relay_client.hearing import Stored
from tests.timmy_dvm.nostr.door import KEY, Books, Door, job
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, P_TIMMY, RELAY, signed, stranger
from timmy_dvm.nostr.lobby import ROOM_BYTES, Lobby
from timmy_dvm.nostr.port import AT_ONCE

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
        newest = {event.id: event for events in told for event in events[: self.at_once]}.values()
        door.pool.told[RELAY] = tuple(
            Stored(len(some), min((event.created_at for event in some), default=0), is_shared=True)
            for some in ([event for event in newest if wanted.matches(event)] for wanted in door.pool.filters)
        )
        door.pool.shelves[RELAY] = self
        door.pool.hear(*newest)
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
        assert all(asked.since == NOW for asked in shelf.asked)
        assert door.engine.facts == []


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


async def test_a_relay_that_is_gone_while_paid_jobs_wait_for_a_place_tells_them_anew():
    """Whoever waits for a place is in nobody's hands yet: the reading ends with the connection."""
    free = asyncio.Event()
    jobs = [job(str(n), at=NOW - 1_000 - n) for n in range(AT_ONCE + 20)]
    shelf = Shelf(*jobs, at_once=5)
    async with away(payers=[ALICE]) as door:
        door.engine.plan = [free] * len(jobs)
        shelf.tells(door)
        await door.engine.wait_tried(1)
        await door.clock.advance(0.05, rounds=300)
        door.pool.reconnect()
        await door.clock.advance(0.05, rounds=300)
        free.set()
        shelf.tells(door)
        async with asyncio.timeout(20):
            while len(door.engine.facts) < len(jobs):
                await door.clock.advance(0.1, rounds=20)
        assert sorted(fact.event_id for fact in door.engine.facts) == sorted(event.id for event in jobs)


async def test_what_no_room_is_wide_enough_for_holds_nobody_up(caplog):
    sprawling = signed(("i", "a", *[""] * (ROOM_BYTES // 500)), P_TIMMY, at=NOW - 2_000, keys=stranger(1))
    assert len(sprawling.to_json()) < MAX_EVENT_BYTES
    behind = job("behind it", at=NOW - 3_000, keys=stranger(2))
    async with away() as door:
        Shelf(job("first", at=NOW - 1_000, keys=stranger(3)), sprawling, behind, at_once=1).tells(door)
        heard = await door.engine.wait_for(2)
        assert [fact.text for fact in heard] == ["first", "behind it"]
    assert [record for record in caplog.records if record.action == "turned_away"]


async def test_who_has_paid_before_does_not_stand_behind_strangers_of_the_same_page():
    narrow = functools.partial(Lobby, turns_per_second=1, in_a_row=1, room=1)
    strangers = [job(str(n), at=NOW - 1_000 - n, keys=stranger(n)) for n in range(9)]
    paid = job("paid", at=NOW - 2_000)
    async with away(lobby=narrow, payers=[ALICE]) as door:
        shelf = Shelf(*strangers, paid, at_once=10)
        door.pool.told[RELAY] = (Stored(),) * (len(door.pool.filters) - 1) + (Stored(1, NOW),)
        door.pool.shelves[RELAY] = shelf
        door.pool.catch_up()
        heard = await door.engine.wait_for(1)
        assert heard[0].text == "paid"


async def test_the_cursor_stands_still_while_a_connected_relay_does_not_serve_us():
    """It closed our subscription, for good as it says: nothing that is asked meanwhile is heard."""
    async with Door() as door:
        door.pool.catch_up()
        await door.marked()
        await door.clock.advance(30, rounds=50)
        door.pool.unserved = {"timmy": "restricted: members only"}
        await door.clock.advance(3_600, rounds=50)
        assert door.books[KEY] == str(NOW + 30)
        door.pool.unserved = {"another": "error: too many"}
        await door.clock.advance(30, rounds=50)
        assert door.books[KEY] == str(NOW + 3_660)
