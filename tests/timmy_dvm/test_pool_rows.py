"""The pool's books, row by row of the requirements (FRE-20 to FRE-40), through engine and real ledger. In sats.

Each test names its row. FRE-21 and FRE-37 stand in `core/` as well, FRE-23 and FRE-27 in `tests/ledger/` too, and
FRE-40 with real deaths in `tests/flows/test_crash_free.py`.
"""

import asyncio
import dataclasses
import hashlib
import random
import sqlite3
from contextlib import closing

import pytest

from ledger.records import JobState
from ledger.store import RuleBroken
from tests.timmy_dvm.generosity import EVAL_FEE, MIDNIGHT, NOW, POLICY, RELAY, STEPS, generosity
from timmy_dvm.core.actions import Ended, PriceTold, Working
from timmy_dvm.core.facts import Op, Step

DAY = 86_400


def look(path, query, *values):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


async def test_fre_20_and_24_a_grant_has_its_key_request_job_and_both_amounts(tmp_path):
    """FRE-24."""
    path = tmp_path / "a.db"
    async with generosity(url=f"sqlite:///{path}") as it:
        key = await it.key("established")
        job_id = await it.ask(key, 50)
        await it.accept(job_id)
        await it.answer(job_id, 42)
        (row,) = look(path, "SELECT * FROM free_tier_grants")
    assert row == (job_id, key, hashlib.sha256(b"Why?").hexdigest(), 50_000, 42_000, 9_950_000, NOW)


@pytest.mark.parametrize(("actual", "granted", "back"), [(42, 42, 8), (60, 50, 0), (50, 50, 0)])
async def test_fre_21_and_22_the_grant_is_the_cost_within_the_reservation_and_the_rest_comes_back(
    actual, granted, back
):
    async with generosity() as it:
        job_id = await it.ask(await it.key("established"), 50)
        await it.accept(job_id)
        await it.answer(job_id, actual)
        assert (await it.grants(), await it.pool()) == ([granted], 9_950 + back)


@pytest.mark.parametrize("table", ["reservations", "identities", "entries"])
async def test_fre_22_and_30_a_grant_is_all_there_or_not_at_all_and_its_failure_is_seen(table, tmp_path):
    """FRE-30: Whatever refuses the grant, nothing of the end is written and the reservation is not lost."""
    path = tmp_path / "a.db"
    async with generosity(url=f"sqlite:///{path}") as it:
        key = await it.key("established")
        job_id = await it.ask(key, 50)
        await it.accept(job_id)
        event = "INSERT" if table == "entries" else "UPDATE"
        with closing(sqlite3.connect(path)) as by_hand:
            by_hand.execute(
                f"CREATE TRIGGER broken BEFORE {event} ON {table} BEGIN SELECT raise(ABORT, 'broken'); END"
            )
        with pytest.raises(RuleBroken, match="broken"):
            await it.answer(job_id, 42)
        assert (await it.job(job_id)).state is JobState.EXECUTING
        assert (await it.pool(), await it.balance(f"reserved:{job_id}"), await it.used(key)) == (9_950, 50, 0)
        with closing(sqlite3.connect(path)) as by_hand:
            by_hand.execute("DROP TRIGGER broken")
        await it.answer(job_id, 42)
        assert (await it.pool(), await it.grants(), await it.used(key)) == (9_958, [42], 42)


async def test_fre_23_a_grant_can_not_be_changed_nor_taken_away(tmp_path):
    path = tmp_path / "a.db"
    async with generosity(url=f"sqlite:///{path}") as it:
        await it.use(await it.key("established"), 42)
        for statement in (
            "DELETE FROM free_tier_grants",
            "UPDATE free_tier_grants SET granted_msat = 1",
            "DELETE FROM reservations",
            "UPDATE reservations SET granted_msat = 1000",
            "UPDATE reservations SET granted_msat = NULL, ended_at = NULL",
        ):
            with closing(sqlite3.connect(path)) as by_hand, pytest.raises(sqlite3.Error, match=r"view|never|once"):
                by_hand.execute(statement)


