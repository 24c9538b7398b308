"""A request becomes a job, and a job gets its money: prices, refusals and the one funding rule. Pure.

A step starts when the customer's share of it is in the job's account; if it is not, Timmy asks for exactly what
is missing. The pool makes the share smaller, credit goes in first, an invoice asks the rest.
"""

import dataclasses
import hashlib
from dataclasses import dataclass

from ledger import accounts
from ledger.entries import Code, Entry, transfer
from ledger.money import MSATS_PER_SAT, ZERO, Msats, msats_from_sats, sats_down, sats_up
from ledger.records import (
    Door,
    InvoiceRecord,
    InvoiceState,
    JobRecord,
    JobState,
    Mode,
    NewJob,
    Quote,
)
from timmy_dvm.core import free_tier, refusing, reserving, spending, trust
from timmy_dvm.core.actions import CheckInvoice, CreateInvoice, PriceTold, RefundMoved, Refused, RunAgent, Working
from timmy_dvm.core.case import IGNORED, Case, Decision, Do, Tell
from timmy_dvm.core.facts import (
    CancelAsked,
    InvoiceMade,
    InvoiceNotMade,
    InvoiceUnpaid,
    PaymentSeen,
    QuestionAsked,
    RequestReceived,
    Step,
)
from timmy_dvm.core.giving_back import give_back
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import PriceBreakdown, estimate_request_cost
from timmy_dvm.core.settling import Settled, decision, settle
from timmy_dvm.core.transitions import AWAITING, ENDED, RUNNING, UNSERVED, job_moves

WALLET_AWAY = (
    "Our Lightning wallet can't be reached, so no invoice could be made. Please ask again in a few minutes."
)


@dataclass(frozen=True, slots=True)
class Funding:
    """Where a step's money comes from: ``from_credit`` moves now, an invoice asks ``missing``, in whole sats."""

    from_credit: Msats
    missing: Msats


def fund(need: Msats, held: Msats, credit: Msats) -> Funding:
    """Cover ``need`` in a job's account that has ``held``, from ``credit`` first."""
    lacking = max(0, need - held)
    from_credit = min(lacking, credit)
    if from_credit < lacking:
        # An invoice asks whole sats: what credit can't cover in whole sats stays credit.
        from_credit -= from_credit % MSATS_PER_SAT
    return Funding(Msats(from_credit), msats_from_sats(sats_up(Msats(lacking - from_credit))))


def needed_for_eval(mode: Mode, share_eval: Msats, share_work: Msats) -> Msats:
    """What must be in the account before eval: with one invoice for both steps, all of it."""
    return Msats(share_eval + share_work) if mode is Mode.ONCE else share_eval


def needed(job: JobRecord) -> Msats:
    """What must be in the account before the step the job waits for."""
    if job.state is JobState.AWAITING_EVAL_PAYMENT:
        return needed_for_eval(job.mode, job.share_eval, job.share_work)
    return Msats(job.share_eval + job.share_work)


def asked(case: Case, fact: RequestReceived, policy: Policy) -> Decision:
    """A request came in: refuse it, make a job that waits for money, or one that starts at once."""
    refusal = refusing.before_pricing(case, fact, policy)
    if refusal is not None:
        return _refused(refusal, case, fact)
    quote = quote_of(price(case, fact, policy))
    stands = reserving.standing(case, fact.pubkey, fact.at, policy)
    terms = free_tier.terms(stands, quote.eval_fee, quote.work_fee, fact.door, fact.mode)
    # With an invoice for each step the pool is asked for its part when eval has passed.
    share_work = terms.share_work if fact.mode is Mode.ONCE else quote.work_fee
    funding = fund(needed_for_eval(fact.mode, terms.share_eval, share_work), ZERO, case.credit)
    due_now = fund(terms.due, ZERO, case.credit).missing
    if fact.bid is not None and fact.bid < due_now:
        return _refused(refusing.underbid(due_now), case, fact)
    if funding.missing and (refusal := spending.refused(case, policy) or refusing.to_wait(case, policy)):
        return _refused(refusal, case, fact)
    decision = new_job(case, fact, quote, (terms.share_eval, share_work), funding, policy)
    return decision if funding.missing else reserving.starts(case, decision, fact.at, policy)


def _refused(refusal: Refused, case: Case, fact: RequestReceived) -> Decision:
    """No job; and no word to somebody who did not ask us in particular. A key that has paid hears it at once."""
    told_at = None if refusing.has_paid(case) else fact.refusal_at
    return Decision(tells=(Tell(refusal, fact.origin, told_at),)) if fact.addressed else IGNORED


