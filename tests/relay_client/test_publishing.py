"""How a relay takes what is published: its limits and its patience are honoured, its refusals told."""

import asyncio
import json

import pytest

from relay_client.connection import RelayState
from relay_client.dial import Outside, PublishState
from relay_client.errors import NotConnected
from relay_client.http_fetch import fetch_document
from relay_client.local_relay import LocalRelay, RelayLimits
from relay_client.pace import FIRST_PAUSE_S
from relay_client.pool import RelayPool
from relay_client.publishing import MAX_KEPT, MAX_PUBLISHES_IN_FLIGHT
from relay_client.wire import Prefix
from tests.faults import FaultProxy, ScriptedRelay, until
from tests.relay_client.kit import JOBS, Clock, Naps, pooled, refusing, signed


def stating(**limits):
    """A `Fetch` of a document with these limits, that writes down who was asked."""

    async def fetch(url, options):
        fetch.asked.append(url)
        return json.dumps({"limitation": limits}).encode()

    fetch.asked = []
    return fetch


async def learnt(pool):
    await until(lambda: all(relay.limitation.known() for relay in pool.status()))


# Limits


async def test_what_a_relay_says_it_would_refuse_is_not_sent_and_the_outcome_says_why():
    async with LocalRelay(limits=RelayLimits(frame_bytes=2_000)) as small, LocalRelay() as large:
        async with RelayPool([small.url, large.url], fetch=fetch_document) as pool:
            await learnt(pool)
            outcomes = await pool.publish(signed("x" * 3_000))
            told = pool.status()
            assert (await pool.publish(signed("short")))[small.url].is_accepted
        assert len(small) == 1
    assert outcomes[large.url].is_accepted
    outcome = outcomes[small.url]
    assert (outcome.state, outcome.prefix, outcome.word) == (PublishState.REFUSED, Prefix.INVALID, "invalid")
    assert outcome.text == "not sent: longer than the 2,000 bytes this relay takes"
    assert [relay.limitation.max_message_length for relay in told] == [2_000, RelayLimits().frame_bytes]
    assert (told[0].refused, told[0].last_refusal) == (1, f"invalid: {outcome.text}")
    assert [relay.reconnects for relay in told] == [0, 0]  # sent, it would have cost the connection


async def test_work_that_a_relay_asks_for_and_an_event_does_not_hold_is_told():
    async with LocalRelay() as relay, RelayPool([relay.url], fetch=stating(min_pow_difficulty=60)) as pool:
        await learnt(pool)
        outcome = (await pool.publish(signed()))[relay.url]
        assert len(relay) == 0
    assert (outcome.prefix, outcome.text) == (Prefix.POW, "not sent: this relay asks for 60 bits of work")


async def no_document(url, options):
    raise NotConnected("there is none")


@pytest.mark.parametrize("fetch", [None, no_document, stating(max_message_length=-1, created_at_lower_limit="no")])
async def test_with_limits_that_are_unknown_or_absurd_everything_is_sent(fetch):
    async with LocalRelay() as relay, RelayPool([relay.url], fetch=fetch) as pool:
        await pool.wait_connected()
        assert (await pool.publish(signed("x" * 50_000)))[relay.url].is_accepted
        assert pool.status()[0].limitation.known() == {}


async def test_a_relay_that_comes_and_goes_is_asked_for_its_limits_once_an_hour():
    fetch = stating(max_event_tags=50)
    async with LocalRelay() as relay, FaultProxy(relay.url) as proxy, pooled(proxy.url, fetch=fetch) as (pool, _):
        for n in range(3):
            await until(lambda n=n: pool.status()[0].reconnects == n)
            await pool.wait_caught_up("jobs")
            proxy.cut()
            await until(lambda: pool.status()[0].state is not RelayState.CONNECTED)
    assert fetch.asked == [proxy.url.replace("ws:", "http:")]


async def test_a_relay_whose_document_never_comes_serves_all_the_same():
    async def hang(url, options):
        await asyncio.Event().wait()

    async with LocalRelay() as relay, pooled(relay.url, fetch=hang) as (pool, received):
        await pool.wait_caught_up("jobs")
        assert (await pool.publish(signed()))[relay.url].is_accepted
        await until(lambda: received)