async def test_fre_25_the_daily_counter_is_the_sum_of_the_grants(tmp_path):
    """pt audit_matches_counter: what was really absorbed, never the estimate."""
    path = tmp_path / "a.db"
    async with generosity(url=f"sqlite:///{path}") as it:
        key = await it.key("trusted")
        for estimate, actual in ((50, 42), (30, 30), (60, 10), (40, 70)):
            job_id = await it.ask(key, estimate)
            await it.accept(job_id)
            await it.answer(job_id, actual)
        failed = await it.ask(key, 20)
        await it.fail_early(failed)
        ((granted,),) = look(path, "SELECT sum(granted_msat) FROM free_tier_grants WHERE nostr_pubkey = ?", key)
        assert granted == await it.used(key) * 1_000 == (42 + 30 + 10 + 40) * 1_000
        me = await it.question(key, Op.ME)
        assert (me["sats_absorbed_today"], me["daily_budget_sats"]) == (122, 200)


async def test_fre_26_past_midnight_utc_the_counter_is_this_grant_alone():
    async with generosity() as it:
        key = await it.key("established")
        it.now = MIDNIGHT + DAY - 1
        await it.use(key, 50)
        assert await it.asked_for(await it.ask(key, 30)) == 30
        it.now += 1
        assert (await it.question(key, Op.ME))["sats_absorbed_today"] == 0
        job_id = await it.ask(key, 30)
        await it.accept(job_id)
        await it.answer(job_id, 20)
        assert await it.used(key) == 20
        assert (await it.question(key, Op.ME))["sats_absorbed_today"] == 20


async def test_a_job_that_goes_on_over_midnight_counts_in_the_new_day():
    async with generosity() as it:
        key = await it.key("established")
        it.now = MIDNIGHT + DAY - 1
        job_id = await it.ask(key, 40)
        it.now += 1
        assert await it.asked_for(await it.ask(key, 30)) == 20
        await it.accept(job_id)
        await it.answer(job_id, 40)
        assert await it.used(key) == 40
        assert (await it.job(await it.ask(key, 10))).absorbed_sats == 10


async def test_fre_27_two_hundred_operations_in_any_order_and_the_pool_is_never_negative(tmp_path):
    """pt pool_never_negative. The floor is the database's; the audit at the end proves every sum."""
    dice = random.Random(27)
    async with generosity(300, url=f"sqlite:///{tmp_path / 'a.db'}") as it:
        keys = [await it.key("trusted", str(n)) for n in range(8)]

        async def one(n: int) -> None:
            job_id = await it.ask(dice.choice(keys), dice.randrange(5, 90), how=dice.choice([RELAY, STEPS]))
            if (await it.job(job_id)).state is JobState.AWAITING_EVAL_PAYMENT and dice.random() < 0.7:
                await it.pay(job_id)
            if (await it.job(job_id)).state is not JobState.EVALUATING:
                return
            await dice.choice([it.accept, it.accept, it.accept, it.reject, it.fail_early])(job_id)
            if (await it.job(job_id)).state is JobState.AWAITING_WORK_PAYMENT:
                await it.pay(job_id)
            if (await it.job(job_id)).state is JobState.EXECUTING:
                await (it.fail(job_id) if n % 7 == 0 else it.answer(job_id, dice.randrange(2, 90)))

        await asyncio.gather(*(one(n) for n in range(200)))
        books = await it.store.pool(since=0, limit=5)
        assert books.balance >= 0
        assert books.granted > 0
        assert books.reserved == 0


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
async def test_fre_28_two_at_once_by_one_key_and_one_is_free(how, tmp_path):
    async with generosity(url=f"sqlite:///{tmp_path / 'a.db'}") as it:
        key = await it.key("established")
        jobs = await asyncio.gather(*(it.ask(key, 50, how=how) for _ in range(2)))
        if how is STEPS:
            await asyncio.gather(*(it.accept(job_id) for job_id in jobs))
        assert sorted([(await it.job(job_id)).absorbed_sats for job_id in jobs]) == [0, 50]
        assert await it.pool() == 9_950


