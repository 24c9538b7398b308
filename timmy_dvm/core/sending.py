"""A refund that goes by itself to an address, and one that becomes credit instead. Pure.

The address is asked for an invoice first, and nothing has moved until it gives one. From there on it is a payment
like any other: `sending` is written with its one hash before our wallet is called, and only what FAILED for
certain is followed by another invoice.
"""

import dataclasses

from ledger.money import Msats, sats_down
from ledger.records import RefundRecord, RefundState
from timmy_dvm.core.actions import OperationDone
from timmy_dvm.core.case import IGNORED, Case, Decision, Do, Tell
from timmy_dvm.core.claiming import nothing_to_claim, why_not_owner
from timmy_dvm.core.giving_back import credited
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.refund_facts import CreditWished, RefundInvoiced, RefundNotInvoiced
from timmy_dvm.core.refunds import (
    CLAIMABLE,
    fee_cap,
    hold,
    payment,
    reserve_is_there,
    try_later,
)
from timmy_dvm.core.transitions import refund_moves


def _waits_for(case: Case, fact: RefundInvoiced | RefundNotInvoiced) -> RefundRecord | None:
    """The refund, if this is the answer it waits for: the customer may have claimed it meanwhile."""
    row = case.refund
    if row is None or row.state not in CLAIMABLE or row.target is None or row.attempts != fact.attempts:
        return None
    return row


def invoiced(case: Case, fact: RefundInvoiced, policy: Policy) -> Decision:
    """The address gave an invoice: it is paid, with its hash written first."""
    row = _waits_for(case, fact)
    if row is None:
        return IGNORED
    tried = dataclasses.replace(row, attempts=row.attempts + 1, updated_at=fact.at)
    if fact.expires_at < fact.at + policy.claim_life_s:
        return try_later(case, tried, "The address gave an invoice that ends too soon.", fact.at, policy)
    if case.hash_is_ours or case.hash_is_used:
        return try_later(case, tried, "The address gave an invoice that can't be paid to it.", fact.at, policy)
    if not reserve_is_there(case, row, policy):
        return hold(case, dataclasses.replace(tried, note="The fee reserve is not there."))
    sending = dataclasses.replace(
        tried,
        state=refund_moves(row.state, RefundState.SENDING),
        payment_hash=fact.payment_hash,
        bolt11=fact.bolt11,
        max_fee=fee_cap(case, row, policy),
        note="",
        due_at=None,
    )
    return Decision(refunds=(sending,), actions=(Do(payment(sending)),))


def not_invoiced(case: Case, fact: RefundNotInvoiced, policy: Policy) -> Decision:
    """The address gave none: it is asked again after a pause, while pauses are left and asking may help.

    Where there turned out to be no address, the customer was told so beforehand, and claims it like any other.
    """
    row = _waits_for(case, fact)
    if row is None:
        return IGNORED
    tried = dataclasses.replace(row, attempts=row.attempts + 1, updated_at=fact.at, note=fact.sentence[:200])
    if fact.nowhere:
        return dataclasses.replace(hold(case, dataclasses.replace(tried, target=None)), tells=())
    if fact.lasting:
        return hold(case, tried)
    return try_later(case, tried, fact.sentence, fact.at, policy)


def turned_into_credit(case: Case, fact: CreditWished) -> Decision:
    """All of a job's money that is held becomes its key's credit, at once and at no cost."""
    rows = [row for row in case.refunds if row.state in CLAIMABLE]
    refusal = why_not_owner(case, fact) or (None if rows else nothing_to_claim(case))
    if refusal is not None:
        return Decision(tells=(Tell(refusal, fact.origin),)) if fact.answered else IGNORED
    back = [
        dataclasses.replace(
            row,
            state=refund_moves(row.state, RefundState.CREDITED),
            payment_hash=None,
            bolt11=None,
            max_fee=Msats(0),
            target=None,
            updated_at=fact.at,
            due_at=None,
        )
        for row in rows
    ]
    total = Msats(sum(row.amount for row in back))
    said = OperationDone(
        body={
            "op": "refund",
            "refundState": "paid",
            "refundAmountSats": sats_down(total),
            "state": str(RefundState.CREDITED),
            "creditSats": sats_down(Msats(case.credit + total)),
        }
    )
    return Decision(refunds=tuple(back), entries=tuple(map(credited, back)), tells=(Tell(said, fact.origin),))
