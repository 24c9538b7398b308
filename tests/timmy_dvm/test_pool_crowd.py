"""Crowds at the pool, through the engine and SQLite on disk: exactly as many are served as it can bear (B5)."""

import asyncio
import itertools

import pytest

from tests.timmy_dvm.generosity import EVAL_FEE, POLICY, RELAY, STEPS, generosity
from timmy_dvm.engine import Engine

PRICE = 10


@pytest.mark.parametrize(("how", "grants"), [(RELAY, 0), (RELAY, 37), (STEPS, 37)], ids=["0", "37", "http 37"])
async def test_of_a_thousand_claims_at_once_exactly_those_that_fit_are_granted(grants, how, tmp_path):
    """Each of its own key, on a pool of so many grants and a rest that is none."""
    async with generosity(grants * PRICE, url=f"sqlite:///{tmp_path / 'a.db'}") as it:
        keys = await asyncio.gather(*(it.key("established", str(n)) for n in range(1_000)))
        if how is STEPS:
            await asyncio.gather(*(it.credit(key, EVAL_FEE) for key in keys))
        jobs = await asyncio.gather(*(it.ask(key, PRICE, how=how) for key in keys))
        if how is STEPS:
            await asyncio.gather(*(it.accept(job_id) for job_id in jobs))
        free = [job_id for job_id in jobs if (await it.job(job_id)).absorbed_sats]
        assert (len(free), await it.pool()) == (grants, 0)
        if how is RELAY:
            await asyncio.gather(*(it.accept(job_id) for job_id in free))
        await asyncio.gather(*(it.answer(job_id, PRICE) for job_id in free))
        assert (await it.grants(), await it.pool()) == ([PRICE] * grants, 0)


@pytest.mark.parametrize(("tier", "served"), [("new", 0), ("established", 5), ("trusted", 20)])
async def test_of_a_hundred_at_once_by_one_key_its_day_decides_how_many_are_free(tier, served, tmp_path):
    """FRE-28, through two engines on one ledger, as two doors have it."""
    async with generosity(url=f"sqlite:///{tmp_path / 'a.db'}") as it:
        key = await it.key(tier)
        engines = itertools.cycle([it.engine, Engine(it.store, POLICY, it.recorder)])

        async def one() -> str:
            it.engine = next(engines)
            return await it.ask(key, PRICE)

        jobs = await asyncio.gather(*(one() for _ in range(100)))
        free = [job_id for job_id in jobs if (await it.job(job_id)).absorbed_sats]
        assert (len(free), await it.pool()) == (served, 10_000 - served * PRICE)
        paid = [await it.asked_for(job_id) for job_id in jobs if job_id not in free]
        assert paid == [PRICE] * (100 - served)


async def test_a_hundred_offers_paid_at_the_same_moment_bring_the_pool_no_lower_than_nothing(tmp_path):
    """Each key was offered 5 of 15: the pool has 101 for all of them together."""
    async with generosity(5_500, url=f"sqlite:///{tmp_path / 'a.db'}") as it:
        keys = [await it.key("established", str(n)) for n in range(100)]
        for key in keys:
            await it.use(key, 45)
        jobs = await asyncio.gather(*(it.ask(key, 15) for key in keys))
        bills = [await it.bill(job_id) for job_id in jobs]
        await it.drain(101)
        await asyncio.gather(*(it.settle(bill) for bill in bills))
        reserved = sorted([(await it.job(job_id)).absorbed_sats for job_id in jobs])
        assert reserved == [0] * 79 + [1] + [5] * 20
        await asyncio.gather(*(it.accept(job_id) for job_id in jobs))
        await asyncio.gather(*(it.answer(job_id, 15) for job_id in jobs))
        lost = [(await it.job(job_id)).shortfall for job_id in jobs]
        assert sorted(lost) == [0] * 20 + [4_000] + [5_000] * 79