async def eval_raises(it, job_id):
    await it.fail_early(job_id)
    await it.fail_early(job_id)


async def is_rejected(it, job_id):
    await it.reject(job_id)
    await it.reject(job_id)


async def work_raises(it, job_id):
    await it.accept(job_id)
    await it.fail(job_id, Step.WORK)
    await it.fail(job_id, Step.WORK)


async def takes_too_long(it, job_id):
    await it.overdue(job_id)


@pytest.mark.parametrize("how", [eval_raises, is_rejected, work_raises, takes_too_long])
async def test_fre_29_a_job_that_comes_to_nothing_gives_its_claim_back_once(how):
    async with generosity() as it:
        key = await it.key("established")
        job_id = await it.ask(key, 50)
        assert await it.pool() == 9_950
        await how(it, job_id)
        job = await it.job(job_id)
        assert job.state in (JobState.REJECTED, JobState.FAILED)
        assert (job.absorbed_sats, await it.pool(), await it.used(key)) == (0, 10_000, 0)
        told = it.recorder.last(Ended)
        assert told.money_back == "Nothing of your free budget was used."
        # a verdict that the pool was to pay for is our own loss
        eval_cost = EVAL_FEE if job.eval_passed is not None else 0
        assert (job.charge_eval, job.shortfall) == (0, eval_cost * 1_000)
        # and the key may ask again
        assert (await it.job(await it.ask(key, 50))).absorbed_sats == 50


async def test_a_rejected_part_pays_the_eval_from_the_customers_share_and_the_rest_goes_back():
    async with generosity() as it:
        job_id = await it.ask(await it.key("established"), 80)
        assert await it.pay(job_id) == 30
        assert await it.pool() == 9_950
        await it.reject(job_id)
        job = await it.job(job_id)
        assert (job.charge_eval, job.charge_work, job.shortfall) == (2_000, 0, 0)
        assert (await it.refunded(job_id), await it.pool()) == (28, 10_000)


@pytest.mark.parametrize(("percent", "credit"), [(10, 9), (25, 24), (0, 0)])
async def test_fre_31_the_pool_gets_its_part_of_the_work_kept_in_whole_sats(percent, credit):
    """98 of 100 sats are work; what goes back, what was granted and what nobody paid never count (D12)."""
    policy = dataclasses.replace(POLICY, pool_credit_percent=percent)
    async with generosity(0, policy) as it:
        job_id = await it.ask(await it.key("new"), 120)
        await it.pay(job_id)
        await it.accept(job_id)
        await it.answer(job_id, 100)
        assert ((await it.job(job_id)).pool_credit, await it.pool()) == (credit * 1_000, credit)


async def test_fre_32_the_pools_part_comes_with_the_very_commit_that_ends_the_job():
    async with generosity(0) as it:
        job_id = await it.ask(await it.key("new"), 120)
        await it.pay(job_id)
        await it.accept(job_id)
        outcome = await it.answer(job_id, 100)
        assert [entry.code for entry in outcome.change.entries][:2] == ["settlement", "pool_credit"]
        assert outcome.change.job.state is JobState.COMPLETE


async def test_fre_33_a_part_credits_the_pool_too():
    async with generosity() as it:
        job_id = await it.ask(await it.key("established"), 180)
        await it.pay(job_id)
        await it.accept(job_id)
        await it.answer(job_id, 150)
        job = await it.job(job_id)
        assert (job.absorbed_sats, job.charge_work, job.pool_credit) == (50, 98_000, 9_000)
        assert await it.pool() == 9_950 + 9


