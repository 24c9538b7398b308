"""What the tests of sockets share: a signer, a listener that writes down, naps that take no time, a pool."""

import asyncio
import contextlib
import os
import time

from relay_client.connection import SILENCE_S, RelayConnection, RelayState
from relay_client.dial import DialOptions, Outside
from relay_client.filter import Filter
from relay_client.keys import Keys
from relay_client.pool import RelayPool
from relay_client.session import Session

KEYS = Keys.from_bytes(b"\x01" * 32)
JOBS = Filter(kinds=frozenset({5050}))


def signed(content="", *, kind=5050, tags=(), created_at=None, keys=KEYS):
    """A true event, dated now unless told otherwise."""
    stamp = int(time.time()) if created_at is None else created_at
    return keys.sign(kind=kind, created_at=stamp, tags=tags, content=content, aux=os.urandom(32))


class Naps:
    """A `sleep` that only writes down how long it was asked to, and lets others run.

    The watch for silence, which each connection starts with, is left to sleep.
    """

    def __init__(self):
        self.asked = []

    async def __call__(self, seconds):
        if seconds == SILENCE_S:
            await asyncio.sleep(seconds)
        self.asked.append(seconds)
        await asyncio.sleep(0.001)


async def hurry(seconds):
    """Pauses are a hundredth of what they would be; the watch for silence is left the time of a slow machine."""
    await asyncio.sleep(seconds / (20 if seconds == SILENCE_S else 100))


class Clock:
    """Time that only passes by sleeping, and only when it is let."""

    def __init__(self):
        self.now = 0.0
        self.sleeps = []
        self.passing = asyncio.Event()

    def outside(self):
        return Outside(monotonic=lambda: self.now, sleep=self.sleep, jitter=lambda: 0.0)

    async def sleep(self, seconds):
        self.sleeps.append(seconds)
        await self.passing.wait()
        self.now += seconds
        await asyncio.sleep(0.001)


class Recorder:
    """A listener that writes everything down; with the gate closed it is a slow one."""

    def __init__(self):
        self.happenings = []
        self.states = []
        self.since_of = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def heard(self, connection, happening):
        await self.gate.wait()
        self.happenings.append(happening)

    def changed(self, connection):
        self.states.append(connection.state)

    def since(self, connection, sub_id):
        return self.since_of.get(sub_id)

    def of(self, kind):
        return [happening for happening in self.happenings if isinstance(happening, kind)]


@contextlib.asynccontextmanager
async def connected(url, listener, *, keys=None, outside=None, options=None, subscribe=True):
    """A connection that runs until the block ends; it has asked for jobs."""
    connection = RelayConnection(
        Session(url, keys), listener, outside or Outside(sleep=Naps()), options or DialOptions()
    )
    if subscribe:
        connection.subscribe("jobs", [JOBS])
    running = asyncio.create_task(connection.run())
    try:
        yield connection
    finally:
        running.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([running])
        assert running.cancelled()
        assert connection.state is RelayState.STOPPED


@contextlib.asynccontextmanager
async def reading(pool):
    """All that comes out of the pool, read in the background."""
    received = []

    async def read():
        async for item in pool.events():
            received.append(item)  # noqa: PERF401 - the list is looked at while it grows

    reader = asyncio.create_task(read())
    try:
        yield received
    finally:
        reader.cancel()
        await asyncio.wait([reader])


@contextlib.asynccontextmanager
async def pooled(*urls, **options):
    """A pool of these relays that reads jobs, and what it has received so far."""
    options.setdefault("outside", Outside(sleep=Naps()))
    async with RelayPool(urls, **options) as pool, reading(pool) as received:
        pool.subscribe("jobs", [JOBS])
        yield pool, received


def ids(received):
    return [item.event.id for item in received]


async def plant(relay, *events):
    """Put events on a relay, as any of its users could."""
    async with RelayPool([relay.url]) as pool:
        await pool.wait_connected()
        for event in events:
            assert (await pool.publish(event))[relay.url].is_accepted


def refusing(words, times):
    """Refuses so many events, takes the others; writes down the ids of all."""
    seen = []

    async def script(client):
        while True:
            event = (await client.hear("EVENT"))[1]
            seen.append(event["id"])
            accepted = len(seen) > times
            await client.say("OK", event["id"], accepted, "" if accepted else words)

    return script, seen
