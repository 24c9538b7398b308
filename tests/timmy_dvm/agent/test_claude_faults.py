"""A Messages API that misbehaves: every fault ends in a value or a typed error, inside the deadline."""

import asyncio

import pytest

from tests import anthropic_server as api
from tests.timmy_dvm.agent.conftest import KEY, TASK, work_fails
from timmy_dvm.agent.claude import MAX_TRIES, ClaudeAgent
from timmy_dvm.agent.runner import (
    BudgetExceeded,
    Misconfigured,
    Refused,
    TooLong,
    Unavailable,
    Usage,
)
from timmy_dvm.core.pricing import estimate_tokens

WORK = "claude-sonnet-4-6"


# What the API does, how often we then ask in all, and the error when it does so every time.
TRANSIENT = [
    pytest.param(api.rate_limited(), MAX_TRIES, id="429"),
    pytest.param(api.rate_limited("1"), MAX_TRIES, id="429 with retry-after"),
    pytest.param(api.server_error(), MAX_TRIES, id="500"),
    pytest.param(api.status(503), MAX_TRIES, id="503"),
    pytest.param(api.overloaded(), MAX_TRIES, id="529"),
    pytest.param(api.error_event(), MAX_TRIES, id="error event before the first token"),
    pytest.param(api.dropped(), 2, id="socket dropped without an answer"),
    pytest.param(api.silent(), 2, id="no answer"),
    pytest.param(api.html(), 2, id="200 with a web page"),
    pytest.param(api.cut("half an ans"), 2, id="cut stream"),
    pytest.param(api.stall("half an ans"), 2, id="stalled stream"),
    pytest.param(api.error_event(text="half an ans"), 2, id="error event in the stream"),
    pytest.param(api.broken_json(), 2, id="broken JSON"),
    pytest.param(api.ends_early("half an ans"), 2, id="no stop reason"),
    pytest.param(api.empty(), 2, id="empty answer"),
    pytest.param(api.ok(" \n"), 2, id="blank answer"),
    pytest.param(
        api.raw_events(api.start_with({"input_tokens": "many"}), *api.stop("end_turn", -5)),
        2,
        id="odd counts",
        # The SDK goes on with what its own types forbid, and says so.
        marks=pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
    ),
    pytest.param(api.raw_events(api.sse("message_start", "7")), 2, id="an event that is no object"),
    pytest.param(api.raw_events(*api.words("x")), 2, id="no start"),
    pytest.param(api.raw_events(api.start(), *api.stop("end_turn")[1:]), 2, id="no content at all"),
    pytest.param(api.raw_events(api.start(), api.words("x y")[1]), 2, id="text outside a block"),
]

PERMANENT = [
    pytest.param(api.spend_limit(), BudgetExceeded, id="spend limit"),
    pytest.param(api.status(402, "billing_error"), BudgetExceeded, id="402"),
    pytest.param(api.status(400, "invalid_request_error"), Misconfigured, id="400"),
    pytest.param(api.status(401, "authentication_error"), Misconfigured, id="401"),
    pytest.param(api.status(403, "permission_error"), Misconfigured, id="403"),
    pytest.param(api.status(404, "not_found_error"), Misconfigured, id="404"),
    pytest.param(api.status(307, location="http://127.0.0.1:1/"), Misconfigured, id="redirect"),
    pytest.param(api.status(413, "request_too_large"), TooLong, id="413"),
    pytest.param(api.error_event("authentication_error"), Misconfigured, id="bad key, said in the stream"),
    pytest.param(api.error_event("request_too_large"), TooLong, id="too large, said in the stream"),
    pytest.param(api.refusal(), Refused, id="refusal without content"),
    pytest.param(api.refusal("I would rather"), Refused, id="refusal after some text"),
]