async def test_fre_34_the_pool_can_be_seen():
    async with generosity() as it:
        key = await it.key("established")
        await it.use(key, 20)
        await it.ask(key, 30)
        books = await it.store.pool(since=MIDNIGHT, limit=5)
        assert (books.balance, books.reserved, books.granted, books.given) == (
            9_950_000, 30_000, 20_000, 10_000_000,
        )  # fmt: skip
        told = await it.question(key, Op.ESTIMATE)
        assert told["pool"]["balanceSats"] == 9_950


async def test_fre_35_over_http_the_pool_is_asked_when_eval_has_passed():
    """D11: exactly one invoice, the eval's; none for the work."""
    async with generosity() as it:
        job_id = await it.ask(await it.key("established"), 50, how=STEPS)
        assert await it.pool() == 10_000
        await it.accept(job_id)
        story = await it.store.story(job_id)
        assert [invoice.amount for invoice in story.invoices] == [EVAL_FEE * 1_000]
        assert (story.job.state, story.job.absorbed_sats) == (JobState.EXECUTING, 50)
        await it.answer(job_id, 42)
        job = await it.job(job_id)
        assert (job.charge_eval, job.charge_work, job.absorbed_sats) == (EVAL_FEE * 1_000, 0, 42)


async def test_fre_36_on_relays_a_covered_job_is_born_at_work_without_any_invoice():
    async with generosity() as it:
        job_id = await it.ask(await it.key("established"), 50)
        job = await it.job(job_id)
        assert (job.state, job.eval_runs) == (JobState.EVALUATING, 1)
        assert [action.kind for action in await it.store.pending()] == ["RunAgent", "Publish"]
        (told,) = it.said()
        assert isinstance(told, Working)
        assert (told.covered_by, told.free.used, told.free.budget) == ("pool", 50_000, 50_000)
        await it.accept(job_id)
        assert it.recorder.last(PriceTold) is None


async def test_fre_38_where_nothing_is_reserved_no_grant_is_written():
    async with generosity() as it:
        key = await it.key("established")
        await it.use(key, 30)
        job_id = await it.ask(key, 50)
        bill = await it.bill(job_id)
        await it.drain(0)
        await it.settle(bill)
        await it.accept(job_id)
        await it.answer(job_id, 45)
        assert await it.grants() == [30]


async def test_fre_39_free_service_pauses_until_the_pool_is_credited():
    async with generosity() as it:
        await it.drain(0)
        key = await it.key("established")
        assert (await it.question(key, Op.ESTIMATE))["identity"]["free_tier"]["serve"] == "gate"
        job_id = await it.ask(await it.key("new", "bob"), 102)
        await it.pay(job_id)
        await it.accept(job_id)
        await it.answer(job_id, 102)
        assert await it.pool() == 10
        free = (await it.question(key, Op.ESTIMATE))["identity"]["free_tier"]
        assert free == {"serve": "partial", "absorbSats": 10, "chargeSats": 40}


async def test_a_gift_to_the_pool_goes_in_whole():
    async with generosity(0) as it:
        payment_hash = await it.gift(21)
        assert await it.settle(payment_hash, 25) == 25
        assert await it.pool() == 25
        assert (await it.store.pool(since=0, limit=1)).moves[0].code == "settled"


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
@pytest.mark.parametrize("estimate", [50, 70], ids=["free", "part"])
async def test_whatever_draws_on_the_pool_moves_the_version_of_its_key(how, estimate):
    """Where decisions read before they write, that is how two jobs of one key that draw at once are told apart."""
    async with generosity() as it:
        key = await it.key("established")

        async def version():
            return (await it.store.look(lambda view: view.identity(key))).version

        job_id = await it.ask(key, estimate, how=how)
        before = await version()
        if how is STEPS:
            await it.accept(job_id)
        if estimate == 70:
            await it.pay(job_id)
        assert (await it.job(job_id)).absorbed_sats == 50
        assert await version() == before + (0 if how is RELAY and estimate == 50 else 1)
