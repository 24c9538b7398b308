"""Against a relay and a client that others wrote: nostr-sdk's, which runs in the test's own process."""

import asyncio
import contextlib
import datetime as dt

import nostr_sdk as sdk
import pytest

from relay_client.connection import RelayState
from relay_client.dial import PublishState
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.local_relay import LocalRelay
from relay_client.pool import RelayPool
from relay_client.wire import Prefix
from tests.faults import FaultProxy, until
from tests.relay_client.kit import KEYS, ids, pooled, signed

pytestmark = pytest.mark.peer


async def started(*, auth=False, port=None, notes_per_minute=10_000_000):
    """A relay of nostr-sdk and its URL."""
    sdk.uniffi_set_event_loop(asyncio.get_running_loop())
    builder = (
        sdk.LocalRelayBuilder()
        .addr("127.0.0.1")
        .rate_limit(sdk.RateLimit(max_reqs=100_000, notes_per_minute=notes_per_minute))
    )
    if port is not None:
        builder = builder.port(port)
    if auth:
        builder = builder.nip42(sdk.LocalRelayBuilderNip42(mode=sdk.LocalRelayBuilderNip42Mode.BOTH))
    relay = builder.build()
    await relay.run()
    return relay, str(await relay.url()).rstrip("/")


@contextlib.asynccontextmanager
async def peer_relay(**options):
    relay, url = await started(**options)
    try:
        yield url
    finally:
        relay.shutdown()


async def test_publish_and_subscribe_over_another_relay():
    async with peer_relay() as url, pooled(url) as (pool, received):
        await pool.wait_caught_up("jobs")
        events = [signed(f"{n} é \u2028 \x07 😀", tags=[["p", KEYS.public_key]]) for n in range(50)]
        outcomes = [await pool.publish(event) for event in events]
        assert all(outcome[url].is_accepted for outcome in outcomes)
        await until(lambda: len(received) == len(events))
        assert ids(received) == [event.id for event in events]
        again = await pool.publish(events[0])
        assert again[url].is_accepted
        assert pool.status()[0].misbehaviour == 0


async def test_a_burst_over_another_relay_arrives_whole():
    async with peer_relay() as url, pooled(url) as (pool, received):
        await pool.wait_caught_up("jobs")
        events = [signed("x" * 900 + str(n)) for n in range(1_000)]
        outcomes = await asyncio.gather(*(pool.publish(event, timeout_s=30) for event in events))
        assert all(outcome[url].is_accepted for outcome in outcomes)
        await until(lambda: len(received) == len(events))


async def test_another_relay_that_wants_auth_gets_it_and_what_it_had_refused_again():
    """It challenges only after the first refusal."""
    async with peer_relay(auth=True) as url, pooled(url, keys=KEYS) as (pool, received):
        await pool.wait_caught_up("jobs")
        event = signed()
        assert (await pool.publish(event))[url].is_accepted
        await until(lambda: received)
        assert ids(received) == [event.id]


@pytest.mark.parametrize("auth", [False, True])
async def test_a_question_to_another_relay_is_answered(auth):
    async with peer_relay(auth=auth) as url, RelayPool([url], keys=KEYS) as pool:
        await pool.wait_connected()
        notes = [signed(str(n), kind=1, created_at=1_700_000_000 + n) for n in range(10)]
        for note in notes:
            assert (await pool.publish(note))[url].is_accepted
        assert await pool.query([Filter(kinds=frozenset({1}))]) == notes[::-1]
        assert await pool.query([Filter(kinds=frozenset({1}), limit=3)]) == notes[:-4:-1]
        assert await pool.query([Filter(ids=frozenset({notes[4].id}))], enough=1) == [notes[4]]
        assert await pool.query([Filter(kinds=frozenset({2}))]) == []
        assert pool.status()[0].faults == {}


async def test_another_relay_that_finds_us_too_fast_is_left_in_peace():
    async with peer_relay(notes_per_minute=5) as url, RelayPool([url]) as pool:
        await pool.wait_connected()
        words = [(await pool.publish(signed(str(n))))[url].word for n in range(20)]
        told = pool.status()[0]
    assert words == ["accepted"] * 5 + ["rate-limited"] * 15
    assert (told.accepted, told.refused) == (5, 1)
    assert told.pause_s > 0


async def test_another_relay_that_wants_auth_refuses_who_has_no_keys():
    async with peer_relay(auth=True) as url, RelayPool([url]) as pool:
        await pool.wait_connected()
        outcome = (await pool.publish(signed()))[url]
        assert (outcome.state, outcome.prefix) == (PublishState.REFUSED, Prefix.AUTH_REQUIRED)


async def test_another_relay_that_restarts_is_found_again():
    """The proxy cuts the connection: the relay itself sometimes goes on serving one after its shutdown."""
    first, url = await started()
    async with FaultProxy(url) as proxy, pooled(proxy.url) as (pool, received):
        await pool.wait_caught_up("jobs")
        proxy.refuse()
        first.shutdown()
        await until(lambda: pool.status()[0].state is not RelayState.CONNECTED)
        second, _ = await started(port=int(url.rpartition(":")[2]))
        proxy.accept()
        await pool.wait_connected()
        event = signed()
        assert (await pool.publish(event))[proxy.url].is_accepted
        await until(lambda: received)
        assert ids(received) == [event.id]
        second.shutdown()


async def test_an_event_too_large_for_another_relay_is_refused_not_lost():
    async with peer_relay() as url, RelayPool([url]) as pool:
        await pool.wait_connected()
        outcome = (await pool.publish(signed("x" * 70_000)))[url]
        assert (outcome.state, outcome.prefix) == (PublishState.REFUSED, Prefix.BLOCKED)


async def test_our_relay_serves_another_client():
    sdk.uniffi_set_event_loop(asyncio.get_running_loop())
    keys = sdk.Keys.generate()
    async with LocalRelay() as relay, RelayPool([relay.url]) as pool:
        await pool.wait_connected()
        pool.subscribe("jobs", [Filter(kinds=frozenset({5050}))])
        client = sdk.Client()
        await client.add_relay(sdk.RelayUrl.parse(relay.url))
        await client.connect()
        job = sdk.EventBuilder(sdk.Kind(5050), "what is a satoshi? é😀").finalize(keys)
        await client.send_event(job)
        async with asyncio.timeout(5):
            async for received in pool.events():
                assert received.event == Event.from_wire(job.as_json())
                break
        ours = signed("an answer", kind=6050)
        assert (await pool.publish(ours))[relay.url].is_accepted
        wanted = sdk.Filter().kind(sdk.Kind(6050))
        found = await client.fetch_events(sdk.ReqTarget.auto([wanted]), timeout=dt.timedelta(seconds=5))
        assert [Event.from_wire(event.as_json()) for event in found] == [ours]
        await client.shutdown()
