"""An evil relay beside a good one: it delivers nothing, it is named with what it did, and it costs little."""

import asyncio
import contextlib
import json
import sys
from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import pytest

from relay_client.connection import SILENCE_S, RelayState
from relay_client.dial import DialOptions, Outside
from relay_client.filter import Filter
from relay_client.happenings import CaughtUp
from relay_client.local_relay import LocalRelay
from relay_client.pool import RelayPool
from tests.faults import FaultProxy, ScriptedRelay, until
from tests.relay_client.evil import EVILS, endless_eose, repetition, silence, slow_frame
from tests.relay_client.kit import KEYS, hurry, plant, pooled, signed

MAX_HELD_BYTES = 300_000
"""Of one pool with two relays that has met a few dozen events."""


def held_bytes(thing, seen=None):
    """What our own objects hold, in bytes: all they refer to that is ours, a collection or plain data."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    size = sys.getsizeof(thing, 0)
    match thing:
        case str() | bytes() | int() | float() | None:
            return size
        case Mapping():
            inner = [*thing.keys(), *thing.values()]
        case list() | tuple() | deque() | AbstractSet():
            inner = list(thing)
        case _ if type(thing).__module__.startswith("relay_client"):
            names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
            inner = [*vars(thing).values()] if hasattr(thing, "__dict__") else []
            inner += [getattr(thing, name, None) for name in names]
        case _:
            return 0
    return size + sum(held_bytes(one, seen) for one in inner)


async def test_what_is_held_can_be_weighed():
    pool = RelayPool(["wss://relay.example"])
    light = held_bytes(pool)
    for n in range(100):
        pool._hearing._subscriptions[str(n)] = deque(str(n) * 1_000 for _ in range(10))
    assert held_bytes(pool) - light > 100_000
    await pool._hearing._stream.put(signed("y" * 50_000))
    assert held_bytes(pool) - light > 150_000


@pytest.mark.parametrize("evil", EVILS, ids=lambda evil: evil.name)
async def test_an_evil_relay_is_named_costs_little_and_keeps_nothing_of_the_good_one_from_us(evil):
    events = [signed(str(n)) for n in range(20)]
    async with (
        LocalRelay() as good,
        ScriptedRelay(evil.script) as bad,
        pooled(bad.url, good.url, keys=KEYS, outside=Outside(sleep=hurry)) as (pool, received),
    ):
        await until(lambda: bad.connections >= 1)
        for event in events:
            await plant(good, event)
        await until(lambda: sum(item.url == good.url for item in received) == len(events), timeout_s=20)
        if evil.fault is not None:
            await until(lambda: pool.status()[0].faults, timeout_s=20)
            assert set(pool.status()[0].faults) == {evil.fault}
        assert pool.status()[1].faults == {}
        assert (await pool.publish(signed(), [good.url]))[good.url].is_accepted
        assert held_bytes(pool) < MAX_HELD_BYTES
    strangers = [item.event for item in received if item.event.pubkey != KEYS.public_key]
    assert len(strangers) == (evil.script is repetition)


@pytest.mark.parametrize("evil", EVILS, ids=lambda evil: evil.name)
async def test_an_evil_relay_keeps_no_answer_of_the_good_one_from_a_question(evil):
    notes = [signed(str(n), kind=1) for n in range(20)]
    async with LocalRelay() as good, ScriptedRelay(evil.script) as bad:
        await plant(good, *notes)
        async with RelayPool([bad.url, good.url], keys=KEYS) as pool:
            await until(lambda: bad.connections >= 1)
            await until(lambda: pool.status()[1].state is RelayState.CONNECTED)
            async with asyncio.timeout(20):
                found = await pool.query([Filter(kinds=frozenset({1}))], timeout_s=600, enough=20)
            assert {event.id for event in found} == {note.id for note in notes}
            assert held_bytes(pool) < MAX_HELD_BYTES


async def test_a_relay_that_refuses_to_serve_is_shown_as_such():
    async def refuse(client):
        await client.say("CLOSED", (await client.hear("REQ"))[1], "restricted: pay \x1b[31m first")

    async with ScriptedRelay(refuse) as relay, pooled(relay.url) as (pool, _):
        await until(lambda: pool.status()[0].unserved)
        assert pool.status()[0].unserved == {"jobs": "restricted: pay  [31m first"}


async def test_a_relay_that_answers_no_publish_is_noted():
    async with ScriptedRelay(silence) as relay, RelayPool([relay.url]) as pool:
        await pool.wait_connected()
        for _ in range(3):
            await pool.publish(signed(), timeout_s=0.01)
        assert pool.status()[0].faults == {"unanswered": 3}
        assert pool.status()[0].misbehaviour == 0


async def test_only_a_relay_that_says_nothing_at_all_is_noted_as_silent():
    """One that is slow to send all it has stored is not."""
    watches, noted = [], asyncio.Event()

    async def sleep(seconds):
        if seconds == SILENCE_S:
            watches.append(seconds)
            await noted.wait()

    async def slow(client):
        await client.say("NOTICE", "one moment")
        await client.hear("never")

    async with (
        ScriptedRelay(slow) as talker,
        ScriptedRelay(silence) as mute,
        pooled(talker.url, mute.url, outside=Outside(sleep=sleep)) as (pool, _),
    ):
        await until(lambda: pool.status()[0].misbehaviour > 0 and len(watches) == 2)
        noted.set()
        await until(lambda: pool.status()[1].faults == {"unanswered": 1})
        assert pool.status()[0].faults == {}


async def test_a_relay_that_answers_no_ping_is_noted_and_dialled_anew():
    options = DialOptions(ping_interval_s=0.1, ping_timeout_s=0.1)
    async with ScriptedRelay(slow_frame) as relay, pooled(relay.url, options=options) as (pool, _):
        await until(lambda: relay.connections >= 2)
        assert pool.status()[0].faults["unanswered"] >= 1
        assert "ping timeout" in pool.status()[0].last_error


async def test_all_evil_relays_at_once_cost_little_memory_and_keep_nothing_of_the_good_one_from_us():
    """Weighed in a process of its own, while they all pour; the good relay's events come one after the other."""
    async with contextlib.AsyncExitStack() as stack:
        good = await stack.enter_async_context(LocalRelay())
        bad = [await stack.enter_async_context(ScriptedRelay(evil.script)) for evil in EVILS]
        program = [
            sys.executable,
            "-m",
            "tests.relay_client.flood_child",
            "200",
            good.url,
            *(one.url for one in bad),
        ]
        child = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        stack.callback(lambda: child.returncode is None and child.kill())
        await until(lambda: all(one.connections for one in bad), timeout_s=30)
        for n in range(200):
            await plant(good, signed(str(n)))
        async with asyncio.timeout(60):
            told = json.loads((await child.communicate())[0])
    assert told["received"] == 200
    assert told["peak_mib"] < 32
    assert told["faults"][good.url] == {}


async def test_a_relay_that_is_dropped_stays_named_when_it_is_back():
    async def shout_once(client):
        if relay.connections == 1:
            for _ in range(100):
                await client.say("EVENT", "nobody", {})
        else:
            await client.say("EOSE", (await client.hear("REQ"))[1])

    async with ScriptedRelay(shout_once) as relay, pooled(relay.url) as (pool, _):
        await pool.wait_caught_up("jobs")
        assert relay.connections == 2
        assert pool.status()[0].faults["unknown_subscription"] >= 20
        assert pool.status()[0].misbehaviour == 0


async def test_an_evil_relay_cannot_announce_that_another_has_caught_up():
    async with LocalRelay() as good, ScriptedRelay(endless_eose) as evil, FaultProxy(good.url) as proxy:
        proxy.stall()
        async with pooled(evil.url, proxy.url) as (pool, _):
            assert await pool.wait_caught_up("jobs") == {evil.url}
            await pool._hearing.heard(pool._connections[evil.url], CaughtUp("nobody asked"))
            proxy.pass_on()
            await until(lambda: pool.status()[1].state is RelayState.CONNECTED)
