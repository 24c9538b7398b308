"""A refund and its payment: claimed with a BOLT11, sent, failed, in doubt, tried again. Pure.

``core.giving_back`` makes refunds, and ``core.sending`` has those that go by themselves.
"""

import dataclasses
from collections.abc import Sequence
from typing import assert_never

from ledger import accounts
from ledger.entries import Code, transfer
from ledger.money import ZERO, Msats, sats_down
from ledger.records import RefundRecord, RefundState
from timmy_dvm.core.actions import FindPayment, OperationDone, PayRefund, RefundMoved, Refused, RetryRefund
from timmy_dvm.core.case import IGNORED, Case, Decision, Do, Tell
from timmy_dvm.core.facts import PaymentOut, PayResult, RefundClaimed, RefundDue
from timmy_dvm.core.giving_back import CLAIM_BY, ask, place
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.refund_facts import RefundWithdrawn
from timmy_dvm.core.transitions import ENDED, refund_moves

CLAIMABLE = frozenset({RefundState.HELD, RefundState.OWED})
"""Nothing is in flight: the customer may name a (new) BOLT11."""
IN_FLIGHT = frozenset({RefundState.SENDING, RefundState.IN_DOUBT})
_SUMS_NAMED = 5


def meant(claims: Sequence[tuple[str | None, RefundRecord]], fact: RefundClaimed) -> RefundRecord | None:
    """Which of a key's open refunds a claim that names no job is for: the oldest of exactly its sum.

    Equal sums are the same to their owner, so there is never a choice to ask about.
    """
    return next((row for _, row in claims if row.state in CLAIMABLE and row.amount == fact.amount), None)


def claimed(case: Case, fact: RefundClaimed, policy: Policy) -> Decision:
    """The customer sent a BOLT11 for money we hold."""
    row = next(
        (r for r in case.refunds if r.state in CLAIMABLE and r.amount == fact.amount),
        None,
    )
    refusal = _why_not(case, fact, row, policy)
    if refusal is not None or row is None or fact.amount is None:
        told = Tell(refusal or nothing_to_claim(case), fact.origin)
        return Decision(tells=(told,)) if fact.answered else IGNORED
    sending = dataclasses.replace(
        row,
        state=refund_moves(row.state, RefundState.SENDING),
        payment_hash=fact.payment_hash,
        bolt11=fact.bolt11,
        max_fee=our_fee(case, row, policy),
        attempts=row.attempts + 1,
        note="",
        updated_at=fact.at,
        due_at=None,
        target=None,
    )
    said = OperationDone(
        body={
            "op": "refund",
            "refundState": "pending",
            "refundAmountSats": sats_down(row.amount),
            "state": "sending",
        }
    )
    return Decision(refunds=(sending,), actions=(Do(payment(sending)),), tells=(Tell(said, fact.origin),))


def _why_not(case: Case, fact: RefundClaimed, row: RefundRecord | None, policy: Policy) -> Refused | None:
    """Why a claim is refused, or None. The order is from who may ask to what they ask."""
    if case.job is None and fact.request_event_id is None:
        return _nothing_of_that_sum(case)
    refusal = why_not_owner(case, fact.pubkey)
    if refusal is not None:
        return refusal
    return nothing_to_claim(case) if row is None else why_not_payable(case, fact, row, policy)


def why_not_owner(case: Case, pubkey: str) -> Refused | None:
    """Why a key may not have the money of the case's job, or None."""
    if case.job is None:
        return Refused(code="unknown_job", sentence="No such job. Name your own request's event id in param job.")
    if case.job.pubkey != pubkey:
        return Refused(code="not_yours", sentence="Only the key that asked for the job may claim its refund.")
    return None


def why_not_payable(
    case: Case, fact: RefundClaimed | RefundWithdrawn, row: RefundRecord, policy: Policy
) -> Refused | None:
    """Why a BOLT11 of the right sum can't be paid, or None."""
    if not fact.rail_ok:
        return Refused(code="wrong_network", sentence="That invoice is for another network than our wallet's.")
    if fact.expires_at < fact.at + policy.claim_life_s:
        sentence = f"That invoice ends too soon: send one that is valid for {policy.claim_life_s} seconds or more."
        return Refused(code="expires_too_soon", sentence=sentence)
    if case.hash_is_ours:
        return Refused(code="own_invoice", sentence="That invoice is one of ours: send one from your own wallet.")
    if case.hash_is_used:
        return Refused(code="used_invoice", sentence="That invoice was used before: send a fresh one.")
    if not reserve_is_there(case, row, policy):
        return Refused(
            code="fee_reserve",
            sentence="Our wallet can't set the routing fee aside now. The money stays yours: ask again later.",
        )
    return None


