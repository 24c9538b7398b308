"""Jobs, phases and prices over HTTP, row by row of the requirements, where no other test has the row."""

import asyncio
import datetime as dt

import pytest

from ledger.records import JobState
from tests.timmy_dvm.http.door import QUESTION, a_door
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.agent.runner import Answer, Usage
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import PriceList

OLD_STATES = {
    "awaiting_eval_payment",
    "evaluating",
    "awaiting_work_payment",
    "executing",
    "complete",
    "rejected",
    "failed",
}


class GatedAgent(OfflineAgent):
    """Thinks until it is let on, and counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__(sleep=lambda _: asyncio.sleep(0))
        self.gates = {"evaluate": asyncio.Event(), "work": asyncio.Event()}
        self.asked: list[str] = []

    async def evaluate(self, task, *, deadline_s):
        self.asked.append("evaluate")
        await self.gates["evaluate"].wait()
        return await super().evaluate(task, deadline_s=deadline_s)

    async def work(self, task, *, deadline_s, on_text=None):
        self.asked.append("work")
        await self.gates["work"].wait()
        return await super().work(task, deadline_s=deadline_s, on_text=on_text)


class CountedAgent(OfflineAgent):
    """Says that its work took these tokens."""

    async def work(self, task, *, deadline_s, on_text=None):
        answer = await super().work(task, deadline_s=deadline_s, on_text=on_text)
        return Answer(answer.text, Usage(answer.usage.model, 123, 456), answer.truncated)


async def in_steps(door):
    """What a job in two steps shows: waiting, priced, done."""
    asked = await door.ask()
    seen = [await door.job(asked["jobId"])]
    await door.pay(asked["evalInvoice"])
    seen.append(await door.reach(asked["jobId"], "awaiting_work_payment"))
    await door.pay(seen[-1]["workInvoice"])
    seen.append(await door.reach(asked["jobId"], "complete"))
    return seen


async def test_job_06_07_the_state_is_called_state_and_is_one_of_the_names():
    async with a_door() as door:
        for view in await in_steps(door):
            assert view["state"] in OLD_STATES
            assert "status" not in view
    assert {str(state) for state in JobState} >= OLD_STATES


async def test_job_09_times_are_iso_8601_in_utc():
    async with a_door() as door:
        done = (await in_steps(door))[-1]
    created, completed = (dt.datetime.fromisoformat(done[name]) for name in ("createdAt", "completedAt"))
    assert created.utcoffset() == completed.utcoffset() == dt.timedelta(0)
    assert created <= completed


@pytest.mark.parametrize("known", [False, True])
async def test_job_12_trust_tier_is_everywhere(known):
    """Each state, each end and an estimate; `anonymous` where there is no key."""
    tier = "new" if known else "anonymous"
    async with a_door() as door:
        headers = {"X-Nostr-Token": door.token()} if known else {}
        for text, end in ((QUESTION, "complete"), ("[reject] x", "rejected"), ("[fail] x", "failed")):
            asked = await door.ask(text, pay="once", headers=headers)
            waits = await door.job(asked["jobId"])
            await door.pay(asked["evalInvoice"])
            over = await door.reach(asked["jobId"], end)
            assert [view["trust_tier"] for view in (asked, waits, over)] == [tier] * 3
        price = await door.http.get("/api/estimate", params={"request": "x"}, headers=headers)
        assert price.json()["trust_tier"] == tier


async def test_job_14_15_the_price_is_shown_while_it_is_asked_and_the_cost_once_it_is_known():
    async with a_door() as door:
        waits, priced, done = await in_steps(door)
    assert "pricingBreakdown" not in waits
    assert priced["pricingBreakdown"]["btcPriceUsd"] == 100_000
    assert [view for view in (waits, priced) if "costLedger" in view] == []
    assert isinstance(done["costLedger"]["totalTokens"], int)


async def test_job_17_19_the_row_has_what_it_was_priced_with_and_what_the_pool_absorbed():
    """JOB-18 and PRI-08 too: dollars are whole micro-dollars in the row, and the margin is kept."""
    policy = Policy(prices=PriceList(margin_percent=55))
    async with a_door(policy=policy) as door:
        asked = await door.ask()
        await door.pay(asked["evalInvoice"])
        await door.reach(asked["jobId"], "awaiting_work_payment")
        job = await door.house.job(asked["jobId"])
        (columns,) = await door.house.store._reader.run(
            lambda connection: connection.execute(
                "SELECT estimated_cost_usd, margin_pct, btc_price_usd, actual_input_tokens, actual_output_tokens, "
                "actual_cost_usd, free_tier, absorbed_sats FROM jobs"
            ).fetchall()
        )
    assert all(isinstance(value, int) for value in columns)
    assert columns[0] > 0
    assert tuple(columns)[1:3] == (55, 100_000_000_000)
    assert (job.free_tier, job.absorbed_sats) == (False, 0)


async def test_pha_02_03_the_look_that_sees_the_payment_does_not_wait_for_the_model():
    agent = GatedAgent()
    async with a_door(agent=agent) as door:
        asked = await door.ask()
        await door.pay(asked["evalInvoice"])
        assert (await door.reach(asked["jobId"], "evaluating"))["state"] == "evaluating"
        agent.gates["evaluate"].set()
        waits = await door.reach(asked["jobId"], "awaiting_work_payment")
        await door.pay(waits["workInvoice"])
        assert (await door.reach(asked["jobId"], "executing"))["state"] == "executing"
        agent.gates["work"].set()
        assert (await door.reach(asked["jobId"], "complete"))["result"]


async def test_pha_04_paid_and_looked_at_by_nobody_it_goes_on():
    async with a_door() as door:
        asked = await door.ask(pay="once")
        await door.pay(asked["evalInvoice"])
        await door.house.state_is(asked["jobId"], "complete")


async def test_pha_05_however_many_look_each_phase_begins_once():
    agent = GatedAgent()
    async with a_door(agent=agent) as door:
        asked = await door.ask(pay="once")
        await door.pay(asked["evalInvoice"])
        await asyncio.gather(*(door.job(asked["jobId"]) for _ in range(5)))
        for gate, state in (("evaluate", "executing"), ("work", "complete")):
            agent.gates[gate].set()
            await door.house.state_is(asked["jobId"], state)
            await asyncio.gather(*(door.job(asked["jobId"]) for _ in range(5)))
    assert agent.asked == ["evaluate", "work"]


async def test_pha_09_the_tokens_in_the_cost_are_those_the_model_told():
    async with a_door(agent=CountedAgent(sleep=lambda _: asyncio.sleep(0))) as door:
        cost = (await door.complete())["costLedger"]
    names = ("actualInputTokens", "actualOutputTokens", "totalTokens")
    assert [cost[name] for name in names] == [123, 456, 579]


async def test_pri_13_one_estimator_every_door_asks_the_same():
    async with a_door() as door:
        told = (await door.http.get("/api/estimate", params={"request": QUESTION})).json()["estimatedSats"]
        over_http = (await door.ask(pay="once"))["evalInvoice"]["amountSats"]
        await door.house.ask(QUESTION)
        over_relay = (await door.house.priced()).amount // 1_000
    assert (over_http, over_relay) == (told, told)


async def test_pri_19_the_change_is_what_was_asked_without_what_it_cost():
    async with a_door() as door:
        cost = (await door.complete())["costLedger"]
    change = cost["workAmountSats"] - cost["actualAmountSats"]
    assert change > 0
    assert (cost["refundAmountSats"], cost["refundState"]) == (change, "pending")


async def test_pri_20_the_eval_fee_is_the_operators_and_stands_apart_in_the_estimate():
    async with a_door(policy=Policy(prices=PriceList(eval_fee_sats=7))) as door:
        assert (await door.ask())["evalInvoice"]["amountSats"] == 7
        price = (await door.http.get("/api/estimate", params={"request": QUESTION})).json()
    assert price["evalFeeSats"] == 7
    assert price["estimatedSats"] == 7 + price["workFeeSats"]
