"""A request becomes a job, and a job gets its money: prices, bids, credit, and the one funding rule."""

import dataclasses

import pytest

from ledger import accounts
from ledger.money import ZERO, Msats
from ledger.records import Door, InvoiceState, JobState, Mode
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core.actions import CheckInvoice, PriceTold, Working
from timmy_dvm.core.asking import check, fund, needed
from timmy_dvm.core.case import IGNORED, Case, Do
from timmy_dvm.core.decide import decide
from timmy_dvm.core.pricing import estimate_request_cost

PRICE = estimate_request_cost("What is a relay?", "offline", b.POLICY.prices, b.BTC)
EVAL, WORK, BOTH = PRICE.eval_fee_sats, PRICE.work_fee_sats, PRICE.estimated_sats


def asked(case=None, policy=b.POLICY, **changes):
    return decide(case or Case(), b.asking(**changes), policy)


# The funding rule ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("need", "held", "credit", "from_credit", "missing"),
    [
        (10_000, 0, 0, 0, 10_000),
        (10_000, 0, 10_000, 10_000, 0),
        (10_000, 0, 50_000, 10_000, 0),
        (10_000, 0, 4_000, 4_000, 6_000),
        (10_000, 0, 4_700, 4_000, 6_000),  # an invoice asks whole sats, so 0.7 stays credit
        (10_000, 9_500, 500, 500, 0),  # exactly enough, though no whole sat
        (10_000, 9_500, 499, 0, 1_000),
        (10_000, 9_999, 0, 0, 1_000),
        (10_000, 10_000, 5_000, 0, 0),
        (10_000, 12_000, 5_000, 0, 0),
    ],
)
def test_credit_goes_in_first_and_an_invoice_asks_the_rest_in_whole_sats(need, held, credit, from_credit, missing):
    funding = fund(Msats(need), Msats(held), Msats(credit))
    assert (funding.from_credit, funding.missing) == (from_credit, missing)


@pytest.mark.parametrize(
    ("state", "mode", "sats"),
    [
        (JobState.AWAITING_EVAL_PAYMENT, Mode.ONCE, 102),
        (JobState.AWAITING_EVAL_PAYMENT, Mode.STEPS, 2),
        (JobState.AWAITING_WORK_PAYMENT, Mode.STEPS, 102),
    ],
)
def test_what_must_be_there_before_the_next_step(state, mode, sats):
    assert needed(b.job(state, mode=mode)) == b.sats(sats)


# A request without money behind it ------------------------------------------------------------------------------


def test_a_relay_job_gets_one_invoice_for_both_steps():
    decision = asked()
    assert decision.new_job.state is JobState.AWAITING_EVAL_PAYMENT
    assert b.done(decision) == [f"CreateInvoice {BOTH}"]
    assert (decision.entries, decision.tells) == ((), ())


def test_an_http_job_is_asked_for_the_eval_fee_alone():
    decision = asked(door=Door.HTTP, mode=Mode.STEPS, event_id=None, pubkey=None)
    assert b.done(decision) == [f"CreateInvoice {EVAL}"]
    assert decision.identity is None


def test_the_invoice_names_the_job_by_eight_signs_and_lives_as_its_door_says():
    (do,) = asked().actions
    assert do.action.memo == f"Timmy {b.JOB[:8]}"
    assert (do.action.expiry_s, do.action.give_up_at, do.due_at) == (3_600, b.NOW + 120, None)
    (do,) = asked(door=Door.HTTP).actions
    assert do.action.expiry_s == 600


def test_the_quote_is_the_estimate_and_is_locked_into_the_job():
    job = asked(text="  What is a relay?\n", refund_to="a@b.example").new_job
    assert job.request == "What is a relay?"
    assert (job.quote.eval_fee, job.quote.work_fee) == (b.sats(EVAL), b.sats(WORK))
    assert (job.share_eval, job.share_work) == (b.sats(EVAL), b.sats(WORK))
    assert job.quote.btc_price_micro_usd == b.BTC.micro_usd
    assert job.quote.btc_price_source == "test (fixed)"
    assert job.quote.estimated_cost == PRICE.total_micro_usd
    assert (job.quote.margin_percent, job.quote.work_model) == (40, "offline")
    assert (job.refund_to, job.origin, job.asked_at, job.created_at) == (
        "a@b.example", b.ORIGIN, b.NOW - 1, b.NOW,
    )  # fmt: skip
    assert (job.paid_at, job.due_at, job.eval_runs, job.credit_used) == (None, None, 0, ZERO)


