"""The one way in: load, decide, commit. Everything that happens to a job comes through :meth:`Engine.handle`.

The ledger calls back inside its writing transaction: the books around the fact are loaded there, the pure core
decides on them, and what follows is written with the fact. Messages are turned into signed events by the job's
door at that very commit, so what is said is on disk before it is said, and a repeat says the same bytes.
"""

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from ledger import accounts
from ledger.money import ZERO, Msats
from ledger.records import (
    Applied,
    Change,
    FactRecord,
    IdentityRecord,
    JobRecord,
    NewAction,
    NewEvent,
    Outcome,
    RefundRecord,
    Replayed,
    Short,
    Stale,
    Turn,
)
from ledger.store import Store, StoreUnavailable, View
from timmy_dvm import credit_books
from timmy_dvm.core import thread, trust
from timmy_dvm.core.actions import Message
from timmy_dvm.core.case import MAX_CLAIMS, Case, Decision, Do, Tell
from timmy_dvm.core.credit_facts import TopUpAsked
from timmy_dvm.core.decide import decide
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
)
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.refunds import meant
from timmy_dvm.log import get_logger

_TRIES = 20
_LONGEST_PAUSE_S = 15
SHORT_ID = 8
"""Of a job's id a log shows this much: whole, it is its owner's secret. `timmy job` takes it."""
_DAY = 86_400
_LONG_HEX = re.compile(r"[0-9a-f]{16,}")
_NOT_IN_RECEIPT = frozenset({"text", "origin", "btc", "at", "reason", "sentence", "refund_to"})
"""Receipts are kept for ever, and a customer may have their texts forgotten."""
_encode = msgspec.json.Encoder().encode
log = get_logger("engine")


class Contended(Exception):
    """The same rows moved under us again and again. Nothing was changed; the fact may be handed in again."""


class Speaker(Protocol):
    """A door's voice: turns a message into events, signed and ready to be published."""

    def speak(
        self,
        message: Message,
        *,
        origin: str,
        job_id: str | None,
        tier: trust.Tier,
        at: int,
        absorbed_sats: int | None = None,
    ) -> Sequence[NewEvent]:
        """The events that say it, in the order in which to publish them. Pure but for the signing key.

        ``absorbed_sats`` is what the pool pays of the job, None where it is not of the free tier.
        """
        ...


def short(text: str) -> str:
    """A fact's id, or any text with ids in it, as a log may show it: of each long hex the first 8 digits."""
    return _LONG_HEX.sub(lambda found: found[0][:SHORT_ID], text)


async def insist(engine: "Engine", sleep: Callable[[float], Awaitable[None]], fact: Fact, done: int) -> None:
    """Hand in an outcome that must not be lost, as often as it takes: the ledger may be away for a while.

    What was done outside can't be done again, so its fact waits here until it is written; a process that dies
    meanwhile finds the action in the outbox, begun.
    """
    pause = 0.5
    while True:
        try:
            await engine.handle(fact, done=done)
        except (StoreUnavailable, Contended) as error:
            log.warning(
                "an outcome waits for the ledger", action="outcome_waits", fact=short(fact.id), error=str(error)
            )
            await sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        else:
            return


