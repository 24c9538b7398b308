"""Many relays, one stream: once, proved, complete, whatever one of them does."""

import asyncio
import collections
import contextlib

import pytest

from relay_client.connection import RelayState
from relay_client.dial import Outside, PublishState
from relay_client.errors import InvalidRelayUrl
from relay_client.event import UnverifiedEvent
from relay_client.filter import Filter
from relay_client.happenings import CaughtUp, EventHeard
from relay_client.local_relay import LocalRelay, RelayLimits
from relay_client.pool import RelayPool, Stored
from tests.faults import FaultProxy, ScriptedRelay, until
from tests.relay_client.kit import JOBS, KEYS, Naps, ids, plant, pooled, reading, signed

# The stream


async def test_an_event_on_three_relays_is_proved_once_and_yielded_once(monkeypatch):
    proved = []
    verify = UnverifiedEvent.verify
    monkeypatch.setattr(UnverifiedEvent, "verify", lambda event: proved.append(event.id) or verify(event))
    event = signed()
    async with LocalRelay() as one, LocalRelay() as two, LocalRelay() as three:
        relays = (one, two, three)
        async with pooled(*(relay.url for relay in relays)) as (pool, received):
            await pool.wait_connected(3)
            outcomes = await pool.publish(event)
            assert all(outcome.is_accepted for outcome in outcomes.values())
            last = signed("last")
            await pool.publish(last)
            await until(lambda: len(received) == 2)
            await pool.wait_caught_up("jobs", 3)
            await until(lambda: all(relay.last_event_at for relay in pool.status()))
    assert ids(received) == [event.id, last.id]
    assert sorted(proved) == sorted([event.id, last.id])


async def test_an_event_is_yielded_once_for_each_subscription_it_belongs_to():
    event = signed()
    async with LocalRelay() as relay, pooled(relay.url) as (pool, received):
        pool.subscribe("all", [Filter()])
        await pool.wait_connected()
        await pool.publish(event)
        await until(lambda: len(received) == 2)
    assert {item.subscription for item in received} == {"jobs", "all"}


@pytest.mark.parametrize("what", ["content", "sig"])
async def test_a_forged_copy_with_the_same_id_cannot_hide_the_true_event(what):
    """The liar speaks first; had its claim been remembered, the truth would count as a double."""
    true = signed("true")
    fields = {"content": "forged"} if what == "content" else {"sig": signed("other").sig}
    forged = UnverifiedEvent.from_wire(true.to_json()).__class__(
        **{name: fields.get(name, getattr(true, name)) for name in true.__struct_fields__}
    )
    lied = asyncio.Event()

    async def lie(client):
        sub_id = (await client.hear("REQ"))[1]
        await client.ws.send(f'["EVENT","{sub_id}",{forged.to_json()}]')
        await client.say("EOSE", sub_id)
        lied.set()

    async with LocalRelay() as good, ScriptedRelay(lie) as evil, pooled(evil.url, good.url) as (pool, received):
        await pool.wait_caught_up("jobs", 2)
        assert received == []
        await plant(good, true)
        await until(lambda: received)
        assert ids(received) == [true.id]
        assert received[0].url == good.url
        assert pool.status()[0].misbehaviour > 0
        assert pool.status()[0].last_event_at is None


async def test_what_the_screen_turns_down_is_not_proved_and_is_asked_about_again(monkeypatch):
    unwanted, wanted, asked, proved = signed("unwanted"), signed("wanted"), [], []
    verify = UnverifiedEvent.verify
    monkeypatch.setattr(UnverifiedEvent, "verify", lambda event: proved.append(event.content) or verify(event))

    def screen(url, event):
        asked.append((url, event.content))
        return event.content == "wanted"

    async with LocalRelay() as one, LocalRelay() as two:
        for relay in (one, two):
            await plant(relay, unwanted, wanted)
        pool = RelayPool([one.url, two.url])
        pool.subscribe("jobs", [JOBS], screen=screen)
        async with pool, reading(pool) as received:
            await pool.wait_caught_up("jobs", 2)
    assert ids(received) == [wanted.id]
    assert proved == ["wanted"]
    assert {url for url, content in asked if content == "unwanted"} == {one.url, two.url}


