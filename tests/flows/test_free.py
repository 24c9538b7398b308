"""Whole jobs on the pool, in the house: served without an invoice, paid in part; failing gives the claim back."""

import asyncio

import pytest

from ledger.audit import audit
from ledger.money import ZERO, msats_from_sats
from ledger.records import Applied, Change, FactRecord, IdentityRecord
from lightning import bolt11
from lightning.simulated import SimulatedWallet
from tests.flows.house import ALICE, QUESTION, a_house
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.core.actions import Delivered, Ended, PriceTold, Working
from timmy_dvm.core.free_tier import DailyBudgets
from timmy_dvm.core.policy import Policy
from timmy_dvm.solvency import Watchdog

POOL = msats_from_sats(10_000)
TIGHT = Policy(daily_budgets=DailyBudgets(trusted=msats_from_sats(8)))
"""A day in which the question of these tests is free in part only."""


async def trusts(house, pubkey=ALICE, score=60):
    """The key has earned this trust."""
    at = int(house.clock.now())
    row = IdentityRecord(pubkey=pubkey, trust_score=score, first_seen=at, last_seen=at)
    fact = FactRecord(id=f"met {pubkey}", kind="Test", job_id=None, at=at, body="{}")
    assert isinstance(await house.store.commit(fact, lambda _: Change(identity=row)), Applied)


async def used(house):
    row = await house.store.look(lambda view: view.identity(ALICE))
    return msats_from_sats(row.sats_absorbed_today)


async def in_order(house):
    await house.books_are_right()
    assert [str(finding) for finding in await house.store._reader.run(audit)] == []
    assert (await house.store.pool(since=0, limit=1)).reserved == 0


async def test_a_fresh_wallet_at_0_with_the_seeded_pool_serves_for_nothing_and_for_money():
    """The pool is a promise of our own work, so no sat has to lie in the wallet for it (money.md 1)."""
    clock = ManualClock()
    wallet = SimulatedWallet(
        seed=b"timmy", now=clock.now, random_bytes=SeededRandomness("new").token, balance_msat=ZERO
    )
    async with a_house(wallet=wallet, clock=clock) as house:
        assert (await wallet.balance_msat(), await house.balance("pool")) == (0, POOL)
        await trusts(house)
        await house.state_is(await house.ask(), "complete")
        assert await wallet.balance_msat() == 0
        watchdog = Watchdog(house.store, wallet, clock)
        await watchdog.look()
        assert watchdog.alarm() == ""

        job_id = await house.ask(pubkey="b2" * 32)
        price = await house.priced()
        house.customer.pays(price.bolt11)
        await house.state_is(job_id, "complete")
        assert await wallet.balance_msat() == price.amount
        await house.dispatch.idle()
        await in_order(house)


async def test_a_trusted_key_is_served_at_once_and_no_invoice_is_made():
    async with a_house() as house:
        await trusts(house)
        job_id = await house.ask()
        await house.state_is(job_id, "complete")
        await house.dispatch.idle()
        job = await house.job(job_id)
        cost = msats_from_sats(job.absorbed_sats)
        price = job.quote.eval_fee + job.quote.work_fee

        assert job.quote.eval_fee < cost < price
        assert (job.share_eval, job.share_work, job.charge_eval, job.charge_work, job.shortfall) == (0, 0, 0, 0, 0)
        assert (await house.balance("pool"), await house.balance("earned")) == (POOL - cost, cost)
        assert await used(house) == cost
        assert (await house.store.story(job_id)).invoices == ()
        assert house.wallet._state.invoices == {}

        assert [type(said) for said in house.recorder.said] == [Working, Delivered]
        begun, told = house.recorder.said
        assert (begun.covered_by, begun.free.used, begun.free.budget) == ("pool", price, msats_from_sats(200))
        assert (told.ledger["absorbed_sats"], told.ledger["actualAmountSats"]) == (job.absorbed_sats, 0)
        assert (told.ledger["refundState"], told.money_back) == ("not_applicable", "")
        await in_order(house)


