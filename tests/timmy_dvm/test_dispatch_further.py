"""Relays of the customer's own are offered every event beside ours, and hold up nothing, however slow they are."""

import asyncio
import contextlib

from ledger.records import PUBLISH
from ledger.sqlite import open_ledger
from tests.flows.house import ALICE, House, Recorder
from timmy_dvm import dispatch
from timmy_dvm.clock import ManualClock

TIMEOUT_S = 10
OURS, THEIRS = "wss://ours.example", "wss://theirs.example"


class Street(Recorder):
    """Our relay and the customer's, each with its word for every event; theirs says it when it may."""

    def __init__(self, ours="accepted", theirs="accepted"):
        super().__init__()
        self.ours, self.theirs = ours, theirs
        self.offered = []
        self.further = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, event_json, targets):
        self.offered.append(event_json)
        return {OURS: self.ours}

    def publish_further(self, event_json, targets):
        self.further.append(event_json)
        return asyncio.create_task(self._say())

    async def _say(self):
        await self.gate.wait()
        return {THEIRS: self.theirs}


@contextlib.asynccontextmanager
async def a_house_in(street, store=None, **parts):
    clock = ManualClock()
    ledger = store or open_ledger("sqlite:///:memory:")
    try:
        async with House(ledger, clock, recorder=street, **parts).living() as house:
            yield house
    finally:
        if store is None:
            await ledger.close()


async def outcomes(house, job_id):
    """The word of each relay for the job's one event."""
    ((_, deliveries),) = (await house.store.story(job_id)).events
    return {delivery.relay: delivery.outcome for delivery in deliveries}


async def told(house, job_id, expected):
    async def is_told():
        return await outcomes(house, job_id) == expected

    await house.until(is_told)


async def still_to_publish(house):
    return [row for row in await house.store.pending() if row.kind == PUBLISH]


async def test_a_slow_relay_of_theirs_delays_neither_ours_nor_what_the_ledger_says_of_ours():
    street = Street()
    street.gate.clear()
    async with a_house_in(street) as house:
        job_id = await house.ask()
        await house.priced()
        await told(house, job_id, {OURS: "accepted"})
        assert await still_to_publish(house)
        street.gate.set()
        await told(house, job_id, {OURS: "accepted", THEIRS: "accepted"})
        async with asyncio.timeout(TIMEOUT_S):
            await house.dispatch.idle()
        assert not await still_to_publish(house)
        await house.clock.advance(10_000)
        assert (len(street.offered), len(street.further)) == (1, 1)


async def test_more_slow_ones_than_there_are_places_hold_up_nobody(monkeypatch):
    monkeypatch.setattr(dispatch, "_AT_ONCE", 4)
    street = Street()
    street.gate.clear()
    async with a_house_in(street) as house:
        for n in range(12):
            await house.ask(pubkey=f"{n:064x}")
        await house.until(lambda: len(street.offered) == 12)
        street.gate.set()


async def test_one_relay_that_took_it_is_enough_whosever_it_is():
    street = Street(ours="blocked")
    async with a_house_in(street) as house:
        job_id = await house.ask()
        await told(house, job_id, {OURS: "blocked", THEIRS: "accepted"})
        async with asyncio.timeout(TIMEOUT_S):
            await house.dispatch.idle()
        assert not await still_to_publish(house)
        await house.clock.advance(10_000)
        assert len(street.offered) == 1


async def test_a_refusal_by_theirs_is_noted_and_ours_is_enough():
    street = Street(theirs="restricted")
    async with a_house_in(street) as house:
        job_id = await house.ask()
        await told(house, job_id, {OURS: "accepted", THEIRS: "restricted"})
        await house.clock.advance(10_000)
        assert (len(street.offered), len(street.further)) == (1, 1)


async def test_what_nobody_took_is_offered_to_all_of_them_again():
    street = Street(ours="rate-limited", theirs="not_connected")
    async with a_house_in(street) as house:
        job_id = await house.ask()
        await told(house, job_id, {OURS: "rate-limited", THEIRS: "not_connected"})
        async with asyncio.timeout(TIMEOUT_S):
            await house.dispatch.idle()
        await house.clock.advance(0)
        street.theirs = "accepted"
        await house.clock.advance(1)
        await told(house, job_id, {OURS: "rate-limited", THEIRS: "accepted"})
        assert len(set(street.offered)) == 1
        assert (len(street.offered), len(street.further)) == (2, 2)


async def test_who_dies_while_theirs_is_being_tried_tries_it_again_after_the_start():
    store = open_ledger("sqlite:///:memory:")
    street = Street()
    street.gate.clear()
    async with a_house_in(street, store) as house:
        job_id = await house.ask(pubkey=ALICE)
        await told(house, job_id, {OURS: "accepted"})
    again = Street()
    async with a_house_in(again, store, wallet=house.wallet) as house:
        assert not again.further
        await house.clock.advance(60)
        await told(house, job_id, {OURS: "accepted", THEIRS: "accepted"})
        assert again.further == street.further
    await store.close()
