"""An operator may settle a refund that is not under way, and have one tried again that has somewhere to go."""

import dataclasses

import pytest

from ledger import accounts
from ledger.records import RefundState
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core import by_hand
from timmy_dvm.core.actions import RetryRefund

OPEN = (RefundState.OWED, RefundState.HELD)
OVER = (RefundState.SENT, RefundState.CREDITED, RefundState.PAID_ELSEWHERE)


@pytest.mark.parametrize("state", OPEN)
def test_what_was_paid_elsewhere_is_settled_and_its_sats_are_the_operators(state):
    decision = by_hand.paid_elsewhere(b.refund(state, target="a@pay.example"), "in cash", b.NOW)
    (row,), (entry,) = decision.refunds, decision.entries
    assert (row.state, row.payment_hash, row.bolt11, row.due_at, row.note) == (
        RefundState.PAID_ELSEWHERE, None, None, None, "in cash",
    )  # fmt: skip
    assert {posting.account: posting.amount for posting in entry.postings} == {
        accounts.refund(b.REFUND): -b.sats(21), accounts.OPERATOR: b.sats(21),
    }  # fmt: skip
    assert decision.actions == decision.tells == ()


@pytest.mark.parametrize("state", [RefundState.SENDING, RefundState.IN_DOUBT])
@pytest.mark.parametrize("move", [lambda row: by_hand.paid_elsewhere(row, "x", b.NOW), by_hand.retried])
def test_while_a_payment_may_still_arrive_nothing_is_done_by_hand(state, move):
    with pytest.raises(by_hand.NotNow, match="may still arrive"):
        move(b.refund(state))


@pytest.mark.parametrize("state", OVER)
@pytest.mark.parametrize("move", [lambda row: by_hand.paid_elsewhere(row, "x", b.NOW), by_hand.retried])
def test_what_is_over_stays_over(state, move):
    with pytest.raises(by_hand.NotNow, match="It is over"):
        move(b.refund(state))


@pytest.mark.parametrize(
    "row",
    [
        b.refund(RefundState.HELD, target="a@pay.example"),
        b.refund(RefundState.OWED),
        b.refund(RefundState.OWED, target="profile"),
    ],
    ids=["held for an address", "a BOLT11 that failed", "owed to a profile"],
)
def test_what_has_somewhere_to_go_is_tried_again_and_nothing_moves_yet(row):
    decision = by_hand.retried(row)
    ((do,),) = (decision.actions,)
    assert do.action == RetryRefund(refund_id=b.REFUND, attempts=row.attempts)
    assert decision == dataclasses.replace(decision, refunds=(), entries=())


def test_what_nobody_named_an_address_for_can_not_be_tried():
    with pytest.raises(by_hand.NotNow, match="op refund"):
        by_hand.retried(b.refund(RefundState.HELD))