def price(case: Case, fact: RequestReceived | QuestionAsked, policy: Policy) -> PriceBreakdown:
    """What a text costs with all that was said before it, whether it is asked for or only asked about."""
    return estimate_request_cost(
        fact.text,
        fact.model if fact.model in policy.work_models else policy.work_models[0],
        policy.prices,
        fact.btc,
        max_tokens=fact.max_tokens,
        turns=case.turns,
    )


def quote_of(price: PriceBreakdown) -> Quote:
    """A price, locked."""
    return Quote(
        eval_fee=msats_from_sats(price.eval_fee_sats),
        work_fee=msats_from_sats(price.work_fee_sats),
        estimated_cost=price.total_micro_usd,
        margin_percent=price.margin_percent,
        btc_price_micro_usd=price.btc.micro_usd,
        btc_price_source=price.btc.told_by,
        work_model=price.model,
        max_output_tokens=price.max_output_tokens,
    )


def new_job(
    case: Case, fact: RequestReceived, quote: Quote, shares: tuple[Msats, Msats], funding: Funding, policy: Policy
) -> Decision:
    """A job of a request that was priced: covered it starts at once, else an invoice asks what is missing."""
    covered = not funding.missing
    share_eval, share_work = shares
    job = NewJob(
        id=fact.job_id,
        state=JobState.EVALUATING if covered else JobState.AWAITING_EVAL_PAYMENT,
        door=fact.door,
        mode=fact.mode,
        event_id=fact.event_id,
        pubkey=fact.pubkey,
        request=fact.text.strip(),
        origin=fact.origin,
        follows=fact.follows,
        session_id=fact.session_id,
        quote=quote,
        share_eval=share_eval,
        share_work=share_work,
        credit_used=funding.from_credit,
        refund_to=fact.refund_to,
        free_tier=bool(free_tier.offered(quote, share_eval, share_work)),
        asked_at=fact.asked_at,
        created_at=fact.at,
        paid_at=fact.at if covered else None,
        due_at=fact.at + policy.paid_to_end_s if covered else None,
        eval_runs=1 if covered else 0,
    )
    if covered:
        action = Do(RunAgent(job_id=job.id, step=Step.EVAL, run=1))
        covered_by = "credit" if funding.from_credit else "pool"
        tells: tuple[Tell, ...] = (Tell(Working(covered_by=covered_by, credit=funding.from_credit)),)
    else:
        life = policy.invoice_s(fact.door) if fact.expires_at is None else fact.expires_at - fact.at
        action = Do(_invoice(job.id, job.door, "asked", funding.missing, fact.at, policy, life))
        tells = ()
    return Decision(
        new_job=job,
        identity=trust.met(case.identity, fact.pubkey, fact.at) if fact.pubkey else None,
        entries=_use_credit(job, Step.EVAL, funding.from_credit),
        actions=(action,),
        tells=tells,
    )


def _use_credit(job: NewJob | JobRecord, step: Step, amount: Msats) -> tuple[Entry, ...]:
    credit = accounts.credit(job.session_id, job.pubkey)
    if not amount or credit is None:
        return ()
    return (transfer(f"credit_used:{job.id}:{step}", Code.CREDIT_USED, credit, accounts.job(job.id), amount),)


def _invoice(
    job_id: str, door: Door, what: str, amount: Msats, at: int, policy: Policy, life_s: int | None = None
) -> CreateInvoice:
    return CreateInvoice(
        job_id=job_id,
        key=hashlib.sha256(f"invoice:{job_id}:{what}".encode()).hexdigest()[:32],  # a job's id is a secret
        amount=amount,
        memo=f"Timmy {job_id[:8]}",
        expiry_s=min(policy.invoice_s(door), life_s or policy.invoice_s(door)),
        give_up_at=at + policy.invoice_patience_s,
    )


def invoice_made(case: Case, fact: InvoiceMade, policy: Policy) -> Decision:
    """The invoice is on disk; now, and not before, the customer is told of it."""
    job = _job(case)
    row = InvoiceRecord(
        payment_hash=fact.payment_hash,
        account=accounts.job(job.id),
        job_id=job.id,
        amount=fact.amount,
        bolt11=fact.bolt11,
        created_at=fact.created_at,
        expires_at=fact.expires_at,
    )
    if job.state not in AWAITING:
        # Cancelled meanwhile. Nobody was shown this invoice, but what we made we watch to its end.
        return Decision(invoices=(row,), actions=(_last_look(row, policy),))
    waiting = dataclasses.replace(job, due_at=fact.expires_at + policy.check_after_s)
    told = PriceTold(
        amount=fact.amount,
        credit=job.credit_used,
        offered=free_tier.offered(job.quote, job.share_eval, job.share_work),
        bolt11=fact.bolt11,
        payment_hash=fact.payment_hash,
        expires_at=fact.expires_at,
    )
    return Decision(job=waiting, invoices=(row,), tells=(Tell(told),))


