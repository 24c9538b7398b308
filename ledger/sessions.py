"""A session: prepaid credit over HTTP, with a macaroon as its key. Pure.

Its money stands in the account ``session:<id>``, filled by top-ups (:class:`ledger.credit.TopUpRecord`), the first
of which is its deposit. Times are unix seconds.
"""

from dataclasses import dataclass
from enum import StrEnum


class SessionState(StrEnum):
    """Where a session stands. Which may follow which is one table, in ``timmy_dvm.core.transitions``."""

    AWAITING_PAYMENT = "awaiting_payment"
    ACTIVE = "active"
    CLOSED = "closed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A session as the ledger holds it. ``version`` is 0 before it is written, and rises by one at each change.

    ``id`` is random and a bearer secret; ``pubkey`` is the key it was opened for, None for nobody known. Since
    ``used_at`` nothing was asked and nothing paid. ``refund_to`` is where its owner wants the rest.
    """

    id: str
    version: int = 0
    state: SessionState = SessionState.AWAITING_PAYMENT
    pubkey: str | None
    created_at: int
    used_at: int
    ended_at: int | None = None
    refund_to: str | None = None
