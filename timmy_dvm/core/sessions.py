"""A session: opened by a deposit, filled by top-ups, used by requests, closed by its owner or by silence. Pure.

The mechanism is that of a key's own credit (``core.credit``, ``core.payouts``); what differs is whose it is: who
holds the macaroon. A request never sees an invoice. All of its price that the pool does not pay is taken out of
the session before the model is called, or it is refused; so requests that come at once never use a sat twice.
"""

import dataclasses
from typing import assert_never

from ledger import accounts
from ledger.credit import TopUpRecord
from ledger.money import ZERO, Msats, sats_down, sats_up
from ledger.records import Door, InvoiceRecord, Mode, RefundRecord, RefundState
from ledger.sessions import SessionRecord, SessionState
from timmy_dvm.core import asking, credit, free_tier, payouts, refunds, refusing, reserving, session_money, trust
from timmy_dvm.core.actions import CloseIdleSession, OperationDone, Refused
from timmy_dvm.core.case import IGNORED, Case, Decision, Do, Tell
from timmy_dvm.core.facts import InvoiceNotMade, InvoiceUnpaid, PaymentSeen, RequestReceived
from timmy_dvm.core.giving_back import ask, claimable, largest
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.session_facts import (
    SessionAsked,
    SessionCloseAsked,
    SessionFact,
    SessionIdle,
    SessionTopUpAsked,
)
from timmy_dvm.core.transitions import session_moves

CLOSED = "closed"
"""The reason of a refund that was a session's rest."""
_AMOUNT = "deposit_amount"
_NOWHERE = ""
"""Whoever asked waits at the door: no event answers them."""


def _refused(code: str, sentence: str) -> Decision:
    return Decision(tells=(Tell(Refused(code=code, sentence=sentence), _NOWHERE),))


def _done(**body: object) -> Tell:
    return Tell(OperationDone(body=body), _NOWHERE)


def decided(case: Case, fact: SessionFact, policy: Policy) -> Decision:
    """What follows from a fact about a session itself."""
    match fact:
        case SessionAsked():
            return opened(case, fact, policy)
        case SessionTopUpAsked():
            return topup_asked(case, fact, policy)
        case SessionCloseAsked():
            return close_asked(case, fact, policy)
        case SessionIdle():
            return idle(case, fact, policy)
        case _:
            assert_never(fact)


def of_its_invoice(case: Case, fact: InvoiceNotMade | PaymentSeen | InvoiceUnpaid, policy: Policy) -> Decision:
    """What follows from what became of an invoice that fills a session."""
    match fact:
        case PaymentSeen():
            return paid(case, fact, policy)
        case InvoiceUnpaid():
            return unpaid(case, fact, policy)
        case InvoiceNotMade():
            return invoice_not_made(case, fact)
        case _:
            assert_never(fact)


def opened(case: Case, fact: SessionAsked, policy: Policy) -> Decision:
    """Somebody wants a session: refuse it, or have the invoice of its deposit made."""
    refusal = _wrong_amount(fact.amount, policy) or refusing.to_wait(case, policy)
    if refusal is not None:
        return Decision(tells=(Tell(refusal, _NOWHERE),))
    session = SessionRecord(id=fact.session_id, pubkey=fact.pubkey, created_at=fact.at, used_at=fact.at)
    identity = None if fact.pubkey is None else trust.met(case.identity, fact.pubkey, fact.at)
    return dataclasses.replace(_filling(session, fact, policy), session=session, identity=identity)


def _filling(session: SessionRecord, fact: SessionAsked | SessionTopUpAsked, policy: Policy) -> Decision:
    """A top-up of a session. No key is named in it: it is whose the session is, and no event asked for it."""
    row = TopUpRecord(
        id=fact.topup_id,
        event_id=None,
        account=accounts.session(session.id),
        pubkey=None,
        amount=fact.amount,
        origin=_NOWHERE,
        created_at=fact.at,
    )
    return Decision(topups=(row,), actions=(Do(credit.invoice_of(row, Door.HTTP, fact.at, policy)),))


