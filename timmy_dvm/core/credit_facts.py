"""What can happen to a key's own credit and to what is remembered of it, as frozen values; see ``core.facts``.

``origin`` is the door's own note on how to answer; ``answered`` is False where a refusal would be one error too
many for this key. ``topup_id`` and ``refund_id`` are fresh and random, so that nobody can guess them; they are
used only if something comes of the fact.
"""

from dataclasses import dataclass

from ledger.money import Msats
from ledger.records import Door


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpAsked:
    """A key wants an invoice that fills its credit; ``amount`` is what the customer wrote, not judged yet."""

    topup_id: str
    event_id: str
    door: Door
    pubkey: str
    amount: Msats
    origin: str
    at: int
    answered: bool = True
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"request:{self.event_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutAsked:
    """A key sent a BOLT11 for what it has as credit. The door has decoded it; nothing is judged yet.

    ``amount`` is None for an invoice without one; ``rail_ok`` is whether it is for our wallet's network.
    """

    refund_id: str
    event_id: str
    pubkey: str
    bolt11: str
    payment_hash: str
    amount: Msats | None
    rail_ok: bool
    expires_at: int
    origin: str
    at: int
    answered: bool = True
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"request:{self.event_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetAsked:
    """A key wants the texts of its requests and answers erased."""

    event_id: str
    pubkey: str
    origin: str
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"request:{self.event_id}"


CreditFact = TopUpAsked | PayoutAsked | ForgetAsked
