"""The one way out: what the outbox holds is done, again after trouble, and never blindly after a crash."""

import asyncio
import contextlib
import dataclasses

from ledger.money import Msats
from ledger.records import PUBLISH
from ledger.sqlite import open_ledger
from lightning import bolt11
from lightning.simulated import Outcome
from tests.flows.house import House, Recorder, a_house
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.clock import ManualClock
from timmy_dvm.core.actions import Ended, Refused
from timmy_dvm.core.facts import RefundClaimed
from timmy_dvm.dispatch import pause_s

TIMEOUT_S = 10
DAY_S = 86_400


class Relays(Recorder):
    """Records every offer and its second; `errors` are raised first, then `answer` is given."""

    def __init__(self, clock, answer="accepted"):
        super().__init__()
        self._clock = clock
        self._start = clock.now()
        self.errors = []
        self.answer = answer
        self.offers = []

    async def publish(self, event_json, targets):
        self.offers.append((event_json, self._clock.now() - self._start))
        if self.errors:
            raise self.errors.pop(0)
        return {"ws://relay": self.answer} if self.answer else {}

    def times(self, kind):
        return [at for text, at in self.offers if text.startswith(kind)]


class Counting(OfflineAgent):
    """Counts its runs, and holds them back until it may go on."""

    def __init__(self):
        super().__init__()
        self.runs = 0
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def evaluate(self, task, *, deadline_s):
        self.runs += 1
        self.begun.set()
        await self.may_end.wait()
        return await super().evaluate(task, deadline_s=deadline_s)


@contextlib.asynccontextmanager
async def a_ledger():
    store = open_ledger("sqlite:///:memory:")
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def a_street(**relays):
    """A living house and the relays it publishes to."""
    clock = ManualClock()
    street = Relays(clock, **relays)
    async with a_house(clock=clock, recorder=street) as house:
        yield house, street


async def idle(house):
    """Wait until nothing is being done, and what was put off sleeps."""
    async with asyncio.timeout(TIMEOUT_S):
        await house.dispatch.idle()
    await house.clock.advance(0)


async def paid(house):
    """A job whose price was told and paid."""
    job_id = await house.ask()
    price = await house.priced()
    house.customer.pays(price.bolt11)
    return job_id


def test_pauses_double_from_a_second_to_an_hour():
    assert [pause_s(n) for n in range(13)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 3_600]
    assert pause_s(10_000) == 3_600


async def test_what_a_dead_process_left_undone_is_done_at_the_next_start():
    async with a_ledger() as store:
        job_id = await House(store, ManualClock()).ask()
        assert [row.kind for row in await store.pending()] == ["CreateInvoice"]
        async with House(store, ManualClock()).living() as house:
            await house.priced()
            await idle(house)
            assert (await store.job(job_id)).due_at is not None
            assert not await store.pending()


async def test_a_run_that_a_dead_process_began_is_counted_and_run_anew():
    async with a_ledger() as store:
        first = Counting()
        async with House(store, ManualClock(), agent=first).living() as house:
            job_id = await paid(house)
            async with asyncio.timeout(TIMEOUT_S):
                await first.begun.wait()
        wallet = house.wallet
        async with House(store, ManualClock(), wallet=wallet).living() as house:
            await house.state_is(job_id, "complete")
            assert (await house.job(job_id)).eval_runs == 2
            await house.books_are_right()


async def test_a_run_is_begun_as_often_as_the_policy_says_and_then_the_money_goes_back():
    async with a_ledger() as store:
        agent, wallet, job_id = Counting(), None, ""
        for _ in range(3):
            agent.begun.clear()
            async with House(store, ManualClock(), agent=agent, wallet=wallet).living() as house:
                wallet = house.wallet
                job_id = job_id or await paid(house)
                async with asyncio.timeout(TIMEOUT_S):
                    await agent.begun.wait()
        async with House(store, ManualClock(), agent=agent, wallet=wallet).living() as house:
            await house.state_is(job_id, "failed")
            (refund,) = await store.refunds(open_only=True)
            await house.books_are_right()
        assert agent.runs == house.policy.max_runs
        assert (refund.amount == house.recorder.last(Ended) and False) or refund.amount > 0


async def test_while_the_wallet_is_away_a_price_is_tried_again_soon():
    async with a_house() as house:
        house.wallet.fail_creates = 6
        await house.ask()
        await house.until(lambda: house.wallet.fail_creates == 5)
        await idle(house)
        await house.clock.advance(1 + 2 + 4 + 4 + 4 + 4)
        await house.priced()


async def test_a_customer_is_told_when_no_price_can_be_made():
    async with a_house() as house:
        house.wallet.down = True
        job_id = await house.ask()
        await house.clock.advance(house.policy.invoice_patience_s + 8)
        await house.state_is(job_id, "cancelled")
        assert house.recorder.last(Refused).code == "wallet_away"


async def test_the_same_bytes_are_offered_until_a_relay_takes_them():
    async with a_street(answer="") as (house, street):
        await house.ask()
        await house.until(lambda: street.offers)
        await idle(house)
        await house.clock.advance(1 + 2 + 4)
        await house.until(lambda: len(street.offers) == 4)
        street.answer = "accepted"
        await house.clock.advance(8)
        await house.until(lambda: len(street.offers) == 5)
        await house.clock.advance(10_000)
        assert street.times("PriceTold") == [0, 1, 3, 7, 15]
        assert len({text for text, _ in street.offers}) == 1