def test_a_key_is_met_at_its_first_request_and_left_alone_at_the_next():
    assert asked().identity.pubkey == b.KEY
    known = b.identity(40)
    assert asked(Case(identity=known)).identity == known


def test_a_lower_max_tokens_makes_it_cheaper_and_a_higher_one_changes_nothing():
    full, low, high = (asked(max_tokens=n).new_job.quote for n in (None, 10, 1_000_000))
    assert low.work_fee < full.work_fee
    assert low.max_output_tokens == 10
    assert high == full


@pytest.mark.parametrize(
    ("wish", "taken"),
    [(None, "claude-sonnet-4-6"), ("claude-haiku-4-5", "claude-haiku-4-5"), ("gpt", "claude-sonnet-4-6")],
)
def test_a_model_counts_only_from_the_configured_list(wish, taken):
    policy = dataclasses.replace(b.POLICY, work_models=("claude-sonnet-4-6", "claude-haiku-4-5"))
    assert asked(policy=policy, model=wish).new_job.quote.work_model == taken


# A bid, and credit -----------------------------------------------------------------------------------------------


def test_a_bid_above_the_price_changes_nothing():
    assert asked(bid=b.sats(100_000)).new_job == asked().new_job


def test_who_pays_from_credit_is_not_counted_among_those_who_wait():
    case = Case(credit=b.sats(BOTH), open_jobs=3, open_invoices=1_000)
    assert asked(case).new_job.state is JobState.EVALUATING


def test_a_job_that_credit_covers_is_born_in_evaluating():
    decision = asked(Case(credit=b.sats(BOTH + 7)))
    job = decision.new_job
    assert (job.state, job.eval_runs, job.paid_at, job.due_at) == (JobState.EVALUATING, 1, b.NOW, b.NOW + 900)
    assert job.credit_used == b.sats(BOTH)
    assert b.moves(decision) == [f"customer>job {BOTH}"]
    assert b.done(decision) == ["RunAgent eval 1"]
    assert decision.tells[0].message == Working(covered_by="credit", credit=b.sats(BOTH))


def test_credit_and_an_invoice_mix():
    decision = asked(Case(credit=Msats(5_700)))
    assert b.moves(decision) == ["customer>job 5"]
    assert b.done(decision) == [f"CreateInvoice {BOTH - 5}"]
    assert decision.new_job.credit_used == b.sats(5)


def test_credit_pays_the_second_step_when_it_is_asked_for():
    row = b.job(JobState.EVALUATING, mode=Mode.STEPS)
    decision = decide(b.around(row, 2, credit=b.sats(250)), b.verdict(accepted=True), b.POLICY)
    assert decision.job.state is JobState.EXECUTING
    assert decision.job.credit_used == b.sats(100)
    assert b.moves(decision) == ["customer>job 100"]
    assert b.done(decision) == ["RunAgent work 1"]


def test_credit_that_is_too_little_for_the_second_step_lowers_its_invoice():
    row = b.job(JobState.EVALUATING, mode=Mode.STEPS, credit_used=b.sats(2))
    decision = decide(b.around(row, 2, credit=b.sats(30)), b.verdict(accepted=True), b.POLICY)
    assert (decision.job.state, decision.job.due_at) == (JobState.AWAITING_WORK_PAYMENT, None)
    assert decision.job.credit_used == b.sats(32)
    assert b.done(decision) == ["CreateInvoice 70"]


def test_the_two_steps_of_a_job_book_their_credit_under_two_ids():
    first = asked(Case(credit=b.sats(EVAL)), mode=Mode.STEPS).entries[0]
    row = b.job(JobState.EVALUATING, mode=Mode.STEPS)
    second = decide(b.around(row, 2, credit=b.sats(250)), b.verdict(accepted=True), b.POLICY).entries[0]
    assert {first.id, second.id} == {f"credit_used:{b.JOB}:eval", f"credit_used:{b.JOB}:work"}


