"""The free tier, row by row of the requirements (FRE-02 to FRE-19), through the engine and a real ledger. In sats.

Each test names its row. What the decision alone can show stands in `core/test_free_tier.py`, what the ledger
refuses by itself in `tests/ledger/store_contract_pool.py`, budgets by configuration in `test_building.py`.
"""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from ledger.money import Msats, msats_from_sats
from ledger.records import JobState, Short
from ledger.sqlite import open_ledger
from tests.timmy_dvm.generosity import EVAL_FEE, NOW, PAGE, POLICY, RELAY, STEPS, generosity
from timmy_dvm.core.actions import PriceTold, Working
from timmy_dvm.core.facts import Op
from timmy_dvm.engine import Engine


@pytest.mark.parametrize("case", ["anonymous", "new", "empty pool", "budget used"])
async def test_fre_02_gate_the_full_price_flow_is_unchanged(case):
    async with generosity(0 if case == "empty pool" else 10_000) as it:
        key = await it.key("new" if case == "new" else "established")
        if case == "budget used":
            await it.use(key, 50)
        before = await it.pool()
        job_id = await it.ask(None if case == "anonymous" else key, 50)
        job = await it.job(job_id)
        assert (job.free_tier, job.absorbed_sats, await it.asked_for(job_id)) == (False, 0, 50)
        assert (job.share_eval, job.share_work) == (job.quote.eval_fee, job.quote.work_fee)
        await it.pay(job_id)
        await it.accept(job_id)
        await it.answer(job_id, 45)
        job = await it.job(job_id)
        assert (job.charge_eval, job.charge_work, await it.refunded(job_id)) == (2_000, 43_000, 5)
        assert await it.pool() == before + 4


async def test_fre_03_the_pools_balance_can_not_be_set_below_nothing(tmp_path):
    async with generosity(5, url=f"sqlite:///{tmp_path / 'a.db'}"):
        with closing(sqlite3.connect(tmp_path / "a.db")) as by_hand, pytest.raises(sqlite3.Error, match="floor"):
            by_hand.execute("UPDATE accounts SET balance_msat = -1 WHERE name = 'pool'")


