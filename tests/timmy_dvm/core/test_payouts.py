"""A key takes its credit out: debited before it is sent, at its own cost, once (money.md 5)."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import accounts
from ledger.money import ZERO, Msats
from ledger.records import RefundState
from tests.timmy_dvm.core import builders as b
from tests.timmy_dvm.core import credit_builders as c
from timmy_dvm.core import payouts
from timmy_dvm.core.actions import FindPayment, PayRefund
from timmy_dvm.core.case import IGNORED, Case, Decision
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import PayResult

NO_FEE_LIMIT = dataclasses.replace(b.POLICY, wallet_limits_fees=False)


def asked(sats_of_credit=500, case=None, policy=b.POLICY, **changes):
    amount = {"amount": changes.pop("amount")} if "amount" in changes else {}
    fact = dataclasses.replace(c.payout_asked(), **changes, **amount)
    return decide(Case(**{"credit": b.sats(sats_of_credit), **(case or {})}), fact, policy)


# Asked -----------------------------------------------------------------------------------------------------------


def test_the_credit_is_debited_in_the_decision_that_writes_the_one_payment_hash():
    decision = asked()
    owed, sending = decision.refunds
    assert (owed.state, owed.version, owed.job_id, owed.pubkey) == (RefundState.OWED, 0, None, b.KEY)
    assert (owed.amount, owed.reason, owed.origin) == (102_000, "payout", b.CLAIM)
    changed = {"version": 1, "state": RefundState.SENDING, "payment_hash": b.OUT, "bolt11": b.BOLT11}
    assert sending == dataclasses.replace(owed, **changed, max_fee=b.sats(2), attempts=1)
    (entry,) = decision.entries
    assert {p.account: p.amount for p in entry.postings} == {
        c.CREDIT: -102_000,
        accounts.refund(c.PAYOUT): 102_000,
    }
    (do,) = decision.actions
    assert do.action == PayRefund(
        refund_id=c.PAYOUT, payment_hash=b.OUT, bolt11=b.BOLT11, max_fee=2_000, attempts=1
    )


def test_the_answer_says_what_is_sent_and_what_the_way_may_cost():
    (tell,) = asked().tells
    assert tell.origin == b.CLAIM
    assert tell.message.body == {
        "op": "refund",
        "refundState": "pending",
        "refundAmountSats": 100,
        "maxFeeSats": 2,
        "creditSats": 398,
        "state": "sending",
    }


@pytest.mark.parametrize("policy", [b.POLICY, NO_FEE_LIMIT])
@pytest.mark.parametrize("case", [{}, {"ours": b.sats(-9), "fees_today": b.sats(10_000)}])
def test_none_of_it_costs_us_anything_whatever_we_have(policy, case):
    """Else depositing and closing would pump routing fees out of us."""
    assert asked(case=case, policy=policy) == asked()


@pytest.mark.parametrize(
    ("code", "changes", "case"),
    [
        ("already_sending", {}, {"payouts": (c.payout(),)}),
        ("already_sending", {}, {"payouts": (c.payout(state=RefundState.IN_DOUBT),)}),
        ("nothing_owed", {}, {"credit": ZERO}),
        ("nothing_owed", {}, {"credit": Msats(2_999)}),
        ("wrong_network", {"rail_ok": False}, {}),
        ("wrong_amount", {"amount": None}, {}),
        ("wrong_amount", {"amount": ZERO}, {}),
        ("wrong_amount", {"amount": Msats(999)}, {}),
        ("wrong_amount", {"amount": Msats(99_500)}, {}),
        ("wrong_amount", {"amount": b.sats(496)}, {}),
        ("expires_too_soon", {"expires_at": b.NOW + 119}, {}),
        ("own_invoice", {}, {"hash_is_ours": True}),
        ("used_invoice", {}, {"hash_is_used": True}),
    ],
)
def test_a_payout_is_refused_with_a_sentence_and_nothing_moves(code, changes, case):
    decision = asked(case=case, **changes)
    (tell,) = decision.tells
    assert decision == Decision(tells=(tell,))
    assert (tell.message.code, tell.origin) == (code, b.CLAIM)
    assert tell.message.sentence.endswith(".")


def test_a_refusal_that_would_be_one_error_too_many_is_silent_and_a_good_claim_is_paid():
    assert asked(sats_of_credit=0, answered=False) is IGNORED
    assert asked(amount=None, answered=False) is IGNORED
    assert asked(answered=False) == asked()


def test_a_wrong_amount_is_told_the_right_ones():
    (tell,) = asked(amount=b.sats(496)).tells
    assert tell.message.sentence == (
        "Send an invoice for 1 to 495 whole sats: your balance is 500 sats, and up to 5 of them pay for the way."
    )


def test_too_little_to_send_is_told_what_else_to_do_with_it():
    (tell,) = asked(sats_of_credit=2).tells
    assert "2 sats" in tell.message.sentence
    assert "param job" in tell.message.sentence


@pytest.mark.parametrize(
    ("credit", "sats"), [(0, 0), (2_999, 0), (3_000, 1), (202_000, 200), (203_010, 201), (505_000, 500)]
)
def test_the_largest_payout_leaves_room_for_its_way(credit, sats):
    assert payouts.largest(Msats(credit), b.POLICY) == b.sats(sats)


@given(st.integers(0, 3_000_000_000))
def test_no_payout_is_larger_and_every_smaller_one_fits(credit):
    largest = payouts.largest(Msats(credit), b.POLICY)
    assert largest % 1_000 == 0
    assert largest == 0 or largest + b.POLICY.fee_reserve(largest) <= credit
    assert largest + 1_000 + b.POLICY.fee_reserve(Msats(largest + 1_000)) > credit


# What became of it -----------------------------------------------------------------------------------------------


def out(row, result, case=None, **fact):
    books = {"refund": row, "credit": b.sats(50), **(case or {})}
    return decide(Case(**books), b.out(result, **fact), b.POLICY)


@pytest.mark.parametrize(
    ("fee", "moves", "credit"),
    [
        (0, ["refund>node 100", "refund>customer 2"], 52),
        (1, ["refund>node 100", "refund>node 1", "refund>customer 1"], 51),
        (2, ["refund>node 100", "refund>node 2"], 50),
        (3, ["refund>node 100", "refund>node 2", "routing_fees>node 1"], 50),
    ],
)
def test_sent_the_way_is_paid_out_of_the_sum_and_what_it_did_not_cost_goes_back(fee, moves, credit):
    decision = out(c.payout(), PayResult.SUCCEEDED, fee=fee)
    assert b.moves(decision) == moves
    (row,) = decision.refunds
    assert (row.state, row.fee, row.version) == (RefundState.SENT, b.sats(fee), 2)
    (tell,) = decision.tells
    assert (tell.message.state, tell.message.sats, tell.message.status) == ("sent", 100, "complete")
    assert tell.origin == b.CLAIM
    assert tell.message.sentence.startswith("100 sats were sent to your invoice; the way cost ")
    assert f"Your balance is {credit} sats now." in tell.message.sentence


def test_failed_for_certain_all_of_it_is_credit_again_in_the_same_commit():
    decision = out(c.payout(), PayResult.FAILED)
    owed, credited = decision.refunds
    assert (owed.state, owed.version, owed.note) == (RefundState.OWED, 2, "no route")
    assert (credited.state, credited.version) == (RefundState.CREDITED, 3)
    assert (credited.payment_hash, credited.bolt11, credited.max_fee) == (None, None, ZERO)
    assert b.moves(decision) == ["refund>customer 102"]
    assert decision.actions == ()
    (tell,) = decision.tells
    assert (tell.message.state, tell.message.sats, tell.message.status) == ("credited", 100, "failed")
    assert "152 sats" in tell.message.sentence
    assert "no route" not in tell.message.sentence


@pytest.mark.parametrize("result", [PayResult.UNKNOWN, PayResult.IN_FLIGHT])
def test_unknown_is_not_failed_and_frees_nothing(result):
    decision = out(c.payout(), result)
    assert [row.state for row in decision.refunds] == [RefundState.IN_DOUBT]
    assert decision.entries == decision.tells == ()
    (do,) = decision.actions
    assert isinstance(do.action, FindPayment)
    assert (do.action.payment_hash, do.action.max_fee) == (b.OUT, 2_000)


@pytest.mark.parametrize("result", [PayResult.SUCCEEDED, PayResult.FAILED])
def test_what_was_in_doubt_ends_like_any_other(result):
    doubtful = c.payout(state=RefundState.IN_DOUBT)
    assert out(doubtful, result) == dataclasses.replace(
        out(c.payout(), result), refunds=out(doubtful, result).refunds
    )
    assert out(doubtful, result).refunds[-1].state in (RefundState.SENT, RefundState.CREDITED)


@pytest.mark.parametrize("state", [RefundState.SENT, RefundState.CREDITED])
@pytest.mark.parametrize("result", PayResult)
def test_what_is_over_stays_over(state, result):
    assert out(c.payout(state=state), result) is IGNORED


def test_a_word_of_another_payment_or_another_try_changes_nothing():
    assert out(c.payout(), PayResult.SUCCEEDED, payment_hash="ee" * 32) is IGNORED
    assert out(c.payout(), PayResult.FAILED, attempts=2) is IGNORED


def test_only_a_key_has_credit():
    with pytest.raises(ValueError, match="only a key"):
        out(c.payout(pubkey=None), PayResult.FAILED)
