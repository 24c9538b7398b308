"""Trust: what raises and lowers a score, and how absence wears it down (money.md 4, IDN-04 to IDN-09)."""

import dataclasses

import pytest

from ledger.money import Msats
from ledger.records import JobState
from tests.timmy_dvm.core.builders import KEY, NOW, identity, job, sats
from timmy_dvm.core import trust
from timmy_dvm.core.trust import Tier, TrustRules

DAY = 86_400
RULES = TrustRules()


@pytest.mark.parametrize(
    ("score", "tier"),
    [
        (0, Tier.NEW), (9, Tier.NEW), (10, Tier.ESTABLISHED), (11, Tier.ESTABLISHED), (49, Tier.ESTABLISHED),
        (50, Tier.TRUSTED), (51, Tier.TRUSTED), (79, Tier.TRUSTED), (80, Tier.ELITE),
        (81, Tier.ELITE), (100, Tier.ELITE),
    ],
)  # fmt: skip
def test_a_tier_begins_at_its_threshold(score, tier):
    assert trust.tier_of(score, RULES) is tier
    assert trust.tier(identity(score, last_seen=NOW), NOW, RULES) is tier


def test_the_five_names():
    """IDN-03."""
    assert [str(tier) for tier in Tier] == ["anonymous", "new", "established", "trusted", "elite"]


def test_no_key_is_anonymous():
    assert trust.tier(None, NOW, RULES) is Tier.ANONYMOUS


@pytest.mark.parametrize(
    ("days_away", "left"), [(0, 60), (29, 60), (30, 60), (31, 59), (40, 50), (89, 1), (90, 0), (4_000, 0)]
)
def test_absence_costs_a_point_a_day_after_thirty(days_away, left):
    """IDN-08."""
    key = identity(60, last_seen=NOW - days_away * DAY)
    assert trust.score(key, NOW, RULES) == left


def test_a_look_writes_nothing_and_a_clock_that_went_back_costs_nothing():
    key = identity(60, last_seen=NOW + DAY)
    before = dataclasses.replace(key)
    assert trust.score(key, NOW, RULES) == 60
    assert key == before


@pytest.mark.parametrize(
    ("charged", "score", "paid_jobs"),
    [(sats(0), 20, 0), (Msats(1), 21, 1), (sats(99), 21, 1), (Msats(99_999), 21, 1), (sats(100), 22, 1)],
)
def test_only_paid_success_raises_and_a_large_one_twice(charged, score, paid_jobs):
    after = trust.after_success(identity(20), charged, NOW, RULES)
    assert (after.trust_score, after.paid_jobs, after.interaction_count, after.last_seen) == (
        score,
        paid_jobs,
        1,
        NOW,
    )


def test_a_free_success_keeps_the_key_fresh():
    key = identity(20, last_seen=NOW - 30 * DAY)
    fresh = trust.after_success(key, sats(0), NOW, RULES)
    assert trust.score(fresh, NOW + 30 * DAY, RULES) == 20


def test_a_rejection_costs_five_and_a_failure_one():
    assert trust.after_rejection(identity(20), NOW, RULES).trust_score == 15
    assert trust.after_failure(identity(20), NOW, RULES).trust_score == 19


def test_the_score_stays_between_its_bounds():
    """IDN-06."""
    assert trust.after_rejection(identity(3), NOW, RULES).trust_score == 0
    assert trust.after_failure(identity(0), NOW, RULES).trust_score == 0
    assert trust.after_success(identity(99), sats(100), NOW, RULES).trust_score == 100


def test_decay_comes_before_a_change():
    """IDN-07: an elite key that was away for long is not elite again after one success."""
    away = identity(95, last_seen=NOW - 90 * DAY)
    after = trust.after_success(away, sats(5), NOW, RULES)
    assert after.trust_score == 36
    assert trust.tier(after, NOW, RULES) is Tier.ESTABLISHED


def test_freshness_never_goes_back():
    key = identity(20, last_seen=NOW + 50)
    assert trust.after_failure(key, NOW, RULES).last_seen == NOW + 50


def test_asking_alone_changes_nothing():
    known = identity(20)
    assert trust.met(known, KEY, NOW) is known
    new = trust.met(None, KEY, NOW)
    assert (new.pubkey, new.version, new.trust_score, new.first_seen, new.last_seen) == (KEY, 0, 0, NOW, NOW)


# What the operator decides ---------------------------------------------------------------------------------------

OTHER = TrustRules(
    established=5, trusted=6, elite=7, paid_points=3, large_paid_points=9, large_paid=sats(20),
    rejected_points=4, failed_points=2, decay_after_days=1, decay_points_per_day=10,
)  # fmt: skip


@pytest.mark.parametrize(
    ("score", "tier"), [(4, Tier.NEW), (5, Tier.ESTABLISHED), (6, Tier.TRUSTED), (7, Tier.ELITE)]
)
def test_thresholds_are_the_operators(score, tier):
    assert trust.tier_of(score, OTHER) is tier


def test_points_are_the_operators():
    key = identity(50)
    assert trust.after_success(key, sats(19), NOW, OTHER).trust_score == 53
    assert trust.after_success(key, sats(20), NOW, OTHER).trust_score == 59
    assert trust.after_rejection(key, NOW, OTHER).trust_score == 46
    assert trust.after_failure(key, NOW, OTHER).trust_score == 48
    assert trust.score(identity(50, last_seen=NOW - 4 * DAY), NOW, OTHER) == 20


def test_why_says_the_operators_numbers():
    assert trust.why(identity(5, last_seen=NOW), NOW, OTHER) == (
        "5 of 100 points make this key established; 1 more make it trusted. No paid answer has raised it yet. "
        "Nothing has lowered it yet. A paid answer gives 3 points, from 20 sats 9; a rejected request takes 4, a "
        "failed one 2, and after 1 days of absence each day 10."
    )
    assert "A paid answer gives 1 point, from 100 sats 2; a rejected request takes 5" in trust.why(
        identity(99, last_seen=NOW), NOW, RULES
    )


PAID = job(JobState.COMPLETE, charge_eval=sats(2), charge_work=sats(98), ended_at=NOW - 3 * DAY)
REJECTED = job(JobState.REJECTED, ended_at=NOW - DAY)
FAILED = job(JobState.FAILED, ended_at=NOW - 60)


@pytest.mark.parametrize(
    ("raised", "lowered", "days_away", "words"),
    [
        (None, None, 0, "No paid answer has raised it yet. Nothing has lowered it yet."),
        (PAID, None, 0, "A paid answer raised it last, by 2 points, 3 days ago. Nothing has lowered it yet."),
        (
            dataclasses.replace(PAID, charge_work=sats(97), ended_at=NOW - DAY), REJECTED, 1,
            (
                "A paid answer raised it last, by 1 point, a day ago. "
                "A rejected request lowered it last, by 5 points or down to 0, a day ago."
            ),
        ),
        (None, FAILED, 0, "A failed request lowered it last, by 1 point or down to 0, less than a day ago."),
        (PAID, FAILED, 37, "An absence of 37 days lowered it last, by 7 points so far."),
        (PAID, FAILED, 400, "An absence of 400 days lowered it last, by 20 points so far."),
    ],
)  # fmt: skip
def test_why_says_what_raised_and_what_lowered_it_last(raised, lowered, days_away, words):
    told = trust.why(identity(20, last_seen=NOW - days_away * DAY), NOW, RULES, raised, lowered)
    assert words in told
