"""What the pool gives a key in all its life: so many times what its paid jobs left us (off by default)."""

import asyncio
import dataclasses

import pytest

from tests.timmy_dvm.generosity import EVAL_FEE, POLICY, RELAY, STEPS, generosity
from timmy_dvm.core.facts import Op
from timmy_dvm.core.free_tier import Newcomers

TWICE = dataclasses.replace(POLICY, lifetime_factor=2)
DAY = 86_400


async def absorbed(it, job_id):
    return (await it.job(job_id)).absorbed_sats


async def paid_for(it, pubkey, sats):
    """The key pays an answer of that price, whatever the pool would give."""
    job_id = await it.ask(pubkey, sats)
    if (due := await it.asked_for(job_id)) is not None:
        assert due == sats
        await it.pay(job_id)
    await it.accept(job_id)
    await it.answer(job_id, sats)
    assert (await it.job(job_id)).charge_work


async def test_without_the_factor_a_key_is_bounded_by_its_day_alone():
    async with generosity() as it:
        assert await absorbed(it, await it.ask(await it.key("trusted"), 100)) == 100


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "steps"])
async def test_a_key_that_left_us_nothing_has_nothing_however_trusted(how):
    async with generosity(policy=TWICE) as it:
        key = await it.key("elite")
        job_id = await it.ask(key, 40, how=how)
        if how is STEPS:
            await it.accept(job_id)
        assert (await absorbed(it, job_id), await it.asked_for(job_id)) == (0, 40)


async def test_it_draws_twice_what_it_left_us_over_days_and_then_pays():
    async with generosity(policy=TWICE) as it:
        key = await it.key("trusted")
        await paid_for(it, key, 42)
        kept = 42 - 4  # the pool has a tenth of the work fee
        drawn = 0
        for _ in range(3):
            it.now += DAY
            job_id = await it.ask(key, 30)
            drawn += await absorbed(it, job_id)
            if (await it.asked_for(job_id)) is None:
                await it.accept(job_id)
                await it.answer(job_id, 30)
        assert await it.grants() == [30, 30]
        told = (await it.question(key, Op.ESTIMATE, 30))["identity"]
        left = 2 * kept - 60
        # The third was offered what was left, and waits for its own part.
        assert told["free_tier"] == {"serve": "gate", "absorbSats": 0, "chargeSats": 30}
        assert (await it.asked_for(job_id), drawn) == (30 - left, 60)
        await it.pay(job_id)
        assert await absorbed(it, job_id) == left


async def test_of_two_that_start_at_once_the_second_sees_the_first():
    async with generosity(policy=TWICE) as it:
        key = await it.key("elite")
        await paid_for(it, key, 42)
        jobs = await asyncio.gather(*(it.ask(key, 60) for _ in range(4)))
        assert sum([await absorbed(it, job_id) for job_id in jobs]) == 60
        assert sorted([await it.asked_for(job_id) or 0 for job_id in jobs]) == [0, 44, 60, 60]


async def test_a_newcomers_one_answer_is_beside_it_and_counts_afterwards():
    policy = dataclasses.replace(TWICE, newcomers=Newcomers(), lifetime_factor=1)
    async with generosity(policy=policy) as it:
        key = await it.key("new")
        job_id = await it.ask(key, 20)
        assert await absorbed(it, job_id) == 20
        await it.accept(job_id)
        await it.answer(job_id, 20)
        await paid_for(it, key, 12)
        told = await it.question(key, Op.ME)
        assert told["why"].endswith("what its paid answers left us, here 11 sats; 20 of them are drawn.")


async def test_an_estimate_and_op_me_tell_why():
    async with generosity(policy=TWICE) as it:
        key = await it.key("established")
        await paid_for(it, key, 52 - EVAL_FEE)
        words = "the pool gives a key 2 times what its paid answers left us, here 92 sats; 0 of them are drawn."
        for op in (Op.ME, Op.ESTIMATE):
            told = await it.question(key, op, 30)
            assert words in (told if op is Op.ME else told["identity"])["why"]
        assert await it.pool() == 10_000 + 4


async def test_where_it_is_off_nobody_reads_of_it():
    async with generosity() as it:
        key = await it.key("established")
        assert "left us" not in (await it.question(key, Op.ME))["why"]
        assert (await it.question(key, Op.ESTIMATE))["identity"]["why"] == (await it.question(key, Op.ME))["why"]


async def test_what_was_set_aside_counts_until_it_is_given_back():
    async with generosity(policy=TWICE) as it:
        key = await it.key("elite")
        await paid_for(it, key, 42)
        first = await it.ask(key, 70)
        assert await absorbed(it, first) == 70
        assert await it.asked_for(await it.ask(key, 70)) == 64
        await it.fail_early(first)
        assert await absorbed(it, await it.ask(key, 70)) == 70
