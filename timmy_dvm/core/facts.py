"""What can happen to a job, as frozen values without logic. The name says where a fact comes from.

Every fact has an id of its own that the ledger takes once, so hearing it again changes nothing: a request is
known by its event, a payment by its hash, the outcome of a run by job, step and number. ``at`` is the unix
second at which we learnt it: the only time a decision knows.
"""

from dataclasses import dataclass
from enum import StrEnum

from ledger.money import Msats
from ledger.records import Door, Mode
from timmy_dvm.core.bootstrap_facts import BootstrapFact
from timmy_dvm.core.credit_facts import CreditFact
from timmy_dvm.core.donation_facts import DonationAsked
from timmy_dvm.core.free_facts import FreeAnswerGiven
from timmy_dvm.core.operator_facts import StatusTold
from timmy_dvm.core.pricing import BtcPrice
from timmy_dvm.core.refund_facts import RefundFact
from timmy_dvm.core.session_facts import SessionFact


class Step(StrEnum):
    """The two paid steps of a job."""

    EVAL = "eval"
    WORK = "work"


class Op(StrEnum):
    """Questions a key may ask beside its jobs. Each is answered from the books, and changes nothing in them."""

    ESTIMATE = "estimate"
    ME = "me"
    BALANCE = "balance"


class PayResult(StrEnum):
    """What became of a payment of ours. Only FAILED frees its money; UNKNOWN is not FAILED."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IN_FLIGHT = "in_flight"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReceived:
    """A door read a request it understood. ``job_id`` is fresh; it is used only if a job is made.

    ``text`` is what the model would get; ``origin`` is the door's own note on how to answer; ``max_tokens``,
    ``model``, ``bid`` and ``refund_to`` are the customer's wishes; ``asked_at`` is the request's own time.
    ``addressed`` is False for a request that names no provider: refusing it is silent. ``expires_at`` is the unix
    second after which the customer wants no work to start; ``preface_chars`` of the text are the door's own;
    ``follows`` is the id of a job of the same key whose thread goes on;
    ``refusal_at`` is the second before which a key that never paid is not told of a refusal; None: at once;
    ``session_id`` is the session whose credit pays; ``work_bits`` is the proof of work behind it (NIP-13).
    """

    job_id: str
    door: Door
    mode: Mode
    event_id: str | None
    pubkey: str | None
    text: str
    origin: str
    btc: BtcPrice
    asked_at: int
    at: int
    bid: Msats | None = None
    max_tokens: int | None = None
    model: str | None = None
    refund_to: str | None = None
    addressed: bool = True
    expires_at: int | None = None
    preface_chars: int = 0
    follows: str | None = None
    refusal_at: int | None = None
    session_id: str | None = None
    work_bits: int = 0

    @property
    def id(self) -> str:
        return f"request:{self.event_id or self.job_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestUnreadable:
    """Somebody addressed us and the door could not make a request of it. ``sentence`` says what to do next."""

    event_id: str
    origin: str
    code: str
    sentence: str
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"request:{self.event_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAsked:
    """Somebody asks what something would cost, or how they stand here. Nothing but the answer comes of it.

    ``npub`` is the key as people write it; an estimate may be asked for without a key. ``text``, ``max_tokens``,
    ``model``, ``preface_chars`` and ``follows`` are those of the request it is wanted for, as in
    :class:`RequestReceived`.
    """

    event_id: str
    op: Op
    door: Door
    pubkey: str | None
    npub: str
    origin: str
    btc: BtcPrice
    at: int
    text: str = ""
    max_tokens: int | None = None
    model: str | None = None
    preface_chars: int = 0
    follows: str | None = None
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"request:{self.event_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionHeard:
    """Somebody speaks of us in public and asks nothing. ``thread_id`` is where: each is answered once."""

    event_id: str
    thread_id: str
    origin: str
    btc: BtcPrice
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"mention:{self.thread_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAsked:
    """The key that signed ``event_id`` wants the job of another event dropped (NIP-09 kind 5)."""

    event_id: str
    request_event_id: str
    pubkey: str
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"cancel:{self.event_id}:{self.request_event_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceMade:
    """Our wallet made the invoice that ``key`` asked for; it is not published before this is written.

    It is for a job, or for a top-up or a node; then ``job_id`` is empty.
    """

    job_id: str
    topup_id: str | None = None
    bootstrap_id: str | None = None
    key: str
    payment_hash: str
    bolt11: str
    amount: Msats
    created_at: int
    expires_at: int
    at: int

    @property
    def id(self) -> str:
        return f"invoice:{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceNotMade:
    """Our wallet could not make an invoice for longer than a customer would wait."""

    job_id: str
    topup_id: str | None = None
    bootstrap_id: str | None = None
    key: str
    at: int

    @property
    def id(self) -> str:
        return f"invoice:{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSeen:
    """Our own wallet's record says an invoice of ours is settled. ``received`` is what it says came in."""

    payment_hash: str
    received: Msats | None
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"paid:{self.payment_hash}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceUnpaid:
    """Our own wallet's record, read a minute after the invoice's expiry, says it was never paid."""

    payment_hash: str
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"unpaid:{self.payment_hash}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalDone:
    """The model judged a request. ``reason`` is for the customer, on a rejection."""

    job_id: str
    run: int
    accepted: bool
    reason: str
    input_tokens: int
    output_tokens: int
    at: int

    @property
    def id(self) -> str:
        return f"eval:{self.job_id}:{self.run}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkDone:
    """The model answered. ``charge_sats`` is what that really costs at the job's locked price."""

    job_id: str
    run: int
    text: str
    truncated: bool
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int
    charge_sats: int
    at: int

    @property
    def id(self) -> str:
        return f"work:{self.job_id}:{self.run}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed:
    """A run ended without an answer and without a crash. ``sentence`` may be shown to the customer."""

    job_id: str
    step: Step
    run: int
    sentence: str
    at: int

    @property
    def id(self) -> str:
        return f"{self.step}:{self.job_id}:{self.run}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInterrupted:
    """A process died while this run was going on."""

    job_id: str
    step: Step
    run: int
    at: int

    @property
    def id(self) -> str:
        return f"{self.step}:{self.job_id}:{self.run}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed:
    """The job's ``due_at`` went by. ``due_at`` tells this passing from a later one."""

    job_id: str
    due_at: int
    at: int

    @property
    def id(self) -> str:
        return f"due:{self.job_id}:{self.due_at}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundClaimed:
    """The customer sent a BOLT11 for money we hold. The door has decoded it; nothing is judged yet.

    Who claims is told by ``pubkey``, the key that a door has proved, or by ``by_secret``: whether the job's claim
    secret was shown. ``job_id`` names the job where its id is known, else ``request_event_id``; neither is
    whichever refund of this key's has that sum. ``origin`` is the claim's own, so that the answer goes to the
    claim; it and ``event_id`` are empty at a door without events, where ``version`` is the refund's as the door
    saw it: so a BOLT11 that was refused, or came too late, may be tried again.
    ``amount`` is None for an invoice without one; ``rail_ok`` is whether it is for our wallet's network.
    ``answered`` is False where a refusal would be one error too many for this key.
    """

    event_id: str | None
    request_event_id: str | None
    pubkey: str | None
    bolt11: str
    payment_hash: str
    amount: Msats | None
    rail_ok: bool
    expires_at: int
    origin: str
    at: int
    answered: bool = True
    by_secret: bool = False
    version: int = 0
    job_id: str | None = None

    @property
    def id(self) -> str:
        if self.event_id is None:
            return f"claimed:{self.job_id}:{self.payment_hash}:{self.version}"
        return f"request:{self.event_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundDue:
    """The pause before another try to send a refund is over. ``attempts`` tells one try from the next."""

    refund_id: str
    attempts: int
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"retry:{self.refund_id}:{self.attempts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentOut:
    """What our wallet says of a refund's payment. ``fee`` is what it cost, where that is known."""

    refund_id: str
    payment_hash: str
    attempts: int
    result: PayResult
    fee: Msats
    detail: str
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"sent:{self.payment_hash}:{self.attempts}:{self.result}"


Fact = (
    RequestReceived
    | RequestUnreadable
    | QuestionAsked
    | StatusTold
    | MentionHeard
    | CancelAsked
    | InvoiceMade
    | InvoiceNotMade
    | PaymentSeen
    | InvoiceUnpaid
    | EvalDone
    | WorkDone
    | RunFailed
    | RunInterrupted
    | DeadlinePassed
    | RefundClaimed
    | RefundDue
    | PaymentOut
    | CreditFact
    | DonationAsked
    | FreeAnswerGiven
    | RefundFact
    | SessionFact
    | BootstrapFact
)
