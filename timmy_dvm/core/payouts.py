"""A key takes its credit out: one BOLT11 at a time, and what it costs to send comes out of the credit. Pure.

A pay-out is a refund of no job. It is born and debited in the transaction that writes its one payment hash, with
its fee cap set aside beside the sum: so no credit is used twice, and nobody else's sats pay for the way. What the
way did not cost goes back. A payment that failed for certain is credited again at once, for its owner is there to
send another invoice.
"""

import dataclasses

from ledger import accounts
from ledger.entries import Code, Entry, transfer
from ledger.money import MSATS_PER_SAT, ZERO, Msats, sats_down, sats_up
from ledger.records import JobState, RefundRecord, RefundState
from timmy_dvm.core import refunds, session_money
from timmy_dvm.core.actions import OperationDone, PayRefund, RefundMoved, Refused
from timmy_dvm.core.case import IGNORED, Case, Decision, Do, Tell
from timmy_dvm.core.credit_facts import PayoutAsked
from timmy_dvm.core.facts import PaymentOut, PayResult
from timmy_dvm.core.giving_back import Returned, largest
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.session_facts import SessionCloseAsked
from timmy_dvm.core.transitions import refund_moves

PAYOUT = "payout"
"""The reason of a refund that pays credit out."""
_SHOWN_AS = {RefundState.SENT: JobState.COMPLETE, RefundState.CREDITED: JobState.FAILED}
"""A pay-out has no job whose status could be told again: sent it is a success, else an error."""


def is_payout(row: RefundRecord | None) -> bool:
    """Whether a refund pays credit out."""
    return row is not None and row.job_id is None and row.bootstrap_id is None


def asked(case: Case, fact: PayoutAsked, policy: Policy) -> Decision:
    """The customer sent a BOLT11 for their credit."""
    refusal = _why_not(case, fact, policy)
    if refusal is not None or fact.amount is None:
        told = refusal or wrong_amount(case, policy)
        return Decision(tells=(Tell(told, fact.origin),)) if fact.answered else IGNORED
    home = accounts.customer(fact.pubkey)
    sent = sent_out(fact, fact.amount, home, policy, pubkey=fact.pubkey, origin=fact.origin)
    row = sent.refunds[-1]
    on_its_way = _on_its_way(fact.amount, row.max_fee, Msats(case.credit - row.amount))
    return dataclasses.replace(sent, tells=(Tell(on_its_way, fact.origin),))


def sent_out(
    fact: PayoutAsked | SessionCloseAsked,
    amount: Msats,
    home: str,
    policy: Policy,
    *,
    pubkey: str | None = None,
    session_id: str | None = None,
    origin: str = "",
    reason: str = PAYOUT,
) -> Decision:
    """``amount`` and its fee cap leave the account ``home``, and the payment of the fact's BOLT11 begins.

    The refund stands there twice, as it is born and as it is sent.
    """
    cap = policy.fee_reserve(amount)
    owed = RefundRecord(
        id=fact.refund_id,
        version=0,
        job_id=None,
        pubkey=pubkey,
        amount=Msats(amount + cap),
        reason=reason,
        state=RefundState.OWED,
        created_at=fact.at,
        updated_at=fact.at,
        origin=origin,
        session_id=session_id,
        kept_for_way=cap if session_id else ZERO,
    )
    sent = sent_again(dataclasses.replace(owed, version=1), fact, amount)
    entry = transfer(f"owed:{owed.id}", Code.OWED, home, accounts.refund(owed.id), owed.amount, reason)
    return dataclasses.replace(sent, refunds=(owed, *sent.refunds), entries=(entry,))


def sent_again(row: RefundRecord, fact: PayoutAsked | SessionCloseAsked, amount: Msats) -> Decision:
    """The payment of a refund of credit begins: what its amount is above the BOLT11's is there for the way."""
    if fact.bolt11 is None:
        raise ValueError("a payment needs the invoice it is for")
    cap = Msats(row.amount - amount)
    sending = dataclasses.replace(
        row,
        state=refund_moves(row.state, RefundState.SENDING),
        payment_hash=fact.payment_hash,
        bolt11=fact.bolt11,
        max_fee=cap,
        attempts=row.attempts + 1,
        updated_at=fact.at,
    )
    pay = PayRefund(
        refund_id=row.id,
        payment_hash=fact.payment_hash,
        bolt11=fact.bolt11,
        max_fee=cap,
        attempts=sending.attempts,
    )
    return Decision(refunds=(sending,), actions=(Do(pay),))


def _on_its_way(amount: Msats, cap: Msats, left: Msats) -> OperationDone:
    return OperationDone(
        body={
            "op": "refund",
            "refundState": "pending",
            "refundAmountSats": sats_down(amount),
            "maxFeeSats": sats_up(cap),
            "creditSats": sats_down(left),
            "state": "sending",
        }
    )


def _why_not(case: Case, fact: PayoutAsked, policy: Policy) -> Refused | None:
    """Why a pay-out is refused, or None. The order is from who may ask to what they ask."""
    if case.payouts:
        return Refused(
            code="already_sending", sentence="A payment of your balance is on its way: wait for its result."
        )
    most = largest(case.credit, policy)
    return why_not_payable(case, fact, most, policy) if most else _too_small(case)