@pytest.mark.parametrize(("text", "state", "lost"), [("[fail] ", "failed", 2), ("[reject] ", "rejected", 2)])
async def test_what_comes_to_nothing_gives_its_claim_back(text, state, lost):
    """PHA-06."""
    async with a_house() as house:
        await trusts(house)
        job_id = await house.ask(text + QUESTION)
        await house.state_is(job_id, state)
        job = await house.job(job_id)
        assert (job.free_tier, job.absorbed_sats, await house.balance("pool"), await used(house)) == (
            True,
            0,
            POOL,
            0,
        )
        assert house.recorder.last(Ended).money_back == "Nothing of your free budget was used."
        # the eval gave a verdict, and nobody else pays it
        assert (job.shortfall, await house.balance("earned")) == (msats_from_sats(lost), msats_from_sats(lost))
        await in_order(house)


class Stuck:
    """A model that never answers."""

    eval_model = work_model = "offline"

    async def evaluate(self, *_, **__):
        await asyncio.Event().wait()

    work = evaluate


async def test_a_free_job_that_takes_too_long_gives_its_claim_back():
    async with a_house(agent=Stuck()) as house:
        await trusts(house)
        job_id = await house.ask()
        await house.state_is(job_id, "evaluating")
        held = await house.balance(f"reserved:{job_id}")
        assert held == POOL - await house.balance("pool") > 0
        await house.clock.advance(901)
        await house.state_is(job_id, "failed")
        assert (await house.balance("pool"), await house.balance("shortfall")) == (POOL, 0)
        await in_order(house)


async def test_a_part_is_set_aside_when_the_rest_is_paid_and_the_invoice_shows_the_discount():
    """FRE-14: the BOLT11 asks the customer's part."""
    async with a_house(policy=TIGHT) as house:
        await trusts(house)
        job_id = await house.ask()
        told = await house.priced()
        job = await house.job(job_id)
        assert told.offered == msats_from_sats(8) == job.quote.eval_fee + job.quote.work_fee - told.amount
        assert bolt11.decode(told.bolt11).amount_msat == told.amount == job.share_eval + job.share_work
        assert (job.free_tier, job.absorbed_sats, await house.balance("pool")) == (True, 0, POOL)

        house.customer.pays(told.bolt11)
        await house.state_is(job_id, "complete")
        job = await house.job(job_id)
        begun = house.recorder.last(Working)
        assert (begun.covered_by, begun.free.absorbed) == ("invoice", msats_from_sats(8))
        assert job.absorbed_sats == min(8, house.recorder.last(Delivered).ledger["costSats"])
        assert await house.balance("pool") == POOL - msats_from_sats(job.absorbed_sats) + job.pool_credit
        paid_back = sum(row.amount for row in (await house.store.story(job_id)).refunds)
        assert job.charge_eval + job.charge_work + paid_back == told.amount
        await in_order(house)


async def test_a_part_that_is_never_paid_costs_the_pool_nothing_and_its_offer_ends():
    async with a_house(policy=TIGHT) as house:
        await trusts(house)
        job_id = await house.ask()
        first = await house.priced()
        await house.clock.advance(3_600 + 61)
        await house.state_is(job_id, "expired")
        assert (await house.balance("pool"), await used(house)) == (POOL, 0)
        await house.ask()
        await house.until(lambda: house.recorder.last(PriceTold) is not first)
        assert house.recorder.last(PriceTold).offered == first.offered
        await in_order(house)


async def test_a_part_paid_too_late_is_returned_and_the_pool_untouched():
    async with a_house(policy=TIGHT) as house:
        await trusts(house)
        job_id = await house.ask()
        told = await house.priced()
        await house.clock.advance(3_600 + 61)
        await house.state_is(job_id, "expired")
        house.wallet.settle(told.payment_hash)
        await house.until(lambda: house.store.refunds(open_only=False))
        (back,) = await house.store.refunds(open_only=False)
        assert (back.amount, back.reason) == (told.amount, "late")
        assert await house.balance("pool") == POOL
        await in_order(house)


async def test_free_answers_until_the_day_is_used_up_and_again_tomorrow():
    async with a_house() as house:
        await trusts(house, score=20)
        free = 0
        while True:
            house.recorder.said.clear()
            job_id = await house.ask()
            await house.until(lambda: house.recorder.last(Delivered) or house.recorder.last(PriceTold))
            if house.recorder.last(PriceTold):
                break
            free += 1
        assert free > 1
        assert (await house.job(job_id)).free_tier is True
        assert await used(house) <= msats_from_sats(50)
        await house.clock.advance(86_400)
        house.recorder.said.clear()
        await house.ask()
        await house.until(lambda: house.recorder.last(Delivered))
        await in_order(house)
