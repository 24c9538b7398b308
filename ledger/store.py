"""The store's contract, in prose. One implementation keeps it with SQLite, a later one with PostgreSQL.

**One atomic method.** :meth:`Store.commit` takes a fact and the function that decides what it changes. The
function runs *inside* the writing transaction, on what that transaction sees, so nothing can change between
the look and the leap. Everything it returns is written together: fact, job, texts, entries, invoices, refunds,
identity, session, node order, events and outbox. Either all of it is there after a crash, or none.

**Races have named outcomes**, decided by constraints and not by looking first: a fact's id was taken before
(``Replayed``), a versioned row moved (``Stale``), an account would go below its floor (``Short``). Nothing is
written then, except that a replayed fact still finishes the outbox row it reports on. Whatever else the
constraints refuse is a mistake of ours: :class:`RuleBroken`.

**Groups.** Facts that wait are committed together; one member's failure never fails the others. A commit
returns only when its group is on disk.

**Cancelling** a commit is safe: it happens or not, and the caller finds out by committing the same fact again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from ledger.answers import AnswerRecord
from ledger.bootstrap import BootstrapRecord
from ledger.credit import TopUpRecord, Unfinished
from ledger.entries import Entry
from ledger.money import Msats
from ledger.records import (
    Change,
    FactRecord,
    IdentityRecord,
    InvoiceRecord,
    JobRecord,
    JobState,
    JobTexts,
    NewEvent,
    Outcome,
    PendingAction,
    RefundRecord,
    Turn,
)
from ledger.reservations import PoolBooks
from ledger.sessions import SessionRecord
from ledger.spending import ModelUse

T = TypeVar("T")


class StoreUnavailable(Exception):
    """The ledger can't be written or read now (disk full, locked, I/O error). Nothing was changed.

    The message says what the operator should look at. Whoever was to act on the outcome must not act.
    """


class RuleBroken(Exception):
    """A change breaks a rule of the ledger: a forbidden step between states, an id booked twice, a charge above
    the share. Nothing was written. This is a mistake of ours and not a race: trying again does not help.
    """


class View(Protocol):
    """What a decision may look at: the books as the writing transaction sees them. Synchronous, read only."""

    def job(self, job_id: str) -> JobRecord | None:
        """The job, or None."""

    def job_of_event(self, event_id: str) -> JobRecord | None:
        """The job a request event made, or None. At most one, by a unique index."""

    def newest_jobs_of(self, pubkey: str, limit: int) -> Sequence[JobRecord]:
        """A key's jobs, the newest first, at most ``limit``."""

    def targets_of(self, job_id: str) -> Sequence[str]:
        """Where our events about a job go (``NewEvent.targets``), in their order; kept when texts are erased."""

    def texts(self, job_id: str) -> JobTexts:
        """The job's texts; empty strings once they were forgotten."""

    def run_waits(self, job_id: str) -> bool:
        """Whether a run of the job (:data:`ledger.records.RUN`) is to be done and nobody has begun it."""

    def event(self, event_id: str) -> NewEvent | None:
        """An event of ours as it was signed, or None. Its JSON is empty once it was forgotten."""

    def thread(self, job_id: str, limit: int) -> Sequence[Turn]:
        """What was said up to this job and in it, oldest first: itself, where it is answered, and at most
        ``limit`` jobs back along the line it follows, which ends at one that has no answer or was forgotten.
        """

    def invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """One of our invoices, or None when the hash is not ours."""

    def open_invoice_of(self, job_id: str) -> InvoiceRecord | None:
        """The newest invoice of a job that is still open, or None."""

    def refund(self, refund_id: str) -> RefundRecord | None:
        """A refund, or None."""

    def refunds_of(self, job_id: str) -> Sequence[RefundRecord]:
        """All refunds of a job, oldest first."""

    def open_refunds_of(self, pubkey: str, limit: int) -> Sequence[tuple[str | None, RefundRecord]]:
        """A key's refunds that are not settled yet, at most ``limit``, oldest jobs first; each with the event id
        of its job's request, None where an event did not make it. Reads along all jobs of the key.
        """

    def payouts_of(self, pubkey: str) -> Sequence[RefundRecord]:
        """A key's refunds of no job that are not settled yet: credit of it that is being paid out."""

    def topup(self, topup_id: str) -> TopUpRecord | None:
        """A top-up, or None."""

    def topup_of_event(self, event_id: str) -> TopUpRecord | None:
        """The top-up a request event asked for, or None. At most one, by a unique index."""

    def topup_of_invoice(self, payment_hash: str) -> TopUpRecord | None:
        """The top-up whose invoice has this hash, or None."""

    def is_key_used(self, key: str) -> bool:
        """Whether a key of a client was noted (:meth:`Store.begin_answer`)."""

    def open_donations(self) -> int:
        """Gifts to the pool that wait, for their invoice or for its payment. Nowhere else is one counted."""

    def waiting_topups_of(self, pubkey: str, limit: int) -> Sequence[tuple[TopUpRecord, InvoiceRecord | None]]:
        """A key's top-ups that wait, oldest first, at most ``limit``; each with its invoice once that is made."""

    def session(self, session_id: str) -> SessionRecord | None:
        """A session, or None."""

    def deposit_of(self, session_id: str) -> TopUpRecord | None:
        """The top-up that a session was opened with, or None."""

    def open_topup_of(self, session_id: str) -> TopUpRecord | None:
        """The top-up of a session that waits, or None. At most one, by a unique index."""

    def open_topups_of_sessions(self, pubkey: str) -> int:
        """How many deposits and top-ups of a key's sessions wait for payment."""

    def refunds_of_session(self, session_id: str) -> Sequence[RefundRecord]:
        """What of a closed session is on its way back, or was, oldest first."""

    def bootstrap(self, bootstrap_id: str) -> BootstrapRecord | None:
        """An order of a node, without its private key; or None."""

    def bootstrap_of_invoice(self, payment_hash: str) -> BootstrapRecord | None:
        """The order of a node whose invoice has this hash, or None."""

    def refunds_of_bootstrap(self, bootstrap_id: str) -> Sequence[RefundRecord]:
        """What of the money for a node goes back, or went, oldest first."""

    def unfinished_of(self, pubkey: str) -> Unfinished:
        """What of a key is not over yet. Reads along all jobs of the key."""

    def remembered_jobs_of(self, pubkey: str) -> int:
        """How many ended jobs of a key still have their texts. Reads along all jobs of the key."""

    def payment_is_known(self, payment_hash: str) -> bool:
        """Whether a refund was ever sent, or tried, to this hash."""

    def balance(self, account: str) -> Msats:
        """An account's balance in msat, credit-positive; 0 where nothing was ever booked."""

    def payable(self) -> Msats:
        """All that could be asked back in sats: job + customer + session + refund."""

    def refund_fees_since(self, since: int) -> Msats:
        """Routing fees booked as ours since a unix time."""

    def free_answers_since(self, since: int) -> Msats:
        """What answers outside any job have cost us since a unix time."""

    def model_use_since(self, since: int) -> ModelUse:
        """What was asked of the model by jobs that ended since a unix time, and by those that run now."""

    def fee_caps_in_flight(self) -> Msats:
        """The fee caps of all refunds whose payment may still be on its way, together; of a refund of no job it
        is not ours, and does not count.
        """

    def identity(self, pubkey: str) -> IdentityRecord | None:
        """What is known of a public key, or None."""

    def reserved_of(self, pubkey: str) -> Msats:
        """What the pool has set aside for all jobs of a key that have not ended."""

    def offered_to(self, pubkey: str) -> Msats:
        """What the pool would pay of a key's jobs that wait for payment: their prices less the customer's shares;
        and of the requests that run in its sessions, where it is asked when the work is done.

        Nothing is set aside for an offer.
        """

    def drew_before(self, pubkey: str) -> bool:
        """Whether the pool ever granted a key anything, or has something set aside for it."""

    def last_paid_success(self, pubkey: str) -> JobRecord | None:
        """The newest job of a key whose work it paid for and had; None where there is none."""

    def last_trouble(self, pubkey: str) -> JobRecord | None:
        """The newest job of a key that was rejected or failed; None where there is none."""

    def granted_to(self, pubkey: str) -> Msats:
        """What the pool ever granted a key; what is set aside for it now does not count."""

    def fees_kept_of(self, pubkey: str) -> Msats:
        """What a key's jobs left us: all that they were charged, less the pool's part of it."""

    def drawn_by_tier(self, tier: str, since: int) -> Msats:
        """What keys that were of a tier then were granted since a unix time, and what is set aside for them."""

    def open_jobs_of(self, pubkey: str) -> int:
        """How many jobs and top-ups of a key wait for payment."""

    def jobs_since(self, pubkey: str, since: int) -> int:
        """How many jobs and top-ups of a key were made since a unix time."""

    def cancelled_since(self, pubkey: str, since: int) -> int:
        """How many jobs of a key that were made since a unix time it has cancelled itself: no error ended them;
        and how many top-ups that have ended, while their invoice may still be paid.
        """

    def open_invoices(self) -> int:
        """How many jobs, top-ups and node orders wait for payment, or invoices may be paid: whichever is more."""


