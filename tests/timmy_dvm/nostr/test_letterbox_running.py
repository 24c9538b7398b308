"""The letterbox over time: from when on relays are asked, start and stop, and what it takes no more of."""

import asyncio

import pytest

from ledger.records import Replayed
from ledger.store import StoreUnavailable
from relay_client.nip59 import MAX_BACKDATE_S
from relay_client.pool import Stored
from tests.timmy_dvm.nostr.door import OTHER, TIMEOUT_S, Books
from tests.timmy_dvm.nostr.kit import MALLORY, NOW, RELAY, TIMMY
from tests.timmy_dvm.nostr.post import KEY, Post, letter, rumor, wrapped
from timmy_dvm.nostr import letterbox
from timmy_dvm.nostr.desk import LETTERS_PER_KEY_HOUR
from timmy_dvm.nostr.letterbox import OPENED_PER_SECOND

HOUR = 3_600

# From when on.


async def test_relays_are_asked_two_days_further_back_than_for_requests():
    async with Post(Books({KEY: str(NOW - 5_000)})) as post:
        (asked,) = post.pool.filters
        assert asked.to_obj() == {"kinds": [1_059, 21_059], "#p": [TIMMY.public_key]}
        assert post.pool.sinces == {RELAY: NOW - 5_600 - MAX_BACKDATE_S, OTHER: NOW - HOUR - MAX_BACKDATE_S}


async def test_it_is_the_messages_own_date_that_counts():
    async with Post() as post:
        post.catch_up()
        await post.heard()
        post.hear(letter("fresh", at=NOW - HOUR), letter("old", at=NOW - HOUR - 1), letter("ahead", at=NOW + 901))
        assert [fact.text for fact in await post.heard()] == ["fresh"]


async def test_what_came_while_we_were_away_is_taken_even_where_opening_it_has_to_wait():
    """The relay has caught up long before the last of what it had is open."""
    async with Post(Books({KEY: str(NOW - 50_000)})) as post:
        post.hear(*[letter("+", kind=7)] * OPENED_PER_SECOND)
        post.hear(letter("missed", at=NOW - 40_000))
        post.catch_up()
        post.hear(letter("late", at=NOW - 39_000))
        async with asyncio.timeout(TIMEOUT_S):
            await post.clock.wait_for_sleepers(2)
        assert post.engine.facts == []
        await post.clock.advance(1, rounds=200)
        assert [fact.text for fact in await post.heard()] == ["missed"]


class Shelf:
    """A relay's wraps, newest first, of which it gives a few at once."""

    def __init__(self, *wraps, at_once):
        self.wraps = sorted(wraps, key=lambda wrap: -wrap.created_at)
        self.at_once = at_once

    async def query(self, filters):
        return [wrap for wrap in self.wraps if filters[0].matches(wrap)][: self.at_once]


async def test_what_a_relay_does_not_tell_at_once_is_asked_for():
    """NIP-11 `max_limit`."""
    wraps = [wrapped(rumor(f"message {n}"), at=NOW - 100 - n) for n in range(30)]
    async with Post() as post:
        post.pool.shelves[RELAY] = Shelf(*wraps, at_once=4)
        post.pool.told[RELAY] = (Stored(4, NOW - 103),)
        post.hear(*wraps[:4])
        post.catch_up()
        await post.engine.wait_for(30)
        assert {fact.text for fact in await post.heard()} == {f"message {n}" for n in range(30)}


async def test_the_cursor_stands_still_while_a_relay_is_being_read_backwards():
    gate = asyncio.Event()

    class Slow(Shelf):
        async def query(self, filters):
            await gate.wait()
            return await super().query(filters)

    old = wrapped(rumor("asked while we were away", at=NOW - 40_000), at=NOW - 90_000)
    async with Post(Books({KEY: str(NOW - 50_000)})) as post:
        post.pool.shelves[RELAY] = Slow(old, at_once=1)
        post.pool.told[RELAY] = (Stored(1, NOW - 80_000),)
        post.catch_up()
        await post.heard()
        await post.clock.advance(30, rounds=50)
        assert post.books[KEY] == str(NOW - 50_000)
        gate.set()
        await post.engine.wait_for(1)
        assert [fact.text for fact in await post.heard()] == ["asked while we were away"]
        await post.clock.advance(30, rounds=50)
        assert post.books[KEY] == str(NOW + 60)


async def test_at_the_very_first_start_what_relays_have_stored_is_not_answered():
    async with Post(Books()) as post:
        post.hear(letter("before we were ever here", at=NOW - 60))
        post.catch_up()
        post.hear(letter("slow clock", at=NOW - 60))
        assert [fact.text for fact in await post.heard()] == ["slow clock"]


async def test_the_cursor_moves_with_the_clock_but_never_past_what_is_not_dealt_with():
    gate = asyncio.Event()
    async with Post() as post:
        post.catch_up()
        await post.heard()
        await post.clock.advance(30, rounds=50)
        assert post.books[KEY] == str(NOW + 30)
        post.engine.plan = [gate]
        post.hear(letter())
        await post.engine.wait_tried(2)
        await post.clock.advance(300, rounds=50)
        assert post.books[KEY] == str(NOW + 30)
        gate.set()
        await post.engine.wait_for(1)
        await post.clock.advance(30, rounds=50)
        assert post.books[KEY] == str(NOW + 360)


