"""The end of a job: who pays what it cost, what the pool gets, what goes back, and the cost ledger (ACC rows)."""

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.money import ZERO, Msats
from ledger.records import JobState, Mode, RefundState
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core import settling
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import Step
from timmy_dvm.core.settling import cost_ledger
from timmy_dvm.core.transitions import IllegalTransition

FIELDS = {
    "actualInputTokens", "actualOutputTokens", "totalTokens", "actualCostUsd",
    "actualAmountSats", "workAmountSats", "refundAmountSats", "refundState",
}  # fmt: skip


def ended(charge: int, held: int = 102, **changes):
    return decide(b.around(b.job(JobState.EXECUTING), held, **changes), b.answer(charge), b.POLICY)


def test_the_worked_example_of_the_page():
    """money.md 1: price 1,000,000; paid 1,200,000; real cost 900,000 msat; 300,000 go back."""
    quote = b.quote(100, 900)
    job = b.job(JobState.EXECUTING, quote=quote, share_eval=quote.eval_fee, share_work=quote.work_fee)
    decision = decide(b.around(job, 1_200), b.answer(800), b.POLICY)
    assert b.moves(decision) == ["job>earned 900", "earned>pool 80", "job>refund 300"]
    assert decision.job.shortfall == ZERO


def test_the_row_keeps_what_was_booked():
    job = ended(79).job
    assert (job.charge_eval, job.charge_work, job.shortfall, job.pool_credit) == (
        b.sats(2), b.sats(79), ZERO, b.sats(7),
    )  # fmt: skip


def test_an_overrun_is_ours_and_says_so():
    decision = ended(130)
    assert decision.entries[0].reason == "overrun"
    assert (decision.job.charge_work, decision.job.shortfall) == (b.sats(100), b.sats(30))


def test_a_settlement_that_lacks_nothing_has_no_reason():
    assert ended(79).entries[0].reason == ""


def test_an_eval_fee_that_nobody_paid_is_a_shortfall_with_its_reason():
    row = b.job(JobState.EVALUATING)
    decision = decide(b.around(row, 0), b.verdict(accepted=False), b.POLICY)
    assert b.moves(decision) == ["shortfall>earned 2"]
    assert decision.entries[0].reason == "eval"


def test_a_work_charge_below_ten_sats_gives_the_pool_nothing():
    decision = ended(9)
    assert decision.job.pool_credit == ZERO
    assert not [line for line in b.moves(decision) if "pool" in line]


def test_the_eval_fee_never_feeds_the_pool():
    """FRE-31: ten percent of the work charge alone, in whole sats, rounded down."""
    assert ended(19).job.pool_credit == b.sats(1)
    assert ended(20).job.pool_credit == b.sats(2)


@pytest.mark.parametrize(
    ("state", "fact", "score", "paid_jobs"),
    [
        (JobState.EXECUTING, b.answer(79), 21, 1),
        (JobState.EXECUTING, b.answer(98), 22, 1),
        (JobState.EVALUATING, b.verdict(accepted=False), 15, 0),
        (JobState.EVALUATING, b.run_failed(Step.EVAL), 19, 0),
        (JobState.EXECUTING, b.run_failed(Step.WORK), 19, 0),
    ],
)
def test_each_end_moves_trust_as_the_page_says(state, fact, score, paid_jobs):
    """PHA-08."""
    decision = decide(b.around(b.job(state), 102, identity=b.identity(20)), fact, b.POLICY)
    assert (decision.identity.trust_score, decision.identity.paid_jobs) == (score, paid_jobs)


@pytest.mark.parametrize("fact", [b.cancel(), b.unpaid(), b.not_made()])
def test_who_never_paid_neither_gains_nor_loses(fact):
    case = b.around(b.job(), invoice=b.invoice(), open_invoice=b.invoice(), identity=b.identity(20))
    decision = decide(case, fact, b.POLICY)
    assert decision.job.state in (JobState.CANCELLED, JobState.EXPIRED)
    assert decision.identity is None


def test_a_job_without_a_key_has_no_trust_to_move():
    case = b.around(b.job(JobState.EXECUTING, pubkey=None), 102)
    assert decide(case, b.answer(79), b.POLICY).identity is None


def test_invoice_money_is_spent_first_and_credit_goes_back_to_credit():
    """Paid 60 by invoice and 42 from credit, cost 2 + 50: all of what is left came from credit, but for 8."""
    case = b.around(b.job(JobState.EXECUTING, credit_used=b.sats(42)), 102)
    decision = decide(case, b.answer(50), b.POLICY)
    assert b.returned(decision) == ["credited 42 credit", "credited 8 change"]
    cheap = decide(case, b.answer(10), b.POLICY)
    assert b.returned(cheap) == ["credited 42 credit", "held 48 change"]
    dear = decide(case, b.answer(90), b.POLICY)
    assert b.returned(dear) == ["credited 10 credit"]


