"""What the model may cost in a UTC day; when that is spent, nothing begins that nobody has paid for."""

import dataclasses

import pytest

from ledger.records import JobState
from ledger.spending import ModelUse
from tests.timmy_dvm.generosity import EVAL_FEE, MIDNIGHT, PAGE, POLICY, RELAY, STEPS, generosity
from timmy_dvm.core import spending
from timmy_dvm.core.facts import Op
from timmy_dvm.core.pricing import ModelRate, PriceList

ONE_JOB = dataclasses.replace(POLICY, model_micro_usd_per_day=1_000)
"""A job's estimate is a thousand here, and so one that runs is the whole day."""
DAY = 86_400


async def running(it, name="rich"):
    """A job of another key that was paid and runs."""
    job_id = await it.ask(await it.key("new", name), 50)
    await it.pay(job_id)
    return job_id


@pytest.mark.parametrize("how", [RELAY, dict(STEPS), PAGE], ids=["relay", "steps", "page"])
async def test_when_it_is_spent_a_request_is_refused_before_any_invoice(how):
    async with generosity(policy=ONE_JOB) as it:
        await running(it)
        await it.ask(await it.key("elite"), 50, how=how)
        assert "CreateInvoice" not in [action.kind for action in await it.store.pending()]
        assert len(await it.store.jobs(limit=9)) == 1


async def test_the_pool_gives_nothing_then_and_an_estimate_says_so():
    async with generosity(policy=ONE_JOB) as it:
        key = await it.key("elite")
        assert (await it.question(key, Op.ESTIMATE, 50))["identity"]["free_tier"]["serve"] == "free"
        await running(it)
        told = (await it.question(key, Op.ESTIMATE, 50))["identity"]["free_tier"]
        assert told == {"serve": "gate", "absorbSats": 0, "chargeSats": 50}


async def test_what_is_covered_by_credit_runs_at_its_full_price():
    async with generosity(policy=ONE_JOB) as it:
        await running(it)
        key = await it.key("elite")
        await it.credit(key, 50)
        job = await it.job(await it.ask(key, 50))
        assert (job.state, job.absorbed_sats, job.credit_used) == (JobState.EVALUATING, 0, 50_000)


async def test_an_invoice_that_was_told_before_may_be_paid_and_its_job_runs_with_what_the_pool_offered():
    async with generosity(policy=ONE_JOB) as it:
        key = await it.key("established")
        promised = await it.ask(key, 80)
        assert await it.asked_for(promised) == 30
        await running(it)
        await it.pay(promised)
        job = await it.job(promised)
        assert (job.state, job.absorbed_sats) == (JobState.EVALUATING, 50)
        await it.accept(promised)
        await it.answer(promised, 80)
        assert (await it.job(promised)).state is JobState.COMPLETE


async def test_work_that_would_be_free_is_paid_for_when_the_eval_was_paid_meanwhile():
    async with generosity(policy=dataclasses.replace(ONE_JOB, model_micro_usd_per_day=2_000)) as it:
        free = await it.ask(await it.key("elite"), 50, how=STEPS)
        await running(it)
        await it.accept(free)
        assert (await it.asked_for(free), (await it.job(free)).absorbed_sats) == (50, 0)


async def test_the_next_day_begins_anew_and_what_is_answered_counts_as_what_it_cost():
    async with generosity(policy=ONE_JOB) as it:
        it.now = MIDNIGHT + 100
        job_id = await running(it)
        await it.accept(job_id)
        await it.answer(job_id, 50)  # a millionth of a dollar, and ten tokens of a model that costs nothing
        assert await it.asked_for(await it.ask(await it.key("new"), 50)) == 50
        await running(it, "other")
        it.now += DAY
        jobs = len(await it.store.jobs(limit=9))
        await it.ask(await it.key("new", "third"), 50)  # the other still runs
        assert len(await it.store.jobs(limit=9)) == jobs


async def test_without_a_bound_nothing_is_refused():
    async with generosity() as it:
        for n in range(5):
            await running(it, f"rich {n}")
        assert await it.asked_for(await it.ask(await it.key("new"), 50 + EVAL_FEE)) == 52


def test_verdicts_are_priced_by_their_model_and_gifts_by_the_bitcoin():
    prices = PriceList(rates=(ModelRate("haiku", 1_000_000, 5_000_000),))
    use = ModelUse(work_micro_usd=10, eval_input_tokens=300, eval_output_tokens=20, given_away=1_000)
    assert spending.cost(use, prices, "haiku", 100_000_000_000) == 10 + 400 + 1_000
    assert spending.cost(ModelUse(), prices, "haiku", 1) == 0
