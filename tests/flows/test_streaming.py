"""An answer on its way: the real SDK streams it, and the customer reads along over a real relay.

The clock is moved by hand, a word of the model at a time, so that what is said of seconds is exact.
"""

import asyncio
import contextlib
import itertools
import time
from dataclasses import dataclass

import pytest

from ledger.records import JobState
from relay_client import wire
from relay_client.dial import Outside
from relay_client.event import Event
from relay_client.local_relay import LocalRelay
from tests import anthropic_server as api
from tests.anthropic_server import FakeAnthropic
from tests.flows.live import asking, until
from tests.flows.shop import TIMMY, Shop, books, serving, status_of
from timmy_dvm.agent.claude import ClaudeAgent
from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr.customer import Order, Said
from timmy_dvm.nostr.pauses import FIRST_PAUSE_S
from timmy_dvm.nostr.privacy import Scheme

PACE_S = 0.25
STORY = " ".join(f"word{n}" for n in range(40))
"""Ten seconds of it."""
LONG_STORY = " ".join(f"word{n}" for n in range(120))
"""Two minutes of it, at a word a second."""


class Watched(ClaudeAgent):
    """The production agent; notes each piece of text and when it came."""

    def __init__(self, clock, fake):
        super().__init__("sk-ant-canary-0123456789", base_url=fake.url, sleep=clock.sleep)
        self._clock = clock
        self.pieces = []
        self.is_done = False

    async def work(self, task, *, deadline_s, on_text=None):
        def hear(piece):
            self.pieces.append((self._clock.monotonic(), piece))
            on_text(piece)

        try:
            return await super().work(task, deadline_s=deadline_s, on_text=hear)
        finally:
            self.is_done = True


@dataclass
class Story:
    """A shop in which the model writes when the test lets it, and the clock stands still meanwhile."""

    shop: Shop
    clock: ManualClock
    agent: Watched
    fake: FakeAnthropic
    may_write: asyncio.Semaphore

    @property
    def began(self):
        """When the first word came."""
        return self.agent.pieces[0][0]

    async def begins(self, errand):
        """The job is paid, and the model writes its first word."""
        await self.shop.pay((await errand.hears(Said.PRICE)).bolt11)
        self.write(2)  # past the head of the message and of its text
        await until(lambda: self.agent.pieces)

    async def goes_on(self, pace_s=PACE_S):
        """The next word, or the end; then its time passes."""
        heard = len(self.agent.pieces)
        self.write(1)
        await until(lambda: len(self.agent.pieces) > heard or self.agent.is_done)
        await self.clock.advance(0)
        await self.clock.advance(pace_s)

    async def ends(self, words, pace_s=PACE_S):
        """All the words, then the end."""
        while len(self.agent.pieces) < words:
            await self.goes_on(pace_s)
        self.write(10)
        await until(lambda: self.agent.is_done)

    def write(self, chunks):
        for _ in range(chunks):
            self.may_write.release()


@contextlib.asynccontextmanager
async def a_story(folder, *answers, relays=(), clock=None):
    clock, may_write = clock or ManualClock(time.time()), asyncio.Semaphore(0)

    async def until_it_may(_):
        await may_write.acquire()

    async with FakeAnthropic(sleep=until_it_may) as fake:
        fake.will(api.ok("ACCEPT", input_tokens=150, output_tokens=4), *answers)
        agent = Watched(clock, fake)
        await agent.load()
        async with serving(folder, *relays, clock=clock, agent=agent, announce="false") as shop:
            yield Story(shop, clock, agent, fake, may_write)


def partials_of(errand):
    return [answer for answer in errand.answers if answer.said is Said.PARTIAL]


