"""What an operator may do with a refund: say that it was paid from elsewhere, or have it tried again. Pure."""

import dataclasses

from ledger import accounts
from ledger.entries import Code, transfer
from ledger.records import RefundRecord, RefundState
from timmy_dvm.core.actions import RetryRefund
from timmy_dvm.core.case import Decision, Do
from timmy_dvm.core.refunds import CLAIMABLE, IN_FLIGHT
from timmy_dvm.core.transitions import refund_moves


class NotNow(Exception):
    """It can't be done with this refund as it stands; the text says why, and what to do."""


def paid_elsewhere(row: RefundRecord, note: str, at: int) -> Decision:
    """The operator paid it with another wallet: what ours holds for it is the operator's now.

    Raises:
        NotNow: it is not ours to settle.
    """
    _check(row)
    settled = dataclasses.replace(
        row,
        state=refund_moves(row.state, RefundState.PAID_ELSEWHERE),
        payment_hash=None,
        bolt11=None,
        updated_at=at,
        due_at=None,
        note=note[:200],
    )
    entry = transfer(
        f"elsewhere:{row.id}", Code.ELSEWHERE, accounts.refund(row.id), accounts.OPERATOR, row.amount, note
    )
    return Decision(refunds=(settled,), entries=(entry,))


def retried(row: RefundRecord) -> Decision:
    """Have it tried again at once. Nothing moves before the try itself.

    Raises:
        NotNow: there is nothing that could be tried.
    """
    _check(row)
    if row.state is RefundState.HELD and row.target is None:
        raise NotNow("Nobody named an address for it: the customer claims it with a BOLT11 (op refund).")
    return Decision(actions=(Do(RetryRefund(refund_id=row.id, attempts=row.attempts)),))


def _check(row: RefundRecord) -> None:
    if row.state in IN_FLIGHT:
        raise NotNow("A payment of it may still arrive: wait until Timmy knows what became of it.")
    if row.state not in CLAIMABLE:
        raise NotNow(f"It is over: {row.state}.")
