"""Requests that only name their input, at the relay door: looked up once, in bounds, and nobody else waits."""

import asyncio

import pytest

from ledger.store import StoreUnavailable
from relay_client.keys import Keys
from tests.timmy_dvm.nostr.door import TIMEOUT_S, Books, Door, Shelf, job
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, P_TIMMY, signed
from timmy_dvm.agent.prompts import fenced
from timmy_dvm.core.facts import Op, QuestionAsked, RequestReceived, RequestUnreadable
from timmy_dvm.nostr import gathering
from timmy_dvm.nostr.desk import ERRORS_PER_KEY_MINUTE

NOTE = signed(kind=1, content="The moon is cheese.", keys=MALLORY)
ABOUT = f"Summarize the following text.\n\n{fenced(NOTE.content)}"


def about(*tags, event=NOTE, kind=5001, to=(P_TIMMY,), keys=ALICE, number=0):
    return signed(*tags, ("i", event.id, "event"), *to, ("salt", str(number)), kind=kind, keys=keys)


def door_to(*events, **how):
    return Door(shelf=Shelf(*events), kinds=(5001, 5050), **how)


@pytest.mark.parametrize("to", [(P_TIMMY,), ()], ids=["to us", "to anybody"])
async def test_a_note_to_be_summed_up_is_found_and_priced_with_the_request(to):
    async with door_to(NOTE) as door:
        door.pool.hear(about(("param", "max_tokens", "9"), to=to))
        (fact,) = await door.engine.wait_for(1)
    assert isinstance(fact, RequestReceived)
    assert (fact.text, fact.preface_chars) == (ABOUT, len("Summarize the following text.\n\n"))
    assert (fact.max_tokens, fact.addressed, fact.at, fact.follows) == (9, bool(to), NOW, None)


async def test_an_estimate_of_it_is_a_question_with_its_text():
    async with door_to(NOTE) as door:
        door.pool.hear(about(("param", "op", "estimate")))
        (fact,) = await door.engine.wait_for(1)
    assert isinstance(fact, QuestionAsked)
    assert (fact.op, fact.text) == (Op.ESTIMATE, ABOUT)


async def test_what_is_not_found_is_answered_to_whoever_asked_us_and_to_nobody_else():
    async with door_to() as door:
        door.pool.hear(about(to=()), about(number=1), about(("param", "op", "estimate")))
        await door.engine.wait_for(2)
        facts = await door.marked()
        assert len(facts) == 2
    assert {type(fact) for fact in facts} == {RequestUnreadable}
    assert {fact.code for fact in facts} == {"input_not_found"}


async def test_it_is_not_looked_up_for_a_key_that_has_made_its_errors():
    async with door_to(error_answers_per_second=1_000) as door:
        door.pool.hear(*(about(keys=MALLORY, number=number) for number in range(30)), about())
        await door.engine.wait_for(ERRORS_PER_KEY_MINUTE + 1)
        assert len(await door.marked()) == ERRORS_PER_KEY_MINUTE + 1
        shelf = door.port._desk._gatherer._relays
        assert len(shelf.asked) == ERRORS_PER_KEY_MINUTE + 1


async def test_a_request_that_is_a_job_already_is_not_looked_up_again():
    books = Books()
    event = about()
    books.has(event)
    shelf = Shelf(NOTE)
    async with Door(shelf=shelf, kinds=(5001, 5050), books=books) as door:
        door.pool.hear(event)
        assert await door.marked() == []
    assert shelf.asked == []


async def test_while_the_ledger_is_away_it_waits_and_is_not_lost():
    async with door_to(NOTE) as door:
        door.books.errors = [StoreUnavailable("the disk is full; free some space")]
        door.pool.hear(about())
        await door.waiting(2)
        await door.clock.advance(1)
        (fact,) = await door.engine.wait_for(1)
    assert fact.text == ABOUT


async def test_others_are_served_while_relays_are_silent():
    shelf = Shelf(NOTE)
    shelf.gate = asyncio.Event()
    async with Door(shelf=shelf, kinds=(5001, 5050), error_answers_per_second=1_000) as door:
        keys = [Keys.from_bytes(bytes([number]) * 32) for number in range(10, 16)]
        crowd = [about(keys=each, number=number) for number in range(25) for each in (*keys, ALICE)]
        door.pool.hear(*crowd, job("honest"))
        async with asyncio.timeout(TIMEOUT_S), door.engine.heard:
            await door.engine.heard.wait_for(
                lambda: any(getattr(fact, "text", None) == "honest" for fact in door.engine.facts)
            )
        assert {fact.code for fact in door.engine.facts if isinstance(fact, RequestUnreadable)} == {"busy"}
        assert len(shelf.asked) == gathering.AT_ONCE
        shelf.gate.set()
