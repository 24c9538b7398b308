"""What is given away is booked as it was, and never more than the day allows, also when all ask at once."""

import asyncio

import pytest

from ledger.audit import audit
from ledger.money import msats_from_sats
from ledger.store import StoreUnavailable
from tests.timmy_dvm.by_hand import Moody
from tests.timmy_dvm.world.shop import Shop, a_shop, turns
from timmy_dvm.agent.runner import Answer, Unavailable, Usage
from timmy_dvm.core.free_facts import Purpose
from timmy_dvm.free_answers import AT_ONCE, NoFreeAnswer

SAT_EACH = Usage("haiku", 1_000, 0)  # 1 USD a million: 1,000 micro-USD, a sat at 100,000 USD
DAY_S = 86_400


class Thrifty:
    """An agent whose every answer costs a sat, unless told to fail."""

    eval_model = work_model = "haiku"

    def __init__(self, usage=SAT_EACH, fault=None):
        self.usage, self.fault, self.calls = usage, fault, []
        self.may = asyncio.Event()
        self.may.set()

    async def small_talk(self, said, *, deadline_s):
        self.calls.append(said)
        await self.may.wait()
        if self.fault:
            raise self.fault
        return Answer("Hello.", self.usage, truncated=False)

    async def work(self, task, *, deadline_s, on_text=None):
        self.calls.append(task)
        return Answer("An answer.", self.usage, truncated=False)

    async def aclose(self):
        pass


async def lost(shop):
    """What the books call our loss, and how it was booked."""
    await shop.free.settled()
    balances = await shop.store.balances()
    assert -balances["shortfall"] == balances["earned"]
    assert sum(balances.values()) == 0
    return -balances["shortfall"]


async def test_an_answer_is_booked_as_our_loss_with_its_reason():
    async with a_shop(agent=Thrifty()) as shop:
        await shop.free.talk("hello")
        await shop.free.demo("What is a relay?")
        assert await lost(shop) == 2_000
        given = [await shop.store.look(lambda view, at=at: view.free_answers_since(at)) for at in (0, 2**40)]
        assert given == [2_000, 0]


async def test_the_demo_asks_the_cheaper_model_for_something_short():
    async with a_shop(agent=Thrifty()) as shop:
        await shop.free.demo("What is a relay?")
        (task,) = shop.house.agent.calls
        assert (task.model, task.text) == ("haiku", "What is a relay?")
        assert task.max_output_tokens <= 300


async def test_the_books_stay_right(tmp_path):
    async with a_shop(agent=Thrifty(), url=f"sqlite:///{tmp_path}/ledger.db") as shop:
        await shop.free.talk("hello")
        assert await lost(shop) == 1_000
        await shop.house.books_are_right()
        assert not audit(tmp_path / "ledger.db")


async def test_the_days_sats_are_never_gone_beyond():
    """money.md 3: at most so many sats a day, chat and demo together."""
    async with a_shop(agent=Thrifty(), limit_sats=10) as shop:
        refusals = []
        for count in range(30):
            try:
                await (shop.free.demo if count % 2 else shop.free.talk)("hello")
            except NoFreeAnswer as refusal:
                refusals.append(refusal)
            await shop.free.settled()
        assert refusals
        assert all("midnight" in str(one) and 0 < one.retry_after_s <= DAY_S for one in refusals)
        assert await lost(shop) <= msats_from_sats(10)
        await shop.clock.advance(DAY_S)
        await shop.free.talk("a new day")


async def test_many_at_once_do_not_go_beyond_it_either():
    agent = Thrifty(usage=Usage("haiku", 0, 150))
    agent.may.clear()
    async with a_shop(agent=agent, limit_sats=4) as shop:
        asking = [asyncio.ensure_future(shop.free.talk("hi")) for _ in range(20)]
        await turns()
        assert 1 <= len(agent.calls) <= AT_ONCE
        agent.may.set()
        ends = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(end) for end in ends} == {Answer, NoFreeAnswer}
        assert await lost(shop) <= msats_from_sats(4)


@pytest.mark.parametrize(("usage", "booked"), [(None, 0), (SAT_EACH, 1_000)])
async def test_what_a_failed_answer_cost_is_booked_and_the_rest_is_free_again(usage, booked):
    async with a_shop(agent=Thrifty(fault=Unavailable("down", usage=usage))) as shop:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await shop.free.talk("hello")
        assert await lost(shop) == 3 * booked
        assert shop.free._promised == 0


async def test_no_limit_of_sats_is_no_answer():
    async with a_shop(agent=Thrifty(), limit_sats=0) as shop:
        with pytest.raises(NoFreeAnswer):
            await shop.free.talk("hello")
        assert shop.house.agent.calls == []


async def test_without_the_books_nothing_is_given_away():
    async with a_shop(agent=Thrifty()) as shop:
        moody = Moody(shop.store)
        moody.fails["look"] = 1
        shop.house.store = moody
        free = Shop(shop.house).free
        with pytest.raises(StoreUnavailable):
            await free.talk("hello")
        await free.talk("hello")
        await free.settled()
        assert free._promised == 0


async def test_what_was_given_is_booked_also_after_the_ledger_was_away():
    async with a_shop(agent=Thrifty()) as shop:
        moody = Moody(shop.store)
        moody.fails["commit"] = 3
        shop.house.engine._store = moody
        await shop.free.talk("hello")
        for _ in range(3):
            await turns()
            await shop.clock.advance(15)
        assert await lost(shop) == 1_000


def test_reasons_are_those_of_the_books():
    assert [purpose.value for purpose in Purpose] == ["chat", "demo"]


async def test_when_the_model_has_cost_what_it_may_nothing_is_given_away_either():
    """`limits.model_usd_per_day`: what was given away counts too."""
    async with a_shop(agent=Thrifty()) as shop:
        shop.free._model_limit = 2_000
        for _ in range(2):
            await shop.free.talk("hello")
            await shop.free.settled()
        with pytest.raises(NoFreeAnswer, match="budget for the model is spent for today") as refusal:
            await shop.free.demo("What is a relay?")
        assert 0 < refusal.value.retry_after_s <= DAY_S
        assert len(shop.house.agent.calls) == 2
