"""The relay door with a scripted pool, a recording engine, books in memory, and a clock moved by hand."""

import asyncio
import contextlib
import functools
import types

from ledger.records import Applied, Change, NewJob, Replayed
from relay_client.connection import RelayState
from relay_client.pool import Received, RelayStatus, Stored
from tests.timmy_dvm.nostr.kit import NOW, P_TIMMY, RELAY, TIMMY, signed
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.core.facts import RequestReceived
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.nostr.desk import Desk
from timmy_dvm.nostr.gathering import Gatherer
from timmy_dvm.nostr.lobby import Lobby, Payers
from timmy_dvm.nostr.nip90 import Terms
from timmy_dvm.nostr.port import NostrPort
from timmy_dvm.prices import FixedPrice

OTHER = "wss://other.example"
KEY = f"relay_cursor:{RELAY}"
TIMEOUT_S = 10
PRICES = FixedPrice(BtcPrice.from_usd(100_000, source="test", freshness=Freshness.FIXED, at=NOW))


class ScriptedPool:
    """Yields what it is told to, in order: events, and that a relay has caught up."""

    def __init__(self, urls=(RELAY, OTHER)):
        self.urls = urls
        self.items = asyncio.Queue()
        self.connected = set(urls)
        self.filters = None
        self.subscribed = asyncio.Event()
        self.published = []
        self.outcomes = {}
        self.told, self.shelves = {}, {}
        self.unserved = {}

    def subscribe(self, _sub_id, filters, *, since=None, on_caught_up=None, screen=None):
        self.screen = screen
        self.filters, self._since, self._on_caught_up = filters, since, on_caught_up
        self.sinces = {url: since(url) for url in self.urls}
        self.subscribed.set()

    def hear(self, *events, url=RELAY, subscription="timmy"):
        for event in events:
            if subscription != "timmy" or self.screen(url, event):
                self.items.put_nowait(Received(url, subscription, event))

    def reconnect(self, url=RELAY):
        self.sinces[url] = self._since(url)

    def catch_up(self, url=RELAY):
        self.items.put_nowait(url)

    def end(self):
        self.items.put_nowait(None)

    async def events(self):
        while (item := await self.items.get()) is not None:
            if isinstance(item, Received):
                yield item
            else:
                self._on_caught_up(item)

    async def publish(self, event, urls=None):
        self.published.append((event.id, urls))
        return self.outcomes

    async def wait_connected(self, count=1, timeout_s=10.0):
        del timeout_s
        if len(self.connected) < count:
            raise TimeoutError

    def stored(self, _sub_id, url):
        return self.told.get(url, (Stored(),) * len(self.filters))

    async def query(self, filters, *, urls, timeout_s):
        del timeout_s
        return await self.shelves[urls[0]].query(filters)

    def status(self):
        states = {True: RelayState.CONNECTED, False: RelayState.WAITING}
        return [
            RelayStatus(url, states[url in self.connected], None, None, 0, 0.0, None, unserved=self.unserved)
            for url in self.urls
        ]


class RecordingEngine:
    """Writes facts down; `plan` says what happens to the next ones: an error, a gate to wait at, or an outcome."""

    def __init__(self):
        self.facts = []
        self.tried = 0
        self.at_once = 0
        self.most_at_once = 0
        self.plan = []
        self.heard = asyncio.Condition()

    async def handle(self, fact):
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        async with self.heard:
            self.tried += 1
            self.heard.notify_all()
        try:
            step = self.plan.pop(0) if self.plan else None
            if isinstance(step, Exception):
                raise step
            if isinstance(step, asyncio.Event):
                await step.wait()
        finally:
            self.at_once -= 1
        async with self.heard:
            self.facts.append(fact)
            self.heard.notify_all()
        if isinstance(step, Applied | Replayed):
            return step
        job = NewJob.__new__(NewJob) if isinstance(fact, RequestReceived) else None
        return Applied(None, change=Change(new_job=job))

    async def wait_tried(self, count):
        async with asyncio.timeout(TIMEOUT_S), self.heard:
            await self.heard.wait_for(lambda: self.tried >= count)

    async def wait_for(self, count):
        async with asyncio.timeout(TIMEOUT_S), self.heard:
            await self.heard.wait_for(lambda: len(self.facts) >= count)
        return self.facts


