"""Claims of money that we owe: by BOLT11 through any door, and by LNURL-withdraw. Pure.

A claim is told by the payment hash of its BOLT11. The same claim again moves nothing and is answered by how its
refund stands; a refusal leaves nothing behind, so what was refused may be asked again.
"""

import dataclasses
from collections.abc import Sequence

from ledger.money import Msats, sats_down
from ledger.records import RefundRecord, RefundState
from timmy_dvm.core.actions import OperationDone, Refused
from timmy_dvm.core.case import IGNORED, Case, Decision, Do, Tell
from timmy_dvm.core.facts import RefundClaimed
from timmy_dvm.core.giving_back import withdrawable
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.refund_facts import CreditWished, RefundWithdrawn
from timmy_dvm.core.refunds import (
    CLAIMABLE,
    IN_FLIGHT,
    fee_cap,
    no_reserve,
    payment,
    reserve_is_there,
    shown_state,
)
from timmy_dvm.core.transitions import ENDED, refund_moves

_SUMS_NAMED = 5


def meant(claims: Sequence[tuple[str | None, RefundRecord]], fact: RefundClaimed) -> RefundRecord | None:
    """Which of a key's open refunds a claim that names no job is for: the oldest of exactly its sum.

    Equal sums are the same to their owner, so there is never a choice to ask about.
    """
    rows = [row for _, row in claims]
    return among(rows, fact.payment_hash, fact.amount)


def _of_hash(rows: Sequence[RefundRecord], payment_hash: str) -> RefundRecord | None:
    return next((row for row in rows if row.payment_hash == payment_hash), None)


def _of_sum(rows: Sequence[RefundRecord], amount: Msats | None) -> RefundRecord | None:
    return next((row for row in rows if row.state in CLAIMABLE and row.sendable == amount), None)


def among(rows: Sequence[RefundRecord], payment_hash: str, amount: Msats | None) -> RefundRecord | None:
    """Which of somebody's refunds a BOLT11 is for: the one it was sent to before, else the oldest of that sum."""
    return _of_hash(rows, payment_hash) or _of_sum(rows, amount)


def judged(case: Case, fact: RefundClaimed, policy: Policy) -> RefundRecord | Refused:
    """The refund that a claim is for, or why there is none. The order is from who may ask to what they ask.

    A refund that names the claim's own payment hash was claimed by it before; to any other it may be sent now.
    """
    if case.job is None and fact.request_event_id is None and fact.job_id is None:
        return _nothing_of_that_sum(case)
    if (refusal := why_not_owner(case, fact)) is not None:
        return refusal
    if (again := _of_hash(case.refunds, fact.payment_hash)) is not None:
        return again
    row = _of_sum(case.refunds, fact.amount)
    if row is None:
        return nothing_to_claim(case)
    return why_not_payable(case, fact, row, policy) or row


def claimed(case: Case, fact: RefundClaimed, policy: Policy) -> Decision:
    """The customer sent a BOLT11 for money we hold."""
    row = judged(case, fact, policy)
    if isinstance(row, Refused):
        return Decision(tells=(Tell(row, fact.origin),)) if fact.answered else IGNORED
    if row.payment_hash == fact.payment_hash:
        return Decision(tells=_answered(row, fact)) if fact.answered else IGNORED
    sending = _sending(case, row, fact, policy)
    return Decision(refunds=(sending,), actions=(Do(payment(sending)),), tells=_answered(sending, fact))


def _answered(row: RefundRecord, fact: RefundClaimed) -> tuple[Tell, ...]:
    """A door without events has no note of its own, and is told by the refund itself."""
    said = OperationDone(
        body={
            "op": "refund",
            "refundState": shown_state((row,)),
            "refundAmountSats": sats_down(row.sendable),
            "state": str(row.state),
        }
    )
    return (Tell(said, fact.origin),) if fact.origin else ()


def _sending(case: Case, row: RefundRecord, fact: RefundClaimed | RefundWithdrawn, policy: Policy) -> RefundRecord:
    return dataclasses.replace(
        row,
        state=refund_moves(row.state, RefundState.SENDING),
        payment_hash=fact.payment_hash,
        bolt11=fact.bolt11,
        max_fee=fee_cap(case, row, policy),
        attempts=row.attempts + 1,
        target=None,
        note="",
        updated_at=fact.at,
        due_at=None,
    )