def _wrong_amount(amount: Msats, policy: Policy) -> Refused | None:
    if policy.session_min <= amount <= policy.session_max:
        return None
    least, most = sats_down(policy.session_min), sats_down(policy.session_max)
    return Refused(code=_AMOUNT, sentence=f"Between {least} and {most} sats at a time: say how many.")


def topup_asked(case: Case, fact: SessionTopUpAsked, policy: Policy) -> Decision:
    """The session is to be filled. While an invoice of it can still be paid there is no second one."""
    session = case.session
    if session is None or session.state is not SessionState.ACTIVE:
        return _not_open(session)
    waiting = case.topups[0] if case.topups else None
    if waiting is not None and _can_be_paid(waiting[1], fact.at + fact.life_s):
        sentence = (
            "A top-up of this session waits for its payment: pay that invoice, or wait until it has expired."
        )
        return _refused("pending_topup", sentence)
    refusal = _wrong_amount(fact.amount, policy) or refusing.to_wait(case, policy)
    if refusal is not None:
        return Decision(tells=(Tell(refusal, _NOWHERE),))
    over = () if waiting is None else (dataclasses.replace(waiting[0], ended_at=fact.at),)
    decision = _filling(session, fact, policy)
    return dataclasses.replace(decision, topups=(*over, *decision.topups))


def _can_be_paid(invoice: InvoiceRecord | None, at: int) -> bool:
    """Whether an invoice may be paid until then; one that is being made will be."""
    return invoice is None or invoice.expires_at >= at


def _not_open(session: SessionRecord | None) -> Decision:
    if session is None:
        return _refused("unknown_session", "There is no such session: open one with POST /api/sessions.")
    if session.state is SessionState.CLOSED:
        return _refused("session_closed", "This session is closed: open a new one with POST /api/sessions.")
    return _refused("session_unpaid", "The deposit of this session was not paid yet: pay its invoice first.")


def paid(case: Case, fact: PaymentSeen, policy: Policy) -> Decision:
    """A session's invoice is settled. All that came is credited, late as well; of a closed session it is owed."""
    booked = dataclasses.replace(credit.paid(case, fact, policy), tells=())
    session = _session(case)
    if not booked.invoices:
        return booked
    (row,) = booked.invoices
    if session.state is SessionState.CLOSED:
        back = session_money.swept(
            session, row.received, cause=fact.payment_hash, reason="late", at=fact.at, policy=policy
        )
        entries = (*booked.entries, *back.entries)
        return dataclasses.replace(booked, entries=entries, refunds=back.refunds, actions=back.actions)
    used = dataclasses.replace(session, used_at=max(fact.at, session.used_at))
    if session.state is SessionState.ACTIVE:
        return dataclasses.replace(booked, session=used)
    active = dataclasses.replace(used, state=session_moves(session.state, SessionState.ACTIVE))
    return dataclasses.replace(booked, session=active, actions=(_look_when_idle(active, policy),))


def _look_when_idle(session: SessionRecord, policy: Policy) -> Do:
    due_at = session.used_at + policy.session_idle_s
    return Do(CloseIdleSession(session_id=session.id, due_at=due_at), due_at)


def unpaid(case: Case, fact: InvoiceUnpaid, policy: Policy) -> Decision:
    """Nobody paid the invoice. A session that waited for its deposit has expired, until it is paid late."""
    return _given_up(case, credit.unpaid(case, fact, policy))


def invoice_not_made(case: Case, fact: InvoiceNotMade) -> Decision:
    """Our wallet was away for longer than a customer waits."""
    return _given_up(case, dataclasses.replace(credit.invoice_not_made(case, fact), tells=()))


def _given_up(case: Case, decision: Decision) -> Decision:
    session = _session(case)
    if not decision.topups or session.state is not SessionState.AWAITING_PAYMENT:
        return decision
    expired = dataclasses.replace(session, state=session_moves(session.state, SessionState.EXPIRED))
    return dataclasses.replace(decision, session=expired)