async def test_what_a_relay_had_stored_comes_before_its_caught_up():
    told = []
    async with LocalRelay() as relay:
        await plant(relay, *(signed(str(n)) for n in range(20)))
        async with RelayPool([relay.url]) as pool, reading(pool) as received:
            pool.subscribe("jobs", [JOBS], on_caught_up=lambda url: told.append((url, len(received))))
            assert await pool.wait_caught_up("jobs") == {relay.url}
    assert told == [(relay.url, 20)]


async def test_how_much_a_relay_had_stored_is_told_as_it_told_it_whoever_was_first():
    events = [signed(str(n), created_at=1_700_000_000 + n) for n in range(20)]
    limits = RelayLimits(limit=5)
    async with LocalRelay() as one, LocalRelay(limits=limits) as two, FaultProxy(two.url) as proxy:
        for relay in (one, two):
            await plant(relay, *events)
        async with (
            RelayPool([one.url, proxy.url], outside=Outside(sleep=Naps())) as pool,
            reading(pool) as received,
        ):
            pool.subscribe("jobs", [JOBS, Filter(kinds=frozenset({5}))])
            await pool.wait_caught_up("jobs", 2)
            assert pool.stored("jobs", one.url) == (Stored(20, 1_700_000_000), Stored())
            assert pool.stored("jobs", proxy.url) == (Stored(5, 1_700_000_015), Stored())
            await pool.publish(signed("live", created_at=1_600_000_000))
            await until(lambda: len(received) == 21)
            assert pool.stored("jobs", proxy.url) == (Stored(5, 1_700_000_015), Stored())
            proxy.refuse()
            await until(lambda: pool.stored("jobs", proxy.url) is None)


async def test_what_was_told_for_one_filter_is_not_taken_for_the_newest_of_another():
    """The newest few that name somebody reach further back than the newest few of all."""
    named = [signed(str(n), created_at=1_700_000_000 + n, tags=[["p", "a" * 64]]) for n in range(5)]
    others = [signed(str(n), created_at=1_700_001_000 + n) for n in range(20)]
    async with LocalRelay(limits=RelayLimits(limit=5)) as relay:
        await plant(relay, *named, *others)
        async with RelayPool([relay.url]) as pool, reading(pool):
            to_somebody = Filter(kinds=JOBS.kinds, tags={"p": frozenset({"a" * 64})})
            pool.subscribe("jobs", [to_somebody, JOBS, Filter(kinds=frozenset({5}))])
            await pool.wait_caught_up("jobs")
            told = pool.stored("jobs", relay.url)
    assert [one.is_shared for one in told] == [True, True, False]
    assert told[1].oldest < others[0].created_at


async def test_after_a_subscription_was_closed_what_is_told_anew_is_what_counts():
    events = [signed(str(n), created_at=1_700_000_000 + n) for n in range(3)]

    async def closes_once(client):
        sub_id = (await client.hear("REQ"))[1]
        await client.say("EVENT", sub_id, events[2])
        await client.say("EOSE", sub_id)
        await client.say("CLOSED", sub_id, "error: a bad moment")
        await client.hear("REQ")
        for event in events[:2]:
            await client.say("EVENT", sub_id, event)
        await client.say("EOSE", sub_id)

    told = []
    async with (
        ScriptedRelay(closes_once) as relay,
        RelayPool([relay.url], outside=Outside(sleep=Naps())) as pool,
        reading(pool),
    ):
        pool.subscribe("jobs", [JOBS], on_caught_up=lambda url: told.append(pool.stored("jobs", url)))
        await until(lambda: len(told) == 2)
    assert told[-1] == (Stored(2, 1_700_000_000),)


