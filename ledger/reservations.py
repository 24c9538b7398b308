"""Pool money that is set aside for one job: how it begins, its one end, and what the pool's books tell. Pure.

A reservation is a row and an account, ``reserved:<job>``, that tell the same. The ledger lets it begin once a job,
filled by one entry (``pool → reserved``) of exactly its amount, and end once, drained: what the settlement took
(``reserved → earned``) is the grant, and the rest went back (``reserved → pool``). Amounts are msat in whole sats,
times unix seconds.
"""

from dataclasses import dataclass

from ledger.money import Msats


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReservation:
    """The pool sets ``amount`` aside for a job; the entry that moves it belongs to the same change.

    ``tier`` is the key's trust at that moment, and ``budget`` what that lets it draw in the UTC day of ``at``. A
    reservation that would bring what was granted in that day and all that is set aside for the key above it is
    refused by the ledger itself.
    """

    job_id: str
    tier: str
    budget: Msats
    amount: Msats
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationEnd:
    """The one end of a job's reservation: its settlement took ``granted``, 0 where the job came to nothing."""

    job_id: str
    granted: Msats
    at: int


@dataclass(frozen=True, slots=True)
class TierUse:
    """What the keys of one tier drew in a day, what is set aside for them now, and for how many jobs."""

    tier: str
    granted: Msats
    reserved: Msats
    jobs: int


@dataclass(frozen=True, slots=True)
class Grant:
    """One answer that the pool paid for, in whole or in part."""

    at: int
    tier: str
    granted: Msats


@dataclass(frozen=True, slots=True)
class PoolMove:
    """One entry that moved the pool: ``amount`` in msat is what it gained, below 0 what was set aside."""

    at: int
    code: str
    amount: Msats


@dataclass(frozen=True, slots=True)
class Donor:
    """One gift to the pool whose giver wants to be named: when it came, of which key (hex), and what came."""

    at: int
    pubkey: str
    amount: Msats


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolBooks:
    """The pool at one moment. All it was ever given is what it holds, what is set aside and what it granted."""

    balance: Msats
    reserved: Msats
    granted: Msats
    today: tuple[TierUse, ...]
    grants: tuple[Grant, ...]
    """The newest first."""
    moves: tuple[PoolMove, ...]
    """The newest first."""
    donors: tuple[Donor, ...] = ()
    """The newest first."""

    @property
    def given(self) -> Msats:
        """All that ever went into the pool: its start, its share of what was earned, donations, rests."""
        return Msats(self.balance + self.reserved + self.granted)
