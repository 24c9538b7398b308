"""The vectors V1 to V10 of the pool, as tables, through the production engine and a real ledger (all in sats).

Each is a relay job, whose estimate has the eval fee in it, and an HTTP job with an invoice for each step, where
the estimate is the work alone and the eval is paid apart. Pool credits of 10 % come on top and are taken off.
"""

import pytest

from ledger.records import JobState
from tests.timmy_dvm.generosity import EVAL_FEE, RELAY, STEPS, generosity
from timmy_dvm.core.facts import Step

# case: used today | pool, estimate | serve absorb invoice | pool when paid, and after | actual |
# charge refund grant short | pool at the end, used | why a part was nobody's
TABLE = """
V1 free            |  0 | 10000 50 | free    50  - | 10000  9950 | 42 |  0  0 42  0 |  9958 42 |
V2 partial         | 30 | 10000 50 | partial 20 30 | 10000  9980 | 45 | 25  5 20  0 |  9980 50 |
V3 drained, cheap  | 30 | 10000 50 | partial 20 30 |     0     0 | 25 | 25  5  0  0 |     0 30 |
V4 drained, dear   | 30 | 10000 50 | partial 20 30 |     0     0 | 45 | 30  0  0 15 |     0 30 | drained
V5 capped          | 30 | 10000 50 | partial 20 30 |    12     0 | 45 | 30  0 12  3 |     0 42 | drained
V6 over-reserved   | 30 | 10000 50 | partial 20 30 | 10000  9980 | 15 |  0 30 15  0 |  9985 45 |
as reserved        |  0 | 10000 50 | free    50  - | 10000  9950 | 60 |  0  0 50 10 |  9950 50 | overrun
capped and overrun | 30 | 10000 50 | partial 20 30 |    12     0 | 60 | 30  0 12 18 |     0 42 | drained, overrun
gate               | 50 | 10000 50 | gate     0 50 | 10000 10000 | 45 | 45  5  0  0 | 10000 50 |
pool below a sat's worth of budget | 0 | 30 50 | partial 30 20 | 30 0 | 45 | 15 5 30 0 | 0 30 |
"""


def rows(table):
    lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line]
    return [pytest.param(cells, id=name) for name, *cells in lines]


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
@pytest.mark.parametrize("row", rows(TABLE))
async def test_vectors(how, row):
    used, asked, served, paid, actual, ended, left, why = row
    start, estimate = map(int, asked.split())
    serve, absorb, invoice = served.split()
    async with generosity(start + int(used)) as it:
        alice = await it.key("established")
        await it.use(alice, int(used))
        job_id = await it.ask(alice, estimate, how=how)
        if how is STEPS:
            await it.accept(job_id)

        # decided
        job = await it.job(job_id)
        told = await it.asked_for(job_id)
        assert (str(told) if told else "-") == invoice
        assert job.free_tier is (serve != "gate")
        if serve == "free":
            assert job.absorbed_sats == int(absorb)
        else:
            assert (job.absorbed_sats, await it.pool()) == (0, start)
            assert (int(absorb) + told) == estimate
            hash_ = await it.bill(job_id)
            await it.drain(int(paid.split()[0]))
            await it.settle(hash_)

        # working
        when_paid, after = map(int, paid.split())
        assert await it.pool() == after
        if how is RELAY:
            await it.accept(job_id)
        job = await it.job(job_id)
        assert (job.state, job.absorbed_sats) == (JobState.EXECUTING, when_paid - after)

        # ended
        await it.answer(job_id, int(actual))
        job = await it.job(job_id)
        fee = 0 if how is RELAY else EVAL_FEE
        charge, refund, grant, short = map(int, ended.split())
        assert job.state is JobState.COMPLETE
        assert (job.charge_eval + job.charge_work) == (charge + fee) * 1_000
        assert await it.refunded(job_id) == refund
        assert (job.absorbed_sats, job.shortfall) == (grant, short * 1_000)
        assert charge + grant + short == int(actual)
        assert job.pool_credit == job.charge_work // 10_000 * 1_000
        pool, used_after = map(int, left.split())
        assert (await it.pool() - job.pool_credit // 1_000, await it.used(alice)) == (pool, used_after)
        assert await it.balance(f"reserved:{job_id}") == 0
        (settlement,) = [e for _, e in (await it.store.story(job_id)).entries if e.code == "settlement"]
        assert settlement.reason == why


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
async def test_v7_race_two_frees_at_once_of_two_keys(how):
    """pool 50, two free 50s at once: one free, one gate; pool 0."""
    async with generosity(50) as it:
        jobs = [await it.ask(await it.key("established", name), 50, how=how) for name in ("alice", "bob")]
        for job_id in jobs if how is STEPS else ():
            await it.accept(job_id)
        asked = [await it.asked_for(job_id) for job_id in jobs]
        assert asked == [None, 50]
        assert [(await it.job(job_id)).free_tier for job_id in jobs] == [True, False]
        assert await it.pool() == 0


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
async def test_v8_race_of_which_one_gets_a_part(how):
    """pool 50, two decides for 40 at once: one free (pool 10), one partial, absorb 10 advisory, pool stays 10."""
    async with generosity(50) as it:
        jobs = [await it.ask(await it.key("established", name), 40, how=how) for name in ("alice", "bob")]
        for job_id in jobs if how is STEPS else ():
            await it.accept(job_id)
        assert [await it.asked_for(job_id) for job_id in jobs] == [None, 30]
        assert [(await it.job(job_id)).absorbed_sats for job_id in jobs] == [40, 0]
        assert await it.pool() == 10


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
async def test_v9_a_new_key_meets_the_gate(how):
    async with generosity() as it:
        job_id = await it.ask(await it.key("new"), 50, how=how)
        if how is STEPS:
            await it.accept(job_id)
        assert (await it.asked_for(job_id), await it.pool()) == (50, 10_000)


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
async def test_v10_the_model_raises(how):
    """V1, and then: pool 10,000, used 0, no grant, failed."""
    async with generosity() as it:
        alice = await it.key("established")
        job_id = await it.ask(alice, 50, how=how)
        await it.accept(job_id)
        assert await it.pool() == 9_950
        await it.fail(job_id, Step.WORK)
        job = await it.job(job_id)
        assert (job.state, job.absorbed_sats, job.charge_work) == (JobState.FAILED, 0, 0)
        assert (await it.pool(), await it.used(alice), await it.grants()) == (10_000, 0, [])