async def test_a_relay_that_has_told_all_twice_without_being_asked_anew_told_it_the_first_time():
    event = signed("told before the relay asked who we are", created_at=1_700_000_000)

    async def asks_who_we_are(client):
        sub_id = (await client.hear("REQ"))[1]
        await client.say("EVENT", sub_id, event)
        await client.say("EOSE", sub_id)
        await client.say("AUTH", "who is there?")
        await client.say("CLOSED", sub_id, "auth-required: say who you are")
        auth = (await client.hear("AUTH"))[1]
        await client.say("OK", auth["id"], True, "")
        await client.hear("REQ")
        await client.say("EOSE", sub_id)

    told = []
    async with ScriptedRelay(asks_who_we_are) as relay, RelayPool([relay.url], keys=KEYS) as pool, reading(pool):
        pool.subscribe("jobs", [JOBS], on_caught_up=lambda url: told.append(pool.stored("jobs", url)))
        await until(lambda: len(told) == 2)
    assert told[-1] == (Stored(1, 1_700_000_000),)


async def test_each_relay_is_asked_from_its_own_since_at_each_connection():
    asked = collections.defaultdict(list)

    def since(url):
        asked[url].append(len(asked[url]))
        return 1_700_000_000

    old, new = signed("old", created_at=1_600_000_000), signed("new")
    async with LocalRelay() as one, LocalRelay() as two, FaultProxy(one.url) as proxy:
        for relay in (one, two):
            await plant(relay, old, new)
        async with (
            RelayPool([proxy.url, two.url], outside=Outside(sleep=Naps())) as pool,
            reading(pool) as received,
        ):
            pool.subscribe("jobs", [JOBS], since=since)
            await pool.wait_caught_up("jobs", 2)
            before = len(asked[proxy.url])
            proxy.cut()
            await until(lambda: pool.status()[0].reconnects == 1)
            await pool.wait_caught_up("jobs", 2)
    assert ids(received) == [new.id]
    assert len(asked[proxy.url]) == before + 1


async def test_a_job_sent_while_we_were_away_arrives_on_reconnecting():
    async with LocalRelay() as relay, FaultProxy(relay.url) as proxy, pooled(proxy.url) as (pool, received):
        await pool.wait_caught_up("jobs")
        proxy.refuse()
        await until(lambda: pool.status()[0].state is not RelayState.CONNECTED)
        missed = signed("missed")
        await plant(relay, missed)
        proxy.accept()
        await until(lambda: received)
        assert ids(received) == [missed.id]


async def test_a_slow_reader_holds_the_relays_back_and_misses_nothing():
    events = [signed("x" * 3_000 + str(n)) for n in range(500)]
    async with LocalRelay() as relay:
        await plant(relay, *events)
        async with RelayPool([relay.url], stream_size=5) as pool:
            pool.subscribe("jobs", [JOBS])
            await until(lambda: len(pool._hearing._stream) == 5)
            received = []
            async with asyncio.timeout(20):
                async for item in pool.events():
                    received.append(item.event.id)
                    assert len(pool._hearing._stream) <= 5
                    if len(received) == len(events):
                        break
    assert sorted(received) == sorted(event.id for event in events)


async def test_unsubscribing_ends_it_and_the_same_id_can_be_used_again():
    async with LocalRelay() as relay, pooled(relay.url) as (pool, received):
        await pool.wait_caught_up("jobs")
        pool.unsubscribe("jobs")
        pool.unsubscribe("jobs")
        await pool.publish(signed("unheard"))
        pool.subscribe("jobs", [Filter(kinds=frozenset({1}))])
        await pool.wait_caught_up("jobs")
        note = signed(kind=1)
        await pool.publish(note)
        await until(lambda: received)
    assert ids(received) == [note.id]


async def test_replaced_filters_do_not_bring_back_what_was_met():
    async with LocalRelay() as relay, pooled(relay.url) as (pool, received):
        await pool.wait_caught_up("jobs")
        await pool.publish(signed("first"))
        await until(lambda: len(received) == 1)
        pool.subscribe("jobs", [JOBS, Filter(kinds=frozenset({1}))])
        await pool.wait_caught_up("jobs")
        await pool.publish(signed(kind=1))
        await until(lambda: len(received) == 2)
    assert len(set(ids(received))) == 2


def test_a_bad_subscription_is_refused_and_leaves_the_former_in_place():
    pool = RelayPool(["ws://127.0.0.1:1"])
    pool.subscribe("jobs", [JOBS])
    for sub_id, filters in (("jobs", []), ("", [JOBS]), ("a" * 65, [JOBS])):
        with pytest.raises(ValueError, match="1 to 64"):
            pool.subscribe(sub_id, filters)
    for n in range(19):
        pool.subscribe(str(n), [JOBS])
    with pytest.raises(ValueError, match="subscriptions"):
        pool.subscribe("one more", [JOBS])
    assert pool._hearing._subscriptions["jobs"].filters == (JOBS,)


