"""What a decision may look at, and what it may answer. Frozen values.

A ``Case`` is loaded inside the very transaction that will write the ``Decision``, so nothing in it can be out
of date when it counts. Only what the fact at hand needs is filled in.
"""

from dataclasses import dataclass

from ledger.entries import Entry
from ledger.money import ZERO, Msats
from ledger.records import IdentityRecord, InvoiceRecord, JobRecord, NewJob, RefundRecord
from timmy_dvm.core.actions import Action, Message

MAX_CLAIMS = 50
"""Refunds that one answer names: as many as fit into one event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The books around one fact.

    Attributes:
        job: the job it is about, if there is one.
        held: what is in the job's account.
        credit: what the key has as credit.
        identity: what is known of the key.
        invoice: the invoice the fact speaks of.
        open_invoice: the job's invoice that may still be paid.
        refund: the refund the fact speaks of.
        refunds: all refunds of the job, oldest first.
        claims: the key's refunds that are on their way or to be claimed, oldest first, each with the event id of
            the request it is of; one more than :data:`MAX_CLAIMS` of them where there are more. Only for
            questions, and claims that name no job.
        open_jobs, jobs_last_minute, cancelled_last_hour: of this key. ``open_invoices``: of all.
        ours: what is in the wallet by our books beyond all that is payable and the fee caps of refunds in flight;
            may be negative.
        fees_today: what refunds have cost us since midnight UTC, and the caps of those in flight, which they may.
        hash_is_ours, hash_is_used: whether a claim's payment hash is one of our invoices, or was paid before.
    """

    job: JobRecord | None = None
    held: Msats = ZERO
    credit: Msats = ZERO
    identity: IdentityRecord | None = None
    invoice: InvoiceRecord | None = None
    open_invoice: InvoiceRecord | None = None
    refund: RefundRecord | None = None
    refunds: tuple[RefundRecord, ...] = ()
    claims: tuple[tuple[str | None, RefundRecord], ...] = ()
    open_jobs: int = 0
    jobs_last_minute: int = 0
    cancelled_last_hour: int = 0
    open_invoices: int = 0
    ours: Msats = ZERO
    fees_today: Msats = ZERO
    hash_is_ours: bool = False
    hash_is_used: bool = False


@dataclass(frozen=True, slots=True)
class Do:
    """An action, and the unix second before which it is not due; None is at once."""

    action: Action
    due_at: int | None = None


@dataclass(frozen=True, slots=True)
class Tell:
    """A message, and whom it answers: ``origin`` None is the job's own request."""

    message: Message
    origin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """All that follows from one fact. Written together, or not at all."""

    new_job: NewJob | None = None
    job: JobRecord | None = None
    result: str | None = None
    identity: IdentityRecord | None = None
    entries: tuple[Entry, ...] = ()
    invoices: tuple[InvoiceRecord, ...] = ()
    refunds: tuple[RefundRecord, ...] = ()
    actions: tuple[Do, ...] = ()
    tells: tuple[Tell, ...] = ()


IGNORED = Decision()
"""The fact is true and is remembered, but nothing follows from it."""
