"""A letterbox with a scripted pool, a recording engine, people who read somewhere, and a clock moved by hand."""

import asyncio
import contextlib
import itertools

from relay_client.nip59 import KIND_GIFT_WRAP, Rumor, wrap
from relay_client.pool import Received
from tests.timmy_dvm.nostr.door import PRICES, TIMEOUT_S, Books, RecordingEngine, ScriptedPool, gatherer_of
from tests.timmy_dvm.nostr.kit import ALICE, NOW, P_TIMMY, RELAY, TIMMY
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.nostr.desk import Desk
from timmy_dvm.nostr.letterbox import SUBSCRIPTION, Letterbox

KEY = f"letter_cursor:{RELAY}"
DAY = 86_400
ENTROPY = SeededRandomness("wraps").token


def rumor(text="What is a relay?", *tags, keys=ALICE, at=NOW, kind=14):
    return Rumor.make(keys.public_key, kind=kind, created_at=at, tags=(P_TIMMY, *tags), content=text)


def wrapped(said, *, keys=ALICE, at=NOW - DAY, to=TIMMY, kind=KIND_GIFT_WRAP):
    return wrap(said, keys, to.public_key, sealed_at=at, wrapped_at=at, entropy=ENTROPY, kind=kind)


def letter(text="What is a relay?", *tags, keys=ALICE, at=NOW, kind=14):
    return wrapped(rumor(text, *tags, keys=keys, at=at, kind=kind), keys=keys)


class Outlet:
    """Everybody can be reached, but for those a test puts aside."""

    def __init__(self):
        self.beyond = set()
        self.broken = set()

    async def can_reach(self, key):
        if key in self.broken:
            raise RuntimeError("broken")
        return key not in self.beyond


class Post:
    """A letterbox and the world around it."""

    def __init__(self, books=None):
        self.clock = ManualClock(NOW)
        self.pool = ScriptedPool()
        self.engine = RecordingEngine()
        self.books = Books({KEY: str(NOW)}) if books is None else books
        self.outlet = Outlet()
        self.desk = Desk(
            engine=self.engine,
            store=self.books,
            gatherer=gatherer_of(self.books, self.clock),
            prices=PRICES,
            clock=self.clock,
            randomness=SeededRandomness(1),
            network="bcrt",
            error_answers_per_second=1_000,
        )
        self.box = Letterbox(
            pool=self.pool,
            desk=self.desk,
            outlet=self.outlet,
            memory=self.books,
            keys=TIMMY,
            clock=self.clock,
        )
        self._numbers = itertools.count()

    async def __aenter__(self):
        self.running = asyncio.create_task(self.box.run())
        async with asyncio.timeout(TIMEOUT_S):
            await self.pool.subscribed.wait()
        return self

    async def __aexit__(self, *_):
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.running

    def hear(self, *events, url=RELAY):
        for event in events:
            self.box.heard(Received(url, SUBSCRIPTION, event))

    def catch_up(self, url=RELAY):
        self.pool._on_caught_up(url)

    async def heard(self):
        """All facts, once all that was heard so far has been read: a last message has come through."""
        last = rumor(f"marker {next(self._numbers)}", at=int(self.clock.now()))
        self.hear(wrapped(last))
        async with asyncio.timeout(TIMEOUT_S), self.engine.heard:
            await self.engine.heard.wait_for(
                lambda: any(getattr(fact, "event_id", None) == last.id for fact in self.engine.facts)
            )
        self.engine.facts = [fact for fact in self.engine.facts if fact.event_id != last.id]
        return self.engine.facts
