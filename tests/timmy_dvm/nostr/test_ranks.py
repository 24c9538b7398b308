"""How others rank a key (NIP-85): looked up beside, the newest counts, and no rank lifts above the cap."""

import asyncio
import contextlib

import pytest

from relay_client.local_relay import LocalRelay
from relay_client.pool import RelayPool
from relay_client.strangers import as_it_says
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, TIMMY, signed, stranger
from timmy_dvm.clock import ManualClock
from timmy_dvm.core.trust import Tier
from timmy_dvm.nostr import ranks
from timmy_dvm.nostr.ranks import KEPT_S, MAX_AHEAD_S, PAUSE_S, REFRESH_S, RETRY_S, Provider, Ranks, Said, read

BOB, CAROL = "b0" * 32, "ca" * 32
START = 1_700_000_000
ONE, OTHER = "wss://one.example", "wss://other.example"
TIERS = {50: Tier.ESTABLISHED, 80: Tier.TRUSTED}


def ranked(rank, subject=BOB, *more, by=ALICE, at=START - 9):
    return signed(("d", subject), ("rank", str(rank)), *more, kind=30_382, keys=by, at=at)


class Relays:
    """What each relay has stored; a query waits while ``open`` is not set."""

    def __init__(self, *events, **of_relay):
        self.events = {ONE: list(events), OTHER: []} | of_relay
        self.asked, self.open = [], asyncio.Event()
        self.open.set()

    async def query(self, filters, *, urls):
        (relay,) = urls
        (wanted,) = filters
        self.asked.append((relay, wanted))
        await self.open.wait()
        return [event for event in self.events[relay] if wanted.matches(event)]


@contextlib.asynccontextmanager
async def running(relays, *providers):
    clock = ManualClock(START)
    named = providers or (Provider(ALICE.public_key, ONE),)
    made = Ranks(relays, clock, providers=named, tiers=TIERS)
    task = asyncio.create_task(made.run())
    try:
        async with asyncio.timeout(30):
            yield made, clock
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def looked_up(made, clock, pubkey=BOB):
    """What a key is lifted to once it was asked about and looked up."""
    made.lift(pubkey)
    await clock.wait_for_sleepers(1)
    await clock.advance(PAUSE_S)
    return made.lift(pubkey)


@pytest.mark.parametrize(
    ("rank", "tier"),
    [
        (0, None),
        (49, None),
        (50, Tier.ESTABLISHED),
        (79, Tier.ESTABLISHED),
        (80, Tier.TRUSTED),
        (100, Tier.TRUSTED),
    ],
)
async def test_a_rank_lifts_to_the_tier_the_operator_gave_it_and_never_above(rank, tier):
    async with running(Relays(ranked(rank))) as (made, clock):
        assert await looked_up(made, clock) is tier
        assert await looked_up(made, clock, CAROL) is None


@pytest.mark.parametrize(
    "rank", ["101", "999", "1000", "-1", "+5", "99.5", "9e1", " 90", "90 ", "٩٠", "", "high", "0x5a"]
)
async def test_what_is_no_rank_from_0_to_100_lifts_nobody(rank):
    async with running(Relays(ranked(rank))) as (made, clock):
        assert await looked_up(made, clock) is None


def test_an_assertion_without_one_rank_has_none():
    assert read(ranked(90)) == (BOB, Said(START - 9, 90))
    assert read(ranked(90, BOB, ("rank", "91")))[1].rank is None
    assert read(signed(("d", BOB), kind=30_382))[1].rank is None
    assert read(signed(("d",), ("rank", "9"), kind=30_382))[0] == ""
    assert read(signed(("rank", "9"), kind=30_382))[0] == ""


@pytest.mark.parametrize(
    "event",
    [
        ranked(90, by=MALLORY),
        signed(("d", BOB), ("rank", "90"), kind=30_383),
        ranked(90, CAROL, ("d", BOB)),
        ranked(90, at=START + MAX_AHEAD_S + 60),
        ranked(90, BOB, ("expiration", str(START - 1))),
    ],
    ids=["a stranger's", "another kind", "of another", "from the future", "expired"],
)
async def test_what_is_not_the_providers_word_on_that_key_lifts_nobody(event):
    async with running(Relays(event)) as (made, clock):
        assert await looked_up(made, clock) is None


async def test_the_newest_word_counts_also_where_it_takes_the_rank_back():
    for newer, tier in ((ranked(55, at=START), Tier.ESTABLISHED), (ranked("none", at=START), None)):
        async with running(Relays(ranked(90), newer)) as (made, clock):
            assert await looked_up(made, clock) is tier
    relays = Relays(ranked(90, at=START))
    async with running(relays) as (made, clock):
        assert await looked_up(made, clock) is Tier.TRUSTED
        relays.events[ONE] = [ranked(1, at=START - 99)]
        await clock.advance(REFRESH_S)
        assert await looked_up(made, clock) is Tier.TRUSTED
        assert len(relays.asked) == 2