def nothing_to_claim(case: Case) -> Refused:
    """The sentence for a claim that meets no held refund of that sum, by what there is instead."""
    if any(r.state in IN_FLIGHT for r in case.refunds):
        return Refused(
            code="already_sending", sentence="A payment of this refund is on its way: wait for its result."
        )
    held = [r for r in case.refunds if r.state in CLAIMABLE]
    if held:
        sums = " or ".join(str(sats_down(r.amount)) for r in held)
        return Refused(code="wrong_amount", sentence=f"Send an invoice for exactly {sums} sats.")
    if case.job is not None and case.job.state not in ENDED:
        sentence = "This request has not ended yet: what is left of your money is yours to claim when it has."
        return Refused(code="not_ended", sentence=sentence)
    sentence = "Nothing is held for this request: what there was to give back was sent or credited already."
    return Refused(code="nothing_owed", sentence=sentence)


def _nothing_of_that_sum(case: Case) -> Refused:
    """The sentence for a claim by its sum alone, by what the key has open instead."""
    rows = [row for _, row in case.claims]
    sums = dict.fromkeys(sats_down(row.amount) for row in rows if row.state in CLAIMABLE)
    if sums:
        named = " or ".join(map(str, list(sums)[:_SUMS_NAMED]))
        return Refused(code="wrong_amount", sentence=f"Send an invoice for exactly {named} sats.")
    if rows:
        return Refused(code="already_sending", sentence="Your refund is on its way: wait for its result.")
    sentence = "Nothing waits for you here: what there was to give back was sent or credited already."
    return Refused(code="nothing_owed", sentence=sentence)


def reserve_is_there(case: Case, row: RefundRecord, policy: Policy) -> bool:
    """Whether a wallet that takes no fee limit may send: its reserve is the cap, out of today's rest and ours."""
    left_today = policy.fee_per_day - case.fees_today
    return policy.wallet_limits_fees or policy.fee_reserve(row.amount) <= min(left_today, case.ours)


def our_fee(case: Case, row: RefundRecord, policy: Policy) -> Msats:
    """What sending this refund may cost us: within each of our four limits, never out of others' money.

    What we kept from a job is there once for all its refunds: what the others cost, or may, is taken off.
    """
    if not policy.wallet_limits_fees:
        return policy.fee_reserve(row.amount)
    others = sum(r.max_fee if r.state in IN_FLIGHT else r.fee for r in case.refunds if r.id != row.id)
    left_today = policy.fee_per_day - case.fees_today
    return Msats(max(0, min(policy.fee_per_refund, row.kept_fee_room - others, left_today, case.ours)))


def payment(row: RefundRecord) -> PayRefund:
    """The payment a refund in `sending` is at.

    Raises:
        ValueError: it names no BOLT11.
    """
    if row.payment_hash is None or row.bolt11 is None:
        raise ValueError("a refund without a BOLT11 can't be sent")
    return PayRefund(
        refund_id=row.id,
        payment_hash=row.payment_hash,
        bolt11=row.bolt11,
        max_fee=row.max_fee,
        attempts=row.attempts,
    )


def due_again(case: Case, fact: RefundDue, policy: Policy) -> Decision:
    """The pause is over: the same BOLT11 goes out again, for its last payment failed for certain; or the address
    is asked for another one. So it is with what is held for an address, when the operator wishes.
    """
    row = case.refund
    if row is None or row.state not in CLAIMABLE or row.attempts != fact.attempts:
        return IGNORED
    if row.target is not None:
        return Decision(actions=(Do(ask(row)),))
    if row.state is RefundState.HELD:
        return IGNORED
    if not reserve_is_there(case, row, policy):
        return hold(case, dataclasses.replace(row, updated_at=fact.at))
    sending = dataclasses.replace(
        row,
        state=refund_moves(row.state, RefundState.SENDING),
        max_fee=our_fee(case, row, policy),
        attempts=row.attempts + 1,
        updated_at=fact.at,
        due_at=None,
    )
    return Decision(refunds=(sending,), actions=(Do(payment(sending)),))


def paid_out(case: Case, fact: PaymentOut, policy: Policy) -> Decision:
    """Our wallet said what became of a refund's payment. Only of the try in flight can it be less than sent."""
    row = case.refund
    if row is None or row.state not in IN_FLIGHT or row.payment_hash != fact.payment_hash:
        return IGNORED
    if fact.attempts != row.attempts and fact.result is not PayResult.SUCCEEDED:
        return IGNORED
    match fact.result:
        case PayResult.SUCCEEDED:
            return _sent(case, row, fact)
        case PayResult.FAILED:
            return try_later(case, row, fact.detail, fact.at, policy)
        case PayResult.IN_FLIGHT | PayResult.UNKNOWN:
            return _in_doubt(row, fact, policy)
        case _:
            assert_never(fact.result)


