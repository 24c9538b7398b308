"""The books around a fact, as the ledger's writing transaction sees them; only what the fact's decision needs."""

import dataclasses

from ledger import accounts
from ledger.money import ZERO, Msats
from ledger.records import (
    JobRecord,
    RefundRecord,
    Turn,
)
from ledger.store import View
from timmy_dvm import bootstrap_books, bound_books, credit_books, session_books
from timmy_dvm.core import thread, trust
from timmy_dvm.core.case import MAX_CLAIMS, Case
from timmy_dvm.core.claiming import meant
from timmy_dvm.core.credit_facts import TopUpAsked
from timmy_dvm.core.facts import (
    CancelAsked,
    EvalDone,
    Fact,
    InvoiceUnpaid,
    MentionHeard,
    Op,
    PaymentOut,
    PaymentSeen,
    QuestionAsked,
    RefundClaimed,
    RefundDue,
    RequestReceived,
    RequestUnreadable,
    WorkDone,
)
from timmy_dvm.core.operator_facts import StatusTold
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.refund_facts import CreditWished, RefundInvoiced, RefundNotInvoiced, RefundWithdrawn

_DAY = 86_400


def load(view: View, fact: Fact, policy: Policy) -> Case:
    """What the core is to decide on."""
    return bound_books.bounded(view, _unbounded(view, fact), fact, policy)


def _unbounded(view: View, fact: Fact) -> Case:
    if isinstance(fact, RequestReceived) and fact.session_id is not None:
        case = session_books.around(view, fact.session_id)
        pubkey = None if case.session is None else case.session.pubkey
        return case if pubkey is None else _pool_for(view, case, pubkey, fact.at)
    return (
        credit_books.load(view, fact)
        or session_books.load(view, fact)
        or bootstrap_books.load(view, fact)
        or _load(view, fact)
    )


def _load(view: View, fact: Fact) -> Case:
    match fact:
        case RequestReceived() | TopUpAsked():
            return _around_request(view, fact)
        case RequestUnreadable() | MentionHeard() | StatusTold():
            return Case()
        case QuestionAsked():
            return _around_question(view, fact)
        case CancelAsked():
            job = view.job_of_event(fact.request_event_id)
            waits = job is not None and view.run_waits(job.id)
            return dataclasses.replace(_around_job(view, job), run_waits=waits)
        case PaymentSeen() | InvoiceUnpaid():
            return _around_invoice(view, fact.payment_hash, fact.at)
        case EvalDone() | WorkDone():
            return _with_pool(view, _around_job(view, view.job(fact.job_id)), fact.at)
        case RefundClaimed() | CreditWished():
            return _around_claim(view, fact)
        case RefundDue() | PaymentOut() | RefundInvoiced() | RefundNotInvoiced() | RefundWithdrawn():
            return _around_refund(view, fact)
        case _:
            return _around_job(view, view.job(fact.job_id or ""))


def _around_request(view: View, fact: RequestReceived | TopUpAsked) -> Case:
    open_invoices = view.open_invoices()
    if fact.pubkey is None:
        return Case(open_invoices=open_invoices)
    case = Case(
        credit=view.balance(accounts.customer(fact.pubkey)),
        identity=view.identity(fact.pubkey),
        turns=_turns(view, fact) if isinstance(fact, RequestReceived) else (),
        open_jobs=view.open_jobs_of(fact.pubkey),
        jobs_last_minute=view.jobs_since(fact.pubkey, fact.at - 60),
        cancelled_last_hour=view.cancelled_since(fact.pubkey, fact.at - 3_600),
        open_invoices=open_invoices,
    )
    return _pool_for(view, case, fact.pubkey, fact.at)


def _around_question(view: View, fact: QuestionAsked) -> Case:
    if fact.pubkey is None:
        return Case(pool=view.balance(accounts.POOL))
    if fact.op is Op.BALANCE:
        claims = tuple(view.open_refunds_of(fact.pubkey, MAX_CLAIMS + 1))
        return dataclasses.replace(credit_books.around_balance(view, fact.pubkey), claims=claims)
    case = dataclasses.replace(
        credit_books.around_key(view, fact.pubkey),
        raised=view.last_paid_success(fact.pubkey),
        lowered=view.last_trouble(fact.pubkey),
    )
    if fact.op is Op.ME:
        return case
    return _pool_for(view, dataclasses.replace(case, turns=_turns(view, fact)), fact.pubkey, fact.at)