def invoice_not_made(case: Case, fact: InvoiceNotMade, policy: Policy) -> Decision:
    """Our wallet was away for longer than a customer waits. The job is dropped and what it held goes back."""
    job = _job(case)
    if job.state not in AWAITING:
        return IGNORED
    dropped = dataclasses.replace(job, error_message="no invoice could be made")
    settled = settle(case, dropped, JobState.CANCELLED, ZERO, fact.at, policy)
    words = " ".join(filter(None, (WALLET_AWAY, settled.back.sentence)))
    return decision(settled, Tell(Refused(code="wallet_away", sentence=words)))


def paid(case: Case, fact: PaymentSeen, policy: Policy) -> Decision:
    """Our own wallet's record says that an invoice is settled. Whatever came in is booked, in any state."""
    invoice = case.invoice
    if invoice is None or invoice.state is InvoiceState.SETTLED:
        return IGNORED
    received = invoice.amount if fact.received is None else fact.received
    row = dataclasses.replace(invoice, state=InvoiceState.SETTLED, received=received)
    booked: tuple[Entry, ...] = ()
    if received:
        entry_id = f"settled:{fact.payment_hash}"
        booked = (transfer(entry_id, Code.SETTLED, accounts.NODE, invoice.account, received),)
    then = IGNORED
    if case.job is not None:
        # Settled for nothing (a wallet may keep all of it) goes the same way: what is missing is asked again.
        now_held = dataclasses.replace(case, held=Msats(case.held + received))
        then = _money_came(now_held, case.job, fact, policy)
    return dataclasses.replace(then, invoices=(row,), entries=(*booked, *then.entries))


def _money_came(case: Case, job: JobRecord, fact: PaymentSeen, policy: Policy) -> Decision:
    """The job's account holds more than before: start the step it waits for, ask the rest, or give it back."""
    if job.state in ENDED:
        back = give_back(
            job,
            case.held,
            from_credit=ZERO,
            reason="late" if job.state in UNSERVED else "twice",
            cause=fact.payment_hash,
            at=fact.at,
            policy=policy,
        )
        why = "Your payment came after this request had ended."
        told = Refused(code="late_payment", sentence=f"{why} {back.sentence}".strip())
        return Decision(refunds=back.refunds, entries=back.entries, actions=back.actions, tells=(Tell(told),))
    if job.state in RUNNING:
        return IGNORED  # it stays in the job's account, and the job's end gives it back
    missing = fund(needed(job), case.held, ZERO).missing
    if missing:
        again = _invoice(job.id, job.door, f"rest-{fact.payment_hash[:16]}", missing, fact.at, policy)
        return Decision(job=dataclasses.replace(job, due_at=None), actions=(Do(again),))
    started = start_step(job, fact.at, Working(covered_by="invoice", credit=ZERO), policy)
    return reserving.starts(case, started, fact.at, policy)


def start_step(job: JobRecord, at: int, told: Working, policy: Policy) -> Decision:
    """The step the job waits for is covered: it starts."""
    waits_for_eval = job.state is JobState.AWAITING_EVAL_PAYMENT
    step = Step.EVAL if waits_for_eval else Step.WORK
    state = JobState.EVALUATING if waits_for_eval else JobState.EXECUTING
    started = dataclasses.replace(
        job,
        state=job_moves(job.state, state),
        paid_at=at,
        due_at=at + policy.paid_to_end_s,
        eval_runs=1 if waits_for_eval else job.eval_runs,
        work_runs=0 if waits_for_eval else 1,
    )
    action = RunAgent(job_id=job.id, step=step, run=1)
    return Decision(job=started, actions=(Do(action),), tells=(Tell(told),))


