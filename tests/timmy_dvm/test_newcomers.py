"""The newcomers' allowance: one free answer for each new key, within what all may have (off by default)."""

import asyncio
import dataclasses

import pytest

from ledger.money import Msats
from ledger.records import Door
from tests.timmy_dvm.generosity import MIDNIGHT, PAGE, POLICY, RELAY, STEPS, generosity
from timmy_dvm.core.facts import Op
from timmy_dvm.core.free_tier import DailyBudgets, Newcomers

KIND = dataclasses.replace(POLICY, newcomers=Newcomers())
"""20 sats for one answer, 150 a day, half of the pool."""


async def absorbed(it, job_id):
    return (await it.job(job_id)).absorbed_sats


async def free_one(it, name, price=20):
    """A stranger asks; what the pool sets aside."""
    return await absorbed(it, await it.ask(await it.key("new", name), price))


async def test_it_is_off_unless_the_operator_gives_it():
    async with generosity() as it:
        assert await free_one(it, "alice") == 0


@pytest.mark.parametrize(("price", "serve", "free"), [(20, "free", 20), (13, "free", 13), (21, "gate", 0)])
async def test_one_answer_up_to_a_price_and_a_dearer_one_not_even_in_part(price, serve, free):
    async with generosity(policy=KIND) as it:
        stranger = "77" * 32
        told = (await it.question(stranger, Op.ESTIMATE, price))["identity"]["free_tier"]
        assert told == {"serve": serve, "absorbSats": free, "chargeSats": price - free}
        job_id = await it.ask(stranger, price)
        assert (await absorbed(it, job_id), await it.asked_for(job_id)) == (free, price - free or None)


async def test_each_key_has_it_once_whatever_came_of_the_day():
    async with generosity(policy=KIND) as it:
        key = await it.key("new")
        first = await it.ask(key, 15)
        assert await absorbed(it, await it.ask(key, 15)) == 0
        await it.accept(first)
        await it.answer(first, 12)
        for later in (0, 86_400, 400 * 86_400):
            it.now += later
            assert await absorbed(it, await it.ask(key, 15)) == 0
        assert await it.grants() == [12]


@pytest.mark.parametrize("end", ["fail_early", "reject"])
async def test_an_answer_that_came_to_nothing_was_none(end):
    async with generosity(policy=KIND) as it:
        key = await it.key("new")
        await getattr(it, end)(await it.ask(key, 15))
        assert await absorbed(it, await it.ask(key, 15)) == 15


async def test_all_newcomers_of_a_day_together_have_so_much_and_the_next_day_as_much_again(tmp_path):
    async with generosity(policy=KIND, url=f"sqlite:///{tmp_path / 'a.db'}") as it:
        it.now = MIDNIGHT + 86_399
        gifts = await asyncio.gather(*(free_one(it, str(n)) for n in range(1_000)))
        assert (sum(gifts), gifts.count(20)) == (140, 7)
        assert await free_one(it, "with a small one", 10) == 10
        assert await free_one(it, "too late", 3) == 0
        it.now += 1
        # what is set aside and not answered yet may be granted today
        assert await free_one(it, "in the morning") == 0
        for job in await it.store.jobs(limit=2_000):
            if job.absorbed_sats:
                await it.fail_early(job.id)
        assert await free_one(it, "when they came to nothing") == 20


@pytest.mark.parametrize(("pool", "free"), [(100, 40), (80, 40), (39, 0), (41, 20), (10_000, 140)])
async def test_the_share_of_keys_with_history_is_never_touched(pool, free):
    async with generosity(pool, KIND) as it:
        gifts = [await free_one(it, str(n)) for n in range(20)]
        assert sum(gifts) == free
        assert await it.pool() >= pool // 2
        trusted = await it.ask(await it.key("trusted"), 20)
        assert await absorbed(it, trusted) == 20


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "steps"])
async def test_it_is_set_aside_in_the_commit_that_decides(how):
    """Over HTTP the eval stays due, and the work is free when it has passed."""
    async with generosity(policy=KIND) as it:
        job_id = await it.ask(await it.key("new"), 20, how=how)
        await it.accept(job_id)
        await it.answer(job_id, 18)
        assert (await it.grants(), (await it.job(job_id)).charge_work) == ([18], 0)


async def test_where_it_could_only_be_offered_there_is_none():
    """With one invoice over HTTP the eval is paid first: else a crowd of new keys is served at our loss."""
    async with generosity(policy=KIND) as it:
        job_id = await it.ask(await it.key("new"), 20, how=PAGE)
        assert await it.asked_for(job_id) == 22
        told = await it.question(await it.key("new", "bob"), Op.ESTIMATE, 20, door=Door.HTTP)
        assert told["identity"]["free_tier"]["serve"] == "free"


async def test_with_a_budget_for_new_keys_the_allowance_is_beside_it():
    policy = dataclasses.replace(KIND, daily_budgets=DailyBudgets(new=Msats(5_000)))
    async with generosity(policy=policy) as it:
        assert await free_one(it, "alice", 20) == 20
        bob = await it.key("new", "bob")
        dear = await it.ask(bob, 30)
        assert await it.asked_for(dear) == 25
        await it.pay(dear)
        assert await absorbed(it, dear) == 5


@pytest.mark.parametrize(
    ("pool", "drawn", "room"),
    [
        (10_000, 0, 20_000), (10_000, 130_000, 20_000), (10_000, 140_000, 10_000), (10_000, 150_000, 0),
        (10_000, 160_000, 0), (30, 0, 15_000), (30, 10_000, 10_000), (0, 0, 0), (1, 0, 500),
    ],
)  # fmt: skip
def test_the_room_for_the_next_one(pool, drawn, room):
    assert Newcomers().room(Msats(pool * 1_000), Msats(drawn)) == room
