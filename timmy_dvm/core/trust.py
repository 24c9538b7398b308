"""Trust in a public key: a score from 0 to 100, raised by paid work, lowered by trouble and by absence. Pure.

Only *paid* success raises it; a free answer merely keeps the key fresh, else the free tier would farm itself.
Decay is lazy: it is applied before any change and never written by a look.
"""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ledger.money import ZERO, Msats, msats_from_sats, sats_down
from ledger.records import IdentityRecord, JobRecord, JobState

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


def score(identity: IdentityRecord, now: int, rules: TrustRules) -> int:
    """The score with decay: after a time of absence it falls each day, down to 0."""
    days_away = max(0, now - identity.last_seen) // DAY_S
    decayed = max(0, days_away - rules.decay_after_days) * rules.decay_points_per_day
    return max(LOWEST, identity.trust_score - decayed)


def why(
    identity: IdentityRecord,
    now: int,
    rules: TrustRules,
    raised: JobRecord | None = None,
    lowered: JobRecord | None = None,
) -> str:
    """A key's tier in words: what made it, and what the next one needs.

    ``raised`` and ``lowered`` are the newest of its jobs that did that, None where none did.
    """
    points = score(identity, now, rules)
    above = [(threshold, tier) for threshold, tier in rules.thresholds if threshold > points]
    threshold, next_tier = above[-1] if above else (HIGHEST, Tier.ELITE)
    onward = f"{threshold - points} more make it {next_tier}" if above else "there is no higher tier"
    return (
        f"{points} of {HIGHEST} points make this key {tier_of(points, rules)}; {onward}. "
        f"{_raised_last(raised, now, rules)} {_lowered_last(identity, lowered, now, rules)} A paid answer gives "
        f"{_points(rules.paid_points)}, from {sats_down(rules.large_paid)} sats {rules.large_paid_points}; a "
        f"rejected request takes {rules.rejected_points}, a failed one {rules.failed_points}, and after "
        f"{rules.decay_after_days} days of absence each day {rules.decay_points_per_day}."
    )


def _raised_last(job: JobRecord | None, now: int, rules: TrustRules) -> str:
    if job is None:
        return "No paid answer has raised it yet."
    gain = _gain(Msats(job.charge_eval + job.charge_work), rules)
    return f"A paid answer raised it last, by {_points(gain)}, {_ago(job, now)}."


def _lowered_last(identity: IdentityRecord, job: JobRecord | None, now: int, rules: TrustRules) -> str:
    if faded := identity.trust_score - score(identity, now, rules):
        days = (now - identity.last_seen) // DAY_S
        return f"An absence of {days} days lowered it last, by {_points(faded)} so far."
    if job is None:
        return "Nothing has lowered it yet."
    rejected = job.state is JobState.REJECTED
    what, loss = ("rejected", rules.rejected_points) if rejected else ("failed", rules.failed_points)
    return f"A {what} request lowered it last, by {_points(loss)} or down to {LOWEST}, {_ago(job, now)}."


def _points(number: int) -> str:
    return "1 point" if number == 1 else f"{number} points"


def _ago(job: JobRecord, now: int) -> str:
    """When a job ended, in days, for a day is all that trust knows of time."""
    days = max(0, now - (job.ended_at or now)) // DAY_S
    return "less than a day ago" if not days else ("a day ago" if days == 1 else f"{days} days ago")


def met(identity: IdentityRecord | None, pubkey: str, now: int) -> IdentityRecord:
    """The row of a key that has just asked for something. Asking alone changes neither score nor freshness."""
    return identity or IdentityRecord(pubkey=pubkey, first_seen=now, last_seen=now)


def after_success(identity: IdentityRecord, charged: Msats, now: int, rules: TrustRules) -> IdentityRecord:
    """A job was completed. ``charged`` is what its customer paid: nothing was gained where the answer was free."""
    if charged == ZERO:
        return _changed(identity, 0, now, rules)
    return _changed(identity, _gain(charged, rules), now, rules, paid=True)


def _gain(charged: Msats, rules: TrustRules) -> int:
    return rules.large_paid_points if charged >= rules.large_paid else rules.paid_points


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