def ask_for_work(case: Case, job: JobRecord, at: int, policy: Policy) -> Decision:
    """Eval passed: work starts if its money is there, else the customer is asked for exactly what is missing."""
    if job.mode is Mode.STEPS:
        job = _offered_work(case, job, at, policy)
    # What a session's request may need was taken before eval: nothing is asked for any more.
    need = Msats(job.share_eval + job.share_work) if job.session_id is None else case.held
    funding = fund(need, case.held, case.credit)
    entries = _use_credit(job, Step.WORK, funding.from_credit)
    credited = dataclasses.replace(job, credit_used=Msats(job.credit_used + funding.from_credit))
    if funding.missing:
        waiting = dataclasses.replace(
            credited, state=job_moves(job.state, JobState.AWAITING_WORK_PAYMENT), due_at=None
        )
        action = Do(_invoice(job.id, job.door, "work", funding.missing, at, policy))
        return Decision(job=waiting, entries=entries, actions=(action,))
    started = dataclasses.replace(credited, state=job_moves(job.state, JobState.EXECUTING), work_runs=1)
    action = Do(RunAgent(job_id=job.id, step=Step.WORK, run=1))
    decision = Decision(job=started, entries=entries, actions=(action,))
    return reserving.starts(case, decision, at, policy) if job.mode is Mode.STEPS else decision


def _offered_work(case: Case, job: JobRecord, at: int, policy: Policy) -> JobRecord:
    """The job with the customer's share of the work as it is fixed now: less what the pool offers."""
    stands = reserving.standing(case, job.pubkey, at, policy)
    terms = free_tier.terms(stands, job.quote.eval_fee, job.quote.work_fee, job.door, job.mode)
    return dataclasses.replace(job, share_work=terms.share_work, free_tier=bool(terms.offer.absorb))


def unpaid(case: Case, fact: InvoiceUnpaid, policy: Policy) -> Decision:
    """Our wallet's record, a minute after the expiry, says unpaid: the job expires.

    Nobody is told, unless a part was paid: whose money it is hears where it went.
    """
    invoice = case.invoice
    if invoice is None or invoice.state is not InvoiceState.OPEN:
        return IGNORED
    row = dataclasses.replace(invoice, state=InvoiceState.EXPIRED)
    job = case.job
    still_asked = case.open_invoice is not None and case.open_invoice.payment_hash == fact.payment_hash
    if job is None or job.state not in AWAITING or not still_asked:
        return Decision(invoices=(row,))
    settled = settle(case, job, JobState.EXPIRED, ZERO, fact.at, policy)
    tells = (Tell(_went_back(settled)),) if settled.back.refunds else ()
    return dataclasses.replace(decision(settled, *tells), invoices=(row,))


def _went_back(settled: Settled) -> RefundMoved:
    """What an expired job held is on its way back; the last of its refunds stands for all in the tag."""
    last = settled.back.refunds[-1]
    sentence = f"This request expired before it was paid in full. {settled.back.sentence}"
    return RefundMoved(state=last.state, sats=sats_down(last.amount), status=settled.job.state, sentence=sentence)


def check(case: Case) -> Decision:
    """The time of the job's invoice is over: its record is read once more before anything is decided."""
    job = _job(case)
    if case.open_invoice is None:
        return IGNORED
    look = CheckInvoice(job_id=job.id, payment_hash=case.open_invoice.payment_hash)
    return Decision(job=dataclasses.replace(job, due_at=None), actions=(Do(look),))


def cancelled(case: Case, fact: CancelAsked, policy: Policy) -> Decision:
    """The customer takes the request back. Unpaid it is gone, paid it is refunded; once the first run began it
    finishes. A run's beginning is on disk before the model is called, and what is decided here is written in the
    transaction that saw it: of a run and a cancellation that come at once, one is first, and both know which.
    """
    job = case.job
    if job is None or job.pubkey != fact.pubkey or job.state in ENDED:
        return IGNORED
    is_first_run = job.state is JobState.EVALUATING and job.eval_runs == 1
    if job.state in RUNNING and not (is_first_run and case.run_waits):
        # Not an error: many clients give a job up when they hear one, and this one goes on.
        return Decision(tells=(Tell(Working(covered_by="begun", credit=ZERO)),))
    settled = settle(case, job, JobState.CANCELLED, ZERO, fact.at, policy)
    tells: tuple[Tell, ...] = ()
    if settled.back.sentence:
        tells = (Tell(Refused(code="cancelled", sentence=f"Cancelled. {settled.back.sentence}")),)
    looks = () if case.open_invoice is None else (_last_look(case.open_invoice, policy),)
    ended = decision(settled, *tells)
    return dataclasses.replace(ended, actions=(*ended.actions, *looks))


def _last_look(invoice: InvoiceRecord, policy: Policy) -> Do:
    """Read our wallet's record of an invoice once more after its expiry; until then it may still be paid."""
    look = CheckInvoice(job_id=invoice.job_id or "", payment_hash=invoice.payment_hash)
    return Do(look, invoice.expires_at + policy.check_after_s)


def _job(case: Case) -> JobRecord:
    if case.job is None:
        raise LookupError("this fact is about a job that the ledger does not know")
    return case.job
