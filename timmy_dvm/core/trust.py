"""Trust in a public key: a score from 0 to 100, raised by paid work, lowered by trouble and by absence. Pure.

Only *paid* success raises it; a free answer merely keeps the key fresh, else the free tier would farm itself.
Decay is lazy: it is applied before any change and never written by a look.
"""

import dataclasses
from enum import StrEnum
from typing import Final

from ledger.money import Msats, msats_from_sats, sats_down
from ledger.records import IdentityRecord

LOWEST, HIGHEST = 0, 100
DECAY_AFTER_DAYS: Final = 30
LARGE_JOB: Final = msats_from_sats(100)
_DAY: Final = 86_400


class Tier(StrEnum):
    """What a score is worth. ``anonymous`` has no key and exists at the HTTP door only."""

    ANONYMOUS = "anonymous"
    NEW = "new"
    ESTABLISHED = "established"
    TRUSTED = "trusted"
    ELITE = "elite"


THRESHOLDS: Final = ((80, Tier.ELITE), (50, Tier.TRUSTED), (10, Tier.ESTABLISHED), (0, Tier.NEW))


def tier_of(score: int) -> Tier:
    """The tier of a score."""
    return next(tier for threshold, tier in THRESHOLDS if score >= threshold)


def tier(identity: IdentityRecord | None, now: int) -> Tier:
    """The tier of a key as it stands now, decay included; None is anonymous."""
    return Tier.ANONYMOUS if identity is None else tier_of(score(identity, now))


def score(identity: IdentityRecord, now: int) -> int:
    """The score with decay: after 30 days of absence one point a day, down to 0."""
    days_away = max(0, now - identity.last_seen) // _DAY
    return max(LOWEST, identity.trust_score - max(0, days_away - DECAY_AFTER_DAYS))


def why(identity: IdentityRecord, now: int) -> str:
    """A key's tier in words: what made it, and what the next one needs."""
    points = score(identity, now)
    above = [(threshold, tier) for threshold, tier in THRESHOLDS if threshold > points]
    threshold, next_tier = above[-1] if above else (HIGHEST, tier_of(HIGHEST))
    onward = f"{threshold - points} more make it {next_tier}" if above else "there is no higher tier"
    return (
        f"{points} of {HIGHEST} points make this key {tier_of(points)}; {onward}. A paid answer gives 1 point, "
        f"from {sats_down(LARGE_JOB)} sats 2; a rejected request takes 5, a failed one 1, "
        f"and after {DECAY_AFTER_DAYS} days of absence each day 1."
    )


def met(identity: IdentityRecord | None, pubkey: str, now: int) -> IdentityRecord:
    """The row of a key that has just asked for something. Asking alone changes neither score nor freshness."""
    return identity or IdentityRecord(pubkey=pubkey, first_seen=now, last_seen=now)


def after_success(identity: IdentityRecord, charged: Msats, now: int) -> IdentityRecord:
    """A job was completed: +1 when it was paid, +2 from 100 sats, 0 when it was free."""
    gain = 0 if not charged else (2 if charged >= LARGE_JOB else 1)
    return _changed(identity, gain, now, paid=bool(charged))


def after_rejection(identity: IdentityRecord, now: int) -> IdentityRecord:
    """A request was rejected by eval: -5."""
    return _changed(identity, -5, now)


def after_failure(identity: IdentityRecord, now: int) -> IdentityRecord:
    """A job failed: -1."""
    return _changed(identity, -1, now)


def _changed(identity: IdentityRecord, change: int, now: int, *, paid: bool = False) -> IdentityRecord:
    return dataclasses.replace(
        identity,
        trust_score=min(HIGHEST, max(LOWEST, score(identity, now) + change)),
        interaction_count=identity.interaction_count + 1,
        paid_jobs=identity.paid_jobs + paid,
        last_seen=max(now, identity.last_seen),
    )