def test_credit_of_a_cancelled_job_goes_back_to_the_credit_and_the_rest_is_held():
    row = b.job(credit_used=Msats(5_000))
    decision = decide(b.around(row, 25), b.cancel(), b.POLICY)
    assert b.returned(decision) == ["credited 5 credit", "held 20 cancelled"]
    assert b.moves(decision) == ["job>refund 5", "refund>customer 5", "job>refund 20"]
    assert "5 sats came back as credit" in decision.tells[0].message.sentence
    assert "18 sats are yours" in decision.tells[0].message.sentence


# Invoices --------------------------------------------------------------------------------------------------------


def test_the_customer_is_told_of_an_invoice_in_the_commit_that_keeps_it():
    decision = decide(b.around(b.job()), b.made(), b.POLICY)
    (row,) = decision.invoices
    assert (row.account, row.job_id, row.amount, row.state) == (
        accounts.job(b.JOB), b.JOB, b.sats(102), InvoiceState.OPEN,
    )  # fmt: skip
    assert decision.tells[0].message == PriceTold(
        amount=b.sats(102), bolt11=b.BOLT11, payment_hash=b.HASH, expires_at=b.NOW + 3_600, credit=ZERO
    )
    assert decision.job.due_at == b.NOW + 3_600 + 60


def test_who_has_to_pay_a_rest_is_told_how_much_of_the_credit_is_in_it():
    decision = decide(b.around(b.job(credit_used=b.sats(5)), 5), b.made(97), b.POLICY)
    told = decision.tells[0].message
    assert (told.amount, told.credit) == (b.sats(97), b.sats(5))


@pytest.mark.parametrize(
    ("left_s", "life_s"), [(60, 60), (600, 600), (3_600, 3_600), (90_000, 3_600), (None, 3_600)]
)
def test_an_invoice_never_lives_longer_than_its_request_or_than_its_door_allows(left_s, life_s):
    (do,) = asked(expires_at=None if left_s is None else b.NOW + left_s).actions
    assert do.action.expiry_s == life_s


def test_a_request_that_expires_is_worked_on_at_once_where_credit_covers_it():
    decision = asked(Case(credit=b.sats(BOTH)), expires_at=b.NOW + 60)
    assert b.done(decision) == ["RunAgent eval 1"]


def test_an_invoice_that_comes_after_a_cancel_is_watched_but_shown_to_nobody():
    decision = decide(b.around(b.job(JobState.CANCELLED)), b.made(), b.POLICY)
    assert decision.tells == ()
    assert [row.state for row in decision.invoices] == [InvoiceState.OPEN]
    (do,) = decision.actions
    assert do == Do(CheckInvoice(job_id=b.JOB, payment_hash=b.HASH), b.NOW + 3_600 + 60)


def test_a_cancelled_jobs_invoice_is_looked_at_once_more_and_then_it_is_closed():
    """Else it would be counted among what may be paid for ever."""
    cancelled = decide(b.around(b.job(), open_invoice=b.invoice()), b.cancel(), b.POLICY)
    (do,) = cancelled.actions
    assert do == Do(CheckInvoice(job_id=b.JOB, payment_hash=b.HASH), b.invoice().expires_at + 60)
    after = b.around(cancelled.job, invoice=b.invoice(), open_invoice=b.invoice())
    closed = decide(after, b.unpaid(), b.POLICY)
    assert [row.state for row in closed.invoices] == [InvoiceState.EXPIRED]
    assert closed == dataclasses.replace(IGNORED, invoices=closed.invoices)


def test_a_job_cancelled_before_it_had_an_invoice_leaves_nothing_to_look_at():
    assert decide(b.around(b.job()), b.cancel(), b.POLICY).actions == ()


def test_an_underpayment_asks_the_rest_by_an_invoice_of_its_own():
    """Each rest has its own key: the wallet would hand out the first invoice again for the same one."""
    case = b.around(b.job(), invoice=b.invoice())
    keys = set()
    for payment_hash in (b.HASH, "0b" * 32):
        (do,) = decide(case, b.seen(b.sats(40), payment_hash), b.POLICY).actions
        keys.add(do.action.key)
    (first,) = asked().actions
    assert len(keys | {first.action.key}) == 3


def test_the_key_of_an_invoice_is_the_same_each_time_and_tells_nobody_the_jobs_secret():
    keys = {asked().actions[0].action.key for _ in range(3)}
    assert len(keys) == 1
    assert b.JOB[:9] not in keys.pop()