async def test_no_more_subscriptions_are_opened_than_the_relay_allows_and_the_others_get_their_turn():
    async with (
        LocalRelay(limits=RelayLimits(subscriptions=2)) as relay,
        FaultProxy(relay.url) as proxy,
        pooled(proxy.url, fetch=stating(max_subscriptions=2)) as (pool, _),
    ):
        await learnt(pool)
        await pool.wait_caught_up("jobs")
        pool.subscribe("second", [JOBS])
        pool.subscribe("third", [JOBS])
        await pool.wait_caught_up("second")
        assert pool.status()[0].unserved == {"third": "the relay takes no more subscriptions on one connection"}
        pool.unsubscribe("jobs")
        await pool.wait_caught_up("third")
        pool.subscribe("fourth", [JOBS])
        proxy.cut()
        await until(lambda: pool.status()[0].reconnects == 1)
        await pool.wait_caught_up("third")
        assert list(pool.status()[0].unserved) == ["fourth"]
        assert pool.status()[0].faults == {}


# Patience


async def test_a_relay_that_finds_us_too_fast_is_left_in_peace_and_then_gets_what_it_missed():
    clock, events = Clock(), [signed(str(n)) for n in range(4)]
    script, seen = refusing("rate-limited: slow down", 1)
    async with ScriptedRelay(script) as relay, RelayPool([relay.url], outside=clock.outside()) as pool:
        await pool.wait_connected()
        outcomes = [(await pool.publish(event))[relay.url] for event in events]
        told = pool.status()[0]
        assert seen == [events[0].id]
        clock.passing.set()
        await until(lambda: len(seen) == 5)
        await until(lambda: pool.status()[0].accepted == 4)
        assert (await pool.publish(signed("after")))[relay.url].is_accepted
    assert {(outcome.state, outcome.word) for outcome in outcomes} == {(PublishState.REFUSED, "rate-limited")}
    assert outcomes[0].text == "slow down"
    assert (
        outcomes[1].text == f"not sent: the relay found us too fast and is left in peace for {FIRST_PAUSE_S:.0f} s"
    )
    assert (told.pause_s, told.refused, told.last_refusal) == (FIRST_PAUSE_S, 1, "rate-limited: slow down")
    assert seen[1:5] == [event.id for event in events]
    assert told.faults == {}


async def test_each_further_complaint_doubles_the_pause():
    clock, event = Clock(), signed()
    clock.passing.set()
    script, seen = refusing("rate-limited: slow down", 4)
    async with ScriptedRelay(script) as relay, RelayPool([relay.url], outside=clock.outside()) as pool:
        await pool.wait_connected()
        await pool.publish(event)
        await until(lambda: pool.status()[0].accepted == 1)
    assert seen == [event.id] * 5
    assert [s for s in clock.sleeps if s in (5, 10, 20, 40)] == [5, 10, 20, 40]


async def test_a_relay_that_takes_something_again_is_trusted_again():
    clock, answers = Clock(), iter([False, True, True, False])
    clock.passing.set()

    async def sometimes(client):
        while True:
            event = (await client.hear("EVENT"))[1]
            await client.say("OK", event["id"], next(answers, True), "rate-limited:")

    async with ScriptedRelay(sometimes) as relay, RelayPool([relay.url], outside=clock.outside()) as pool:
        await pool.wait_connected()
        for n in range(3):
            await pool.publish(signed(str(n)))
            await until(lambda n=n: pool.status()[0].accepted == n + 1)
    assert [s for s in clock.sleeps if s in (5, 10, 20)] == [5, 5]


async def test_an_event_offered_again_meanwhile_is_kept_once_and_not_sent_twice():
    clock, event = Clock(), signed()
    script, seen = refusing("rate-limited:", 1)
    async with ScriptedRelay(script) as relay, RelayPool([relay.url], outside=clock.outside()) as pool:
        await pool.wait_connected()
        for _ in range(10):
            assert (await pool.publish(event))[relay.url].word == "rate-limited"
        clock.passing.set()
        await until(lambda: pool.status()[0].accepted == 1)
        assert seen == [event.id] * 2


