"""What we can do about a fact. Frozen values without logic, performed only after the commit that holds them.

Two families: an **action** is something for ``dispatch`` to do once (or again, after a crash); a **message** is
something a customer is told. The job's door turns a message into its own words at the very commit that caused
it, so what was said is on disk before it is said.
"""

import msgspec

from ledger.money import ZERO, Msats
from timmy_dvm.core.facts import Step


class CreateInvoice(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Ask our wallet for an invoice, for a job, a top-up or a node; the others' ids are empty.

    ``key`` is the idempotency key; ``give_up_at`` is a unix second; ``description_hash`` (hex) takes the memo's
    place in the BOLT11.
    """

    job_id: str
    topup_id: str = ""
    bootstrap_id: str = ""
    key: str
    amount: int
    memo: str
    expiry_s: int
    give_up_at: int
    description_hash: str = ""


class CheckInvoice(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Read our wallet's record of an invoice whose time is over."""

    job_id: str
    payment_hash: str


class RunAgent(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Have the model judge (eval) or do (work) a job. ``run`` counts from 1 for each step."""

    job_id: str
    step: Step
    run: int


class PayRefund(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Pay this BOLT11. If a process died over it, it is looked up by its hash first."""

    refund_id: str
    payment_hash: str
    bolt11: str
    max_fee: int
    attempts: int


class FindPayment(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Ask our wallet what became of a payment, until it says.

    ``since`` is when it fell into doubt; ``resend_until`` is until when it must not go out again. Later the same
    BOLT11 may, while the wallet knows nothing of it and it is valid.
    """

    refund_id: str
    payment_hash: str
    bolt11: str
    max_fee: int
    attempts: int
    since: int
    resend_until: int


class AskForInvoice(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Ask where a refund goes for an invoice: ``address``, or, without one, what ``pubkey``'s profile names."""

    refund_id: str
    attempts: int
    amount: int
    address: str | None
    pubkey: str | None


class RetryRefund(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Try a refund again when its pause is over."""

    refund_id: str
    attempts: int


class CloseIdleSession(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Look whether a session was used since, and close it if not. ``due_at`` is the unix second of this look."""

    session_id: str
    due_at: int


class ProvisionNode(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Set up the node of an order that was paid."""

    bootstrap_id: str


Action = (
    CreateInvoice
    | CheckInvoice
    | RunAgent
    | PayRefund
    | FindPayment
    | AskForInvoice
    | RetryRefund
    | CloseIdleSession
    | ProvisionNode
)


class PriceTold(msgspec.Struct, frozen=True, kw_only=True):
    """Money is due: one invoice for exactly what is missing; ``credit`` was taken from the key's own.

    ``offered`` is what the pool is to add, as far as it still can when this is paid. With ``tops_up`` it is for no
    job: whatever comes is credited to the key.
    """

    amount: Msats
    bolt11: str
    payment_hash: str
    expires_at: int
    credit: Msats = ZERO
    tops_up: bool = False
    offered: Msats = ZERO


class CreditAdded(msgspec.Struct, frozen=True, kw_only=True):
    """A top-up was paid: ``added`` came, and ``credit`` is what the key has now."""

    added: Msats
    credit: Msats


class Donated(msgspec.Struct, frozen=True, kw_only=True):
    """A gift to the pool came. ``received`` is what our wallet's record says of the invoice of ``amount``."""

    amount: Msats
    received: Msats
    bolt11: str


class FreeUse(msgspec.Struct, frozen=True, kw_only=True):
    """What the pool has set aside for a job, and with it what the key has used of its budget of the day."""

    absorbed: Msats
    used: Msats
    budget: Msats


class Working(msgspec.Struct, frozen=True, kw_only=True):
    """Work has begun. ``covered_by`` is ``pool``, ``invoice`` or ``credit``; ``credit`` is what was taken from it.

    ``begun`` answers a cancellation that came too late. ``free`` is there where the pool pays a part, or all.
    """

    covered_by: str
    credit: Msats
    free: FreeUse | None = None


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, and what it cost. ``ledger`` is the job's cost ledger in HTTP's names."""

    text: str
    truncated: bool
    ledger: dict[str, object]
    money_back: str


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A job ended without an answer. ``code`` is ``rejected`` or ``failed``; ``money_back`` says what returns."""

    code: str
    sentence: str
    money_back: str


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """No job was made, or an operation was not done. ``sentence`` says why and what to do next."""

    code: str
    sentence: str


class RefundMoved(msgspec.Struct, frozen=True, kw_only=True):
    """Money on its way back changed its state. ``status`` is how the job itself stands."""

    state: str
    sats: int
    status: str
    sentence: str


class OperationDone(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an operation, as an object the door writes out as JSON."""

    body: dict[str, object]


class Introduced(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are, to somebody who spoke of us. ``price`` is what a short question costs at most."""

    price: Msats


Reply = PriceTold | CreditAdded | Working | Delivered | Ended | Refused | RefundMoved | OperationDone | Introduced
"""What is told to whoever asked."""
Message = Reply | Donated
