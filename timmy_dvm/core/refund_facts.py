"""What can happen to money on its way back beside its payment, as frozen values; see ``core.facts``.

Each ``id`` is taken once. ``attempts`` is the refund's own count when its address was asked: an answer to an older
try is never mistaken for one to the newest.
"""

from dataclasses import dataclass

from ledger.money import Msats


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundInvoiced:
    """The address a refund goes to gave an invoice for exactly its sum, on our wallet's network."""

    refund_id: str
    attempts: int
    bolt11: str
    payment_hash: str
    expires_at: int
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"invoiced:{self.refund_id}:{self.attempts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundNotInvoiced:
    """The address gave none. ``lasting``: asking again would not help. ``nowhere``: there is no address."""

    refund_id: str
    attempts: int
    sentence: str
    lasting: bool
    at: int
    nowhere: bool = False
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"invoiced:{self.refund_id}:{self.attempts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditWished:
    """The customer would rather have what is held for a job as credit. ``request_event_id`` names the job."""

    event_id: str
    request_event_id: str
    pubkey: str
    origin: str
    at: int
    answered: bool = True
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"request:{self.event_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundWithdrawn:
    """Somebody who was handed a withdrawal's one-time word sent a BOLT11 for it (LUD-03).

    ``version`` is the refund's when the word was made: whatever has moved the refund since has used the word up.
    """

    refund_id: str
    version: int
    bolt11: str
    payment_hash: str
    amount: Msats | None
    rail_ok: bool
    expires_at: int
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"withdrawn:{self.refund_id}:{self.payment_hash}:{self.version}"


RefundFact = RefundInvoiced | RefundNotInvoiced | CreditWished | RefundWithdrawn