class Engine:
    """Hands facts to the core and the core's decisions to the ledger.

    Args:
        store: the ledger.
        policy: what the operator decided.
        speaker: how decisions are told; a job of a door without events is told by its state alone.
    """

    def __init__(self, store: Store, policy: Policy, speaker: Speaker) -> None:
        self._store = store
        self._policy = policy
        self._speaker = speaker
        self._listeners: list[Callable[[Applied], None]] = []
        self._applying: set[asyncio.Future[Applied | Replayed]] = set()

    def listen(self, listener: Callable[[Applied], None]) -> None:
        """Call ``listener`` with what was written, after each commit: so dispatch and the timers learn of work."""
        self._listeners.append(listener)

    async def handle(self, fact: Fact, *, done: int | None = None) -> Applied | Replayed:
        """Apply one fact. Safe to repeat: a fact is applied once for ever.

        Args:
            fact: what happened.
            done: the outbox row whose outcome this fact is; it is finished with the commit.

        Raises:
            StoreUnavailable: nothing was written.
            Contended: nothing was written, after many tries.
        """
        # In a task of its own: a caller that is cancelled while its commit is being written must not keep the
        # dispatcher and the timers from hearing of it.
        applying = asyncio.ensure_future(self._apply(fact, done))
        self._applying.add(applying)
        applying.add_done_callback(self._applying.discard)
        return await asyncio.shield(applying)

    async def _apply(self, fact: Fact, done: int | None) -> Applied | Replayed:
        receipt = FactRecord(
            id=fact.id,
            kind=type(fact).__name__,
            job_id=fact.job_id,
            at=fact.at,
            body=_receipt(fact),
            done=done,
        )
        for _ in range(_TRIES):
            outcome: Outcome = await self._store.commit(receipt, lambda view: self._change(view, fact))
            match outcome:
                case Applied():
                    _log(fact, outcome)
                    for listener in self._listeners:
                        listener(outcome)
                    return outcome
                case Replayed():
                    return outcome
                case Stale() | Short():
                    log.info("decided on old rows, deciding again", action="decide_again", fact=short(fact.id))
        raise Contended(f"the rows around {short(fact.id)} moved {_TRIES} times; hand the fact in again")

    def _change(self, view: View, fact: Fact) -> Change:
        case = load(view, fact)
        decision = decide(case, fact, self._policy)
        return Change(
            new_job=decision.new_job,
            job=decision.job,
            result=decision.result,
            identity=decision.identity,
            reservation=decision.reservation,
            entries=decision.entries,
            reservation_end=decision.reservation_end,
            invoices=decision.invoices,
            topups=decision.topups,
            refunds=decision.refunds,
            actions=tuple(_outbox_row(do, _job_id(case, decision)) for do in decision.actions),
            events=tuple(self._events(view, case, decision, fact)),
            forget=decision.forget,
        )

    def _events(self, view: View, case: Case, decision: Decision, fact: Fact) -> Sequence[NewEvent]:
        if not decision.tells:
            return ()
        job_id = _job_id(case, decision)
        tier = _tier(decision.identity or case.identity, case, fact, self._policy.trust)
        events: list[NewEvent] = []
        for tell in decision.tells:
            events += self._speaker.speak(
                tell.message,
                origin=_origin(view, decision, tell, job_id),
                job_id=job_id,
                tier=tier,
                at=fact.at,
                absorbed_sats=_absorbed(case, decision, tell),
            )
        return events


def _log(fact: Fact, applied: Applied) -> None:
    """One line for each step of a job or a top-up; what was said and who said it stays in the ledger."""
    if applied.job is not None:
        kind = type(fact).__name__
        log.info(kind, action="job_moved", job=applied.job.id[:SHORT_ID], state=str(applied.job.state))
    for topup in applied.change.topups:
        waits = topup.ended_at is None
        log.info(type(fact).__name__, action="topup_moved", topup=topup.id[:SHORT_ID], waits=waits)


def _job_id(case: Case, decision: Decision) -> str | None:
    if decision.new_job is not None:
        return decision.new_job.id
    return None if case.job is None else case.job.id


def _tier(identity: IdentityRecord | None, case: Case, fact: Fact, rules: trust.TrustRules) -> trust.Tier:
    """The tier shown to whoever asks. Events have a key, so the lowest is ``new``; a stranger learns nothing."""
    stranger = isinstance(fact, RefundClaimed) and case.job is not None and case.job.pubkey != fact.pubkey
    return trust.Tier.NEW if identity is None or stranger else trust.tier(identity, fact.at, rules)


def _origin(view: View, decision: Decision, tell: Tell, job_id: str | None) -> str:
    """Whom a message answers: the asking event where it says so, else the job's own request."""
    if tell.origin is not None:
        return tell.origin
    if decision.new_job is not None:
        return decision.new_job.origin
    return "" if job_id is None else view.texts(job_id).origin


