"""Eval and work: verdicts, answers, failures, crashes and deadlines, and what each leaves in the job's row."""

import dataclasses

import pytest

from ledger.records import JobState
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core.case import IGNORED
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import Step

EVALUATING = b.around(b.job(JobState.EVALUATING), 102)
EXECUTING = b.around(b.job(JobState.EXECUTING), 102)


def test_a_passed_eval_keeps_its_tokens_and_the_deadline_of_the_payment():
    job = decide(EVALUATING, b.verdict(accepted=True), b.POLICY).job
    assert (job.eval_passed, job.eval_input_tokens, job.eval_output_tokens) == (True, 50, 5)
    assert (job.work_runs, job.due_at, job.paid_at) == (1, b.DUE, EVALUATING.job.paid_at)


def test_a_rejection_tells_its_reason_and_what_comes_back():
    decision = decide(EVALUATING, b.verdict(accepted=False), b.POLICY)
    assert (decision.job.eval_passed, decision.job.reason) == (False, "I don't do that.")
    message = decision.tells[0].message
    assert message.sentence == "I don't do that."
    assert "100 sats are yours" in message.money_back


def test_an_answer_is_kept_with_the_job_and_told_with_its_cost():
    decision = decide(EXECUTING, b.answer(79, truncated=True), b.POLICY)
    assert decision.result == "A relay keeps events."
    job = decision.job
    assert (job.actual_input_tokens, job.actual_output_tokens, job.actual_cost, job.truncated) == (
        123, 456, 7_900, True,
    )  # fmt: skip
    assert (job.ended_at, job.due_at) == (b.NOW, None)
    told = decision.tells[0].message
    assert (told.text, told.truncated) == ("A relay keeps events.", True)
    assert told.ledger["actualAmountSats"] == 79
    assert "21 sats are yours" in told.money_back


@pytest.mark.parametrize(("case", "step"), [(EVALUATING, Step.EVAL), (EXECUTING, Step.WORK)])
def test_a_failure_says_why_to_the_customer_and_in_the_row(case, step):
    decision = decide(case, b.run_failed(step), b.POLICY)
    assert decision.job.error_message == "The model is away."
    assert decision.tells[0].message.sentence == "The model is away."
    assert decision.result is None


@pytest.mark.parametrize(("state", "step"), [(JobState.EVALUATING, Step.EVAL), (JobState.EXECUTING, Step.WORK)])
def test_a_crash_uses_one_run_and_the_third_is_the_last(state, step):
    """I8: at most three runs of a step, and only crashes use more than one."""
    row = b.job(state)
    runs = 1
    while True:
        decision = decide(b.around(row, 102), b.interrupted(step, runs), b.POLICY)
        row = decision.job
        if not decision.actions:
            break
        runs += 1
        assert decision.actions[0].action.run == runs
    assert runs == 3
    assert row.state is JobState.FAILED
    assert "failed several times" in row.error_message


@pytest.mark.parametrize("run", [1, 3])
def test_only_the_run_that_is_waited_for_counts(run):
    case = b.around(b.job(JobState.EXECUTING, work_runs=2), 102)
    assert decide(case, b.answer(79, run=run), b.POLICY) is IGNORED
    assert decide(case, b.run_failed(Step.WORK, run), b.POLICY) is IGNORED
    assert decide(case, b.interrupted(Step.WORK, run), b.POLICY) is IGNORED


@pytest.mark.parametrize("case", [EVALUATING, EXECUTING])
def test_a_paid_job_that_is_not_done_in_time_has_failed(case):
    decision = decide(case, b.deadline(), b.POLICY)
    assert decision.job.state is JobState.FAILED
    assert decision.tells[0].message.sentence == "This was not done within 15 minutes of payment."


def test_a_deadline_that_was_moved_or_taken_away_means_nothing():
    assert decide(EXECUTING, b.deadline(b.DUE - 1), b.POLICY) is IGNORED
    waiting = b.around(dataclasses.replace(b.job(), due_at=None))
    assert decide(waiting, b.deadline(), b.POLICY) is IGNORED


def test_an_ended_job_has_no_deadline_even_where_a_row_still_names_one():
    odd = b.around(b.job(JobState.COMPLETE, due_at=b.DUE))
    assert decide(odd, b.deadline(), b.POLICY) is IGNORED


def test_the_look_at_an_invoice_takes_the_deadline_with_it():
    decision = decide(b.around(b.job(), open_invoice=b.invoice()), b.deadline(), b.POLICY)
    assert decision.job.due_at is None
    assert decision.actions[0].action.payment_hash == b.HASH
