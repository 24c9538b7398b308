"""A refund and its payment: claimed with a BOLT11, sent, failed, in doubt, tried again. Pure.

``core.giving_back`` makes refunds, and ``core.sending`` has those that go by themselves.
"""

import dataclasses
from typing import assert_never

from ledger.money import ZERO, Msats, msats_from_sats, sats_down, sats_up
from ledger.records import RefundRecord, RefundState
from timmy_dvm.core.actions import FindPayment, PayRefund, RefundMoved, Refused, RetryRefund
from timmy_dvm.core.case import IGNORED, Case, Decision, Do, Tell
from timmy_dvm.core.facts import PaymentOut, PayResult, RefundDue
from timmy_dvm.core.giving_back import CLAIM_BY, ask, entries_when_sent, its_way, largest, place
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.transitions import refund_moves

CLAIMABLE = frozenset({RefundState.HELD, RefundState.OWED})
"""Nothing is in flight: the customer may name a (new) BOLT11."""
IN_FLIGHT = frozenset({RefundState.SENDING, RefundState.IN_DOUBT})


def reserve_is_there(case: Case, row: RefundRecord, policy: Policy) -> bool:
    """Whether a wallet that takes no fee limit may send: its reserve is the cap, out of today's rest and ours.

    What pays its own way has its reserve beside it, unless it is too small to be both.
    """
    if policy.wallet_limits_fees:
        return True
    if row.pays_its_way:
        return largest(row.amount, policy) > ZERO
    return policy.fee_reserve(row.amount) <= min(policy.fee_per_day - case.fees_today, case.ours)


def no_reserve(row: RefundRecord) -> Refused:
    """The refusal where :func:`reserve_is_there` says no."""
    if row.pays_its_way:
        sentence = "These sats are too few to pay for their way, and our wallet can't bound it. They stay yours."
    else:
        sentence = "Our wallet can't set the routing fee aside now. The money stays yours: ask again later."
    return Refused(code="fee_reserve", sentence=sentence)


def fee_cap(case: Case, row: RefundRecord, policy: Policy) -> Msats:
    """What sending this refund may cost: what is kept of it for its way, or what it may cost us within each of our
    four limits; never out of others' money.

    What we kept from a job is there once for all its refunds: what the others cost, or may, is taken off.
    """
    if row.pays_its_way:
        return row.kept_for_way
    if not policy.wallet_limits_fees:
        return policy.fee_reserve(row.amount)
    beside = [r for r in case.refunds if r.id != row.id and not r.pays_its_way]
    others = sum(r.max_fee if r.state in IN_FLIGHT else r.fee for r in beside)
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
        max_fee=fee_cap(case, row, policy),
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
            return try_later(case, row, fact.detail, fact.at, policy, kept=_kept_from_now_on(row, policy))
        case PayResult.IN_FLIGHT | PayResult.UNKNOWN:
            return _in_doubt(row, fact, policy)
        case _:
            assert_never(fact.result)


def _sent(case: Case, row: RefundRecord, fact: PaymentOut) -> Decision:
    done = dataclasses.replace(
        row,
        state=refund_moves(row.state, RefundState.SENT),
        fee=fact.fee,
        updated_at=fact.at,
        due_at=None,
        note="",
    )
    cost = f"; the way cost {sats_up(fact.fee)} of your sats" if row.pays_its_way and fact.fee else ""
    sentence = f"{sats_down(row.invoiced)} sats were sent back to {place(row)}{cost}."
    tells = _moved(case, done, row.invoiced, sentence)
    return Decision(refunds=(done,), entries=entries_when_sent(row, fact.fee), tells=tells)


def _kept_from_now_on(row: RefundRecord, policy: Policy) -> Msats:
    """What a refund keeps for its way once no try at our cost is left, for the way may be dearer than what we pay.

    More than we would have paid, out of its own sum; what the way does not cost is its key's credit, so without a
    key nothing is kept. Nor is it where the wallet sets its own limit, or where nothing would be left to send.
    """
    kept = msats_from_sats(sats_up(Msats(policy.fee_per_refund + policy.fee_reserve(row.amount))))
    if row.pays_its_way or row.pubkey is None or not policy.wallet_limits_fees or kept >= row.amount:
        return row.kept_for_way
    return kept


def try_later(
    case: Case, row: RefundRecord, why: str, at: int, policy: Policy, *, kept: Msats | None = None
) -> Decision:
    """A try failed for certain, so the money is free. Another follows after a pause, while pauses are left.

    What is held and was tried at the operator's wish stays held. Tries are counted on over the refund's whole
    life, for their number is part of what tells one try from another; a round of them is one more than there are
    pauses. ``kept`` is what it keeps for its way when it is held then; None leaves that as it is.
    """
    freed = dataclasses.replace(row, note=why[:200], updated_at=at)
    this_round = (row.attempts - 1) % (len(policy.refund_pauses_s) + 1)
    amount = row.sendable
    if this_round < len(policy.refund_pauses_s) and row.state is not RefundState.HELD:
        due_at = at + policy.refund_pauses_s[this_round]
        owed = dataclasses.replace(freed, state=_stays_or(row, RefundState.OWED), due_at=due_at)
        minutes = -(-(due_at - at) // 60)
        pause = "a minute" if minutes == 1 else f"{minutes} minutes"
        sentence = (
            f"{sats_down(amount)} sats could not be sent to {place(row)} yet. They go out again in {pause}, "
            f"or at once when you send a new invoice for exactly that sum {CLAIM_BY}."
        )
        again = Do(RetryRefund(refund_id=row.id, attempts=row.attempts), due_at)
        tells = _moved(case, owed, amount, sentence) if this_round == 0 else ()
        return Decision(refunds=(owed,), actions=(again,), tells=tells)
    return hold(case, freed if kept is None else dataclasses.replace(freed, kept_for_way=kept))


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
    amount = row.sendable
    sentence = (
        f"{sats_down(amount)} sats could not be sent to {place(row)}. They stay yours: "
        f"claim them with a new BOLT11 invoice for exactly that sum {CLAIM_BY}.{its_way(held)}"
    )
    return Decision(refunds=(held,), tells=_moved(case, held, amount, sentence))


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


def _moved(case: Case, row: RefundRecord, amount: Msats, sentence: str) -> tuple[Tell, ...]:
    if case.job is None:
        return ()
    moved = RefundMoved(state=row.state, sats=sats_down(amount), status=case.job.state, sentence=sentence)
    return (Tell(moved),)


def shown_state(refunds: tuple[RefundRecord, ...]) -> str:
    """``refundState`` as HTTP and receipts show it: not_applicable, paid or pending."""
    if not refunds:
        return "not_applicable"
    done = (RefundState.SENT, RefundState.CREDITED, RefundState.PAID_ELSEWHERE)
    return "paid" if all(r.state in done for r in refunds) else "pending"
