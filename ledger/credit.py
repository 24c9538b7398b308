"""What a key has here beside its jobs: top-ups of its credit, and what keeps it from being forgotten. Pure.

Amounts are msat, times unix seconds.
"""

from dataclasses import dataclass
from typing import Final

from ledger.money import ZERO, Msats

FORGOTTEN_AT_ONCE: Final = 500
"""Jobs of a key whose texts one change erases, the oldest first: others wait for the writer meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpRecord:
    """Somebody asked for an invoice that fills a prepaid account, or the pool; whatever comes for it goes there.

    A gift to the pool has a ``pubkey`` only where its giver wants to be named.

    ``id`` is random; ``origin`` is the door's own note (JSON) on how to answer, empty once it was forgotten.
    ``payment_hash`` is None until our wallet made the invoice. A top-up waits until ``ended_at``: it was paid, its
    invoice ran out, it was taken back, or no invoice could be made. Money that comes after that is booked as well.
    """

    id: str
    event_id: str | None
    account: str
    pubkey: str | None
    amount: Msats
    origin: str
    payment_hash: str | None = None
    created_at: int
    ended_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """What of a key is not over yet. While there is any of it, its texts are still needed.

    Attributes:
        jobs: how many have not ended.
        topups: how many top-ups wait, for their invoice or for its payment; and gifts, for their invoice.
        owed: what is on its way back, or waits to be claimed.
        payable_until: when the last invoice ends that may still be paid; None where there is none.
    """

    jobs: int = 0
    topups: int = 0
    owed: Msats = ZERO
    payable_until: int | None = None
