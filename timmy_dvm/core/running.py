"""Eval and work: what follows from a verdict, an answer, a failure, a crash or too much time. Pure."""

import dataclasses

from ledger.money import ZERO, MicroUsd, msats_from_sats
from ledger.records import JobRecord, JobState
from timmy_dvm.core.actions import Delivered, Ended, RunAgent
from timmy_dvm.core.asking import ask_for_work, check
from timmy_dvm.core.case import IGNORED, Case, Decision, Do, Tell
from timmy_dvm.core.facts import DeadlinePassed, EvalDone, RunFailed, RunInterrupted, Step, WorkDone
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.settling import cost_ledger, decision, settle
from timmy_dvm.core.transitions import AWAITING, RUNNING

_STATE = {Step.EVAL: JobState.EVALUATING, Step.WORK: JobState.EXECUTING}


def judged(case: Case, fact: EvalDone, policy: Policy) -> Decision:
    """The model gave a verdict: its fee is earned. Accepted, work is next; rejected, the rest goes back."""
    job = _in_run(case, Step.EVAL, fact.run)
    if job is None:
        return IGNORED
    verdict = dataclasses.replace(
        job,
        eval_passed=fact.accepted,
        eval_input_tokens=fact.input_tokens,
        eval_output_tokens=fact.output_tokens,
    )
    if fact.accepted:
        return ask_for_work(case, verdict, fact.at, policy)
    verdict = dataclasses.replace(verdict, reason=fact.reason)
    settled = settle(case, verdict, JobState.REJECTED, ZERO, fact.at, policy)
    told = Ended(code="rejected", sentence=fact.reason, money_back=settled.back.sentence)
    return decision(settled, Tell(told))


def answered(case: Case, fact: WorkDone, policy: Policy) -> Decision:
    """The model answered: it is charged what it really cost, never above the share, and the change goes back."""
    job = _in_run(case, Step.WORK, fact.run)
    if job is None:
        return IGNORED
    done = dataclasses.replace(
        job,
        actual_input_tokens=fact.input_tokens,
        actual_output_tokens=fact.output_tokens,
        actual_cost=MicroUsd(fact.cost_micro_usd),
        truncated=fact.truncated,
    )
    settled = settle(case, done, JobState.COMPLETE, msats_from_sats(fact.charge_sats), fact.at, policy)
    told = Delivered(
        text=fact.text,
        truncated=fact.truncated,
        ledger=cost_ledger(settled.job, settled.back.refunds),
        money_back=settled.back.sentence,
    )
    return decision(settled, Tell(told), result=fact.text)


def failed(case: Case, fact: RunFailed, policy: Policy) -> Decision:
    """A run ended without an answer. All of the step's fee goes back."""
    job = _in_run(case, fact.step, fact.run)
    return IGNORED if job is None else _fail(case, job, fact.sentence, fact.at, policy)


def interrupted(case: Case, fact: RunInterrupted, policy: Policy) -> Decision:
    """We died in the middle of a run. It runs again, up to the limit; published is once all the same."""
    job = _in_run(case, fact.step, fact.run)
    if job is None:
        return IGNORED
    if fact.run >= policy.max_runs:
        sentence = "Our machine failed several times over this request, so it was given up."
        return _fail(case, job, sentence, fact.at, policy)
    run = fact.run + 1
    again = (
        dataclasses.replace(job, eval_runs=run)
        if fact.step is Step.EVAL
        else dataclasses.replace(job, work_runs=run)
    )
    return Decision(job=again, actions=(Do(RunAgent(job_id=job.id, step=fact.step, run=run)),))


def overdue(case: Case, fact: DeadlinePassed, policy: Policy) -> Decision:
    """``due_at`` went by: an unpaid job's invoice is looked at, a paid job that is not done has failed."""
    job = case.job
    if job is None or job.due_at != fact.due_at:
        return IGNORED
    if job.state in AWAITING:
        return check(case)
    if job.state in RUNNING:
        minutes = policy.paid_to_end_s // 60
        return _fail(case, job, f"This was not done within {minutes} minutes of payment.", fact.at, policy)
    return IGNORED


def _fail(case: Case, job: JobRecord, sentence: str, at: int, policy: Policy) -> Decision:
    told_why = dataclasses.replace(job, error_message=sentence)
    settled = settle(case, told_why, JobState.FAILED, ZERO, at, policy)
    return decision(settled, Tell(Ended(code="failed", sentence=sentence, money_back=settled.back.sentence)))


def _in_run(case: Case, step: Step, run: int) -> JobRecord | None:
    """The job, if this very run of this very step is the one it waits for."""
    job = case.job
    if job is None or job.state is not _STATE[step]:
        return None
    current = job.eval_runs if step is Step.EVAL else job.work_runs
    return job if current == run else None