class TestFaults:
    @pytest.fixture
    def stall_s(self, request) -> float:
        """Short only where the API falls silent, so that a slow machine is not taken for a fault."""
        behaviour = getattr(request.node, "callspec", None) and request.node.callspec.params.get("behaviour")
        return 0.5 if behaviour and behaviour.ending == "stall" else 30

    @pytest.mark.parametrize(("behaviour", "tries"), TRANSIENT)
    async def test_a_transient_fault_is_tried_again_and_then_given_up(self, fake, agent, behaviour, tries):
        fake.will(*[behaviour] * (tries + 1))
        error = await work_fails(agent)
        assert type(error) is Unavailable
        assert len(fake.requests) == tries

    @pytest.mark.parametrize(("behaviour", "tries"), TRANSIENT)
    async def test_after_one_transient_fault_the_answer_comes(self, fake, agent, behaviour, tries):
        fake.will(behaviour, api.ok("whole answer"))
        assert (await agent.work(TASK, deadline_s=30)).text == "whole answer"

    @pytest.mark.parametrize(("behaviour", "kind"), PERMANENT)
    async def test_what_cannot_get_better_is_asked_once(self, fake, agent, behaviour, kind):
        fake.will(behaviour, api.ok("never sent"))
        error = await work_fails(agent)
        assert type(error) is kind
        assert len(fake.requests) == 1

    @pytest.mark.parametrize(("behaviour", "kind"), PERMANENT[:-2])
    async def test_the_same_in_an_evaluation(self, fake, agent, behaviour, kind):
        fake.will(behaviour)
        with pytest.raises(kind):
            await agent.evaluate(TASK, deadline_s=5)

    async def test_a_model_that_is_not_there(self, waits):
        agent = ClaudeAgent(KEY, base_url="http://127.0.0.1:1", sleep=waits)
        error = await work_fails(agent)
        assert type(error) is Unavailable
        assert len(waits) == MAX_TRIES - 1
        assert error.usage is None
        await agent.aclose()

    async def test_the_pauses_double_up_to_a_limit(self, fake, agent, waits):
        fake.will(*[api.overloaded()] * MAX_TRIES)
        await work_fails(agent)
        assert waits == [0.5, 1, 2, 4, 8, 16, 16]

    async def test_retry_after_is_obeyed(self, fake, agent, waits):
        fake.will(api.rate_limited("7"))
        await agent.work(TASK, deadline_s=30)
        assert waits == [7]

    @pytest.mark.parametrize("header", ["31", "3600", "4294967295", "9" * 400, "inf"])
    async def test_a_retry_after_beyond_the_deadline_ends_it_at_once(self, fake, agent, waits, header):
        fake.will(api.rate_limited(header))
        assert type(await work_fails(agent, deadline_s=30)) is Unavailable
        assert waits == []
        assert len(fake.requests) == 1

    @pytest.mark.parametrize("header", ["", "soon", "-5", "nan", "Wed, 21 Oct 2026 07:28:00 GMT"])
    async def test_a_retry_after_that_is_no_number_is_left_to_our_own_pace(self, fake, agent, waits, header):
        fake.will(api.rate_limited(header))
        await agent.work(TASK, deadline_s=30)
        assert waits == [0.5]

    @pytest.mark.parametrize("behaviour", [api.silent(), api.stall("half"), api.ok("a b c d e", pace_s=30)])
    async def test_the_deadline_ends_whatever_is_going_on(self, fake, agent, behaviour):
        fake.will(*[behaviour] * 3)
        async with asyncio.timeout(10):
            error = await work_fails(agent, deadline_s=0.2)
        assert type(error) is Unavailable
        assert "0.2 s" in error.detail

    async def test_the_deadline_ends_a_pause_too(self, fake):
        agent = ClaudeAgent(KEY, base_url=fake.url, sleep=lambda _: asyncio.sleep(3600))
        await agent.load()
        fake.will(api.rate_limited("0.1"))
        async with asyncio.timeout(10):
            assert type(await work_fails(agent, deadline_s=0.5)) is Unavailable
        await agent.aclose()


class TestWhatItCosts:
    async def test_a_lost_try_is_counted_from_what_was_seen_and_kept_apart(self, fake, agent):
        """The stream's own output count is 1 until its end, so a cut one is counted by its text."""
        fake.will(api.cut("nine letters"), api.ok("done", input_tokens=20, output_tokens=2))
        answer = await agent.work(TASK, deadline_s=5)
        assert answer.usage == Usage(WORK, 20, 2)
        assert answer.wasted == Usage(WORK, 12, estimate_tokens("nine letters"))

    async def test_an_error_says_what_was_spent(self, fake, agent):
        fake.will(api.cut("abc"), api.cut("abcdef"))
        assert (await work_fails(agent)).usage == Usage(WORK, 24, 3)

    async def test_a_refusal_says_what_was_spent(self, fake, agent):
        fake.will(api.cut("abc"), api.refusal())
        assert (await work_fails(agent)).usage == Usage(WORK, 24, 1 + 7)

    async def test_a_deadline_says_what_was_spent(self, fake, agent):
        fake.will(api.ok("abc def", pace_s=30))
        assert (await work_fails(agent, deadline_s=1)).usage == Usage(WORK, 12, 0)

    @pytest.mark.parametrize("behaviour", [api.overloaded(), api.rate_limited(), api.error_event()])
    async def test_a_call_the_model_never_began_costs_nothing(self, fake, agent, behaviour):
        fake.will(*[behaviour] * MAX_TRIES)
        assert (await work_fails(agent)).usage is None

    async def test_text_already_handed_out_is_void_when_the_answer_is_begun_anew(self, fake, agent):
        pieces: list[str | None] = []
        fake.will(api.overloaded(), api.cut("half an"), api.ok("whole answer"))
        answer = await agent.work(TASK, deadline_s=5, on_text=pieces.append)
        assert pieces == ["half ", "an", None, "whole ", "answer"]
        assert answer.text == "whole answer"
        assert answer.wasted is not None

    async def test_text_of_a_try_that_is_not_followed_by_another_is_not_called_void(self, fake, agent):
        pieces: list[str | None] = []
        fake.will(api.cut("half"), api.cut("again"), api.ok("never sent"))
        assert type(await work_fails(agent, on_text=pieces.append)) is Unavailable
        assert pieces == ["half", None, "again"]
        assert len(fake.requests) == 2

    async def test_an_answer_without_end_is_cut_off(self, fake, agent, monkeypatch):
        monkeypatch.setattr("timmy_dvm.agent.claude.MAX_ANSWER_CHARS", 10)
        fake.will(*[api.ok("far more text than that")] * 2)
        assert type(await work_fails(agent)) is Unavailable