@pytest.mark.parametrize("scheme", [None, Scheme.NIP44, Scheme.NIP04], ids=str)
async def test_the_customer_reads_along_and_then_has_it_all(tmp_path, scheme):
    async with a_story(tmp_path, api.ok(STORY, pace_s=PACE_S)) as story:
        order = Order(text="Tell me a story.", provider=TIMMY.public_key, encrypt=scheme)
        async with asking(story.shop.ready, order) as errand:
            await story.begins(errand)
            while story.clock.monotonic() + PACE_S <= story.began + 1.5:
                await story.goes_on()
            # The clock stands still: what was not sent by now is not going to be.
            first = await errand.hears(Said.PARTIAL)
            assert story.clock.monotonic() <= story.began + 1.5
            assert STORY.startswith(first.text)
            assert "word1" in first.text
            await story.ends(40)
            result = await errand.hears(Said.RESULT)
            receipt = await errand.hears(Said.RECEIPT)
            assert result.text == STORY
            partials = partials_of(errand)
            assert 4 <= len(partials) <= 10
            assert all(STORY.startswith(partial.text) for partial in partials)
            texts = [partial.text for partial in partials]
            assert texts == sorted(set(texts), key=len)
            said = [answer.said for answer in errand.answers]
            assert Said.PARTIAL not in said[said.index(Said.RESULT) :]
            dates = [partial.event.created_at for partial in partials]
            assert all(later >= earlier for earlier, later in itertools.pairwise(dates))
            if scheme is not None:
                assert all("word" not in partial.event.to_json() for partial in (*partials, result, receipt))
    (kept,) = await books(tmp_path)
    assert kept.job.state is JobState.COMPLETE
    assert kept.texts.result == STORY
    # The partials are in no ledger.
    assert not {partial.event.id for partial in partials} & {event.id for event, _ in kept.events}
    assert "partial" not in "".join(event.json for event, _ in kept.events)


async def test_a_stream_that_breaks_is_begun_anew_and_the_answer_is_whole(tmp_path):
    broken = api.Behaviour(chunks=api.cut(STORY).chunks, ending="cut", pace_s=PACE_S)
    async with (
        a_story(tmp_path, broken, api.ok("A wholly other story.")) as story,
        asking(story.shop.ready, "Tell me a story.") as errand,
    ):
        await story.begins(errand)
        for _ in range(10):
            await story.goes_on()
        assert STORY.startswith((await errand.hears(Said.PARTIAL)).text)
        story.write(100)
        while not story.agent.is_done:
            await story.clock.advance(1)  # the agent pauses before it tries again
            await asyncio.sleep(0.01)
        assert (await errand.hears(Said.RESULT)).text == "A wholly other story."
    pieces = [piece for _, piece in story.agent.pieces]
    assert "".join(pieces[pieces.index(None) + 1 :]) == "A wholly other story."


class Strict(LocalRelay):
    """Takes one event a second of each author and says `rate-limited` to the next."""

    def __init__(self, clock):
        super().__init__(outside=Outside(monotonic=clock.monotonic, unix_time=clock.now, sleep=clock.sleep))
        self._clock = clock
        self._last = {}
        self.refused = []

    def _on_event(self, client, raw):
        event = Event.from_wire(raw)
        now = self._clock.monotonic()
        if now - self._last.get(event.pubkey, float("-inf")) < 1:
            self.refused.append((now, event))
            return wire.relay_ok_message(event.id, False, "rate-limited: one event a second")
        self._last[event.pubkey] = now
        return super()._on_event(client, raw)


async def all_is_delivered(folder):
    """Whether the ledger says of every event of the finished job that a relay took it."""
    (story,) = await books(folder)
    taken = [any(delivery.outcome == "accepted" for delivery in deliveries) for _, deliveries in story.events]
    return story.job.state is JobState.COMPLETE and all(taken)


async def test_over_a_relay_that_limits_rates_partials_give_way_and_the_result_arrives(tmp_path):
    clock = ManualClock(time.time())
    telling = api.ok(LONG_STORY, pace_s=PACE_S)
    async with (
        Strict(clock) as relay,
        a_story(tmp_path, telling, relays=(relay.url,), clock=clock) as story,
        asking(story.shop.ready, "Tell me a long story.") as errand,
    ):
        await story.begins(errand)
        await story.ends(120, pace_s=1)
        while not await all_is_delivered(tmp_path):
            await clock.advance(1)
            await asyncio.sleep(0.05)
        assert (await errand.hears(Said.RESULT)).text == LONG_STORY
        await errand.hears(Said.RECEIPT)
        assert 2 <= len(partials_of(errand)) <= 10
    spare = [at for at, event in relay.refused if status_of(event) == "partial"]
    # Each refusal of a partial is followed by a pause in which none is tried.
    assert all(later - earlier >= FIRST_PAUSE_S for earlier, later in itertools.pairwise(spare))