async def test_what_is_kept_for_a_relay_that_finds_us_too_fast_is_bounded():
    clock, events = Clock(), [signed(str(n)) for n in range(MAX_KEPT + 10)]
    script, seen = refusing("rate-limited:", 1)
    async with ScriptedRelay(script) as relay, RelayPool([relay.url], outside=clock.outside()) as pool:
        await pool.wait_connected()
        for event in events:
            await pool.publish(event)
        assert len(pool._connections[relay.url].publishing._kept) == MAX_KEPT
        clock.passing.set()
        await until(lambda: pool.status()[0].accepted == MAX_KEPT)
    assert seen[1:] == [event.id for event in events[-MAX_KEPT:]]


async def test_what_is_kept_outlives_the_connection():
    clock, event = Clock(), signed()
    script, seen = refusing("rate-limited:", 1)
    async with (
        ScriptedRelay(script) as relay,
        FaultProxy(relay.url) as proxy,
        RelayPool([proxy.url], outside=clock.outside()) as pool,
    ):
        await pool.wait_connected()
        await pool.publish(event)
        proxy.cut()
        clock.passing.set()
        await until(lambda: pool.status()[0].accepted == 1)
    assert relay.connections == 2
    assert seen == [event.id] * 2


async def test_what_is_kept_and_has_expired_meanwhile_is_not_offered_again():
    clock, beat, event = Clock(), signed(tags=[["expiration", "1"]]), signed()
    script, seen = refusing("rate-limited:", 1)
    async with ScriptedRelay(script) as relay, RelayPool([relay.url], outside=clock.outside()) as pool:
        await pool.wait_connected()
        for one in (beat, event):
            await pool.publish(one)
        clock.passing.set()
        await until(lambda: pool.status()[0].accepted == 1)
        await until(lambda: not pool._connections[relay.url].publishing._has_kept.is_set())
    assert seen == [beat.id, event.id]


async def test_a_publish_that_waited_for_its_place_goes_over_the_connection_there_is_then():
    async def answer_the_second_time(client):
        if relay.connections > 1:
            event = (await client.hear("EVENT"))[1]
            await client.say("OK", event["id"], True, "")

    async with (
        ScriptedRelay(answer_the_second_time) as relay,
        FaultProxy(relay.url) as proxy,
        RelayPool([proxy.url], outside=Outside(sleep=Naps())) as pool,
    ):
        await pool.wait_connected()
        publishing = pool._connections[proxy.url].publishing
        for _ in range(MAX_PUBLISHES_IN_FLIGHT):
            await publishing._slots.acquire()
        waiting = asyncio.create_task(pool.publish(signed()))
        await until(lambda: publishing._slots._waiters)
        proxy.cut()
        await until(lambda: pool.status()[0].reconnects == 1)
        publishing._slots.release()
        assert (await waiting)[proxy.url].is_accepted


@pytest.mark.parametrize(
    "message", [["NOTICE", "rate limit exceeded"], ["CLOSED", "jobs", "rate-limited: too many"]]
)
async def test_a_notice_or_a_closed_can_say_so_too(message):
    async def complain(client):
        await client.hear("REQ")
        await client.say(*message)
        await client.hear("EVENT")

    clock = Clock()
    async with ScriptedRelay(complain) as relay, RelayPool([relay.url], outside=clock.outside()) as pool:
        pool.subscribe("jobs", [JOBS])
        await until(lambda: pool.status()[0].pause_s)
        async with asyncio.timeout(5):
            outcome = (await pool.publish(signed(), timeout_s=600))[relay.url]
    assert outcome.word == "rate-limited"


async def test_a_relay_that_finds_our_questions_too_many_is_not_asked_for_a_while():
    asked = []

    async def complain(client):
        while True:
            sub_id = (await client.hear("REQ"))[1]
            asked.append(sub_id)
            await client.say("CLOSED", sub_id, "rate-limited: too many")

    clock = Clock()
    async with ScriptedRelay(complain) as relay, RelayPool([relay.url], outside=clock.outside()) as pool:
        await pool.wait_connected()
        async with asyncio.timeout(5):
            for _ in range(5):
                assert await pool.query([JOBS], timeout_s=600) == []
            assert len(asked) == 1
            clock.now += FIRST_PAUSE_S
            assert await pool.query([JOBS], timeout_s=600) == []
        assert len(asked) == 2
        assert pool.status()[0].pause_s == 0