async def test_a_ledger_that_is_away_makes_a_message_wait():
    async with Post() as post:
        post.engine.plan = [StoreUnavailable("away")]
        post.books.errors = [StoreUnavailable("away"), StoreUnavailable("away")]
        post.hear(letter())
        await post.clock.advance(0, rounds=50)  # its place in a conversation can't be read either
        await post.clock.advance(40, rounds=50)
        await post.engine.wait_tried(1)
        await post.clock.advance(40, rounds=50)
        assert len(await post.heard()) == 1


async def test_a_stop_gives_what_is_being_dealt_with_a_moment_and_takes_no_more():
    gate = asyncio.Event()
    async with Post() as post:
        post.engine.plan = [gate]
        post.hear(letter("begun"))
        await post.engine.wait_tried(1)
        stopping = asyncio.create_task(post.box.stop())
        await asyncio.sleep(0)
        post.hear(letter("too late"))
        gate.set()
        async with asyncio.timeout(TIMEOUT_S):
            await stopping
            await post.running
        assert [fact.text for fact in post.engine.facts] == ["begun"]


async def test_a_stop_does_not_wait_for_what_hangs_and_leaves_it_to_the_next_start():
    async with Post() as post:
        post.catch_up()
        post.engine.plan = [asyncio.Event()]
        post.hear(letter("hangs"))
        await post.engine.wait_tried(1)
        post.clock.set_wall_clock(NOW + 100)
        async with asyncio.timeout(TIMEOUT_S):
            await post.box.stop()
        assert post.engine.facts == []
        assert post.books[KEY] == str(NOW)


async def test_a_cursor_that_cannot_be_saved_stops_nothing(caplog):
    async with Post() as post:
        post.catch_up()
        await post.heard()
        post.books.errors = [StoreUnavailable("away")]
        await post.clock.advance(30, rounds=50)
        assert post.books[KEY] == str(NOW)
        assert "could not note" in caplog.text
        await post.clock.advance(30, rounds=50)
        assert post.books[KEY] == str(NOW + 60)


async def test_a_stop_before_the_start_is_fine():
    await Post().box.stop()


# Bounds.


async def test_wraps_are_opened_no_faster_than_they_may_be():
    async with Post() as post:
        post.hear(*[letter(f"{number} sheep?") for number in range(OPENED_PER_SECOND + 50)])
        async with asyncio.timeout(TIMEOUT_S):
            await post.clock.wait_for_sleepers(2)
        assert len(post.engine.facts) <= OPENED_PER_SECOND
        await post.clock.advance(1, rounds=400)
        assert len(await post.heard()) == OPENED_PER_SECOND + 50


@pytest.mark.parametrize("bound", ["MAX_WAITING", "MAX_WAITING_BYTES"])
async def test_what_finds_no_room_is_dropped_and_counted(bound, monkeypatch, caplog):
    letters = [letter(f"{number} sheep?") for number in range(5)]
    monkeypatch.setattr(letterbox, bound, 3 if bound == "MAX_WAITING" else 3 * len(letters[0].content))
    async with Post() as post:
        post.hear(*letters)
        assert [fact.text for fact in await post_heard(post, 3)] == ["0 sheep?", "1 sheep?", "2 sheep?"]
        post.hear(letters[4])
        assert len(await post_heard(post, 4)) == 4
        await post.clock.advance(30, rounds=50)
    assert "some were dropped" in caplog.text


async def post_heard(post, count):
    await post.engine.wait_for(count)
    return post.engine.facts


async def test_another_bot_that_answers_each_answer_is_soon_left_alone():
    """What makes a job is taken all the same: it is paid for."""
    async with Post() as post:
        post.hear(*[letter("help", ("n", str(number))) for number in range(3 * LETTERS_PER_KEY_HOUR)])
        assert len(await post.heard()) == LETTERS_PER_KEY_HOUR
        post.hear(letter())
        *_, request = await post.heard()
        assert (request.text, request.addressed) == ("What is a relay?", False)
        post.hear(letter("help", keys=MALLORY))
        assert len(await post.heard()) == LETTERS_PER_KEY_HOUR + 2
        await post.clock.advance(HOUR // LETTERS_PER_KEY_HOUR, rounds=50)
        now = int(post.clock.now())
        post.hear(letter("help", at=now), letter("help", ("n", "again"), at=now))
        assert len(await post.heard()) == LETTERS_PER_KEY_HOUR + 3


async def test_a_message_that_was_answered_before_the_restart_costs_its_key_nothing():
    async with Post() as post:
        post.engine.plan = [Replayed()] * 100
        post.hear(*[letter("help", ("n", str(number))) for number in range(2 * LETTERS_PER_KEY_HOUR)])
        assert len(await post.heard()) == 2 * LETTERS_PER_KEY_HOUR