def test_a_rest_below_one_sat_goes_where_the_credit_goes():
    case = b.around(b.job(JobState.EXECUTING, credit_used=Msats(10_500)), held=Msats(110_700))
    decision = decide(case, b.answer(98), b.POLICY)
    assert b.returned(decision) == ["credited 10.5 credit"]
    assert b.moves(decision)[-1] == "job>customer 0.2"


def test_a_job_can_end_only_as_its_state_allows():
    with pytest.raises(IllegalTransition):
        settling.settle(b.around(b.job(), 0), b.job(), JobState.COMPLETE, ZERO, b.NOW, b.POLICY)


# The cost ledger -------------------------------------------------------------------------------------------------


def test_the_cost_ledger_has_its_eight_fields_and_nothing_in_it_is_null():
    ledger = ended(79).tells[0].message.ledger
    assert set(ledger) >= FIELDS
    assert None not in ledger.values()
    assert (ledger["actualInputTokens"], ledger["actualOutputTokens"], ledger["totalTokens"]) == (123, 456, 579)
    assert ledger["actualCostUsd"] == Decimal("0.0079")
    assert (ledger["workAmountSats"], ledger["actualAmountSats"], ledger["refundAmountSats"]) == (100, 79, 21)
    assert (ledger["evalAmountSats"], ledger["shortfallSats"], ledger["poolCreditSats"]) == (2, 0, 7)


@pytest.mark.parametrize(
    ("charge", "held", "state"),
    [
        (79, 102, "pending"), (91, 102, "paid"), (100, 102, "not_applicable"), (130, 102, "not_applicable"),
        (100, 150, "pending"),
    ],
)  # fmt: skip
def test_refund_state_says_whether_anything_is_still_on_its_way(charge, held, state):
    assert ended(charge, held).tells[0].message.ledger["refundState"] == state


def test_the_ledger_of_a_job_looks_at_all_its_refunds():
    job = ended(79).job
    held, sent = b.refund(RefundState.HELD), b.refund(RefundState.SENT)
    assert cost_ledger(job, (sent,))["refundState"] == "paid"
    assert cost_ledger(job, (sent, held))["refundState"] == "pending"


def test_what_overran_is_clamped_for_the_customer_and_stands_beside_it():
    """ACC-04: the customer's figure is at most the share; the loss is visible."""
    ledger = ended(130).tells[0].message.ledger
    assert (ledger["actualAmountSats"], ledger["refundAmountSats"], ledger["shortfallSats"]) == (100, 0, 30)


@given(
    held=st.integers(102_000, 400_000),
    charge=st.integers(0, 300),
    credit=st.integers(0, 102_000),
    known=st.booleans(),
)
def test_conservation_and_the_bounds_of_the_ledger(held, charge, credit, known):
    """FRE-37, ACC-04, ACC-05: customer + shortfall = cost; nothing is lost, and nobody pays above the share."""
    row = b.job(JobState.EXECUTING, pubkey=b.KEY if known else None, credit_used=Msats(credit if known else 0))
    decision = decide(b.around(row, held=Msats(held)), b.answer(charge), b.POLICY)
    job, ledger = decision.job, decision.tells[0].message.ledger
    assert job.charge_eval + job.charge_work + job.shortfall == b.sats(2 + charge)
    assert job.charge_work <= job.share_work
    assert 0 <= ledger["refundAmountSats"] <= ledger["workAmountSats"]
    assert ledger["actualAmountSats"] <= ledger["workAmountSats"]
    of_job = [p.amount for e in decision.entries for p in e.postings if p.account.startswith("job:")]
    assert sum(of_job) == -held
    assert all(r.amount % 1_000 == 0 for r in decision.refunds if r.reason != "credit")
    assert job.pool_credit % 1_000 == 0
    assert job.pool_credit * 10 <= job.charge_work


def test_a_steps_job_that_is_cancelled_after_eval_pays_the_eval_alone():
    row = b.job(JobState.AWAITING_WORK_PAYMENT, mode=Mode.STEPS)
    decision = decide(b.around(row, 2), b.cancel(), b.POLICY)
    assert (decision.job.charge_eval, decision.job.charge_work) == (b.sats(2), ZERO)


def test_a_job_we_had_to_drop_failed_its_customer_and_the_fee_of_the_way_back_is_ours():
    row = b.job(JobState.AWAITING_WORK_PAYMENT, mode=Mode.STEPS)
    (back,) = decide(b.around(row, 42), b.not_made(), b.POLICY).refunds
    assert (back.reason, back.kept_fee_room) == ("failed", b.sats(2))
    (back,) = decide(b.around(row, 42), b.cancel(), b.POLICY).refunds
    assert (back.reason, back.kept_fee_room) == ("cancelled", ZERO)


def test_what_we_kept_bounds_what_a_refund_may_cost_us():
    (back,) = ended(79).refunds
    assert back.kept_fee_room == b.sats(2 + 79 - 7)
    unpaid_run = dataclasses.replace(b.job(JobState.EVALUATING))
    (back,) = decide(b.around(unpaid_run, 102), b.run_failed(Step.EVAL), b.POLICY).refunds
    assert back.kept_fee_room == ZERO