async def test_a_refusal_is_published_when_it_is_due_and_not_sooner():
    async with a_street() as (house, street):
        now = int(house.clock.now())
        await house.ask("", refusal_at=now + 60)
        await house.ask("", refusal_at=None)
        await house.until(lambda: street.offers)
        await house.clock.advance(59)
        await idle(house)
        assert street.times("Refused") == [0]
        await house.clock.advance(1)
        await house.until(lambda: len(street.offers) == 2)
        assert street.times("Refused") == [0, 60]


async def test_a_refusal_of_every_relay_is_noted_with_its_word_and_offered_again():
    async with a_street(answer="rate-limited") as (house, street):
        job_id = await house.ask()
        await house.until(lambda: street.offers)
        await idle(house)
        ((_, (delivery,)),) = (await house.store.story(job_id)).events
        assert (delivery.relay, delivery.outcome) == ("ws://relay", "rate-limited")
        assert len(street.offers) == 1
        await house.clock.advance(1)
        await house.until(lambda: len(street.offers) == 2)


async def test_an_event_that_no_relay_takes_is_offered_for_a_week_and_then_given_up():
    async with a_street(answer="") as (house, street):
        await house.ask()
        await house.until(lambda: street.offers)
        await idle(house)
        await house.clock.advance(6 * DAY_S)
        await idle(house)
        assert PUBLISH in [row.kind for row in await house.store.pending()]
        await house.clock.advance(2 * DAY_S)
        await idle(house)
        assert not [row for row in await house.store.pending() if row.kind == PUBLISH]
        assert 6.9 * DAY_S < street.offers[-1][1] < 7.1 * DAY_S


async def test_an_action_that_breaks_stops_no_other_and_is_done_later():
    async with a_street() as (house, street):
        street.errors = [ZeroDivisionError()]
        await house.ask("the first")
        await house.until(lambda: street.offers)
        second = await house.ask("the second")
        await house.until(lambda: len(street.times("PriceTold")) == 2)
        assert street.times("PriceTold") == [0, 0]
        await house.clock.advance(1)
        await house.until(lambda: len(street.times("PriceTold")) == 3)
        assert street.offers[2][0] == street.offers[0][0]
        assert (await house.job(second)).state == "awaiting_eval_payment"


async def test_idle_waits_for_what_is_done_and_not_for_what_is_delayed():
    agent = Counting()
    async with a_house(agent=agent) as house:
        job_id = await paid(house)
        async with asyncio.timeout(TIMEOUT_S):
            await agent.begun.wait()
        waiting = asyncio.create_task(house.dispatch.idle())
        await house.clock.advance(0)
        assert not waiting.done()
        agent.may_end.set()
        async with asyncio.timeout(TIMEOUT_S):
            await waiting
        await house.state_is(job_id, "complete")
        house.wallet.down = True
        await house.ask("again")
        async with asyncio.timeout(TIMEOUT_S):
            await house.dispatch.idle()
        assert "CreateInvoice" in [row.kind for row in await house.store.pending()]


async def test_a_refund_that_failed_for_certain_goes_out_again_after_its_pause():
    async with a_house() as house:
        job_id = await paid(house)
        await house.state_is(job_id, "complete")
        (held,) = await house.store.refunds(open_only=True)
        house.wallet.next_outcomes.append(Outcome.FAILED)
        await house.engine.handle(claim(house, await house.job(job_id), held.amount))
        await house.until(lambda: state_is(house, held.id, "owed"))
        await idle(house)
        await house.clock.advance(house.policy.refund_pauses_s[0] - 1)
        assert await state_is(house, held.id, "owed")
        await house.clock.advance(1)
        await house.until(lambda: house.customer.received)
        assert sum(house.customer.received.values()) == held.amount
        await idle(house)
        assert not await house.store.refunds(open_only=True)
        await house.books_are_right()


async def test_a_claim_that_names_no_job_is_paid_from_the_refund_of_its_sum():
    async with a_house() as house:
        job_id = await paid(house)
        await house.state_is(job_id, "complete")
        (held,) = await house.store.refunds(open_only=True)
        by_sum = dataclasses.replace(claim(house, await house.job(job_id), held.amount), request_event_id=None)
        for wrong in ({"amount": Msats(held.amount + 1_000)}, {"pubkey": "b" * 64}):
            applied = await house.engine.handle(dataclasses.replace(by_sum, event_id=str(wrong), **wrong))
            assert applied.change.refunds == ()
        await house.engine.handle(by_sum)
        await house.until(lambda: house.customer.received)
        assert sum(house.customer.received.values()) == held.amount
        await house.books_are_right()


async def state_is(house, refund_id, state):
    return any(row.id == refund_id and row.state == state for row in await house.store.refunds(open_only=False))


def claim(house, job, amount):
    invoice = house.customer.invoice(amount)
    return RefundClaimed(
        event_id="c1" * 32,
        request_event_id=job.event_id,
        pubkey=job.pubkey,
        bolt11=invoice,
        payment_hash=bolt11.decode(invoice).payment_hash,
        amount=amount,
        rail_ok=True,
        expires_at=int(house.clock.now()) + 3_600,
        origin="{}",
        at=int(house.clock.now()),
    )


async def test_nothing_is_done_before_it_runs():
    async with a_ledger() as store:
        house = House(store, ManualClock())
        await house.ask()
        await house.clock.advance(10_000)
        assert [row.kind for row in await store.pending()] == ["CreateInvoice"]
