"""A key that others speak for draws on the pool as one of a higher tier, and is otherwise what it is."""

import contextlib
import dataclasses
import sqlite3

from tests.timmy_dvm.generosity import POLICY, generosity
from timmy_dvm.core.facts import Op
from timmy_dvm.core.free_tier import Newcomers
from timmy_dvm.core.trust import Tier
from timmy_dvm.engine import Engine

FOLLOWED = "fa" * 32


@contextlib.asynccontextmanager
async def lifting(tier=Tier.ESTABLISHED, policy=POLICY, **more):
    async with generosity(policy=policy, **more) as it:
        it.engine = Engine(it.store, policy, it.recorder, lambda key: tier if key == FOLLOWED else None)
        yield it


async def absorbed(it, job_id):
    return (await it.job(job_id)).absorbed_sats


async def test_a_new_key_that_is_followed_has_that_tiers_day_and_no_more():
    async with lifting() as it:
        assert await absorbed(it, await it.ask(FOLLOWED, 30)) == 30
        other = await it.ask(FOLLOWED, 30)
        assert (await absorbed(it, other), await it.asked_for(other)) == (0, 10)
        stranger = await it.ask("fb" * 32, 30)
        assert await it.asked_for(stranger) == 30


async def test_its_score_and_what_is_shown_of_it_stay_its_own_and_why_says_so():
    async with lifting() as it:
        told = (await it.question(FOLLOWED, Op.ESTIMATE, 30))["identity"]
        assert (told["trust_tier"], told["free_tier"]["serve"]) == ("new", "free")
        me = await it.question(FOLLOWED, Op.ME)
        assert (me["tier"], me["trust_score"], me["daily_budget_sats"]) == ("new", 0, 50)
        for words in (told["why"], me["why"]):
            assert words.endswith(
                "Others speak for this key: the pool's budget of the day is that of established keys."
            )


async def test_a_key_that_earned_more_is_not_lowered():
    async with lifting(Tier.ESTABLISHED) as it:
        key = await it.key("elite")
        it.engine = Engine(it.store, POLICY, it.recorder, lambda _: Tier.ESTABLISHED)
        assert await absorbed(it, await it.ask(key, 300)) == 300
        me = await it.question(key, Op.ME)
        assert (me["daily_budget_sats"], "speak for" in me["why"]) == (1_000_000, False)


async def test_what_it_draws_is_not_of_what_newcomers_have(tmp_path):
    kind = dataclasses.replace(POLICY, newcomers=Newcomers())
    async with lifting(policy=kind, url=f"sqlite:///{tmp_path / 'a.db'}") as it:
        await it.ask(FOLLOWED, 40)
        with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as books:
            assert books.execute("SELECT tier, budget_msat FROM reservations").fetchall() == [
                ("established", 50_000)
            ]


async def test_of_its_whole_life_it_has_what_it_left_us_all_the_same():
    async with lifting(Tier.ELITE, dataclasses.replace(POLICY, lifetime_factor=3)) as it:
        assert await it.asked_for(await it.ask(FOLLOWED, 30)) == 30
