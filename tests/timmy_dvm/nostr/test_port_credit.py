"""Top-ups, pay-outs and wishes to be forgotten at the relay door: each a fact, and a refused one an error."""

import pytest

from ledger.money import Msats
from ledger.records import Applied, Change
from tests.timmy_dvm.nostr.door import PRICES, Door
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, P_TIMMY, invoice, signed
from timmy_dvm.core.credit_facts import ForgetAsked, PayoutAsked, TopUpAsked
from timmy_dvm.core.facts import CancelAsked
from timmy_dvm.nostr.desk import ERRORS_PER_KEY_MINUTE
from timmy_dvm.nostr.origin import read_origin

REFUSED = Applied(None, change=Change())


def topup(number=0, keys=ALICE):
    params = (("param", "op", "topup"), ("param", "amount_sats", "500"), ("salt", str(number)))
    return signed(P_TIMMY, *params, keys=keys)


def payout(number=0, keys=ALICE):
    params = (("param", "op", "refund"), ("param", "invoice", invoice()), ("salt", str(number)))
    return signed(P_TIMMY, *params, keys=keys)


def forget(number=0, keys=ALICE):
    return signed(P_TIMMY, ("param", "op", "forget"), ("salt", str(number)), keys=keys)


async def test_each_becomes_a_fact_and_what_it_may_make_has_a_fresh_id():
    async with Door() as door:
        door.pool.hear(topup(1), topup(2), payout(1), payout(2), forget())
        facts = await door.engine.wait_for(5)
    first, second, *payouts, last = sorted(facts, key=lambda fact: type(fact).__name__, reverse=True)
    assert isinstance(first, TopUpAsked)
    assert isinstance(second, TopUpAsked)
    assert (first.amount, first.pubkey, first.at) == (Msats(500_000), ALICE.public_key, NOW)
    assert read_origin(first.origin)[0].btc_micro_usd == PRICES.current().micro_usd
    assert all(isinstance(fact, PayoutAsked) for fact in payouts)
    assert isinstance(last, ForgetAsked)
    fresh = {first.topup_id, second.topup_id, *(fact.refund_id for fact in payouts)}
    assert len(fresh) == 4
    assert all(len(name) == 32 for name in fresh)
    assert not fresh & {fact.event_id[:32] for fact in facts}


@pytest.mark.parametrize("asking", [topup, payout])
async def test_a_key_that_is_refused_again_and_again_is_refused_in_silence(asking):
    async with Door(error_answers_per_second=1_000) as door:
        door.engine.plan = [REFUSED] * (ERRORS_PER_KEY_MINUTE + 3)
        door.pool.hear(*(asking(number, MALLORY) for number in range(ERRORS_PER_KEY_MINUTE + 3)))
        facts = await door.engine.wait_for(ERRORS_PER_KEY_MINUTE + 3)
        door.pool.hear(asking(0, ALICE))
        facts = await door.engine.wait_for(ERRORS_PER_KEY_MINUTE + 4)
    answered = [fact.answered for fact in facts]
    assert answered[-1]
    assert sum(answered[:-1]) == ERRORS_PER_KEY_MINUTE


async def test_a_wish_to_be_forgotten_costs_its_key_one_of_its_free_answers():
    async with Door(error_answers_per_second=1_000) as door:
        door.pool.hear(*(forget(number) for number in range(ERRORS_PER_KEY_MINUTE + 10)))
        assert len(await door.marked()) == ERRORS_PER_KEY_MINUTE


async def test_a_topup_can_be_taken_back_by_its_author_alone():
    async with Door() as door:
        wanted = topup()
        door.books.has_topup(wanted)
        door.pool.hear(signed(("e", wanted.id), kind=5, keys=MALLORY))
        assert not await door.marked()
        cancel = signed(("e", wanted.id), kind=5)
        door.pool.hear(cancel)
        (fact,) = await door.marked()
    assert fact == CancelAsked(event_id=cancel.id, request_event_id=wanted.id, pubkey=ALICE.public_key, at=NOW)


async def test_a_topup_taken_back_before_it_came_is_not_asked_for():
    async with Door() as door:
        wanted = topup()
        door.pool.hear(signed(("e", wanted.id), kind=5))
        await door.marked()
        door.pool.hear(wanted)
        assert not await door.marked()
