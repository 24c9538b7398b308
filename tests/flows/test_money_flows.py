"""Whole jobs, money first: what a customer paid is earned, comes back, or is listed as owed. Nothing else."""

from ledger.money import Msats, msats_from_sats
from tests.flows.house import ALICE, a_house
from timmy_dvm.core.actions import Delivered, PriceTold


async def test_a_paid_job_is_done_charged_its_real_cost_and_gives_back_the_change():
    async with a_house() as house:
        job_id = await house.ask()
        price = await house.priced()
        house.customer.pays(price.bolt11)
        await house.state_is(job_id, "complete")

        job = await house.job(job_id)
        assert price.amount == job.share_eval + job.share_work
        assert job.charge_eval == msats_from_sats(2)
        assert 0 < job.charge_work < job.share_work
        assert job.shortfall == 0
        assert await house.balance(f"job:{job_id}") == 0
        told = house.recorder.last(Delivered)
        assert told.ledger["actualAmountSats"] * 1000 == job.charge_work
        (refund,) = await house.store.refunds(open_only=True)
        assert refund.amount == price.amount - job.charge_eval - job.charge_work
        assert str(refund.state) == "held"
        await house.books_are_right()


async def test_overpaid_the_surplus_is_owed_too():
    async with a_house() as house:
        job_id = await house.ask()
        price = await house.priced()
        house.customer.pays(price.bolt11, Msats(price.amount * 2))
        await house.state_is(job_id, "complete")
        job = await house.job(job_id)
        (refund,) = await house.store.refunds(open_only=True)
        assert refund.amount == price.amount * 2 - job.charge_eval - job.charge_work
        await house.books_are_right()


async def test_underpaid_exactly_what_is_missing_is_asked_and_then_it_starts():
    """LNB-09."""
    async with a_house() as house:
        job_id = await house.ask()
        first = await house.priced()
        house.wallet.settle(first.payment_hash, Msats(first.amount - 1_500))
        await house.until(lambda: house.recorder.last(PriceTold) is not first)
        second = await house.priced()
        assert second.amount == 2_000
        house.customer.pays(second.bolt11)
        await house.state_is(job_id, "complete")
        await house.books_are_right()


async def test_unpaid_it_expires_only_after_the_wallet_said_so_and_nobody_is_told():
    """JOB-23."""
    async with a_house() as house:
        job_id = await house.ask()
        await house.priced()
        said = len(house.recorder.said)
        await house.clock.advance(3_600 + 59)
        assert str((await house.job(job_id)).state) == "awaiting_eval_payment"
        await house.clock.advance(2)
        await house.state_is(job_id, "expired")
        assert len(house.recorder.said) == said


async def test_paid_late_it_is_given_back_and_not_served():
    async with a_house() as house:
        job_id = await house.ask()
        price = await house.priced()
        await house.clock.advance(3_600 + 61)
        await house.state_is(job_id, "expired")
        house.wallet.settle(price.payment_hash)
        await house.until(lambda: house.store.refunds(open_only=True))
        (refund,) = await house.store.refunds(open_only=True)
        assert (refund.amount, refund.reason, str(refund.state)) == (price.amount, "late", "held")
        assert str((await house.job(job_id)).state) == "expired"
        await house.books_are_right()


async def test_while_the_wallet_is_away_an_unpaid_job_stays():
    """LNB-11."""
    async with a_house() as house:
        job_id = await house.ask()
        price = await house.priced()
        house.wallet.down = True
        await house.clock.advance(3_600 + 120)
        assert str((await house.job(job_id)).state) == "awaiting_eval_payment"
        house.wallet.settle(price.payment_hash)
        house.wallet.down = False
        await house.clock.advance(60)
        await house.state_is(job_id, "complete")
        await house.books_are_right()


async def test_rejected_the_eval_fee_is_kept_and_the_rest_comes_back():
    async with a_house() as house:
        job_id = await house.ask("[reject] " + "x" * 100)
        price = await house.priced()
        house.customer.pays(price.bolt11)
        await house.state_is(job_id, "rejected")
        job = await house.job(job_id)
        assert (job.charge_eval, job.charge_work) == (msats_from_sats(2), 0)
        (refund,) = await house.store.refunds(open_only=True)
        assert refund.amount == price.amount - msats_from_sats(2)
        await house.books_are_right()


async def test_failed_all_of_the_work_fee_comes_back():
    async with a_house() as house:
        job_id = await house.ask("[fail] " + "x" * 100)
        price = await house.priced()
        house.customer.pays(price.bolt11)
        await house.state_is(job_id, "failed")
        (refund,) = await house.store.refunds(open_only=True)
        assert refund.amount == price.amount - msats_from_sats(2)
        await house.books_are_right()


async def test_small_change_becomes_credit_and_makes_the_next_invoice_smaller():
    async with a_house() as house:
        first = await house.ask("short")
        full = await house.priced()
        house.customer.pays(full.bolt11)
        await house.state_is(first, "complete")
        assert not await house.store.refunds(open_only=True)
        credit = await house.balance(f"customer:{ALICE}")
        assert 0 < credit < msats_from_sats(10)

        second = await house.ask("short")
        await house.until(lambda: house.recorder.last(PriceTold) is not full)
        rest = await house.priced()
        assert rest.amount == full.amount - credit
        house.customer.pays(rest.bolt11)
        await house.state_is(second, "complete")
        await house.books_are_right()


async def test_relays_away_the_result_waits_and_is_published_once_they_are_back():
    async with a_house() as house:
        job_id = await house.ask()
        price = await house.priced()
        await house.until(lambda: house.recorder.published)
        house.recorder.relays_up = False
        house.customer.pays(price.bolt11)
        await house.state_is(job_id, "complete")
        published = len(house.recorder.published)
        house.recorder.relays_up = True
        await house.clock.advance(10)
        await house.until(lambda: any(text.startswith("Delivered") for text in house.recorder.published))
        assert len(house.recorder.published) > published
