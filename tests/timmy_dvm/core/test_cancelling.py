"""A paid request can be taken back until its first run has begun (wire.md 1: paid and not started, refunded)."""

import dataclasses

import pytest

from ledger.records import RUN, JobState
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core.actions import RunAgent
from timmy_dvm.core.decide import decide


def cancelled(job, sats_held=102, *, run_waits=True, pubkey=b.KEY, **changes):
    case = b.around(job, sats_held, run_waits=run_waits, **changes)
    return decide(case, b.cancel(pubkey), b.POLICY)


def test_paid_and_not_begun_all_of_it_comes_back_and_no_trust_is_lost():
    decision = cancelled(b.job(JobState.EVALUATING))
    assert b.what_follows(decision) == ["cancelled", "job>refund 102", "held 102 cancelled", "Refused cancelled"]
    assert decision.identity is None
    assert decision.job.ended_at == b.NOW
    assert decision.job.due_at is None
    assert "100 sats are yours" in decision.tells[0].message.sentence


def test_covered_by_credit_the_credit_is_there_again_at_once():
    decision = cancelled(b.job(JobState.EVALUATING, credit_used=b.sats(102)))
    assert b.moves(decision) == ["job>refund 102", "refund>customer 102"]
    assert b.returned(decision) == ["credited 102 credit"]


def test_sending_it_back_costs_the_customer_and_not_us():
    """Else asking, paying and cancelling would pump routing fees out of us."""
    (refund,) = cancelled(b.job(JobState.EVALUATING)).refunds
    assert refund.kept_fee_room == 0


@pytest.mark.parametrize(("why", "kept"), [(None, 2), ("no invoice could be made", 0)])
def test_paid_after_it_was_taken_back_it_pays_its_own_way_and_not_after_we_dropped_it(why, kept):
    """Else asking, taking back and paying then would pump them out of a wallet that sets its own fee limit."""
    job = b.job(JobState.CANCELLED, ended_at=b.NOW, due_at=None, error_message=why)
    case = b.around(job, 0, invoice=b.invoice(102))
    (refund,) = decide(case, b.seen(b.sats(102)), b.POLICY).refunds
    assert (refund.reason, refund.amount, refund.kept_for_way) == ("late", b.sats(102), b.sats(kept))


BEGUN = {
    "the first run is being done": (b.job(JobState.EVALUATING), False),
    "the first run was begun and died": (b.job(JobState.EVALUATING, eval_runs=2), True),
    "it was judged already": (b.job(JobState.EXECUTING), True),
    "the work was begun": (b.job(JobState.EXECUTING), False),
}


@pytest.mark.parametrize("when", BEGUN)
def test_once_the_first_run_has_begun_it_finishes(when):
    job, run_waits = BEGUN[when]
    decision = cancelled(job, run_waits=run_waits)
    assert decision.job is None
    assert decision.entries == decision.refunds == ()
    assert [tell.message.covered_by for tell in decision.tells] == ["begun"]


def test_a_strangers_word_counts_for_nothing():
    decision = cancelled(b.job(JobState.EVALUATING), pubkey=b.STRANGER)
    assert decision == dataclasses.replace(decision, job=None, tells=(), refunds=(), entries=())


def test_the_ledger_knows_a_run_by_the_name_it_has_here():
    assert RunAgent.__name__ == RUN