async def test_of_several_providers_the_lowest_rank_counts():
    """One who ranks everybody at the top lifts nobody whom another knows better."""
    providers = (Provider(ALICE.public_key, ONE), Provider(MALLORY.public_key, OTHER))
    relays = Relays(ranked(55), **{OTHER: [ranked(100, by=MALLORY), ranked(100, CAROL, by=MALLORY)]})
    async with running(relays, *providers) as (made, clock):
        assert await looked_up(made, clock) is Tier.ESTABLISHED
        assert await looked_up(made, clock, CAROL) is Tier.TRUSTED
    assert {(relay, *wanted.authors) for relay, wanted in relays.asked} == {
        (ONE, ALICE.public_key),
        (OTHER, MALLORY.public_key),
    }


async def test_nobody_waits_for_a_relay_that_does_not_answer():
    relays = Relays(ranked(90))
    relays.open.clear()
    async with running(relays) as (made, clock):
        for _ in range(5):
            assert made.lift(BOB) is None
            await asyncio.sleep(0)
        assert len(relays.asked) == 1
        relays.open.set()
        await clock.wait_for_sleepers(1)
        assert made.lift(BOB) is Tier.TRUSTED


async def test_a_key_is_looked_up_once_and_again_when_its_rank_is_old():
    relays = Relays(ranked(90))
    async with running(relays) as (made, clock):
        for key, pause in ((BOB, REFRESH_S), (CAROL, RETRY_S)):
            relays.asked.clear()
            await looked_up(made, clock, key)
            await clock.advance(pause - PAUSE_S - 1)
            made.lift(key)
            assert len(relays.asked) == 1
            await clock.advance(1)
            await looked_up(made, clock, key)
            assert len(relays.asked) == 2


async def test_what_a_relay_does_not_tell_any_more_counts_for_a_day():
    relays = Relays(ranked(90))
    async with running(relays) as (made, clock):
        await looked_up(made, clock)
        relays.events[ONE] = []
        for _ in range(KEPT_S // REFRESH_S - 1):
            await clock.advance(REFRESH_S)
            assert await looked_up(made, clock) is Tier.TRUSTED
        await clock.advance(REFRESH_S)
        assert made.lift(BOB) is None


async def test_a_flood_of_new_keys_is_asked_about_in_few_questions_and_bounded_memory(monkeypatch):
    monkeypatch.setattr(ranks, "MAX_WAITING", 120)
    monkeypatch.setattr(ranks, "MAX_KNOWN", 100)
    relays = Relays()
    async with running(relays) as (made, clock):
        for number in range(1_000):
            made.lift(f"{number:064x}")
        for questions in (1, 2, 3):
            await clock.wait_for_sleepers(1)
            assert len(relays.asked) == questions
            await clock.advance(PAUSE_S)
        assert [len(wanted.tags["d"]) for _, wanted in relays.asked] == [50, 50, 20]
        assert made.lift(f"{0:064x}") is None
        await clock.wait_for_sleepers(1)
        assert len(relays.asked) == 4  # it was forgotten, and is asked about anew


async def test_it_may_be_asked_from_the_ledgers_threads_and_before_it_runs():
    relays = Relays(ranked(90))
    clock = ManualClock(START)
    made = Ranks(relays, clock, providers=[Provider(ALICE.public_key, ONE)], tiers=TIERS)
    assert made.lift(CAROL) is None
    task = asyncio.create_task(made.run())
    async with asyncio.timeout(30):
        await clock.wait_for_sleepers(1)
        assert await asyncio.to_thread(made.lift, BOB) is None
        await clock.advance(PAUSE_S)
        await clock.wait_for_sleepers(1)
        assert await asyncio.to_thread(made.lift, BOB) is Tier.TRUSTED
    task.cancel()
    await asyncio.wait([task])
    assert made.lift(stranger(1).public_key) is None


async def test_real_relays_are_asked_the_one_that_is_not_there_included():
    async with LocalRelay() as gone:
        pass
    async with LocalRelay() as relay:
        publisher = RelayPool([relay.url])
        async with publisher:
            await publisher.wait_connected()
            for event in (ranked(55, at=START - 50), ranked(85), ranked(99, by=MALLORY)):
                await publisher.publish(event)
        named = [Provider(ALICE.public_key, relay.url), Provider(TIMMY.public_key, gone.url)]
        pool = RelayPool((), dialler=as_it_says)
        async with running(pool, *named) as (made, clock):
            assert await looked_up(made, clock) is Tier.TRUSTED
            assert await looked_up(made, clock, CAROL) is None