def requested(case: Case, fact: RequestReceived, policy: Policy) -> Decision:
    """A request inside a session: estimate, ask the pool, take the credit; then it is a job like any other."""
    session = case.session
    if session is None or session.state is not SessionState.ACTIVE:
        return _not_open(session)
    fact = dataclasses.replace(fact, door=Door.HTTP, mode=Mode.ONCE, pubkey=session.pubkey)
    refusal = refusing.no_price(case, fact, policy)
    if refusal is not None:
        return Decision(tells=(Tell(refusal, _NOWHERE),))
    quote = asking.quote_of(asking.price(case, fact, policy))
    price = Msats(quote.eval_fee + quote.work_fee)
    offer = free_tier.decide(reserving.standing(case, session.pubkey, fact.at, policy), quote.work_fee)
    due = Msats(price - offer.absorb)
    if case.credit < due:
        return _refused("insufficient_credit", _too_little(case.credit, due))
    is_free = offer.serve is free_tier.Serve.FREE
    # What the pool only offers, it may lack when the work is done: until then all of it is the customer's share.
    shares = (quote.eval_fee, ZERO if is_free else quote.work_fee)
    decision = asking.new_job(case, fact, quote, shares, asking.Funding(due, ZERO), policy)
    decision = reserving.starts(case, decision, fact.at, policy)
    return dataclasses.replace(
        decision, session=dataclasses.replace(session, used_at=max(fact.at, session.used_at)), tells=()
    )


def _too_little(has: Msats, due: Msats) -> str:
    return (
        f"This request needs {sats_up(due)} sats, and {sats_down(has)} are in your session: fill it with a "
        "top-up, or ask for less."
    )


def idle(case: Case, fact: SessionIdle, policy: Policy) -> Decision:
    """The time is over: a session that was not used meanwhile is closed, and its rest is its owner's to claim."""
    session = case.session
    if session is None or session.state is not SessionState.ACTIVE:
        return IGNORED
    if session.used_at + policy.session_idle_s > fact.at:
        return Decision(actions=(_look_when_idle(session, policy),))
    return _closed(case, session, None, fact.at, "idle", policy)


def close_asked(case: Case, fact: SessionCloseAsked, policy: Policy) -> Decision:
    """The owner wants the rest: sent to the BOLT11 or the address they named, else held. Of a closed session, what
    is held.
    """
    session = case.session
    if session is not None and session.state is SessionState.CLOSED:
        return _claimed(case, session, fact, policy)
    if session is None or session.state is not SessionState.ACTIVE:
        return _not_open(session)
    sent = Decision()
    if fact.bolt11 is not None and case.credit:
        refusal = payouts.why_not_payable(case, fact, largest(case.credit, policy), policy)
        if refusal is not None or fact.amount is None:
            return Decision(tells=(Tell(refusal or payouts.wrong_amount(case, policy), _NOWHERE),))
        sent = payouts.sent_out(
            fact, fact.amount, accounts.session(session.id), policy, session_id=session.id, reason=CLOSED
        )
    return _closed(case, session, sent, fact.at, CLOSED, policy, fact.refund_to)


def _closed(
    case: Case,
    session: SessionRecord,
    sent: Decision | None,
    at: int,
    reason: str,
    policy: Policy,
    refund_to: str | None = None,
) -> Decision:
    """Nothing stays in a session that ends: what was not ``sent`` out is swept."""
    sent = sent or Decision()
    leaving = _amount_of(sent.refunds)
    rest = Msats(case.credit - leaving)
    ended = dataclasses.replace(
        session, state=session_moves(session.state, SessionState.CLOSED), ended_at=at, refund_to=refund_to
    )
    back = session_money.swept(ended, rest, cause="end", reason=reason, at=at, policy=policy)
    rows = (*sent.refunds[-1:], *back.refunds)
    return Decision(
        session=ended,
        topups=tuple(dataclasses.replace(topup, ended_at=at) for topup, _ in case.topups),
        refunds=(*sent.refunds, *back.refunds),
        entries=(*sent.entries, *back.entries),
        actions=(*sent.actions, *back.actions),
        tells=(_told(rows, back.sentence),),
    )


