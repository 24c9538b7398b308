"""What the generosity pool pays of a price: how much, of which step, for whom. Pure; moves nothing.

The same answer is a decision when a job is made of it and a dry run when somebody only asks. Amounts are msat in
whole sats, and ``absorb + charge`` is the estimate, always: what the pool does not pay the customer is asked for.

On relays the pool is asked before eval, for eval and work together, so that a trusted key is served without any
invoice. Over HTTP it is asked for the work alone, and the eval fee stays due; a job with an invoice for each step
asks when its eval has passed.
"""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

from ledger.money import MSATS_PER_SAT, ZERO, Msats, msats_from_sats
from ledger.records import Door, Mode, Quote
from timmy_dvm.core.trust import Tier


class Serve(StrEnum):
    """How a request is met."""

    FREE = "free"
    """The pool pays all that it may be asked for: that much is set aside at once."""
    PARTIAL = "partial"
    """The pool offers a part. Nothing is set aside before the customer's own part is paid."""
    GATE = "gate"
    """The pool pays nothing: the full price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyBudgets:
    """What a key may draw on the pool in a UTC day, by its tier."""

    new: Msats = ZERO
    established: Msats = msats_from_sats(50)
    trusted: Msats = msats_from_sats(200)
    elite: Msats = msats_from_sats(1_000)

    def of(self, tier: Tier) -> Msats:
        """The budget of one tier. Whoever has no key has none."""
        budgets = {
            Tier.NEW: self.new,
            Tier.ESTABLISHED: self.established,
            Tier.TRUSTED: self.trusted,
            Tier.ELITE: self.elite,
        }
        return budgets.get(tier, ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomers:
    """One free answer for each new key, so that it can try one: bounded for all of them together.

    Attributes:
        dearest: what such an answer may cost.
        per_day: what all newcomers of a UTC day may draw.
        kept_percent: the part of the pool they never touch, kept for keys with history.
    """

    dearest: Msats = msats_from_sats(20)
    per_day: Msats = msats_from_sats(150)
    kept_percent: int = 50

    def room(self, pool: Msats, drawn: Msats) -> Msats:
        """What the next newcomer may have, where ``drawn`` is what newcomers have of the pool today."""
        kept = -(-(pool + drawn) * self.kept_percent // 100)
        return Msats(max(0, min(self.dearest, self.per_day - drawn, pool - kept)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All that a decision of the pool looks at.

    Attributes:
        tier: what the pool treats the key as: its own tier, decay included, or the one it is lifted to.
        budget: what that tier may draw in a UTC day.
        used: what the key was granted today, and all that is set aside for its jobs.
        pool: what the pool can set aside.
        offered: what it offers for the key's jobs that wait for payment, and for those that run in a session.
            Nothing holds an offer, but each may be taken up, and what the pool then lacks is our loss: so all of
            them together stay within the day.
        lifetime: what the key may still draw in its life; None where the operator sets no such bound.
        welcome: what a newcomer's one answer may cost to be free. It is given at once or not at all: never as an
            offer, and a dearer answer is not free in part either. It has its own bounds, and no other.
    """

    tier: Tier
    budget: Msats
    used: Msats
    pool: Msats
    offered: Msats = ZERO
    lifetime: Msats | None = None
    welcome: Msats = ZERO

    def may_have(self, wanted: Msats) -> Msats:
        """What can be set aside of what a job that starts now was offered."""
        return Msats(wanted if wanted <= self.welcome else min(wanted, self.available))

    @property
    def available(self) -> Msats:
        """What can be set aside for the key now."""
        return _whole_sats(min(self._left, self.pool))

    @property
    def promisable(self) -> Msats:
        """What can be offered to the key besides what it is offered already."""
        return _whole_sats(min(self._left - self.offered, self.pool))

    @property
    def _left(self) -> int:
        """What is left to the key, of its day and of its life."""
        of_day = self.budget - self.used
        return of_day if self.lifetime is None else min(of_day, self.lifetime)


def _whole_sats(amount: int) -> Msats:
    """At least nothing; a pool can hold parts of a sat, an invoice can't."""
    return Msats(max(0, amount - amount % MSATS_PER_SAT))


@dataclass(frozen=True, slots=True)
class Offer:
    """``absorb`` from the pool, ``charge`` from the customer. A part is advisory: nothing holds it."""

    serve: Serve
    absorb: Msats
    charge: Msats


def decide(standing: Standing, estimate: Msats) -> Offer:
    """How a price is met. It looks and touches nothing, so it is its own dry run."""
    if standing.may_have(estimate) == estimate:
        return Offer(Serve.FREE, estimate, ZERO)
    absorb = standing.promisable
    return Offer(Serve.PARTIAL if absorb else Serve.GATE, absorb, Msats(estimate - absorb))


def pays_eval(door: Door, mode: Mode) -> bool:
    """Whether the pool is asked for the eval fee too; else that stays due."""
    return door is Door.NOSTR and mode is Mode.ONCE


@dataclass(frozen=True, slots=True)
class Terms:
    """What the customer is asked for each step, and what the pool offers of the rest."""

    share_eval: Msats
    share_work: Msats
    offer: Offer

    @property
    def due(self) -> Msats:
        """What the customer pays at most, before their credit."""
        return Msats(self.share_eval + self.share_work)


def terms(standing: Standing, eval_fee: Msats, work_fee: Msats, door: Door, mode: Mode) -> Terms:
    """What a job of this price asks of its customer, as things stand. Their part pays for the eval first."""
    if pays_eval(door, mode):
        offer = decide(standing, Msats(eval_fee + work_fee))
        share_eval = Msats(min(eval_fee, offer.charge))
        return Terms(share_eval, Msats(offer.charge - share_eval), offer)
    if mode is Mode.ONCE:
        # Only offered until the eval is paid, and any number of new keys could be offered the same last sats.
        standing = dataclasses.replace(standing, welcome=ZERO)
    offer = decide(standing, work_fee)
    return Terms(eval_fee, offer.charge, offer)


def offered(quote: Quote, share_eval: Msats, share_work: Msats) -> Msats:
    """What the pool was to pay of a price: what the customer's share leaves of it."""
    return Msats(quote.eval_fee + quote.work_fee - share_eval - share_work)


def grant(reserved: Msats, eval_cost: Msats, work_cost: Msats, *, with_eval: bool) -> Msats:
    """What the pool pays of a job that was done: its cost, as far as the pool covers it and was set aside."""
    covered = work_cost + (eval_cost if with_eval else 0)
    return Msats(min(covered, reserved))
