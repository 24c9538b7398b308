"""What the pool pays of a price, decided: free, a part, or nothing. Amounts in sats."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.money import Msats
from ledger.records import Door, Mode
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core import free_tier, reserving
from timmy_dvm.core.actions import Refused, Working
from timmy_dvm.core.case import Case, Decision, Tell
from timmy_dvm.core.free_tier import DailyBudgets, Offer, Serve, Standing
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.trust import Tier

FULL = {"tier": Tier.ESTABLISHED, "budget": b.sats(50), "used": b.sats(0), "pool": b.sats(10_000)}
MSATS = st.integers(0, 300_000).map(Msats)
STANDINGS = st.builds(
    Standing, tier=st.sampled_from(Tier), budget=MSATS, used=MSATS, pool=MSATS, offered=MSATS
)  # fmt: skip
PRICES = st.integers(1, 300).map(b.sats)


def decided(estimate, **changes):
    """``partial 20+30``."""
    offer = free_tier.decide(Standing(**(FULL | changes)), b.sats(estimate))
    return f"{offer.serve} {b.in_sats(offer.absorb)}+{b.in_sats(offer.charge)}"


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({}, "free 50+0"),
        ({"used": b.sats(1)}, "partial 49+1"),
        ({"used": b.sats(30)}, "partial 20+30"),
        ({"used": b.sats(49)}, "partial 1+49"),
        ({"used": b.sats(50)}, "gate 0+50"),
        ({"used": b.sats(51)}, "gate 0+50"),
        ({"pool": b.sats(50)}, "free 50+0"),
        ({"pool": b.sats(49)}, "partial 49+1"),
        ({"pool": Msats(49_999)}, "partial 49+1"),
        ({"pool": Msats(999)}, "gate 0+50"),
        ({"pool": b.sats(0)}, "gate 0+50"),
        ({"pool": b.sats(12), "used": b.sats(30)}, "partial 12+38"),
        ({"pool": b.sats(30), "used": b.sats(43)}, "partial 7+43"),
        ({"budget": b.sats(0)}, "gate 0+50"),
        ({"lifetime": b.sats(50)}, "free 50+0"),
        ({"lifetime": b.sats(49)}, "partial 49+1"),
        ({"lifetime": Msats(999)}, "gate 0+50"),
        ({"lifetime": b.sats(-3)}, "gate 0+50"),
        ({"lifetime": b.sats(20), "offered": b.sats(15)}, "partial 5+45"),
        ({"lifetime": b.sats(40), "used": b.sats(30)}, "partial 20+30"),
        ({"lifetime": b.sats(0), "welcome": b.sats(50)}, "free 50+0"),
        ({"offered": b.sats(50)}, "free 50+0"),
        ({"used": b.sats(10), "offered": b.sats(15)}, "partial 25+25"),
        ({"used": b.sats(10), "offered": b.sats(40)}, "gate 0+50"),
        ({"used": b.sats(10), "offered": b.sats(90)}, "gate 0+50"),
    ],
)
def test_the_pool_and_the_day_are_looked_at_together(changes, decision):
    """FRE-06, FRE-08: free only where all of it is there; a part only within what is not promised already."""
    assert decided(50, **changes) == decision


@given(STANDINGS, PRICES)
def test_absorb_and_charge_are_the_estimate_always_and_in_whole_sats(standing, estimate):
    """FRE-05, FRE-06, FRE-08, EST-07."""
    offer = free_tier.decide(standing, estimate)
    assert offer.absorb + offer.charge == estimate
    assert offer.absorb % 1_000 == offer.charge % 1_000 == 0
    assert 0 <= offer.absorb <= max(0, min(standing.budget - standing.used, standing.pool))
    assert (offer.serve is Serve.FREE) == (offer.charge == 0)
    assert (offer.serve is Serve.GATE) == (offer.absorb == 0)
    if offer.serve is Serve.PARTIAL:
        assert offer.absorb + standing.offered + standing.used <= standing.budget
    assert free_tier.decide(standing, estimate) == offer


@given(STANDINGS, PRICES, MSATS)
def test_a_welcome_is_for_the_whole_of_an_answer_or_for_nothing(standing, estimate, welcome):
    without = free_tier.decide(standing, estimate)
    welcomed = dataclasses.replace(standing, welcome=welcome)
    offer = free_tier.decide(welcomed, estimate)
    assert offer == (Offer(Serve.FREE, estimate, Msats(0)) if estimate <= welcome else without)
    if estimate > welcome:
        assert welcomed.may_have(estimate) == min(estimate, standing.available)


def test_the_budgets_of_the_page():
    """FRE-01."""
    budgets = [b.in_sats(DailyBudgets().of(tier)) for tier in Tier]
    assert budgets == ["0", "0", "50", "200", "1000"]
    assert DailyBudgets(new=b.sats(7)).of(Tier.NEW) == b.sats(7)


@pytest.mark.parametrize(
    ("pubkey", "identity", "tier", "budget"),
    [
        (None, None, Tier.ANONYMOUS, 0),
        (b.KEY, None, Tier.NEW, 0),
        (b.KEY, b.identity(9), Tier.NEW, 0),
        (b.KEY, b.identity(10), Tier.ESTABLISHED, 50),
        (b.KEY, b.identity(50), Tier.TRUSTED, 200),
        (b.KEY, b.identity(95), Tier.ELITE, 1_000),
        (b.KEY, b.identity(80, last_seen=b.NOW - 31 * 86_400), Tier.TRUSTED, 200),
    ],
)
def test_a_key_stands_by_its_trust_of_today(pubkey, identity, tier, budget):
    """FRE-01, FRE-02: nobody without a key, and no new one, is served free."""
    stands = reserving.standing(Case(identity=identity, pool=b.sats(9)), pubkey, b.NOW, b.POLICY)
    assert (stands.tier, stands.budget, stands.pool) == (tier, b.sats(budget), b.sats(9))


@pytest.mark.parametrize(
    ("pubkey", "score", "lifted", "tier"),
    [
        (b.KEY, 0, Tier.ESTABLISHED, Tier.ESTABLISHED),
        (b.KEY, 10, Tier.TRUSTED, Tier.TRUSTED),
        (b.KEY, 10, Tier.ESTABLISHED, Tier.ESTABLISHED),
        (b.KEY, 95, Tier.ESTABLISHED, Tier.ELITE),
        (b.KEY, 50, None, Tier.TRUSTED),
        (None, 0, Tier.ELITE, Tier.ANONYMOUS),
    ],
)
def test_a_key_that_others_speak_for_is_lifted_for_the_pool_and_never_lowered(pubkey, score, lifted, tier):
    case = Case(identity=b.identity(score), lifted=lifted, pool=b.sats(9))
    case = case if pubkey else dataclasses.replace(case, identity=None)
    stands = reserving.standing(case, pubkey, b.NOW, b.POLICY)
    assert (stands.tier, stands.budget) == (tier, DailyBudgets().of(tier))


def test_whoever_is_lifted_is_no_newcomer():
    """What they draw must not be of what all newcomers have."""
    kind = dataclasses.replace(b.POLICY, newcomers=free_tier.Newcomers())
    for lifted, welcome in ((None, b.sats(20)), (Tier.ESTABLISHED, 0)):
        case = Case(lifted=lifted, pool=b.sats(1_000))
        assert reserving.standing(case, b.KEY, b.NOW, kind).welcome == welcome


MIDNIGHT = b.NOW - b.NOW % 86_400


@pytest.mark.parametrize(
    ("since", "used"), [(MIDNIGHT, 12 + 5), (MIDNIGHT + 86_400, 12 + 5), (MIDNIGHT - 1, 5), (MIDNIGHT - 86_400, 5)]
)
def test_used_is_what_was_granted_since_midnight_and_all_that_is_set_aside(since, used):
    """FRE-26, FRE-28: the counter of another day is none; a clock that went back forgets nothing."""
    row = b.identity(10, sats_absorbed_today=12, absorbed_reset_at=since)
    case = Case(identity=row, reserved_of_key=b.sats(5))
    assert reserving.standing(case, b.KEY, b.NOW, b.POLICY).used == b.sats(used)


@pytest.mark.parametrize(
    ("door", "mode", "used", "shares"),
    [
        # the pool pays eval and work: the customer's part pays for the eval first
        (Door.NOSTR, Mode.ONCE, 0, "0+0 free"),
        (Door.NOSTR, Mode.ONCE, 30, "2+28 partial"),
        (Door.NOSTR, Mode.ONCE, 1, "1+0 partial"),
        (Door.NOSTR, Mode.ONCE, 50, "2+48 gate"),
        # the eval stays due
        (Door.HTTP, Mode.ONCE, 0, "2+0 free"),
        (Door.HTTP, Mode.ONCE, 30, "2+28 partial"),
        (Door.HTTP, Mode.STEPS, 0, "2+0 free"),
        (Door.HTTP, Mode.STEPS, 30, "2+28 partial"),
        (Door.HTTP, Mode.STEPS, 50, "2+48 gate"),
        (Door.NOSTR, Mode.STEPS, 0, "2+0 free"),
    ],
)
def test_what_the_customer_is_asked_for_each_step(door, mode, used, shares):
    """D11: on relays over eval and work, over HTTP over the work."""
    stands = Standing(**(FULL | {"used": b.sats(used)}))
    terms = free_tier.terms(stands, b.sats(2), b.sats(48), door, mode)
    told = f"{b.in_sats(terms.share_eval)}+{b.in_sats(terms.share_work)} {terms.offer.serve}"
    assert told == shares
    assert terms.due == terms.share_eval + terms.share_work


@given(STANDINGS, PRICES, PRICES, st.sampled_from(Door), st.sampled_from(Mode))
def test_what_the_shares_leave_of_the_price_is_the_offer(standing, eval_fee, work_fee, door, mode):
    terms = free_tier.terms(standing, eval_fee, work_fee, door, mode)
    quote = dataclasses.replace(b.quote(), eval_fee=eval_fee, work_fee=work_fee)
    assert free_tier.offered(quote, terms.share_eval, terms.share_work) == terms.offer.absorb
    assert 0 <= terms.share_eval <= eval_fee
    assert 0 <= terms.share_work <= work_fee


@pytest.mark.parametrize(("actual", "reserved", "grant"), [(42, 50, 42), (60, 50, 50), (50, 50, 50), (42, 0, 0)])
def test_a_grant_is_the_cost_as_far_as_it_was_reserved(actual, reserved, grant):
    """FRE-21; the eval is a part of it on relays alone."""
    eval_fee, work = b.sats(2), b.sats(actual)
    over_http = free_tier.grant(b.sats(reserved), eval_fee, work, with_eval=False)
    on_relays = free_tier.grant(b.sats(reserved), eval_fee, Msats(work - eval_fee), with_eval=True)
    assert over_http == on_relays == b.sats(grant)


def test_nothing_is_set_aside_where_no_job_starts_or_nothing_was_offered():
    for decision in (Decision(), Decision(job=b.job())):
        assert reserving.starts(Case(), decision, b.NOW, Policy()) is decision


def test_what_is_told_when_a_job_starts_gets_the_use_of_the_day_and_other_words_stay():
    beside = Tell(Refused(code="x", sentence="Beside."))
    job = b.job(share_eval=b.sats(0), share_work=b.sats(92))
    case = b.around(job, 92, pool=b.sats(50), identity=b.identity(20))
    decision = Decision(job=job, tells=(beside, Tell(Working(covered_by="invoice", credit=Msats(0)))))
    started = reserving.starts(case, decision, b.NOW, Policy())
    assert started.tells[0] is beside
    use = started.tells[1].message.free
    assert (use.absorbed, use.used, use.budget) == (b.sats(10), b.sats(10), b.sats(50))
    assert b.moves(started) == ["pool>reserved 10"]
    assert started.reservation.amount == b.sats(10)


def test_an_offer_is_a_plain_value():
    assert free_tier.decide(Standing(**FULL), b.sats(50)) == Offer(Serve.FREE, b.sats(50), b.sats(0))
