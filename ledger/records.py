"""Rows as frozen values. Pure: the store reads and writes them, ``timmy_dvm.core`` reasons about them.

What is not yet in the ledger has its own type (``NewJob``, ``NewAction``, ``NewEvent``), so no field is
ever "None until inserted". Times are whole unix seconds, amounts msat unless a name says otherwise.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ledger.bootstrap import BootstrapRecord
from ledger.credit import TopUpRecord
from ledger.entries import Entry
from ledger.money import MicroUsd, Msats
from ledger.reservations import NewReservation, ReservationEnd
from ledger.sessions import SessionRecord


class JobState(StrEnum):
    """Where a job stands. Which may follow which is one table, in ``timmy_dvm.core.transitions``."""

    AWAITING_EVAL_PAYMENT = "awaiting_eval_payment"
    EVALUATING = "evaluating"
    AWAITING_WORK_PAYMENT = "awaiting_work_payment"
    EXECUTING = "executing"
    COMPLETE = "complete"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Door(StrEnum):
    """Where a job came in. Only that door knows what ``origin`` means."""

    NOSTR = "nostr"
    HTTP = "http"


class Mode(StrEnum):
    """How a customer without credit is asked: one invoice for both steps, or one for each."""

    ONCE = "once"
    STEPS = "steps"


class InvoiceState(StrEnum):
    """How one of our invoices stands, by our own wallet's record."""

    OPEN = "open"
    SETTLED = "settled"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class RefundState(StrEnum):
    """How one amount on its way back stands. The table is in ``timmy_dvm.core.transitions``."""

    OWED = "owed"
    SENDING = "sending"
    IN_DOUBT = "in_doubt"
    HELD = "held"
    SENT = "sent"
    CREDITED = "credited"
    PAID_ELSEWHERE = "paid_elsewhere"
    """The operator paid it with another wallet, and said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A price as it was told, locked for the job's whole life. Fees are whole sats in msat, the bitcoin price is
    in millionths of a dollar.
    """

    eval_fee: Msats
    work_fee: Msats
    estimated_cost: MicroUsd
    margin_percent: int
    btc_price_micro_usd: int
    btc_price_source: str
    work_model: str
    max_output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job about to be written. ``share_*`` is the customer's part of the quote, fixed from here on.

    ``request`` is the text as the model will get it; ``origin`` is the door's note (JSON) on how to answer; this
    job goes on with the thread of the one ``follows`` names; ``session_id`` is the session that pays.
    """

    id: str
    state: JobState
    door: Door
    mode: Mode
    event_id: str | None
    pubkey: str | None
    request: str
    origin: str
    follows: str | None = None
    session_id: str | None = None
    quote: Quote
    share_eval: Msats
    share_work: Msats
    credit_used: Msats = Msats(0)
    refund_to: str | None = None
    free_tier: bool = False
    absorbed_sats: int = 0
    asked_at: int
    created_at: int
    paid_at: int | None = None
    due_at: int | None = None
    eval_runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as the ledger holds it, less its texts. ``version`` rises by one at each change.

    ``due_at`` is the next moment something must be decided even if nothing happens; None when ended. What the
    settlement booked is 0 before it, and ``eval_passed`` None until the eval gave a verdict.
    """

    id: str
    version: int
    state: JobState
    door: Door
    mode: Mode
    event_id: str | None
    pubkey: str | None
    quote: Quote
    share_eval: Msats
    share_work: Msats
    credit_used: Msats
    refund_to: str | None
    session_id: str | None = None
    free_tier: bool = False
    absorbed_sats: int = 0
    eval_runs: int = 0
    work_runs: int = 0
    eval_passed: bool | None = None
    eval_input_tokens: int = 0
    eval_output_tokens: int = 0
    actual_input_tokens: int = 0
    actual_output_tokens: int = 0
    actual_cost: MicroUsd = MicroUsd(0)
    truncated: bool = False
    charge_eval: Msats = Msats(0)
    charge_work: Msats = Msats(0)
    shortfall: Msats = Msats(0)
    pool_credit: Msats = Msats(0)
    reason: str | None = None
    error_message: str | None = None
    asked_at: int
    created_at: int
    paid_at: int | None = None
    ended_at: int | None = None
    due_at: int | None = None


