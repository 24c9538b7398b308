"""What can happen to a gift to the pool before it has an invoice, as frozen values; see ``core.facts``."""

from dataclasses import dataclass

from ledger.money import Msats


@dataclass(frozen=True, slots=True, kw_only=True)
class DonationAsked:
    """Somebody wants an invoice that fills the pool (LNURL-pay, LUD-06; a zap, NIP-57).

    ``topup_id`` is fresh and random; ``amount`` is what they wrote, not judged yet. ``description_hash`` (hex) is
    what the invoice commits to. ``donor`` is the key (hex) that signed and wants to be named, None for nobody;
    ``origin`` is the door's own note, out of which the receipt of a zap is made.
    """

    topup_id: str
    amount: Msats
    description_hash: str
    origin: str
    at: int
    donor: str | None = None
    job_id: str | None = None

    @property
    def id(self) -> str:
        return f"donation:{self.topup_id}"