def _pool_for(view: View, case: Case, pubkey: str, at: int) -> Case:
    """The pool as it stands for a key, for an offer."""
    return dataclasses.replace(
        case,
        pool=view.balance(accounts.POOL),
        reserved_of_key=view.reserved_of(pubkey),
        offered_to_key=view.offered_to(pubkey),
        drew_before=view.drew_before(pubkey),
        newcomers_today=view.drawn_by_tier(trust.Tier.NEW, at - at % _DAY),
    )


def _with_pool(view: View, case: Case, at: int) -> Case:
    """As :func:`_pool_for`, for the key of a job that may start now."""
    return case if case.job is None or case.job.pubkey is None else _pool_for(view, case, case.job.pubkey, at)


def _around_invoice(view: View, payment_hash: str, at: int) -> Case:
    invoice = view.invoice(payment_hash)
    if invoice is None:
        return Case()
    job = None if invoice.job_id is None else view.job(invoice.job_id)
    return dataclasses.replace(_with_pool(view, _around_job(view, job), at), invoice=invoice)


def _turns(view: View, fact: RequestReceived | QuestionAsked) -> tuple[Turn, ...]:
    """What was said before, to this very key; nothing where the job it would follow has no answer any more."""
    job = None if fact.follows is None else view.job(fact.follows)
    if job is None or job.pubkey is None or job.pubkey != fact.pubkey or not view.texts(job.id).result:
        return ()
    return thread.bounded(view.thread(job.id, thread.MAX_TURNS))


def _around_job(view: View, job: JobRecord | None) -> Case:
    if job is None:
        return Case()
    credit = accounts.credit(job.session_id, job.pubkey)
    return Case(
        job=job,
        session=None if job.session_id is None else view.session(job.session_id),
        held=view.balance(accounts.job(job.id)),
        reserved=view.balance(accounts.reserved(job.id)),
        credit=ZERO if credit is None else view.balance(credit),
        identity=None if job.pubkey is None else view.identity(job.pubkey),
        open_invoice=view.open_invoice_of(job.id),
        refunds=tuple(view.refunds_of(job.id)),
    )


def _around_claim(view: View, fact: RefundClaimed | CreditWished) -> Case:
    if isinstance(fact, CreditWished):
        return _around_job(view, view.job_of_event(fact.request_event_id))
    claims: tuple[tuple[str | None, RefundRecord], ...] = ()
    if fact.job_id is not None:
        job = view.job(fact.job_id)
    elif fact.request_event_id is None:
        claims = () if fact.pubkey is None else tuple(view.open_refunds_of(fact.pubkey, MAX_CLAIMS + 1))
        row = meant(claims, fact)
        job = None if row is None or row.job_id is None else view.job(row.job_id)
    else:
        job = view.job_of_event(fact.request_event_id)
    return dataclasses.replace(
        _around_job(view, job),
        claims=claims,
        ours=_ours(view),
        fees_today=_fees_today(view, fact.at),
        hash_is_ours=view.invoice(fact.payment_hash) is not None,
        hash_is_used=view.payment_is_known(fact.payment_hash),
    )


def _around_refund(
    view: View, fact: RefundDue | PaymentOut | RefundInvoiced | RefundNotInvoiced | RefundWithdrawn
) -> Case:
    refund = view.refund(fact.refund_id)
    if refund is None:
        return Case()
    job = None if refund.job_id is None else view.job(refund.job_id)
    case = dataclasses.replace(_around_job(view, job), refund=refund)
    if refund.bootstrap_id is not None:
        case = dataclasses.replace(case, refunds=tuple(view.refunds_of_bootstrap(refund.bootstrap_id)))
    if isinstance(fact, PaymentOut | RefundNotInvoiced):
        return case
    case = dataclasses.replace(case, ours=_ours(view), fees_today=_fees_today(view, fact.at))
    if isinstance(fact, RefundDue):
        return case
    return dataclasses.replace(
        case,
        hash_is_ours=view.invoice(fact.payment_hash) is not None,
        hash_is_used=view.payment_is_known(fact.payment_hash),
    )


def _ours(view: View) -> Msats:
    """What our books say is in the wallet beyond all that is payable and all fees that may still be spent."""
    in_wallet = accounts.as_shown(accounts.NODE, view.balance(accounts.NODE))
    return Msats(in_wallet - view.payable() - view.fee_caps_in_flight())


def _fees_today(view: View, at: int) -> Msats:
    """What refunds have cost us since midnight UTC, and may still cost us."""
    return Msats(view.refund_fees_since(at - at % _DAY) + view.fee_caps_in_flight())