def why_not_owner(case: Case, fact: RefundClaimed | CreditWished) -> Refused | None:
    """Why somebody may not have the money of the case's job, or None.

    A job that came as an event has a key and no secret, whatever a door says it was shown.
    """
    by_event = fact.event_id is not None
    if case.job is None:
        how = "Name your own request's event id in param job." if by_event else "Check its id."
        return Refused(code="unknown_job", sentence=f"No such job. {how}")
    if isinstance(fact, RefundClaimed) and fact.by_secret and case.job.event_id is None:
        return None
    if case.job.pubkey is None or case.job.pubkey != fact.pubkey:
        whose = "the key that asked for the job" if by_event else "the job's key or its claim secret"
        return Refused(code="not_yours", sentence=f"Only {whose} may claim its refund.")
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
        return no_reserve(row)
    return None


def nothing_to_claim(case: Case) -> Refused:
    """The sentence for a claim that meets no held refund of that sum, by what there is instead."""
    if any(r.state in IN_FLIGHT for r in case.refunds):
        return Refused(
            code="already_sending", sentence="A payment of this refund is on its way: wait for its result."
        )
    held = [r for r in case.refunds if r.state in CLAIMABLE]
    if held:
        sums = " or ".join(str(sats_down(r.sendable)) for r in held)
        return Refused(code="wrong_amount", sentence=f"Send an invoice for exactly {sums} sats.")
    if case.job is not None and case.job.state not in ENDED:
        sentence = "This request has not ended yet: what is left of your money is yours to claim when it has."
        return Refused(code="not_ended", sentence=sentence)
    sentence = "Nothing is held for this request: what there was to give back was sent or credited already."
    return Refused(code="nothing_owed", sentence=sentence)


def _nothing_of_that_sum(case: Case) -> Refused:
    """The sentence for a claim by its sum alone, by what the key has open instead."""
    rows = [row for _, row in case.claims]
    sums = dict.fromkeys(sats_down(row.sendable) for row in rows if row.state in CLAIMABLE)
    if sums:
        named = " or ".join(map(str, list(sums)[:_SUMS_NAMED]))
        return Refused(code="wrong_amount", sentence=f"Send an invoice for exactly {named} sats.")
    if rows:
        return Refused(code="already_sending", sentence="Your refund is on its way: wait for its result.")
    sentence = "Nothing waits for you here: what there was to give back was sent or credited already."
    return Refused(code="nothing_owed", sentence=sentence)


def withdrawn(case: Case, fact: RefundWithdrawn, policy: Policy) -> Decision:
    """A BOLT11 came by LNURL-withdraw. Its word is used up by whatever moved the refund, itself first of all.

    Nobody is told: the door answers by how the refund stands afterwards.
    """
    row = judged_withdrawal(case, fact, policy)
    if isinstance(row, Refused) or row.payment_hash == fact.payment_hash:
        return IGNORED
    sending = _sending(case, row, fact, policy)
    if row.session_id is not None:
        # What a session's rest is above the BOLT11 is there for the way, as where it is claimed by closing again.
        sending = dataclasses.replace(sending, max_fee=Msats(row.amount - withdrawable(row, policy)))
    return Decision(refunds=(sending,), actions=(Do(payment(sending)),))


def judged_withdrawal(case: Case, fact: RefundWithdrawn, policy: Policy) -> RefundRecord | Refused:
    """The refund that a withdrawal is for, or why there is none; see :func:`judged`."""
    row = case.refund
    if row is not None and row.payment_hash == fact.payment_hash:
        return row
    if row is None or row.version != fact.version or row.state not in CLAIMABLE:
        code = "already_sending" if row is not None and row.state in IN_FLIGHT else "nothing_owed"
        return Refused(code=code, sentence="This withdrawal was used before, or the money has moved on.")
    if fact.amount != (due := withdrawable(row, policy)):
        sentence = f"Send an invoice for exactly {sats_down(due)} sats."
        return Refused(code="wrong_amount", sentence=sentence)
    return why_not_payable(case, fact, row, policy) or row
