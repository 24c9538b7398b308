"""What a decision may look at, and what it may answer. Frozen values.

A ``Case`` is loaded inside the very transaction that will write the ``Decision``, so nothing in it can be out
of date when it counts. Only what the fact at hand needs is filled in.
"""

from dataclasses import dataclass

from ledger.bootstrap import BootstrapRecord
from ledger.credit import TopUpRecord, Unfinished
from ledger.entries import Entry
from ledger.money import ZERO, MicroUsd, Msats
from ledger.records import IdentityRecord, InvoiceRecord, JobRecord, NewJob, RefundRecord, Turn
from ledger.reservations import NewReservation, ReservationEnd
from ledger.sessions import SessionRecord
from timmy_dvm.core.actions import Action, Message
from timmy_dvm.core.trust import Tier

MAX_CLAIMS = 50
"""Refunds that one answer names: as many as fit into one event."""
MAX_TOPUPS = 10
"""Top-ups that one answer names, each with its BOLT11."""
_NOTHING_UNFINISHED = Unfinished()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The books around one fact.

    Attributes:
        job: the job it is about, if there is one.
        held: what is in the job's account, or in that of the order of a node.
        run_waits: whether the run that the job is in waits for a place: nobody has begun it.
        session: the session the fact speaks of, or the job's.
        bootstrap: the order of a node the fact speaks of.
        credit: what the key has as credit; of a session, what is in it.
        reserved: what the pool has set aside for the job.
        pool: what the pool can set aside.
        reserved_of_key: what it has set aside for all jobs of the key.
        offered_to_key: what it offers for jobs of the key that wait for payment, or run in a session.
        drew_before: whether the key was ever granted anything, or something is set aside for it.
        granted_to_key, kept_of_key: what the key was ever granted, and what its jobs left us, where it matters.
        newcomers_today: what new keys were granted since midnight UTC, and what is set aside for them.
        identity: what is known of the key.
        raised, lowered: the newest jobs that raised and lowered its score, where that is asked.
        lifted: the tier that the pool treats the key as at least, where others speak for it.
        invoice: the invoice the fact speaks of.
        open_invoice: the job's invoice that may still be paid.
        refund: the refund the fact speaks of.
        refunds: all refunds of the job, or of the order of a node, oldest first.
        claims: the key's refunds that are on their way or to be claimed, oldest first, each with the event id of
            the request it is of; one more than :data:`MAX_CLAIMS` of them where there are more. Only for
            questions, and claims that name no job.
        turns: what of its thread goes with a request that follows a job of the same key, oldest first; none where
            that job is another's, has no answer, or was forgotten.
        topup: the top-up the fact speaks of.
        topups: the key's top-ups that wait, at most :data:`MAX_TOPUPS`, each with its invoice once that is made;
            of a session, the one at most.
        payouts: the key's credit that is on its way out; of a session, all its refunds.
        unfinished, remembered: what of the key is not over yet, and of how many ended jobs there are texts.
        open_jobs, jobs_last_minute, cancelled_last_hour: jobs and top-ups of this key. ``open_invoices``: of all.
        open_donations: gifts to the pool that wait for payment, of all; they are counted nowhere else.
        ours: what is in the wallet by our books beyond all that is payable and the fee caps of refunds in flight;
            may be negative.
        fees_today: what refunds have cost us since midnight UTC, and the caps of those in flight, which they may.
        model_cost_today: what the model cost since midnight UTC, in micro-USD, where the operator bounds that.
        hash_is_ours, hash_is_used: whether a claim's payment hash is one of our invoices, or was paid before.
    """

    job: JobRecord | None = None
    held: Msats = ZERO
    run_waits: bool = False
    session: SessionRecord | None = None
    bootstrap: BootstrapRecord | None = None
    credit: Msats = ZERO
    reserved: Msats = ZERO
    pool: Msats = ZERO
    reserved_of_key: Msats = ZERO
    offered_to_key: Msats = ZERO
    drew_before: bool = False
    granted_to_key: Msats = ZERO
    kept_of_key: Msats = ZERO
    newcomers_today: Msats = ZERO
    identity: IdentityRecord | None = None
    raised: JobRecord | None = None
    lowered: JobRecord | None = None
    lifted: Tier | None = None
    invoice: InvoiceRecord | None = None
    open_invoice: InvoiceRecord | None = None
    refund: RefundRecord | None = None
    refunds: tuple[RefundRecord, ...] = ()
    claims: tuple[tuple[str | None, RefundRecord], ...] = ()
    topup: TopUpRecord | None = None
    topups: tuple[tuple[TopUpRecord, InvoiceRecord | None], ...] = ()
    payouts: tuple[RefundRecord, ...] = ()
    unfinished: Unfinished = _NOTHING_UNFINISHED
    remembered: int = 0
    turns: tuple[Turn, ...] = ()
    open_jobs: int = 0
    jobs_last_minute: int = 0
    cancelled_last_hour: int = 0
    open_donations: int = 0
    open_invoices: int = 0
    ours: Msats = ZERO
    fees_today: Msats = ZERO
    model_cost_today: MicroUsd = MicroUsd(0)
    hash_is_ours: bool = False
    hash_is_used: bool = False


@dataclass(frozen=True, slots=True)
class Do:
    """An action, and the unix second before which it is not due; None is at once."""

    action: Action
    due_at: int | None = None


@dataclass(frozen=True, slots=True)
class Tell:
    """A message, and whom it answers: ``origin`` None is the job's own request.

    ``due_at`` is the unix second before which it is not sent; None is at once.
    """

    message: Message
    origin: str | None = None
    due_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """All that follows from one fact. Written together, or not at all."""

    new_job: NewJob | None = None
    job: JobRecord | None = None
    result: str | None = None
    identity: IdentityRecord | None = None
    session: SessionRecord | None = None
    bootstrap: BootstrapRecord | None = None
    reservation: NewReservation | None = None
    entries: tuple[Entry, ...] = ()
    reservation_end: ReservationEnd | None = None
    invoices: tuple[InvoiceRecord, ...] = ()
    topups: tuple[TopUpRecord, ...] = ()
    refunds: tuple[RefundRecord, ...] = ()
    actions: tuple[Do, ...] = ()
    tells: tuple[Tell, ...] = ()
    forget: str | None = None


IGNORED = Decision()
"""The fact is true and is remembered, but nothing follows from it."""
