"""The agent of fixed rules: useful for a demo, exact in its accounting, and no impostor."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy_dvm.agent.offline import FAIL, REFUSE, REJECT, SMALL_TALK, OfflineAgent, compose
from timmy_dvm.agent.prompts import EVAL_MAX_OUTPUT_TOKENS, TALK_MAX_OUTPUT_TOKENS
from timmy_dvm.agent.runner import Refused, Task, Unavailable, Usage
from timmy_dvm.core.pricing import estimate_input_tokens, estimate_tokens


class TestAnswers:
    @pytest.mark.parametrize(
        ("request_text", "says"),
        [
            ("Who are you?", "I am Timmy"),
            ("what is the Lightning network", "seconds"),
            ("Explain NIP-90 to me", "kind 7000"),
            ("what is a relay?", "signed events"),
            ("How do refunds work?", "goes back"),
            ("Tell me about the generosity pool", "overdrawn"),
            ("what is bitcoin", "21 million"),
            ("hello!", "Hello!"),
            ("Count the words: one two three", "3 words."),
            ("count words in this text:\none", "1 word."),
            ("reverse: abc", "cba"),
            ("Summarize: First point. Much detail here. Last point!", "First point. … Last point!"),
            ("summarise the following: Only this.", "Only this."),
            ("Why do elephants never forget elephants?", "elephants"),
            ("", "0 words"),
        ],
    )
    def test_it_says_something_to_the_point(self, request_text, says):
        assert says in compose(request_text)

    @given(st.text(max_size=500))
    def test_anything_gets_an_answer_and_the_same_one_again(self, request_text):
        assert compose(request_text)
        assert compose(request_text) == compose(request_text)

    @pytest.mark.parametrize("request_text", ["Who are you?", "Are you Claude?", "hi", "write a poem"])
    def test_it_never_passes_for_a_model(self, request_text):
        answer = compose(request_text)
        assert "without a language model" in answer
        assert "I am Claude" not in answer


class TestAccounting:
    @given(st.text(max_size=300), st.none() | st.text(max_size=100), st.integers(2, 2_000))
    async def test_tokens_are_those_of_the_estimate_and_never_above_the_cap(self, text, system, cap):
        task = Task(text, cap, system=system)
        answer = await OfflineAgent().work(task, deadline_s=5)
        assert answer.usage.input_tokens == estimate_input_tokens(task.priced_text)
        assert answer.usage.output_tokens == estimate_tokens(answer.text) <= cap

    async def test_an_answer_that_does_not_fit_is_cut_and_says_so(self):
        answer = await OfflineAgent().work(Task("reverse: " + "é" * 100, 5), deadline_s=5)
        assert answer.truncated
        assert answer.text == "é" * 7

    async def test_evaluations_keep_to_their_limit_too(self):
        for text in ("x", "[reject] x", ""):
            verdict = await OfflineAgent().evaluate(Task(text, 9), deadline_s=5)
            assert 0 < verdict.usage.output_tokens <= EVAL_MAX_OUTPUT_TOKENS

    async def test_the_names_it_counts_under_can_be_chosen(self):
        agent = OfflineAgent(eval_model="offline-small", work_model="offline-large")
        assert (await agent.evaluate(Task("x", 9), deadline_s=5)).usage.model == "offline-small"
        assert (await agent.work(Task("x", 9), deadline_s=5)).usage.model == "offline-large"
        assert (await agent.work(Task("x", 9, model="other"), deadline_s=5)).usage.model == "other"


class TestTriggers:
    @pytest.mark.parametrize("text", [REJECT, "[reject] x", "  [Reject] x", "", "   "])
    async def test_a_request_can_be_rejected(self, text):
        verdict = await OfflineAgent().evaluate(Task(text, 9), deadline_s=5)
        assert not verdict.accepted
        assert verdict.reason.endswith((".", "!"))

    async def test_work_can_fail(self):
        pieces: list[str] = []
        with pytest.raises(Unavailable) as caught:
            await OfflineAgent().work(Task(f"{FAIL} x", 9), deadline_s=5, on_text=pieces.append)
        assert caught.value.usage == Usage("offline", estimate_input_tokens(f"{FAIL} x"), 0)
        assert pieces == []

    async def test_work_can_be_refused(self):
        pieces: list[str] = []
        with pytest.raises(Refused, match="refused by the offline agent"):
            await OfflineAgent().work(Task(f"{REFUSE} x", 9), deadline_s=5, on_text=pieces.append)
        assert pieces == []

    @pytest.mark.parametrize("text", [FAIL, REFUSE, "tell me about [reject]"])
    async def test_the_others_pass_the_evaluation(self, text):
        assert (await OfflineAgent().evaluate(Task(text, 9), deadline_s=5)).accepted


class TestTime:
    async def test_the_delay_is_taken_once_or_spread_over_the_words(self):
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        agent = OfflineAgent(3, sleep=sleep)
        await agent.evaluate(Task("x", 400), deadline_s=5)
        await agent.work(Task("x", 400), deadline_s=5)
        assert waits == [3, 3]
        waits.clear()
        pieces: list[str] = []
        await agent.work(Task("x", 400), deadline_s=5, on_text=pieces.append)
        assert len(waits) == len(pieces) > 10
        assert round(sum(waits), 6) == 3

    async def test_without_delay_nothing_is_slept(self):
        async def never(_: float) -> None:
            raise AssertionError

        agent = OfflineAgent(sleep=never)
        await agent.evaluate(Task("x", 400), deadline_s=5)
        await agent.work(Task("x", 400), deadline_s=5, on_text=lambda _: None)

    async def test_the_deadline_holds(self):
        agent = OfflineAgent(3600)
        async with asyncio.timeout(10):
            for call in (agent.work(Task("x", 9), deadline_s=0.05), agent.evaluate(Task("x", 9), deadline_s=0.05)):
                with pytest.raises(Unavailable):
                    await call

    async def test_cancelling_ends_it_at_once(self):
        running = asyncio.create_task(OfflineAgent(3600).work(Task("x", 9), deadline_s=9999))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


class TestSmallTalk:
    """WLD-19."""

    async def test_four_sentences_in_turn_each_after_400_ms(self):
        waits = []

        async def sleep(seconds):
            waits.append(seconds)

        agent = OfflineAgent(sleep=sleep, eval_model="haiku")
        said = [await agent.small_talk("hello", deadline_s=5) for _ in range(8)]
        assert [answer.text for answer in said] == list(SMALL_TALK) * 2
        assert len(set(SMALL_TALK)) == 4
        assert waits == [0.4] * 8
        assert {answer.usage.model for answer in said} == {"haiku"}
        assert all(0 < answer.usage.output_tokens <= TALK_MAX_OUTPUT_TOKENS for answer in said)
