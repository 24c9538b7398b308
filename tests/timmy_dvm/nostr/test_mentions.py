"""A mention is answered once a thread, a few times a minute, and never because we spoke before."""

import asyncio
import contextlib

import pytest

from ledger.store import StoreUnavailable
from relay_client.keys import Keys
from relay_client.pool import Received
from tests.timmy_dvm.nostr.door import PRICES, TIMEOUT_S, Books, RecordingEngine, ScriptedPool
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, P_TIMMY, RELAY, TIMMY, signed
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.core.actions import Introduced
from timmy_dvm.core.trust import Tier
from timmy_dvm.nostr import mentions
from timmy_dvm.nostr.mentions import Mentions
from timmy_dvm.nostr.origin import read_origin
from timmy_dvm.nostr.speaker import NostrSpeaker

ROOT = "0a" * 32


class OurEvents(Books):
    def __init__(self, *ids):
        super().__init__()
        self.ids = set(ids)

    async def event(self, event_id):
        return event_id if event_id in self.ids else None


class World:
    def __init__(self, *ours, per_minute=3):
        self.clock, self.pool, self.engine = ManualClock(NOW), ScriptedPool(), RecordingEngine()
        self.mentions = Mentions(
            pool=self.pool,
            engine=self.engine,
            books=OurEvents(*ours),
            prices=PRICES,
            public_key=TIMMY.public_key,
            clock=self.clock,
            per_minute=per_minute,
        )

    async def __aenter__(self):
        self.running = asyncio.create_task(self.mentions.run())
        async with asyncio.timeout(TIMEOUT_S):
            await self.pool.subscribed.wait()
        return self

    async def __aexit__(self, *_):
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.running

    async def hears(self, *notes):
        """The facts that come of these, by the notes they are about."""
        before = len(self.engine.facts)
        for note in notes:
            self.mentions.heard(Received(RELAY, mentions.SUBSCRIPTION, note))
        for _ in range(20):  # nothing here waits for anything else
            await asyncio.sleep(0)
        return [fact.event_id for fact in self.engine.facts[before:]]


def note(*tags, number=0, keys=ALICE, to=(P_TIMMY,), **how):
    return signed(*tags, *to, **{"kind": 1, "content": f"hello Timmy {number}", "keys": keys} | how)


async def test_a_mention_becomes_a_fact_with_all_that_its_answer_needs():
    mention = note()
    async with World() as world:
        assert await world.hears(mention) == [mention.id]
        assert [filter_.to_obj() for filter_ in world.pool.filters] == [{"kinds": [1], "#p": [TIMMY.public_key]}]
        assert world.pool.sinces[RELAY] == NOW - 60
    (fact,) = world.engine.facts
    assert (fact.thread_id, fact.btc, fact.at) == (mention.id, PRICES.current(), NOW)
    came, request = read_origin(fact.origin)
    assert (came.relay, request.id) == (RELAY, mention.id)


async def test_the_fourth_in_a_minute_is_not_answered_and_others_are():
    async with World() as world:
        crowd = [note(number=number) for number in range(5)]
        assert await world.hears(*crowd, note(keys=MALLORY)) == [
            *(mention.id for mention in crowd[:3]),
            note(keys=MALLORY).id,
        ]
        await world.clock.advance(59)
        assert await world.hears(note(number=6)) == []
        await world.clock.advance(1)
        assert await world.hears(note(number=7)) == [note(number=7).id]


async def test_all_together_are_answered_so_many_times_a_minute():
    async with World() as world:
        for number in range(1, 41):
            await world.hears(note(keys=Keys.from_bytes(bytes([number + 50]) * 32)))
        assert len(world.engine.facts) == mentions.ANSWERS_PER_MINUTE
        await world.clock.advance(60)
        assert await world.hears(note()) == [note().id]


async def test_a_thread_is_one_happening_however_often_it_names_us():
    async with World() as world:
        await world.hears(note(("e", ROOT, "", "root")), note(("e", ROOT, "", "root"), number=1, keys=MALLORY))
    assert {fact.id for fact in world.engine.facts} == {f"mention:{ROOT}"}


@pytest.mark.parametrize(
    "tags",
    [
        [("e", ROOT)],
        [("e", "0b" * 32, "", "root"), ("e", ROOT, "", "reply")],
        [("e", ROOT, "", "root"), ("e", "0b" * 32, "", "reply")],
    ],
)
async def test_what_replies_to_us_is_not_answered(tags):
    async with World(ROOT) as world:
        assert await world.hears(note(*tags)) == []
        assert await world.hears(note(("e", ROOT, "", "mention"))) != []


STRANGE = {
    "our own": note(keys=TIMMY),
    "before we were there": note(at=NOW - 61),
    "of the future": note(at=NOW + 901),
    "to others": note(to=[("p", MALLORY.public_key)]),
    "of another kind": note(kind=1111),
    "a bot's": note(("bot", "answer")),
    "to a crowd": note(to=[P_TIMMY, *(("p", f"{number:064x}") for number in range(10))]),
}


@pytest.mark.parametrize("what", STRANGE)
async def test_what_does_not_speak_to_us_is_left_alone(what):
    async with World() as world:
        assert await world.hears(STRANGE[what]) == []


async def test_what_is_old_is_left_alone_however_long_we_have_been_there():
    async with World() as world:
        await world.clock.advance(1_000)
        assert await world.hears(note(at=NOW + 399)) == []
        assert await world.hears(note(at=NOW + 400)) != []
        assert world.pool._since(RELAY) == NOW + 400


async def test_while_the_ledger_is_away_a_mention_is_forgone_and_the_next_is_answered():
    async with World() as world:
        world.engine.plan = [StoreUnavailable("the disk is full; free some space")]
        assert await world.hears(note()) == []
        assert await world.hears(note(number=1)) == [note(number=1).id]


async def test_a_flood_is_not_queued():
    world = World()  # nobody reads
    for number in range(100):
        world.mentions.heard(Received(RELAY, mentions.SUBSCRIPTION, note(number=number)))
    assert world.mentions._notes.qsize() == 32


async def test_the_answer_says_who_we_are_what_it_costs_and_how_to_ask_and_stands_in_the_thread():
    mention = note(("e", ROOT, RELAY, "root"))
    async with World() as world:
        await world.hears(mention)
    (fact,) = world.engine.facts
    speaker = NostrSpeaker(TIMMY, SeededRandomness(1), name="Timothy")
    (event,) = speaker.speak(Introduced(price=13_000), origin=fact.origin, job_id=None, tier=Tier.NEW, at=NOW + 1)
    answer = mention.from_wire(event.json)
    assert (answer.kind, answer.created_at, answer.pubkey) == (1, NOW + 1, TIMMY.public_key)
    assert answer.tags == (
        ("e", ROOT, RELAY, "root"),
        ("e", mention.id, RELAY, "reply"),
        ("p", ALICE.public_key),
        ("bot", "answer"),
    )
    assert answer.content == (
        "I am Timothy, an AI agent that answers requests for sats. A short question costs 13 sats (about 1 cent) "
        "at most; what is not used comes back. To ask, publish a NIP-90 job request (kind 5050) that names "
        f"nostr:{TIMMY.npub} in a p tag: its price comes first."
    )
    assert (event.job_id, str(event.role)) == (None, "feedback")