def _sent(case: Case, row: RefundRecord, fact: PaymentOut) -> Decision:
    entries = [
        transfer(f"sent:{row.id}", Code.SENT, accounts.refund(row.id), accounts.NODE, row.amount),
    ]
    if fact.fee:
        entries.append(transfer(f"fee:{row.id}", Code.ROUTING, accounts.ROUTING_FEES, accounts.NODE, fact.fee))
    done = dataclasses.replace(
        row,
        state=refund_moves(row.state, RefundState.SENT),
        fee=fact.fee,
        updated_at=fact.at,
        due_at=None,
        note="",
    )
    sentence = f"{sats_down(row.amount)} sats were sent back to {place(row)}."
    return Decision(refunds=(done,), entries=tuple(entries), tells=_moved(case, done, sentence))


def try_later(case: Case, row: RefundRecord, why: str, at: int, policy: Policy) -> Decision:
    """A try failed for certain, so the money is free. Another follows after a pause, while pauses are left.

    What is held and was tried at the operator's wish stays held. Tries are counted on over the refund's whole
    life, for their number is part of what tells one try from another; a round of them is one more than there are
    pauses.
    """
    freed = dataclasses.replace(row, note=why[:200], updated_at=at)
    this_round = (row.attempts - 1) % (len(policy.refund_pauses_s) + 1)
    if this_round < len(policy.refund_pauses_s) and row.state is not RefundState.HELD:
        due_at = at + policy.refund_pauses_s[this_round]
        owed = dataclasses.replace(freed, state=_stays_or(row, RefundState.OWED), due_at=due_at)
        minutes = -(-(due_at - at) // 60)
        pause = "a minute" if minutes == 1 else f"{minutes} minutes"
        sentence = (
            f"{sats_down(row.amount)} sats could not be sent to {place(row)} yet. They go out again in {pause}, "
            f"or at once when you send a new invoice for exactly that sum {CLAIM_BY}."
        )
        again = Do(RetryRefund(refund_id=row.id, attempts=row.attempts), due_at)
        tells = _moved(case, owed, sentence) if this_round == 0 else ()
        return Decision(refunds=(owed,), actions=(again,), tells=tells)
    return hold(case, freed)


def _stays_or(row: RefundRecord, new: RefundState) -> RefundState:
    return row.state if row.state is new else refund_moves(row.state, new)


def hold(case: Case, row: RefundRecord) -> Decision:
    """Nothing is in flight and we stop trying: the customer names another BOLT11 when they like."""
    held = dataclasses.replace(
        row,
        state=_stays_or(row, RefundState.HELD),
        payment_hash=None,
        bolt11=None,
        max_fee=ZERO,
        due_at=None,
    )
    sentence = (
        f"{sats_down(row.amount)} sats could not be sent to {place(row)}. They stay yours: "
        f"claim them with a new BOLT11 invoice for exactly that sum {CLAIM_BY}."
    )
    return Decision(refunds=(held,), tells=_moved(case, held, sentence))


def _in_doubt(row: RefundRecord, fact: PaymentOut, policy: Policy) -> Decision:
    if row.state is RefundState.IN_DOUBT or row.bolt11 is None:
        return IGNORED
    doubtful = dataclasses.replace(
        row,
        state=refund_moves(row.state, RefundState.IN_DOUBT),
        note=fact.detail[:200],
        updated_at=fact.at,
    )
    find = FindPayment(
        refund_id=row.id,
        payment_hash=fact.payment_hash,
        bolt11=row.bolt11,
        max_fee=row.max_fee,
        attempts=row.attempts,
        since=fact.at,
        resend_until=fact.at + policy.resend_after_s,
    )
    return Decision(refunds=(doubtful,), actions=(Do(find, fact.at + policy.look_again_s),))


def _moved(case: Case, row: RefundRecord, sentence: str) -> tuple[Tell, ...]:
    if case.job is None:
        return ()
    moved = RefundMoved(state=row.state, sats=sats_down(row.amount), status=case.job.state, sentence=sentence)
    return (Tell(moved),)


def shown_state(refunds: tuple[RefundRecord, ...]) -> str:
    """``refundState`` as HTTP and receipts show it: not_applicable, paid or pending."""
    if not refunds:
        return "not_applicable"
    done = (RefundState.SENT, RefundState.CREDITED, RefundState.PAID_ELSEWHERE)
    return "paid" if all(r.state in done for r in refunds) else "pending"
