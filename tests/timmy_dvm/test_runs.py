"""A run of the model ends in exactly one fact, whatever happens in it, and none is paid for nothing."""

import asyncio
import contextlib
import logging

import pytest

from ledger.records import Turn
from tests.flows.house import QUESTION
from tests.timmy_dvm.by_hand import Gate, by_hand
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.agent.runner import AgentError, Misconfigured, Refused, Unavailable
from timmy_dvm.core.actions import RunAgent
from timmy_dvm.core.facts import Step
from timmy_dvm.core.pricing import BtcPrice, Freshness, estimate_input_tokens
from timmy_dvm.runs import EVAL_DEADLINE_S, WORK_DEADLINE_S

TIMEOUT_S = 10
OUR_FAULT = "The request could not be done because of a fault on our side."


class Model(OfflineAgent):
    """Notes what it is asked, waits where it is told to, and fails as it is told to."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error = None

    async def evaluate(self, task, *, deadline_s):
        await self._begin(Step.EVAL, task, deadline_s)
        return await super().evaluate(task, deadline_s=deadline_s)

    async def work(self, task, *, deadline_s, on_text=None):
        await self._begin(Step.WORK, task, deadline_s)
        return await super().work(task, deadline_s=deadline_s, on_text=on_text)

    async def _begin(self, step, task, deadline_s):
        self.calls.append((step, task, deadline_s))
        self.begun.set()
        await self.may_end.wait()
        if self.error is not None:
            raise self.error


@contextlib.asynccontextmanager
async def in_time():
    async with asyncio.timeout(TIMEOUT_S):
        yield


async def test_eval_and_work_are_given_the_text_its_priced_limits_and_a_deadline():
    model = Model()
    async with by_hand(model) as house:
        job_id = await house.paid()
        await house.run()
        assert (await house.job(job_id)).state == "executing"
        await house.run()
        job = await house.job(job_id)
        assert job.state == "complete"
        assert (job.eval_runs, job.work_runs) == (1, 1)
        assert [(step, deadline) for step, _, deadline in model.calls] == [
            (Step.EVAL, EVAL_DEADLINE_S),
            (Step.WORK, WORK_DEADLINE_S),
        ]
        for _, task, _ in model.calls:
            assert (task.text, task.model) == (QUESTION, job.quote.work_model)
            assert task.max_output_tokens == job.quote.max_output_tokens
        assert await house.rows(RunAgent) == []


@pytest.mark.parametrize(
    ("note", "temperature"),
    [
        ('{"door":"nostr","temperature":"0.7"}', "0.7"),
        ('{"door":"nostr","temperature":null}', None),
        ('{"door":"http"}', None),
        ('{"temperature":0.7}', None),
        ("[]", None),
        ("", None),
    ],
)
async def test_the_customers_temperature_comes_out_of_the_doors_note(note, temperature):
    model = Model()
    async with by_hand(model) as house:
        await house.paid(origin=note)
        await house.run()
        await house.run()
    assert [task.temperature for _, task, _ in model.calls] == [temperature] * 2


async def test_a_job_that_follows_others_is_run_with_all_that_was_said_and_costs_no_more_than_its_price():
    model = Model()
    async with by_hand(model) as house:
        done = []
        for question in ("Who was Ada?", "And her father?", "And his?"):
            job_id = await house.paid(question, follows=done[-1] if done else None)
            await house.run()
            await house.run()
            done.append(job_id)
        said = [await house.store.texts(job_id) for job_id in done]
        turns = tuple(Turn(text.request, text.result) for text in said)
        assert [task.turns for _, task, _ in model.calls[-2:]] == [turns[:2], turns[:2]]
        assert [task.turns for _, task, _ in model.calls[:4]] == [(), (), turns[:1], turns[:1]]
        assert "asked 2 questions; the last was: “And her father?”" in turns[2].answer
        job = await house.job(done[-1])
        assert job.state == "complete"
        assert (job.shortfall, job.actual_input_tokens) == (0, estimate_input_tokens("And his?", turns[:2]))


@pytest.mark.parametrize("changes", [{"pubkey": "b" * 64}, {"pubkey": None, "event_id": None}])
async def test_nobody_elses_thread_is_followed(changes):
    model = Model()
    async with by_hand(model) as house:
        job_id = await house.paid("My secret is 42.")
        await house.run()
        await house.run()
        stranger = await house.ask("And my secret?", follows=job_id, **changes)
        assert await house.store.job(stranger) is None
        assert house.recorder.said[-1].code == "no_thread"


async def test_a_job_without_an_answer_is_not_followed():
    async with by_hand(Model()) as house:
        job_id = await house.paid("Who was Ada?")
        assert await house.store.job(await house.ask("And her father?", follows=job_id)) is None
        assert house.recorder.said[-1].code == "no_thread"


async def test_a_run_that_ended_while_it_was_queued_never_calls_the_model():
    model = Model()
    async with by_hand(model, in_flight=1) as house:
        first = await house.paid()
        second = await house.paid(pubkey="b" * 64)
        rows = {action.job_id: (row_id, action) for row_id, action in await house.rows(RunAgent)}
        model.may_end.clear()
        runs = [asyncio.create_task(house.runs.run(*rows[job], interrupted=False)) for job in (first, second)]
        async with in_time():
            await model.begun.wait()
        await house.overdue(second)
        assert (await house.job(second)).state == "failed"
        model.may_end.set()
        async with in_time():
            await asyncio.gather(*runs)
        assert len(model.calls) == 1
        assert (await house.job(first)).state == "executing"
        assert await house.is_done(rows[second][0])


async def test_paid_and_queued_it_is_cancelled_refunded_and_never_seen_by_the_model():
    model = Model()
    async with by_hand(model, in_flight=1) as house:
        first = await house.paid()
        second = await house.paid(pubkey="b" * 64)
        rows = {action.job_id: (row_id, action) for row_id, action in await house.rows(RunAgent)}
        model.may_end.clear()
        runs = [asyncio.create_task(house.runs.run(*rows[job], interrupted=False)) for job in (first, second)]
        async with in_time():
            await model.begun.wait()
        for job_id in (first, second):
            await house.cancel(job_id)
        job = await house.job(second)
        assert (job.state, (await house.job(first)).state) == ("cancelled", "evaluating")
        (refund,) = await house.store.refunds(open_only=True)
        assert (refund.amount, refund.job_id) == (job.share_eval + job.share_work, second)
        model.may_end.set()
        async with in_time():
            await asyncio.gather(*runs)
        assert len(model.calls) == 1
        assert await house.is_done(rows[second][0])
        await house.books_are_right()


@pytest.mark.parametrize("held_back", ["mark_started", "job", "texts"])
async def test_cancelled_in_the_very_moment_of_its_beginning_it_is_refunded_or_done_and_never_both(held_back):
    """Whatever step of the beginning it falls into: either the run is not begun, or it is charged."""
    model = Model()
    async with by_hand(model) as house:
        job_id = await house.paid()
        row_id, wanted = await house.row(RunAgent)
        gate = house.store.gates[held_back] = Gate()
        running = asyncio.create_task(house.runs.run(row_id, wanted, interrupted=False))
        async with in_time():
            await gate.reached.wait()
        await house.cancel(job_id)
        gate.opened.set()
        async with in_time():
            await running
        cancelled = (await house.job(job_id)).state == "cancelled"
        assert cancelled == (held_back == "mark_started")
        assert len(model.calls) == (0 if cancelled else 1)
        assert [bool(refund) for refund in await house.store.refunds(open_only=True)] == [True] * cancelled
        await house.books_are_right()


async def test_many_cancellations_beside_their_runs_and_none_is_both_done_and_given_back(tmp_path):
    model = Model()
    async with by_hand(model, f"sqlite:///{tmp_path / 'timmy.db'}", in_flight=100) as house:
        jobs = [await house.paid(pubkey=f"{number:064x}") for number in range(60)]
        rows = {action.job_id: (row_id, action) for row_id, action in await house.rows(RunAgent)}
        steps = [
            step for job in jobs for step in (house.runs.run(*rows[job], interrupted=False), house.cancel(job))
        ]
        async with in_time():
            await asyncio.gather(*steps)
        states = [str((await house.job(job)).state) for job in jobs]
        assert set(states) <= {"cancelled", "executing"}
        assert len(model.calls) == states.count("executing")
        await house.books_are_right()


@pytest.mark.parametrize("changes", [{"run": 2}, {"step": Step.WORK}, {"job_id": "0" * 32}])
async def test_a_run_the_job_does_not_wait_for_never_calls_the_model(changes):
    model = Model()
    async with by_hand(model) as house:
        await house.paid()
        row_id, wanted = await house.row(RunAgent)
        fields = {name: getattr(wanted, name) for name in ("job_id", "step", "run")}
        await house.runs.run(row_id, RunAgent(**(fields | changes)), interrupted=False)
        assert model.calls == []
        assert await house.is_done(row_id)


async def test_no_more_runs_than_there_are_places_for():
    model = Model()
    model.may_end.clear()
    async with by_hand(model, in_flight=4) as house:  # of which keys that never paid before hold two
        for key in "abcde":
            await house.paid(pubkey=key * 64)
        rows = await house.rows(RunAgent)
        runs = [asyncio.create_task(house.runs.run(*row, interrupted=False)) for row in rows]
        await house.until(lambda: len(model.calls) == 2)
        # All that could be begun is begun: a third would need the ledger, which answers in order.
        await house.store.job(rows[-1][1].job_id)
        assert len(model.calls) == 2
        model.may_end.set()
        async with in_time():
            await asyncio.gather(*runs)
        assert len(model.calls) == 5


async def test_an_outcome_waits_for_a_ledger_that_is_away_and_keeps_no_place_meanwhile():
    model = Model()
    async with by_hand(model, in_flight=1) as house:
        first = await house.paid()
        second = await house.paid(pubkey="b" * 64)
        rows = {action.job_id: (row_id, action) for row_id, action in await house.rows(RunAgent)}
        house.store.fails["commit"] = 2
        waiting = asyncio.create_task(house.runs.run(*rows[first], interrupted=False))
        async with in_time():
            await house.clock.wait_for_sleepers(1)
            house.store.fails["commit"] = 0
            await house.runs.run(*rows[second], interrupted=False)
            assert (await house.job(second)).state == "executing"
            assert (await house.job(first)).state == "evaluating"
            house.store.fails["commit"] = 1
            await house.clock.advance(1)
            await house.clock.wait_for_sleepers(1)
            await house.clock.advance(1)
            await waiting
        assert (await house.job(first)).state == "executing"
        assert len(model.calls) == 2
        assert await house.is_done(rows[first][0])


@pytest.mark.parametrize("step", list(Step))
async def test_a_fault_of_ours_ends_the_job_and_gives_the_work_fee_back(step, caplog):
    """PHA-07."""
    model = Model()
    async with by_hand(model) as house:
        job_id = await house.paid()
        if step is Step.WORK:
            await house.run()
        model.error = ZeroDivisionError("a secret of the operator's")
        with caplog.at_level(logging.ERROR):
            await house.run()
        (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
        assert record.exc_info[0] is ZeroDivisionError
        job = await house.job(job_id)
        assert (job.state, job.error_message) == ("failed", OUR_FAULT)
        (refund,) = await house.store.refunds(open_only=True)
        assert refund.amount >= job.share_work
        assert job.charge_work == 0
        await house.books_are_right()


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("HTTP 529 overloaded_error"),
        Misconfigured("HTTP 401 authentication_error"),
        Refused("I won't write that.", "stop_reason refusal"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_model_that_fails_is_told_in_its_own_sentence_and_its_detail_stays_in_the_log(error, caplog):
    model = Model()
    async with by_hand(model) as house:
        job_id = await house.paid()
        await house.run()
        model.error = error
        with caplog.at_level(logging.WARNING):
            await house.run()
        job = await house.job(job_id)
        told = job.error_message
        assert job.state == "failed"
        assert told == str(error)
        assert error.detail not in told
        (record,) = (r for r in caplog.records if r.getMessage() == "a run failed")
        assert error.detail in str(record.__dict__)
        assert record.levelno == logging.WARNING


async def test_an_interrupted_run_is_counted_and_does_not_call_the_model():
    model = Model()
    async with by_hand(model) as house:
        job_id = await house.paid()
        row_id, wanted = await house.row(RunAgent)
        await house.runs.run(row_id, wanted, interrupted=True)
        assert model.calls == []
        assert (await house.job(job_id)).eval_runs == 2
        again_id, again = await house.row(RunAgent)
        assert again_id != row_id
        assert (again.step, again.run) == (Step.EVAL, 2)


async def test_a_run_that_was_cut_short_in_this_process_is_counted_too():
    model = Model()
    model.may_end.clear()
    async with by_hand(model) as house:
        job_id = await house.paid()
        row_id, wanted = await house.row(RunAgent)
        running = asyncio.create_task(house.runs.run(row_id, wanted, interrupted=False))
        async with in_time():
            await model.begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await house.job(job_id)).state == "evaluating"
        await house.runs.run(row_id, wanted, interrupted=False)
        assert len(model.calls) == 1
        assert (await house.job(job_id)).eval_runs == 2


async def test_a_ledger_that_is_away_before_a_run_costs_no_run():
    model = Model()
    async with by_hand(model) as house:
        job_id = await house.paid()
        row_id, wanted = await house.row(RunAgent)
        house.store.fails["job"] = 1
        with pytest.raises(Exception, match="the disk is full"):
            await house.runs.run(row_id, wanted, interrupted=False)
        assert model.calls == []
        await house.runs.run(row_id, wanted, interrupted=False)
        job = await house.job(job_id)
        assert (job.state, job.eval_runs) == ("executing", 1)


async def test_every_agent_error_has_a_sentence_for_the_customer():
    """Whatever sort is added: what `str()` gives is what the customer reads."""
    kinds = [AgentError, *AgentError.__subclasses__()]
    assert all(str(kind()).endswith(".") and kind().detail == "" for kind in kinds)


@pytest.mark.parametrize("usd", [50_000, 100_000])
async def test_work_is_charged_at_the_bitcoin_price_of_its_quote(usd):
    """PRI-18."""
    async with by_hand() as house:
        btc = BtcPrice.from_usd(usd, source="test", freshness=Freshness.FIXED, at=house.now)
        job_id = await house.paid(btc=btc)
        await house.run()
        await house.run()
        job = await house.job(job_id)
        # Micro-dollars to msat, rounded up to whole sats.
        exact = job.actual_cost * 100_000_000_000 / (usd * 1_000_000)
        assert exact <= job.charge_work < exact + 1_000
