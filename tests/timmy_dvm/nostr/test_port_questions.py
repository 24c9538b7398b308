"""Questions at the relay door: each a fact of its own, and no more of them than errors."""

import pytest

from ledger.records import Replayed
from tests.timmy_dvm.nostr.door import PRICES, Door, job
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, P_TIMMY, signed
from timmy_dvm.core.facts import Op, QuestionAsked, RequestReceived
from timmy_dvm.nostr.desk import ERRORS_PER_KEY_MINUTE


def question(op="me", number=0, keys=ALICE):
    return signed(P_TIMMY, ("param", "op", op), ("i", "Hi"), ("salt", str(number)), keys=keys)


@pytest.mark.parametrize("op", Op)
async def test_a_question_becomes_a_fact_with_the_price_of_now(op):
    event = question(op)
    async with Door() as door:
        door.pool.hear(event)
        (fact,) = await door.engine.wait_for(1)
    assert isinstance(fact, QuestionAsked)
    assert (fact.op, fact.event_id, fact.pubkey) == (op, event.id, ALICE.public_key)
    assert (fact.btc, fact.at) == (PRICES.current(), NOW)
    assert fact.text == ("Hi" if op is Op.ESTIMATE else "")


async def test_a_key_is_answered_as_many_questions_in_a_minute_as_errors_and_others_are_served():
    async with Door(error_answers_per_second=1_000) as door:
        door.pool.hear(*(question(number=n, keys=MALLORY) for n in range(50)))
        door.pool.hear(job("a job all the same", keys=MALLORY), question(), job("honest"))
        heard = await door.engine.wait_for(ERRORS_PER_KEY_MINUTE + 3)
        asked = [fact.pubkey for fact in heard if isinstance(fact, QuestionAsked)]
        assert sorted(asked) == sorted([MALLORY.public_key] * ERRORS_PER_KEY_MINUTE + [ALICE.public_key])
        assert {fact.text for fact in heard if isinstance(fact, RequestReceived)} == {
            "a job all the same",
            "honest",
        }
        await door.clock.advance(60)
        door.pool.hear(question("balance", keys=MALLORY))
        heard = await door.engine.wait_for(ERRORS_PER_KEY_MINUTE + 4)
        assert heard[-1].op is Op.BALANCE


async def test_questions_of_all_keys_together_are_answered_no_faster_than_errors():
    async with Door(error_answers_per_second=3) as door:
        door.pool.hear(*(question(number=n) for n in range(10)))
        assert len(await door.marked()) == 3
        await door.clock.advance(1)
        door.pool.hear(signed(P_TIMMY, ("i", "x", "url")), *(question(number=n) for n in range(10, 20)))
        assert len(await door.marked()) == 6


async def test_a_question_that_was_answered_before_a_restart_costs_nothing():
    async with Door(error_answers_per_second=1_000) as door:
        door.engine.plan = [Replayed()] * 30
        door.pool.hear(*(question(number=n) for n in range(31)))
        assert len(await door.marked()) == 31