# Coming and going


async def test_status_tells_how_each_relay_is_doing():
    async with LocalRelay() as relay, pooled(relay.url, "ws://127.0.0.1:1") as (pool, received):
        await pool.wait_caught_up("jobs")
        await pool.publish(signed())
        await until(lambda: received)
        good, bad = pool.status()
        assert (good.url, good.state, good.reconnects, good.misbehaviour) == (
            relay.url,
            RelayState.CONNECTED,
            0,
            0,
        )
        assert good.connected_since <= good.last_event_at
        assert bad.state in (RelayState.WAITING, RelayState.CONNECTING)
        assert bad.connected_since is bad.last_event_at is None
        assert "cannot be reached" in bad.last_error


async def test_a_relay_in_two_spellings_is_one_relay():
    assert RelayPool(["wss://Relay.example/", "wss://relay.example:443"]).urls == ("wss://relay.example",)
    with pytest.raises(InvalidRelayUrl):
        RelayPool(["https://relay.example"])


async def test_waiting_for_relays_that_do_not_come_ends_in_time():
    async with RelayPool(["ws://127.0.0.1:1"]) as pool:
        with pytest.raises(TimeoutError):
            await pool.wait_connected(1, timeout_s=0.05)
        with pytest.raises(KeyError):
            await pool.wait_caught_up("nothing")


async def test_the_stream_ends_when_the_pool_stops_after_what_it_holds_was_read():
    event = signed()
    async with LocalRelay() as relay:
        await plant(relay, event)
        async with RelayPool([relay.url]) as pool:
            pool.subscribe("jobs", [JOBS])
            await until(lambda: len(pool._hearing._stream) == 2)
        assert [item.event.id async for item in pool.events()] == [event.id]


async def test_a_pool_runs_in_a_task_group_of_the_caller_too():
    async with LocalRelay() as relay:
        pool = RelayPool([relay.url])
        async with asyncio.TaskGroup() as group:
            running = group.create_task(pool.run())
            await pool.wait_connected()
            running.cancel()
        assert pool.status()[0].state is RelayState.STOPPED


async def test_stopping_with_every_relay_stalled_and_publishes_waiting_ends():
    async with contextlib.AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(LocalRelay()) for _ in range(4)]
        proxies = [await stack.enter_async_context(FaultProxy(relay.url)) for relay in relays]
        async with asyncio.timeout(10):
            async with RelayPool([proxy.url for proxy in proxies]) as pool:
                await pool.wait_connected(4)
                for proxy in proxies:
                    proxy.stall()
                waiting = asyncio.create_task(pool.publish(signed(), timeout_s=600))
                await until(lambda: pool._sending)
            outcomes = await waiting
    assert {outcome.state for outcome in outcomes.values()} == {PublishState.NO_ANSWER}


async def test_a_fault_of_the_subscriber_ends_the_stream_and_comes_out_at_the_end():
    """Not silently: the reader sees the end, and whoever started the pool gets the error."""

    answers = iter([1])  # for the first question only

    def since(url):
        return next(answers, None) or {}[url]

    async with LocalRelay() as relay:
        pool = RelayPool([relay.url])
        pool.subscribe("jobs", [JOBS], since=since)
        with pytest.raises(ExceptionGroup) as caught:
            async with pool:
                assert [item async for item in pool.events()] == []
        assert caught.group_contains(KeyError)


async def test_what_comes_for_a_subscription_just_given_up_is_left_out():
    async with LocalRelay() as relay, pooled(relay.url) as (pool, received):
        await pool.wait_caught_up("jobs")
        connection = pool._connections[relay.url]
        pool.unsubscribe("jobs")
        await pool._hearing.heard(connection, EventHeard("jobs", UnverifiedEvent.from_wire(signed().to_json())))
        await pool._hearing.heard(connection, CaughtUp("jobs"))
        await until(lambda: len(pool._hearing._stream) == 0)
        assert received == []