@dataclass(frozen=True, slots=True)
class JobTexts:
    """The long parts of a job, kept apart so that they can be forgotten and are not rewritten at each step.

    Once they were ``forgotten`` they are empty.
    """

    request: str
    origin: str
    result: str | None
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One job of a thread that is answered: what was asked, as the model got it, and what was said."""

    request: str = field(repr=False)
    answer: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRecord:
    """One BOLT11 of ours and the account its money goes to. Kept for ever: money may come late."""

    payment_hash: str
    account: str
    job_id: str | None
    amount: Msats
    bolt11: str
    created_at: int
    expires_at: int
    state: InvoiceState = InvoiceState.OPEN
    received: Msats = Msats(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRecord:
    """One amount on its way back, with its own account ``refund:<id>``.

    ``target`` is where it goes by itself: an address as the customer wrote it, or a word of the core's; None where
    the customer has to claim it. ``payment_hash``, ``bolt11`` and ``max_fee`` belong to the attempt now in flight
    or, when sent, to the one that arrived; earlier attempts stay in the table of payments. ``kept_fee_room`` is
    what we kept from the job: a refund never costs us more than that.

    ``kept_for_way``, fixed once, is what the sum itself pays for its way at most: its BOLT11 is of the rest. A
    refund of no job pays prepaid credit out: ``amount`` is the BOLT11's and ``max_fee`` together, for what it
    costs comes out of the sum. ``origin`` is the door's own note (JSON) on how to answer about it, written once.
    ``session_id`` is the closed session whose rest it is, ``bootstrap_id`` the order of a node it was paid for.
    """

    id: str
    version: int
    job_id: str | None
    pubkey: str | None
    amount: Msats
    reason: str
    state: RefundState
    kept_fee_room: Msats = Msats(0)
    payment_hash: str | None = None
    bolt11: str | None = None
    max_fee: Msats = Msats(0)
    fee: Msats = Msats(0)
    attempts: int = 0
    note: str = ""
    created_at: int
    updated_at: int
    due_at: int | None = None
    origin: str = ""
    target: str | None = None
    session_id: str | None = None
    kept_for_way: Msats = Msats(0)
    bootstrap_id: str | None = None

    @property
    def pays_its_way(self) -> bool:
        """Whether what the way costs comes out of the sum, and not out of what is ours."""
        return self.kept_for_way > 0 or (self.job_id is None and self.bootstrap_id is None)

    @property
    def sendable(self) -> Msats:
        """What a BOLT11 for it must be of."""
        return Msats(self.amount - self.kept_for_way)

    @property
    def invoiced(self) -> Msats:
        """What its BOLT11 is for."""
        return Msats(self.amount - self.max_fee) if self.pays_its_way else self.amount


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRecord:
    """What we know of a public key. Versioned, because two jobs of one key may end at once.

    ``sats_absorbed_today`` is what the pool granted it since ``absorbed_reset_at``, the beginning of a UTC day.
    Both are counted by the ledger as reservations end, and never written from here.
    """

    pubkey: str
    version: int = 0
    trust_score: int = 0
    interaction_count: int = 0
    paid_jobs: int = 0
    sats_absorbed_today: int = 0
    absorbed_reset_at: int = 0
    first_seen: int
    last_seen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRecord:
    """The receipt of something that happened. ``id`` is taken once; ``done`` is the outbox row it finishes.

    A ``job_id`` of a job that was never made is allowed, and forgotten: a refused request is a fact too.
    """

    id: str
    kind: str
    job_id: str | None
    at: int
    body: str
    done: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAction:
    """Something to do once the commit stands. ``body`` is JSON; ``due_at`` None means at once."""

    kind: str
    job_id: str | None
    body: str
    due_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingAction:
    """An action in the outbox. ``started`` tells that a process had begun it; ``attempts`` counts failures."""

    id: int
    kind: str
    job_id: str | None
    body: str
    due_at: int | None
    attempts: int
    started: bool


PUBLISH: Final = "Publish"
"""The kind of the outbox row that comes with each event; its body is the event's id."""
RUN: Final = "RunAgent"
"""The kind of the outbox row that has a job run by the model: of this one it is asked whether it was begun."""


class EventRole(StrEnum):
    """What a published event is to its job. At most one ``result`` a job, by a unique index."""

    RESULT = "result"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event of ours, signed once: a repeat publishes these very bytes. ``targets`` is the door's JSON;
    ``due_at`` is when it is to be published first, None at once; it stays with the outbox row.
    """

    id: str
    job_id: str | None
    role: EventRole
    json: str
    targets: str
    due_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """All that one fact changes, written in one transaction or not at all.

    ``job`` holds the whole new row and the version it was decided on; the same goes for ``identity``, ``session``,
    ``bootstrap`` and ``refunds``, where version 0 is a row that is not there yet; a refund may stand there twice,
    a step and the next. A reservation begins before the entries are booked and ends after them. Entries are booked
    in their order, and a floor holds after each. Events are written with the outbox row that publishes them
    (:data:`PUBLISH`). ``result`` belongs to ``job`` or ``new_job``, one of which must be there.
    ``forget`` is a key: of its oldest ended jobs, at most :data:`~ledger.credit.FORGOTTEN_AT_ONCE`, all texts are
    erased, with reasons, addresses and what was published for them, where their refunds went, and of its top-ups
    and pay-outs the notes; an event that is still to be delivered is erased once it was.
    """

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
    actions: tuple[NewAction, ...] = ()
    events: tuple[NewEvent, ...] = ()
    forget: str | None = None


NOTHING = Change()
"""The fact is remembered, and that is all."""


@dataclass(frozen=True, slots=True)
class Applied:
    """Written. ``actions`` are the new outbox rows, ready to be performed, those of ``events`` last.

    ``job`` is the job's row as it now stands, None where the change wrote none.
    """

    job: JobRecord | None
    actions: tuple[PendingAction, ...] = field(default=())
    change: Change = NOTHING


@dataclass(frozen=True, slots=True)
class Replayed:
    """This fact was here before; nothing changed."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A row changed since it was read; load and decide again."""


@dataclass(frozen=True, slots=True)
class Short:
    """An account's floor would break; load and decide again."""

    account: str


Outcome = Applied | Replayed | Stale | Short