async def test_fre_04_the_pool_is_filled_once_and_a_drained_one_stays_drained(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    async with generosity(url=url) as it:
        assert await it.pool() == 10_000
        await it.drain(0)
    store = open_ledger(url)
    assert not await store.open_books(Msats(0), msats_from_sats(10_000), NOW)
    assert (await store.balances())["pool"] == 0
    await store.close()


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
async def test_fre_07_ten_at_once_for_the_last_fifty_and_one_is_free(how, tmp_path):
    async with generosity(50, url=f"sqlite:///{tmp_path / 'a.db'}") as it:
        keys = [await it.key("established", str(n)) for n in range(10)]
        jobs = await asyncio.gather(*(it.ask(key, 50, how=how) for key in keys))
        if how is STEPS:
            await asyncio.gather(*(it.accept(job_id) for job_id in jobs))
        free = [job_id for job_id in jobs if (await it.job(job_id)).absorbed_sats]
        assert (len(free), await it.pool()) == (1, 0)
        assert sorted([await it.asked_for(job_id) or 0 for job_id in jobs]) == [0, *[50] * 9]


class Behind:
    """A store whose decisions see a pool of a while ago, as where a decision reads before it writes."""

    def __init__(self, store, pool: int, times: int) -> None:
        self._store, self._pool, self._times = store, pool, times
        self.outcomes = []

    async def commit(self, fact, decide):
        view_of = _OldPool if self._times else (lambda view, _: view)
        self._times -= 1
        outcome = await self._store.commit(fact, lambda view: decide(view_of(view, self._pool)))
        self.outcomes.append(outcome)
        return outcome


class _OldPool:
    def __init__(self, view, pool) -> None:
        self._view, self._pool = view, pool

    def __getattr__(self, name):
        return getattr(self._view, name)

    def balance(self, account):
        return msats_from_sats(self._pool) if account == "pool" else self._view.balance(account)


@pytest.mark.parametrize(("left", "asked"), [(20, 30), (0, 50)], ids=["a part", "nothing"])
async def test_fre_09_a_pool_that_has_less_than_was_seen_is_short_and_it_is_decided_again(left, asked):
    """Got less than the estimate: a part; got nothing: the gate. The pool is as before."""
    async with generosity(left) as it:
        key = await it.key("established")
        behind = Behind(it.store, 50, times=2)
        it.engine = Engine(behind, POLICY, it.recorder)
        job_id = await it.ask(key, 50)
        assert behind.outcomes[:2] == [Short("pool"), Short("pool")]
        assert (await it.asked_for(job_id), await it.pool()) == (asked, left)
        assert (await it.job(job_id)).free_tier is bool(left)


async def test_fre_10_where_the_pool_is_drained_nothing_starts_unpaid():
    async with generosity(0) as it:
        job_id = await it.ask(await it.key("elite"), 50)
        assert (await it.job(job_id)).state is JobState.AWAITING_EVAL_PAYMENT
        assert [action.kind for action in await it.store.pending()] == ["CreateInvoice"]


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
async def test_fre_11_and_12_what_is_absorbed_is_what_left_the_pool(how):
    """FRE-12."""
    async with generosity() as it:
        job_id = await it.ask(await it.key("trusted"), 77, how=how)
        await it.accept(job_id)
        books = await it.store.pool(since=0, limit=1)
        assert [(move.code, move.amount) for move in books.moves] == [("reserved", -77_000)]
        assert (await it.job(job_id)).absorbed_sats == 77 == books.reserved // 1_000


async def test_fre_13_a_hundred_offers_that_nobody_takes_up_cost_the_pool_nothing():
    async with generosity() as it:
        jobs = [await it.ask(await it.key("established", str(n)), 70) for n in range(100)]
        bills = [await it.bill(job_id) for job_id in jobs]
        assert await it.pool() == 10_000
        for payment_hash in bills:
            await it.expire(payment_hash)
        assert await it.pool() == 10_000
        assert {(await it.job(job_id)).state for job_id in jobs} == {JobState.EXPIRED}


@pytest.mark.parametrize("how", [RELAY, STEPS, PAGE], ids=["relay", "steps", "page"])
async def test_fre_14_the_discount_shows_in_the_invoice(how):
    async with generosity() as it:
        job_id = await it.ask(await it.key("established"), 70, how=how)
        if how is STEPS:
            await it.accept(job_id)
        due = EVAL_FEE if how is PAGE else 0
        assert await it.asked_for(job_id) == 20 + due
        await it.bill(job_id)
        told = it.recorder.last(PriceTold)
        assert (told.amount, told.offered) == (msats_from_sats(20 + due), msats_from_sats(50))


@pytest.mark.parametrize(("pool", "used", "reserved"), [(12, 0, 12), (9_000, 43, 7), (3, 43, 3), (9_000, 0, 20)])
@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
async def test_fre_15_at_the_payment_pool_and_day_are_judged_again(how, pool, used, reserved):
    """Advisory 20."""
    async with generosity() as it:
        key = await it.key("established")
        await it.use(key, 30)
        job_id = await it.ask(key, 50, how=how)
        if how is STEPS:
            await it.accept(job_id)
        bill = await it.bill(job_id)
        if used:
            free = await it.ask(key, used - 30)
            assert (await it.job(free)).absorbed_sats == used - 30
        await it.drain(pool)
        await it.settle(bill)
        assert ((await it.job(job_id)).absorbed_sats, await it.pool()) == (reserved, pool - reserved)


@pytest.mark.parametrize(("actual", "back"), [(25, 5), (45, 0)])
async def test_fre_16_a_pool_drained_at_the_payment_strands_nobody(actual, back):
    """ACC-16: paid 30, then a normal paid job: its work runs, nothing more is asked."""
    async with generosity() as it:
        key = await it.key("established")
        await it.use(key, 30)
        job_id = await it.ask(key, 50)
        bill = await it.bill(job_id)
        await it.drain(0)
        await it.settle(bill)
        job = await it.job(job_id)
        assert (job.state, job.free_tier) == (JobState.EVALUATING, False)
        assert it.recorder.last(Working).free is None
        await it.accept(job_id)
        await it.answer(job_id, actual)
        assert (await it.job(job_id)).state is JobState.COMPLETE
        assert (await it.refunded(job_id), await it.asked_for(job_id)) == (back, None)


async def test_fre_17_the_loss_of_that_race_is_written_and_the_pool_untouched():
    async with generosity() as it:
        key = await it.key("established")
        await it.use(key, 30)
        job_id = await it.ask(key, 50)
        bill = await it.bill(job_id)
        await it.drain(0)
        await it.settle(bill)
        await it.accept(job_id)
        await it.answer(job_id, 45)
        job = await it.job(job_id)
        assert (job.shortfall, await it.pool()) == (15_000, job.pool_credit // 1_000)
        assert -await it.balance("shortfall") == 15


async def test_fre_18_and_19_a_grant_is_written_after_the_work_and_never_before():
    async with generosity() as it:
        unpaid = await it.ask(await it.key("established", "bob"), 70)
        await it.bill(unpaid)
        job_id = await it.ask(await it.key("established"), 50)
        for step in (it.accept(job_id), asyncio.sleep(0)):
            books = await it.store.pool(since=0, limit=5)
            assert (books.grants, books.reserved) == ((), 50_000)
            await step
        assert (await it.job(job_id)).state is JobState.EXECUTING
        await it.answer(job_id, 42)
        books = await it.store.pool(since=0, limit=5)
        assert (await it.grants(), books.reserved) == ([42], 0)


async def test_offers_of_one_key_stay_within_its_day_together():
    """Taking all of them up at once costs us nothing: else each would be served at our own loss."""
    async with generosity() as it:
        key = await it.key("established")
        jobs = [await it.ask(key, estimate) for estimate in (80, 70, 60, 90)]
        asked = [await it.asked_for(job_id) for job_id in jobs]
        assert asked == [30, 70, 60, 90]
        small = await it.ask(key, 20)
        assert (await it.job(small)).absorbed_sats == 20
        await it.fail_early(small)
        for job_id in jobs:
            await it.pay(job_id)
            await it.accept(job_id)
            await it.answer(job_id, 60)
        assert [(await it.job(job_id)).shortfall for job_id in jobs] == [0, 0, 0, 0]
        assert await it.used(key) == 50


async def test_an_offer_ends_with_its_job_and_the_next_one_gets_it():
    async with generosity() as it:
        key = await it.key("established")
        first = await it.ask(key, 80)
        assert await it.asked_for(first) == 30
        await it.cancel(first)
        assert await it.asked_for(await it.ask(key, 80)) == 30


@pytest.mark.parametrize("how", [RELAY, STEPS, PAGE], ids=["relay", "steps", "page"])
async def test_credit_comes_after_the_pool_and_before_an_invoice(how):
    """A part that credit completes starts at once, with what the pool offered set aside in the same commit."""
    async with generosity() as it:
        key = await it.key("established")
        await it.credit(key, 25)
        job_id = await it.ask(key, 70, how=how)
        if how is STEPS:
            await it.accept(job_id)
        job = await it.job(job_id)
        due = 0 if how is RELAY else EVAL_FEE
        assert (job.absorbed_sats, job.credit_used, await it.asked_for(job_id)) == (50, (20 + due) * 1_000, None)
        assert await it.balance(f"customer:{key}") == 5 - due


async def test_a_bid_is_held_against_what_is_left_to_pay():
    """money.md 2: the price after pool and credit."""
    async with generosity() as it:
        key = await it.key("established")
        await it.credit(key, 5)
        for bid, is_taken in ((14, False), (15, True)):
            job_id = await it.ask(key, 70, bid=msats_from_sats(bid))
            assert (await it.store.job(job_id) is not None) is is_taken
        assert (await it.question(key, Op.ESTIMATE, 70))["invoiceSats"] == 70