def _amount_of(refunds_made: tuple[RefundRecord, ...]) -> Msats:
    """What a payment that begins takes with it: its two rows are two steps of one refund."""
    return refunds_made[-1].amount if refunds_made else ZERO


def _told(rows: tuple[RefundRecord, ...], sentence: str) -> Tell:
    return _done(
        state=str(SessionState.CLOSED),
        refundAmountSats=sum(sats_down(row.invoiced) for row in rows),
        maxFeeSats=sum(sats_up(row.max_fee) for row in rows),
        refundState=refunds.shown_state(rows),
        message=sentence or "This session is closed.",
    )


def _claimed(case: Case, session: SessionRecord, fact: SessionCloseAsked, policy: Policy) -> Decision:
    """Something is held of a closed session, and its owner sent a BOLT11 for it, or only looks."""
    paid_to = next((row for row in case.payouts if _goes_to(row, fact)), None)
    if paid_to is not None:  # whoever did not hear the answer asks once more, and must not send another invoice
        return Decision(tells=(_told((paid_to,), "That invoice was taken before: it is paid once."),))
    held = [row for row in case.payouts if row.state in refunds.CLAIMABLE]
    if fact.bolt11 is None:
        return _sent_to_address(case, session, held, fact)
    row = next((row for row in held if claimable(row.amount, policy) == fact.amount), None)
    if row is None or fact.amount is None:
        return Decision(tells=(Tell(_nothing_of_that_sum(case, held, policy), _NOWHERE),))
    refusal = payouts.why_not_payable(case, fact, fact.amount, policy)
    if refusal is None and not refunds.reserve_is_there(case, row, policy):
        refusal = refunds.no_reserve(row)
    if refusal is not None:
        return Decision(tells=(Tell(refusal, _NOWHERE),))
    sent = payouts.sent_again(dataclasses.replace(row, target=None, due_at=None), fact, fact.amount)
    return dataclasses.replace(
        sent, tells=(_told(sent.refunds, f"The rest of session {session.id[:8]} is sent."),)
    )


def _goes_to(row: RefundRecord, fact: SessionCloseAsked) -> bool:
    """Whether a refund was sent to this very invoice, or is on its way there."""
    is_paid = row.state in refunds.IN_FLIGHT or row.state is RefundState.SENT
    return is_paid and fact.payment_hash is not None and row.payment_hash == fact.payment_hash


def _sent_to_address(
    case: Case, session: SessionRecord, held: list[RefundRecord], fact: SessionCloseAsked
) -> Decision:
    """The owner of a closed session only looks, or names an address after all: what is held goes there."""
    told = _told(case.payouts, "This session is closed.")
    if fact.refund_to is None:
        return Decision(tells=(told,))
    named = [
        dataclasses.replace(row, target=fact.refund_to, updated_at=fact.at)
        for row in held
        if row.state is RefundState.HELD and row.kept_for_way
    ]
    return Decision(
        session=dataclasses.replace(session, refund_to=fact.refund_to),
        refunds=tuple(named),
        actions=tuple(Do(ask(row)) for row in named),
        tells=(told,),
    )


def _nothing_of_that_sum(case: Case, held: list[RefundRecord], policy: Policy) -> Refused:
    if held:
        sums = " or ".join(dict.fromkeys(str(sats_down(claimable(row.amount, policy))) for row in held))
        return Refused(code="wrong_amount", sentence=f"Send an invoice for exactly {sums} sats.")
    if any(row.state in refunds.IN_FLIGHT for row in case.payouts):
        return Refused(
            code="already_sending", sentence="The rest of this session is on its way: wait for its result."
        )
    return Refused(code="nothing_owed", sentence="Nothing is held of this session: all of it was sent or used.")


def _session(case: Case) -> SessionRecord:
    if case.session is None:
        raise LookupError("this fact is about a session that the ledger does not know")
    return case.session