def test_while_a_rest_is_asked_for_no_deadline_runs():
    decision = decide(b.around(b.job(), invoice=b.invoice()), b.seen(b.sats(40)), b.POLICY)
    assert decision.job.due_at is None


@pytest.mark.parametrize("state", [InvoiceState.OPEN, InvoiceState.EXPIRED, InvoiceState.CANCELLED])
def test_money_from_outside_is_booked_whatever_we_thought_of_the_invoice(state):
    decision = decide(b.around(b.job(), invoice=b.invoice(state=state)), b.seen(b.sats(102)), b.POLICY)
    assert b.moves(decision) == ["node>job 102"]
    assert decision.job.state is JobState.EVALUATING


def test_a_payment_is_booked_once_however_often_it_is_seen():
    case = b.around(b.job(JobState.EVALUATING), 102, invoice=b.invoice(state=InvoiceState.SETTLED))
    assert decide(case, b.seen(b.sats(102)), b.POLICY) is IGNORED


def test_an_invoice_for_no_job_books_to_the_account_it_was_made_for():
    credit = b.invoice(500, account=accounts.customer(b.KEY), job_id=None)
    decision = decide(Case(invoice=credit), b.seen(None), b.POLICY)
    assert b.moves(decision) == ["node>customer 500"]
    assert decision.invoices[0].received == b.sats(500)


@pytest.mark.parametrize("state", [InvoiceState.SETTLED, InvoiceState.EXPIRED, InvoiceState.CANCELLED])
def test_only_an_open_invoice_can_turn_out_unpaid(state):
    case = b.around(b.job(), invoice=b.invoice(state=state), open_invoice=None)
    assert decide(case, b.unpaid(), b.POLICY) is IGNORED


def test_an_older_invoice_that_was_never_paid_does_not_end_the_job():
    newer = b.invoice(payment_hash="0b" * 32)
    decision = decide(b.around(b.job(), invoice=b.invoice(), open_invoice=newer), b.unpaid(), b.POLICY)
    assert decision.job is None
    assert [row.state for row in decision.invoices] == [InvoiceState.EXPIRED]


def test_an_unpaid_invoice_of_no_job_is_closed_and_that_is_all():
    topup = b.invoice(account=accounts.customer(b.KEY), job_id=None)
    decision = decide(Case(invoice=topup), b.unpaid(), b.POLICY)
    assert decision == dataclasses.replace(IGNORED, invoices=decision.invoices)


def test_a_job_whose_invoice_is_gone_has_nothing_to_look_at():
    assert check(b.around(b.job())) is IGNORED


def test_two_late_payments_of_the_same_small_sum_are_two_refunds():
    """Were the ids made from the number of refunds alone, sums below one sat would be booked under one id."""
    ended = b.job(JobState.EXPIRED)
    ids = []
    for payment_hash in (b.HASH, "0b" * 32):
        case = b.around(ended, invoice=b.invoice(payment_hash=payment_hash))
        decision = decide(case, b.seen(Msats(700), payment_hash), b.POLICY)
        assert b.moves(decision) == ["node>job 0.7", "job>customer 0.7"]
        ids += [entry.id for entry in decision.entries]
    assert len(set(ids)) == 4


def test_a_late_payment_never_shares_an_id_with_the_end_of_its_job():
    running = b.around(b.job(JobState.EXECUTING), held=Msats(123_700))
    end = decide(running, b.answer(100), b.POLICY)
    late = decide(b.around(b.job(JobState.COMPLETE), invoice=b.invoice()), b.seen(Msats(21_700)), b.POLICY)
    ids = [entry.id for entry in (*end.entries, *late.entries)]
    assert len(set(ids)) == len(ids)
    assert {row.id for row in end.refunds}.isdisjoint({row.id for row in late.refunds})


def test_a_second_work_invoice_paid_after_the_end_of_an_unpaid_job_is_late_not_twice():
    ended = b.job(JobState.EXPIRED, mode=Mode.STEPS, paid_at=b.NOW - 50, eval_passed=True)
    decision = decide(b.around(ended, invoice=b.invoice(100)), b.seen(None), b.POLICY)
    assert b.returned(decision) == ["held 100 late"]