def why_not_payable(
    case: Case, fact: PayoutAsked | SessionCloseAsked, most: Msats, policy: Policy
) -> Refused | None:
    """Why a BOLT11 can't be paid out of prepaid credit that has ``most`` for it, or None."""
    if not fact.rail_ok:
        return Refused(code="wrong_network", sentence="That invoice is for another network than our wallet's.")
    if fact.amount is None or not MSATS_PER_SAT <= fact.amount <= most or fact.amount % MSATS_PER_SAT:
        return wrong_amount(case, policy)
    if fact.expires_at < fact.at + policy.claim_life_s:
        sentence = f"That invoice ends too soon: send one that is valid for {policy.claim_life_s} seconds or more."
        return Refused(code="expires_too_soon", sentence=sentence)
    if case.hash_is_ours:
        return Refused(code="own_invoice", sentence="That invoice is one of ours: send one from your own wallet.")
    if case.hash_is_used:
        return Refused(code="used_invoice", sentence="That invoice was used before: send a fresh one.")
    return None


def _too_small(case: Case) -> Refused:
    sentence = (
        f"Your balance is {sats_down(case.credit)} sats: too little to send, for the way costs up to 2 sats. Your "
        "next request uses it. To claim what is held for a request, add its event id as param job."
    )
    return Refused(code="nothing_owed", sentence=sentence)


def wrong_amount(case: Case, policy: Policy) -> Refused:
    """The sums that prepaid credit can be sent as."""
    most = largest(case.credit, policy)
    sentence = (
        f"Send an invoice for 1 to {sats_down(most)} whole sats: your balance is {sats_down(case.credit)} sats, "
        f"and up to {sats_up(policy.fee_reserve(most))} of them pay for the way."
    )
    return Refused(code="wrong_amount", sentence=sentence)


def paid_out(case: Case, fact: PaymentOut, policy: Policy) -> Decision:
    """Our wallet said what became of a pay-out. IN_FLIGHT and UNKNOWN free nothing, as of any refund."""
    row = case.refund
    if row is None or row.state not in refunds.IN_FLIGHT or row.payment_hash != fact.payment_hash:
        return IGNORED
    if fact.result is PayResult.SUCCEEDED:
        return _sent(case, row, fact, policy)
    if fact.result is PayResult.FAILED and fact.attempts == row.attempts:
        return _back(case, row, fact) if row.session_id is None else _not_sent(case, row, fact, policy)
    return refunds.paid_out(case, fact, policy)


def _sent(case: Case, row: RefundRecord, fact: PaymentOut, policy: Policy) -> Decision:
    """The sum left, and what the way cost leaves with it. More than the cap was never the customer's to pay."""
    fee = Msats(min(fact.fee, row.max_fee))
    refund, rest = accounts.refund(row.id), Msats(row.max_fee - fee)
    amount = row.invoiced
    entries = [transfer(f"sent:{row.id}", Code.SENT, refund, accounts.NODE, amount)]
    if fee:
        entries.append(transfer(f"fee:{row.id}", Code.ROUTING, refund, accounts.NODE, fee))
    if over := Msats(fact.fee - fee):
        entries.append(transfer(f"overfee:{row.id}", Code.ROUTING, accounts.ROUTING_FEES, accounts.NODE, over))
    if rest:
        entries.append(_credited(row, rest))
    swept = Returned()
    if rest and case.session is not None:
        swept = session_money.swept(
            case.session, rest, cause=row.id, reason=session_money.FEE, at=fact.at, policy=policy
        )
    done = dataclasses.replace(
        row, state=refund_moves(row.state, RefundState.SENT), fee=fact.fee, updated_at=fact.at, note=""
    )
    way = f"{sats_up(fee)} sats" if fee else "nothing"
    sentence = (
        f"{sats_down(amount)} sats were sent to your invoice; the way cost {way}. "
        f"Your balance is {sats_down(Msats(case.credit + rest))} sats now."
    )
    return Decision(
        refunds=(done, *swept.refunds),
        entries=(*entries, *swept.entries),
        tells=_moved(done, amount, sentence),
    )


def _not_sent(case: Case, row: RefundRecord, fact: PaymentOut, policy: Policy) -> Decision:
    """FAILED frees the rest of a session: its address is asked again, or it is held for its owner to claim."""
    if row.target is not None:
        return refunds.try_later(case, row, fact.detail, fact.at, policy)
    held = dataclasses.replace(
        row,
        state=refund_moves(row.state, RefundState.HELD),
        payment_hash=None,
        bolt11=None,
        max_fee=ZERO,
        note=fact.detail[:200],
        updated_at=fact.at,
    )
    return Decision(refunds=(held,))


def _back(case: Case, row: RefundRecord, fact: PaymentOut) -> Decision:
    """FAILED frees the money: owed, and in the same commit credited. Both steps are in the table of states."""
    owed = dataclasses.replace(
        row, state=refund_moves(row.state, RefundState.OWED), note=fact.detail[:200], updated_at=fact.at
    )
    credited = dataclasses.replace(
        owed,
        version=owed.version + 1,
        state=refund_moves(owed.state, RefundState.CREDITED),
        payment_hash=None,
        bolt11=None,
        max_fee=ZERO,
    )
    amount = row.invoiced
    sentence = (
        f"{sats_down(amount)} sats could not be sent to your invoice. They are in your balance again, which is "
        f"{sats_down(Msats(case.credit + row.amount))} sats: send another invoice when you like (op refund)."
    )
    return Decision(
        refunds=(owed, credited), entries=(_credited(row, row.amount),), tells=_moved(credited, amount, sentence)
    )


def _credited(row: RefundRecord, amount: Msats) -> Entry:
    home = accounts.credit(row.session_id, row.pubkey)
    if home is None:
        raise ValueError("only a key or a session has credit")
    return transfer(f"credited:{row.id}", Code.CREDITED, accounts.refund(row.id), home, amount)


def _moved(row: RefundRecord, amount: Msats, sentence: str) -> tuple[Tell, ...]:
    if row.session_id is not None:
        return ()  # its owner looks
    status = _SHOWN_AS[row.state]
    return (
        Tell(RefundMoved(state=row.state, sats=sats_down(amount), status=status, sentence=sentence), row.origin),
    )
