"""Trust in a public key: a score from 0 to 100, raised by paid work, lowered by trouble and by absence. Pure.

Only *paid* success raises it; a free answer merely keeps the key fresh, else the free tier would farm itself.
Decay is lazy: it is applied before any change and never written by a look.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ledger.money import ZERO, Msats, msats_from_sats, sats_down
from ledger.records import IdentityRecord

LOWEST, HIGHEST = 0, 100
DAY_S: Final = 86_400


class Tier(StrEnum):
    """What a score is worth. ``anonymous`` has no key and exists at the HTTP door only."""

    ANONYMOUS = "anonymous"
    NEW = "new"
    ESTABLISHED = "established"
    TRUSTED = "trusted"
    ELITE = "elite"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRules:
    """How a score is earned, lost and read; the operator's, as `[trust]` has it.

    Attributes:
        established, trusted, elite: the score from which a key is that; below the first it is new.
        paid_points, large_paid_points: gained by a paid success, by one charged ``large_paid`` or more.
        rejected_points, failed_points: lost by a rejected request, by a failed job.
        decay_after_days, decay_points_per_day: what absence costs, and from when.
    """

    established: int = 10
    trusted: int = 50
    elite: int = 80
    paid_points: int = 1
    large_paid_points: int = 2
    large_paid: Msats = msats_from_sats(100)
    rejected_points: int = 5
    failed_points: int = 1
    decay_after_days: int = 30
    decay_points_per_day: int = 1

    @property
    def thresholds(self) -> tuple[tuple[int, Tier], ...]:
        """Every tier of a key with the score it begins at, the highest first."""
        return (
            (self.elite, Tier.ELITE),
            (self.trusted, Tier.TRUSTED),
            (self.established, Tier.ESTABLISHED),
            (LOWEST, Tier.NEW),
        )


def tier_of(score: int, rules: TrustRules) -> Tier:
    """The tier of a score."""
    return next(tier for threshold, tier in rules.thresholds if score >= threshold)


def tier(identity: IdentityRecord | None, now: int, rules: TrustRules) -> Tier:
    """The tier of a key as it stands now, decay included; None is anonymous."""
    return Tier.ANONYMOUS if identity is None else tier_of(score(identity, now, rules), rules)


def higher(own: Tier, lifted: Tier | None) -> Tier:
    """A key's own tier, or the one it is lifted to where that is higher. Whoever has no key is never lifted."""
    order = tuple(Tier)
    if lifted is None or own is Tier.ANONYMOUS or order.index(lifted) < order.index(own):
        return own
    return lifted


def highest(lifts: Iterable[Tier | None]) -> Tier | None:
    """The highest tier of these; None where nobody lifts."""
    return max((lift for lift in lifts if lift is not None), key=tuple(Tier).index, default=None)


def score(identity: IdentityRecord, now: int, rules: TrustRules) -> int:
    """The score with decay: after a time of absence it falls each day, down to 0."""
    days_away = max(0, now - identity.last_seen) // DAY_S
    decayed = max(0, days_away - rules.decay_after_days) * rules.decay_points_per_day
    return max(LOWEST, identity.trust_score - decayed)


def why(identity: IdentityRecord, now: int, rules: TrustRules) -> str:
    """A key's tier in words: what made it, and what the next one needs."""
    points = score(identity, now, rules)
    above = [(threshold, tier) for threshold, tier in rules.thresholds if threshold > points]
    threshold, next_tier = above[-1] if above else (HIGHEST, Tier.ELITE)
    onward = f"{threshold - points} more make it {next_tier}" if above else "there is no higher tier"
    gain = "1 point" if rules.paid_points == 1 else f"{rules.paid_points} points"
    return (
        f"{points} of {HIGHEST} points make this key {tier_of(points, rules)}; {onward}. A paid answer gives "
        f"{gain}, from {sats_down(rules.large_paid)} sats {rules.large_paid_points}; a rejected request takes "
        f"{rules.rejected_points}, a failed one {rules.failed_points}, and after {rules.decay_after_days} days "
        f"of absence each day {rules.decay_points_per_day}."
    )


def met(identity: IdentityRecord | None, pubkey: str, now: int) -> IdentityRecord:
    """The row of a key that has just asked for something. Asking alone changes neither score nor freshness."""
    return identity or IdentityRecord(pubkey=pubkey, first_seen=now, last_seen=now)


def after_success(identity: IdentityRecord, charged: Msats, now: int, rules: TrustRules) -> IdentityRecord:
    """A job was completed. ``charged`` is what its customer paid: nothing was gained where the answer was free."""
    if charged == ZERO:
        return _changed(identity, 0, now, rules)
    gain = rules.large_paid_points if charged >= rules.large_paid else rules.paid_points
    return _changed(identity, gain, now, rules, paid=True)


def after_rejection(identity: IdentityRecord, now: int, rules: TrustRules) -> IdentityRecord:
    """A request was rejected by eval."""
    return _changed(identity, -rules.rejected_points, now, rules)


def after_failure(identity: IdentityRecord, now: int, rules: TrustRules) -> IdentityRecord:
    """A job failed."""
    return _changed(identity, -rules.failed_points, now, rules)


def _changed(
    identity: IdentityRecord, change: int, now: int, rules: TrustRules, *, paid: bool = False
) -> IdentityRecord:
    return dataclasses.replace(
        identity,
        trust_score=min(HIGHEST, max(LOWEST, score(identity, now, rules) + change)),
        interaction_count=identity.interaction_count + 1,
        paid_jobs=identity.paid_jobs + paid,
        last_seen=max(now, identity.last_seen),
    )
