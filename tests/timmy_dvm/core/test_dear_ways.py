"""A way back dearer than what we pay for it comes out of the sum, which is said before (money.md 5, Fees)."""

import dataclasses

import pytest

from ledger.money import ZERO
from ledger.records import RefundState
from tests.timmy_dvm.core import builders as b
from tests.timmy_dvm.core.test_refunds import NO_FEE_LIMIT, books, claimed
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import PayResult

LAST_TRY = b.refund(RefundState.SENDING, attempts=5)


def failed_for_good(row=LAST_TRY, policy=b.POLICY, **changes):
    return decide(books(row, **changes), b.out(PayResult.FAILED, attempts=row.attempts), policy)


def test_what_our_fee_does_not_bring_home_pays_its_own_way_from_then_on_and_says_so_before():
    """Our three sats did not do: the next try may cost so much and the reserve, out of the sum."""
    decision = failed_for_good()
    (held,) = decision.refunds
    assert (held.state, held.kept_for_way, held.sendable) == (RefundState.HELD, b.sats(5), b.sats(16))
    assert decision.entries == ()
    (tell,) = decision.tells
    assert tell.message.sats == 16
    assert "claim them with a new BOLT11 invoice for exactly that sum" in tell.message.sentence
    assert (
        "Up to 5 more of your sats pay for the way; what it does not cost becomes credit." in tell.message.sentence
    )
    assert b.told(claimed(books(held))) == ["Refused wrong_amount"]

    (sending,) = claimed(books(held, ours=ZERO, fees_today=b.sats(200)), amount=b.sats(16)).refunds
    assert sending.max_fee == b.sats(5)
    outcome = b.out(PayResult.SUCCEEDED, fee=4, attempts=6, payment_hash=sending.payment_hash)
    sent = decide(books(sending), outcome, b.POLICY)
    assert b.moves(sent) == ["refund>node 16", "refund>node 4", "refund>customer 1"]


@pytest.mark.parametrize(
    ("why", "row", "policy"),
    [
        ("what the way did not cost would be nobody's", {"pubkey": None}, b.POLICY),
        ("such a wallet sets its own reserve", {}, NO_FEE_LIMIT),
        ("nothing would be left to send", {"amount": 5}, b.POLICY),
    ],
)
def test_else_it_is_held_whole(why, row, policy):
    (held,) = failed_for_good(b.refund(RefundState.SENDING, **{"attempts": 5, **row}), policy).refunds
    assert (held.state, held.kept_for_way) == (RefundState.HELD, 0), why


def test_what_is_kept_for_the_way_is_fixed_once():
    (held,) = failed_for_good(dataclasses.replace(LAST_TRY, kept_for_way=b.sats(2))).refunds
    assert held.kept_for_way == b.sats(2)


def test_while_tries_are_left_the_way_is_ours():
    row = b.refund(RefundState.SENDING, attempts=4)
    (owed,) = decide(books(row), b.out(PayResult.FAILED, attempts=4), b.POLICY).refunds
    assert (owed.state, owed.kept_for_way) == (RefundState.OWED, 0)