def _absorbed(case: Case, decision: Decision, tell: Tell) -> int | None:
    """What the pool pays of the job a message answers; None where it pays nothing, or no job is answered."""
    job = decision.new_job or decision.job or case.job
    return job.absorbed_sats if tell.origin is None and job is not None and job.free_tier else None


def _outbox_row(do: Do, job_id: str | None) -> NewAction:
    kind = type(do.action).__name__
    return NewAction(kind=kind, job_id=job_id, body=_encode(do.action).decode(), due_at=do.due_at)


def _receipt(fact: Fact) -> str:
    """The fact as JSON without its long or foreign texts, and its time, which have their own place."""
    fields = {name: getattr(fact, name) for name in type(fact).__dataclass_fields__ if name not in _NOT_IN_RECEIPT}
    return _encode(fields).decode()


def load(view: View, fact: Fact) -> Case:
    """The books around a fact, as the writing transaction sees them; only what this fact's decision needs."""
    if (case := credit_books.load(view, fact)) is not None:
        return case
    match fact:
        case RequestReceived() | TopUpAsked():
            return _around_request(view, fact)
        case RequestUnreadable() | MentionHeard():
            return Case()
        case QuestionAsked():
            return _around_question(view, fact)
        case CancelAsked():
            job = view.job_of_event(fact.request_event_id)
            waits = job is not None and view.run_waits(job.id)
            return dataclasses.replace(_around_job(view, job), run_waits=waits)
        case PaymentSeen() | InvoiceUnpaid():
            return _around_invoice(view, fact.payment_hash, fact.at)
        case EvalDone():
            return _with_pool(view, _around_job(view, view.job(fact.job_id)), fact.at)
        case RefundClaimed():
            return _around_claim(view, fact)
        case RefundDue() | PaymentOut():
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
    if fact.op is Op.ESTIMATE:
        case = dataclasses.replace(credit_books.around_key(view, fact.pubkey), turns=_turns(view, fact))
        return _pool_for(view, case, fact.pubkey, fact.at)
    if fact.op is not Op.BALANCE:
        return credit_books.around_key(view, fact.pubkey)
    claims = tuple(view.open_refunds_of(fact.pubkey, MAX_CLAIMS + 1))
    return dataclasses.replace(credit_books.around_balance(view, fact.pubkey), claims=claims)


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
    return Case(
        job=job,
        held=view.balance(accounts.job(job.id)),
        reserved=view.balance(accounts.reserved(job.id)),
        credit=ZERO if job.pubkey is None else view.balance(accounts.customer(job.pubkey)),
        identity=None if job.pubkey is None else view.identity(job.pubkey),
        open_invoice=view.open_invoice_of(job.id),
        refunds=tuple(view.refunds_of(job.id)),
    )


def _around_claim(view: View, fact: RefundClaimed) -> Case:
    claims: tuple[tuple[str | None, RefundRecord], ...] = ()
    if fact.request_event_id is None:
        claims = tuple(view.open_refunds_of(fact.pubkey, MAX_CLAIMS + 1))
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


def _around_refund(view: View, fact: RefundDue | PaymentOut) -> Case:
    refund = view.refund(fact.refund_id)
    if refund is None:
        return Case()
    job = None if refund.job_id is None else view.job(refund.job_id)
    case = dataclasses.replace(_around_job(view, job), refund=refund)
    if isinstance(fact, PaymentOut):
        return case
    return dataclasses.replace(case, ours=_ours(view), fees_today=_fees_today(view, fact.at))


def _ours(view: View) -> Msats:
    """What our books say is in the wallet beyond all that is payable and all fees that may still be spent."""
    in_wallet = accounts.as_shown(accounts.NODE, view.balance(accounts.NODE))
    return Msats(in_wallet - view.payable() - view.fee_caps_in_flight())


def _fees_today(view: View, at: int) -> Msats:
    """What refunds have cost us since midnight UTC, and may still cost us."""
    return Msats(view.refund_fees_since(at - at % _DAY) + view.fee_caps_in_flight())
