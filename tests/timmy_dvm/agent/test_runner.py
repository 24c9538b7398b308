"""The contract of an agent, held by every implementation, and its values."""

import asyncio

import pytest

from tests.anthropic_server import FakeAnthropic
from timmy_dvm.agent.claude import ClaudeAgent
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.agent.runner import (
    Agent,
    AgentError,
    Answer,
    BudgetExceeded,
    Misconfigured,
    Refused,
    Task,
    TooLong,
    Unavailable,
    Usage,
)
from timmy_dvm.core.pricing import BtcPrice, Freshness, PriceList, actual_cost, estimate_request_cost

BTC = BtcPrice.from_usd(100_000, source="test", freshness=Freshness.FIXED, at=0)
TASK = Task("What is a relay?", 400)


@pytest.fixture(params=["offline", "claude"])
async def agent(request):
    if request.param == "offline":
        yield OfflineAgent()
        return
    async with FakeAnthropic() as fake:
        claude = ClaudeAgent("key", base_url=fake.url)
        await claude.load()
        yield claude
        await claude.aclose()


class TestEveryAgent:
    async def test_judges_and_works(self, agent: Agent):
        verdict = await agent.evaluate(TASK, deadline_s=10)
        answer = await agent.work(TASK, deadline_s=10)
        assert verdict.accepted
        assert verdict.usage.model == agent.eval_model
        assert answer.text.strip()
        assert answer.usage.model == agent.work_model

    async def test_both_models_can_be_priced_and_the_work_is_within_its_quote(self, agent: Agent):
        quote = estimate_request_cost(TASK.priced_text, agent.work_model, PriceList(), BTC)
        answer = await agent.work(Task(TASK.text, quote.max_output_tokens), deadline_s=10)
        assert actual_cost(answer.usage, PriceList(), BTC).charge_sats <= quote.work_fee_sats
        assert PriceList().rate_for(agent.eval_model)

    async def test_pieces_add_up_to_the_answer(self, agent: Agent):
        pieces: list[str] = []
        answer = await agent.work(TASK, deadline_s=10, on_text=pieces.append)
        assert len(pieces) > 1
        assert "".join(pieces) == answer.text

    async def test_the_same_task_may_run_twice_at_once(self, agent: Agent):
        answers = await asyncio.gather(*(agent.work(TASK, deadline_s=10) for _ in range(2)))
        assert answers[0] == answers[1]

    async def test_a_closed_agent_is_unavailable_and_closing_twice_is_fine(self, agent: Agent):
        await agent.aclose()
        await agent.aclose()
        for call in (agent.evaluate(TASK, deadline_s=10), agent.work(TASK, deadline_s=10)):
            with pytest.raises(Unavailable):
                await call


class TestValues:
    def test_no_repr_shows_what_the_customer_said(self):
        task = Task("private text", 1, system="private rules", temperature="private")
        assert "private" not in repr(task)
        assert "private" not in repr(Answer("private", Usage("m", 1, 1), truncated=False))

    @pytest.mark.parametrize(
        ("task", "text"),
        [
            (Task("  hi ", 1), "hi"),
            (Task("hi", 1, system="be kind"), "be kind\n\nhi"),
            (Task("hi", 1, system=""), "hi"),
        ],
    )
    def test_all_of_the_customers_words_are_priced(self, task, text):
        assert task.priced_text == text


class TestErrors:
    @pytest.mark.parametrize("kind", [Unavailable, Misconfigured, BudgetExceeded, TooLong, Refused])
    def test_each_says_what_to_do_next_without_its_detail(self, kind):
        error = kind(detail="HTTP 418 req_1", usage=Usage("m", 1, 2))
        assert isinstance(error, AgentError)
        assert "lease" in str(error)
        assert "418" not in str(error)
        assert error.usage == Usage("m", 1, 2)

    def test_a_refusal_shows_its_own_reason_where_it_has_one(self):
        assert str(Refused("Not today.")) == Refused("Not today.").reason == "Not today."