class Books(dict):
    """Settings, and jobs and top-ups by event id."""

    def __init__(self, *args):
        super().__init__(*args)
        self.jobs = {}
        self.topups = {}
        self.answered = []
        self.errors = []

    async def setting(self, key):
        return self.get(key)

    async def remember(self, key, value):
        if self.errors:
            raise self.errors.pop()
        self[key] = value

    async def look(self, at):
        if self.errors:
            raise self.errors.pop()
        return at(
            types.SimpleNamespace(
                event=lambda _: None,
                job_of_event=self.jobs.get,
                topup_of_event=self.topups.get,
                newest_jobs_of=lambda key, _: [job for job in self.answered if job.pubkey == key],
                targets_of=lambda _: [],
                texts=lambda _: types.SimpleNamespace(result="so it is"),
            )
        )

    def has(self, event, pubkey=None):
        self.jobs[event.id] = types.SimpleNamespace(event_id=event.id, pubkey=pubkey or event.pubkey)

    def has_topup(self, event):
        self.topups[event.id] = types.SimpleNamespace(event_id=event.id, pubkey=event.pubkey)


class Known:
    """Who has paid before."""

    def __init__(self, people):
        self._keys = [keys.public_key for keys in people]

    async def paying_keys(self, limit):
        return self._keys[:limit]


class Shelf:
    """Relays that have what they were given, ours and others; they note what they are asked."""

    def __init__(self, *events, others=None):
        self.ours = list(events)
        self.others = others or {}
        self.asked = []
        self.gate = None

    async def query(self, filters, *, urls=None, timeout_s, enough=None):
        self.asked.append((filters, urls, timeout_s, enough))
        if self.gate is not None:
            await self.gate.wait()
        has = self.ours if urls is None else [event for url in urls for event in self.others.get(url, ())]
        return [event for event in has if any(wanted.matches(event) for wanted in filters)]


def gatherer_of(books, clock, shelf=None):
    relays = shelf or Shelf()
    return Gatherer(books=books, relays=relays, pages=None, public_key=TIMMY.public_key, clock=clock, dials=True)


WIDE = functools.partial(Lobby, in_a_row=200)
"""All come in at once, for tests that are about what happens after it."""


def port_of(
    pool,
    engine,
    books,
    clock,
    *,
    kinds=(5050,),
    open_jobs=True,
    payers=(),
    aside=lambda _: None,
    shelf=None,
    lobby=WIDE,
    **how,
):
    desk = Desk(
        engine=engine,
        store=books,
        gatherer=gatherer_of(books, clock, shelf),
        prices=PRICES,
        clock=clock,
        randomness=SeededRandomness(1),
        **{"network": "bcrt", "error_answers_per_second": 20, **how},
    )
    terms = Terms(kinds=frozenset(kinds), open_jobs=open_jobs)
    known = Payers(Known(payers))
    return NostrPort(
        pool=pool,
        desk=desk,
        memory=books,
        keys=TIMMY,
        clock=clock,
        terms=terms,
        payers=known,
        lobby=lobby(clock),
        aside=aside,
    )


class Door:
    """A port and the world around it."""

    def __init__(self, *, books=None, pool=None, engine=None, **config):
        self.clock = ManualClock(NOW)
        self.pool = pool or ScriptedPool()
        self.engine = engine or RecordingEngine()
        self.books = Books({KEY: str(NOW)}) if books is None else books
        self.port = port_of(self.pool, self.engine, self.books, self.clock, **config)

    async def __aenter__(self):
        self.running = asyncio.create_task(self.port.run())
        async with asyncio.timeout(TIMEOUT_S):
            await self.pool.subscribed.wait()
        return self

    async def __aexit__(self, *_):
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.running

    async def marked(self):
        """Return once all that was heard so far has been read and begun: a last request has come through."""
        marker = signed(("i", f"marker {self.engine.tried}"), P_TIMMY, at=int(self.clock.now()))
        self.pool.hear(marker)
        async with asyncio.timeout(TIMEOUT_S), self.engine.heard:
            await self.engine.heard.wait_for(
                lambda: any(getattr(fact, "event_id", None) == marker.id for fact in self.engine.facts)
            )
        self.engine.facts = [fact for fact in self.engine.facts if fact.event_id != marker.id]
        return self.engine.facts

    async def waiting(self, sleepers):
        """Return once a retry sleeps (beside the keeper of the cursors)."""
        async with asyncio.timeout(TIMEOUT_S):
            await self.clock.wait_for_sleepers(sleepers)


def job(text="Hi", **how):
    return signed(("i", text, "text"), P_TIMMY, **how)