Decide = Callable[[View], Change]
"""Looks, and says what changes. Pure but for the view; it may be called again after Stale or Short."""


ACCEPTED: Final = "accepted"
"""A relay took the event."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one event at one relay. ``outcome`` is :data:`ACCEPTED` or the relay's machine word."""

    relay: str
    outcome: str
    at: int


@dataclass(frozen=True, slots=True)
class Story:
    """Everything the ledger knows of one job, in the order it happened: for ``timmy job``."""

    job: JobRecord
    texts: JobTexts
    facts: tuple[FactRecord, ...]
    entries: tuple[tuple[int, Entry], ...]
    """``(unix time, entry)``: all entries that touched an account of this job."""
    invoices: tuple[InvoiceRecord, ...]
    refunds: tuple[RefundRecord, ...]
    events: tuple[tuple[NewEvent, tuple[Delivery, ...]], ...]


class Store(Protocol):
    """Where everything is kept. Every method may raise :class:`StoreUnavailable`."""

    async def open_books(self, wallet_balance: Msats, pool_start: Msats, at: int) -> bool:
        """Book what there is at the very first start: the wallet's balance (``node → operator``, entry
        ``opening``) and the pool's (``operator → pool``, entry ``pool_seed``); nothing where it is 0.

        Once for ever: later calls change nothing, so a drained pool is never filled again by a restart. True
        when this call opened the books.
        """

    async def commit(self, fact: FactRecord, decide: Decide) -> Outcome:
        """Apply one fact, as the module says. Safe to repeat: the second time answers ``Replayed``.

        ``decide`` is called in another thread. What it raises reaches this caller only, and nothing is written.

        Raises:
            RuleBroken: the change breaks a rule of the ledger.
        """

    def mark_started(self, action_id: int) -> Awaitable[None]:
        """Note that an action is being performed; it counts crashes. On disk once what it returns was awaited.

        What is decided after that sees the note: :meth:`View.run_waits`.
        """

    async def postpone(self, action_id: int, due_at: int) -> None:
        """Try an action again at ``due_at``; its attempts rise by one."""

    async def finish(self, action_id: int) -> None:
        """Take an action from the outbox whose outcome changes nothing."""

    async def delivered(
        self, action_id: int, event_id: str, outcomes: Mapping[str, str], at: int, due_at: int | None
    ) -> None:
        """Note per relay what became of an event; with ``due_at`` try again then, else the action is done.

        An event that is done of a job that was forgotten meanwhile is erased.
        """

    async def look(self, at: Callable[[View], T]) -> T:
        """Have ``at`` look at one snapshot of the books outside any decision. Nothing is written by it.

        It is called in another thread. What it raises reaches the caller.
        """

    async def pending(self) -> Sequence[PendingAction]:
        """The outbox, oldest first."""

    async def event(self, event_id: str) -> NewEvent | None:
        """An event of ours as it was signed, without its JSON once that was forgotten; or None."""

    async def job(self, job_id: str) -> JobRecord | None:
        """A job, or None."""

    async def find_jobs(self, text: str) -> Sequence[JobRecord]:
        """Jobs whose id or event id starts with ``text`` (hex, at least 4 characters), at most 10."""

    async def jobs(self, *, limit: int, states: Sequence[JobState] = ()) -> Sequence[JobRecord]:
        """The newest jobs first, all states where none are named."""

    async def paying_keys(self, limit: int) -> Sequence[str]:
        """Keys that have paid for a job, the last seen first."""

    async def texts(self, job_id: str) -> JobTexts | None:
        """A job's texts, or None where there is no such job."""

    async def story(self, job_id: str) -> Story | None:
        """All that is known of a job, or None."""

    async def invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """One of our invoices, or None."""

    async def open_invoices(self) -> Sequence[InvoiceRecord]:
        """Every invoice our wallet's record has not closed yet, oldest first."""

    async def due(self) -> Sequence[tuple[int, str]]:
        """``(due_at, job id)`` of every job with a deadline, soonest first."""

    async def refunds(self, *, open_only: bool) -> Sequence[RefundRecord]:
        """Refunds, oldest first; with ``open_only`` those neither sent nor credited."""

    async def balances(self) -> Mapping[str, Msats]:
        """Every account of its own name, and every other that is not at zero, with its credit-positive balance."""

    async def pool(self, *, since: int, limit: int) -> PoolBooks:
        """The pool's books: what it has, each tier's use since a unix time, and the newest ``limit`` grants and
        entries. Reads along all grants ever made.
        """

    async def setting(self, key: str) -> str | None:
        """A remembered value (a cursor, a mark), or None."""

    async def remember(self, key: str, value: str) -> None:
        """Remember a value; on disk when this returns."""

    async def note_world_events(self, events: Sequence[tuple[int, str]]) -> None:
        """Remember what could be seen in the Workshop, oldest first, as ``(unix time, type)``. Only the newest
        thousand are kept; no decision reads them.
        """

    async def world_events(self, limit: int) -> Sequence[tuple[int, str]]:
        """What could be seen lately, newest first."""

    async def begin_answer(self, key: str, body_hash: str, seed: str, at: int) -> AnswerRecord:
        """Note that a key of a client is used, on disk when this returns; what was noted first is answered."""

    async def finish_answer(self, key: str, status: int, answer: str) -> None:
        """Note what was answered under a key; once for ever, a second answer is not noted."""

    async def take_ssh_key(self, bootstrap_id: str) -> str | None:
        """The private key to a node that is ready, for whoever asks first; None for all others, for ever after.

        One statement reads and erases it: who is cancelled while it runs may have used it up.
        """

    async def close(self) -> None:
        """Finish what waits, then close. Later calls raise :class:`StoreUnavailable`."""
