"""The relay door with a scripted pool and a recording engine; and once with a real relay."""

import asyncio

import pytest

from ledger.records import Applied, Change, Replayed
from ledger.store import RuleBroken, StoreUnavailable
from relay_client.keys import Keys
from relay_client.local_relay import LocalRelay
from relay_client.pool import RelayPool
from tests.timmy_dvm.nostr.door import OTHER, Books, Door, RecordingEngine, job, port_of
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, P_TIMMY, TIMMY, invoice, sealed, signed, stranger
from timmy_dvm.clock import SystemClock
from timmy_dvm.core.facts import CancelAsked, RequestReceived, RequestUnreadable
from timmy_dvm.engine import Contended
from timmy_dvm.nostr.desk import ERRORS_PER_KEY_MINUTE
from timmy_dvm.nostr.nip90 import read
from timmy_dvm.nostr.port import AT_ONCE
from timmy_dvm.nostr.publishing import NostrPublisher


async def test_a_request_becomes_a_fact():
    request = job()
    async with Door() as door:
        door.pool.hear(request)
        (fact,) = await door.engine.wait_for(1)
    assert isinstance(fact, RequestReceived)
    assert (fact.event_id, fact.text, fact.at) == (request.id, "Hi", NOW)
    assert len(fact.job_id) == 32
    assert fact.job_id != request.id[:32]


async def test_each_thing_asked_becomes_its_fact():
    mine = job()
    async with Door() as door:
        door.books.has(mine)
        door.pool.hear(
            signed(P_TIMMY, ("encrypted",), content=sealed([["i", "Secret"]], "nip44")),
            signed(P_TIMMY, ("i", "x", "url")),
            signed(P_TIMMY, ("param", "op", "refund"), ("param", "invoice", "lnbc1"), ("param", "job", mine.id)),
            signed(P_TIMMY, ("param", "op", "refund"), ("param", "invoice", invoice()), ("param", "job", mine.id)),
            signed(("e", mine.id), kind=5),
        )
        facts = await door.engine.wait_for(5)
    assert sorted(type(fact).__name__ for fact in facts) == [
        "CancelAsked",
        "RefundClaimed",
        "RequestReceived",
        "RequestUnreadable",  # an address to fetch
        "RequestUnreadable",  # an invoice that is none
    ]


async def test_what_is_not_for_us_costs_nothing():
    async with Door() as door:
        door.pool.hear(
            job(keys=TIMMY),
            signed(("i", "x"), ("p", ALICE.public_key), keys=MALLORY),
            signed(("cmd", "make")),
            job(at=NOW - 3_601),
            job(at=NOW + 901),
            signed(("i", "x"), kind=5100),
            job(kind=5999),
        )
        assert not await door.marked()


async def test_the_same_event_twice_is_one_fact():
    request = job()
    async with Door() as door:
        door.pool.hear(request)
        door.pool.hear(request, url=OTHER)
        assert len(await door.marked()) == 1


async def test_many_are_handed_in_at_once_but_not_all():
    """At once, so that the ledger commits them in one group; bounded, so that a flood waits in the relays."""
    gate = asyncio.Event()
    people = [Keys.from_bytes(bytes([number]) * 32) for number in range(10, 16)]
    async with Door() as door:
        door.engine.plan = [gate] * (AT_ONCE + 20)
        door.pool.hear(*(job(str(number), keys=people[number % 6]) for number in range(AT_ONCE + 20)))
        await door.engine.wait_tried(AT_ONCE)
        for _ in range(50):
            await asyncio.sleep(0)
        assert door.engine.most_at_once == AT_ONCE
        gate.set()
        await door.engine.wait_for(AT_ONCE + 20)
    assert door.engine.most_at_once == AT_ONCE


@pytest.mark.parametrize("error", [StoreUnavailable("disk full"), Contended("rows moved")])
async def test_what_could_not_be_written_is_handed_in_again(error):
    async with Door() as door:
        door.engine.plan = [error, error, error]
        door.pool.hear(job())
        for pause_s in (1, 2, 4):
            await door.waiting(2)
            assert not door.engine.facts
            await door.clock.advance(pause_s)
        await door.engine.wait_for(1)
    assert door.engine.tried == 4


@pytest.mark.parametrize("error", [RuleBroken("a charge above the share"), ValueError("odd")])
async def test_one_event_that_breaks_something_does_not_end_the_door(error):
    async with Door() as door:
        door.engine.plan = [error]
        door.pool.hear(job("hostile"))
        assert not await door.marked()
        door.pool.hear(job("honest"))
        assert [fact.text for fact in await door.marked()] == ["honest"]


async def test_a_reader_that_breaks_does_not_end_the_door(monkeypatch):
    def break_on_hostile(event, *args, **kwargs):
        return 1 // 0 if event.tag("hostile") else read(event, *args, **kwargs)

    monkeypatch.setattr("timmy_dvm.nostr.nip90.read", break_on_hostile)
    async with Door() as door:
        door.pool.hear(signed(("i", "Hi"), P_TIMMY, ("hostile",)))
        assert not await door.marked()


# Errors are answered, but not without end.


async def test_error_answers_are_limited_in_all():
    async with Door(error_answers_per_second=3) as door:
        door.pool.hear(*(signed(P_TIMMY, ("i", str(n), "url")) for n in range(10)))
        assert len(await door.marked()) == 3
        await door.clock.advance(1)
        door.pool.hear(*(signed(P_TIMMY, ("i", str(n), "job")) for n in range(10)))
        assert len(await door.marked()) == 6


async def test_refusals_of_the_core_are_told_at_that_pace_and_what_would_come_too_late_is_not(monkeypatch):
    monkeypatch.setattr("timmy_dvm.nostr.desk.LONGEST_REFUSAL_WAIT_S", 100)
    async with Door(error_answers_per_second=1) as door:
        door.engine.plan = [REFUSED] * 111
        door.pool.hear(*(job(str(n), keys=stranger(n)) for n in range(110)))
        heard = await door.engine.wait_for(110)
        waits = [(fact.refusal_at or NOW) - NOW for fact in heard if fact.addressed]
        assert sorted(waits) == list(range(101))
        await door.clock.advance(2)
        door.pool.hear(job("later", keys=stranger(400)))
        assert (await door.engine.wait_for(111))[-1].refusal_at == NOW + 2 + 99


async def test_a_key_whose_patience_is_used_up_takes_no_turn_from_others():
    async with Door(error_answers_per_second=1) as door:
        door.engine.plan = [REFUSED] * 60
        door.pool.hear(*(job(str(n), keys=MALLORY) for n in range(60)))
        await door.engine.wait_for(60)
        door.pool.hear(job("other"))
        assert (await door.engine.wait_for(61))[-1].refusal_at == NOW + ERRORS_PER_KEY_MINUTE


async def test_requests_that_can_be_read_are_not_limited():
    async with Door(error_answers_per_second=1) as door:
        door.pool.hear(*(job(str(n)) for n in range(50)))
        assert len(await door.marked()) == 50
        door.pool.hear(job("and then one more"))
        assert (await door.marked())[-2].refusal_at is None


REFUSED = Applied(None)
"""What the engine answers where the core made no job of a request."""


def told(heard, keys=MALLORY):
    """The facts of a key whose refusal would be told."""
    return [fact for fact in heard if getattr(fact, "pubkey", None) == keys.public_key and is_told(fact)]


def is_told(fact):
    return getattr(fact, "addressed", True) and getattr(fact, "answered", True)


async def test_a_key_that_makes_nothing_but_errors_gets_twenty_a_minute_and_an_honest_one_is_answered():
    """What is right is handed in all the same: only the errors beyond the twenty are met with silence."""
    underbids = [job(str(n), keys=MALLORY) for n in range(150)]
    async with Door() as door:
        door.engine.plan = [REFUSED] * ERRORS_PER_KEY_MINUTE
        door.pool.hear(*underbids, job("honest"))
        heard = await door.engine.wait_for(151)
        assert [fact.event_id for fact in told(heard)] == [event.id for event in underbids[:20]]
        assert [fact.text for fact in told(heard, ALICE)] == ["honest"]
        door.pool.hear(job("21st", keys=MALLORY))
        heard = await door.engine.wait_for(152)
        assert (heard[-1].text, is_told(heard[-1])) == ("21st", False)
        await door.clock.advance(60)
        door.pool.hear(job("a minute later", keys=MALLORY))
        heard = await door.engine.wait_for(153)
        assert (heard[-1].text, is_told(heard[-1])) == ("a minute later", True)


async def test_a_key_gets_no_more_errors_by_asking_all_at_once():
    """While the first are being written nobody knows yet that they are errors."""
    gate = asyncio.Event()

    class Refusing(RecordingEngine):
        async def handle(self, fact):
            answer = await super().handle(fact)
            return REFUSED if fact.pubkey == MALLORY.public_key else answer

    async with Door(engine=Refusing()) as door:
        door.engine.plan = [gate] * ERRORS_PER_KEY_MINUTE
        door.pool.hear(*(job(str(n), keys=MALLORY) for n in range(60)), job("honest"))
        await door.engine.wait_for(1)
        assert [fact.text for fact in door.engine.facts] == ["honest"]
        gate.set()
        heard = await door.engine.wait_for(61)
    assert len(told(heard)) == ERRORS_PER_KEY_MINUTE


@pytest.mark.parametrize("shape", ["unreadable", "claim", "claim that is none"])
async def test_errors_of_every_sort_use_up_a_keys_patience(shape):
    tags = {
        "unreadable": [("i", "x", "url")],
        "claim": [("param", "op", "refund"), ("param", "invoice", invoice()), ("param", "job", "ab" * 32)],
        "claim that is none": [("param", "op", "refund"), ("param", "invoice", "ln"), ("param", "job", "ab" * 32)],
    }[shape]
    async with Door(error_answers_per_second=1_000) as door:
        door.pool.hear(*(signed(P_TIMMY, *tags, ("n", str(n)), keys=MALLORY) for n in range(30)))
        door.pool.hear(job("right all the same", keys=MALLORY), job("honest"))
        heard = await door.engine.wait_for(32 if shape == "claim" else 22)
        assert len([fact for fact in heard if is_told(fact)]) == ERRORS_PER_KEY_MINUTE + 1
        assert {fact.text: is_told(fact) for fact in heard if isinstance(fact, RequestReceived)} == {
            "right all the same": False,
            "honest": True,
        }


async def test_a_claim_that_sends_money_is_no_error():
    claims = [
        signed(P_TIMMY, ("param", "op", "refund"), ("param", "invoice", invoice()), ("param", "job", f"{n:064x}"))
        for n in range(30)
    ]
    async with Door() as door:
        door.engine.plan = [Applied(None, change=Change(refunds=(None,)))] * 30
        door.pool.hear(*claims)
        assert len(await door.marked()) == 30


async def test_what_was_answered_before_a_restart_is_no_new_error():
    async with Door() as door:
        door.engine.plan = [Replayed()] * 30
        door.pool.hear(*(job(str(n)) for n in range(31)))
        assert len(await door.marked()) == 31


async def test_a_refusal_that_nobody_hears_takes_no_answer_from_others():
    """Who names no provider is refused in silence; it costs us a commit, so it costs that key its patience."""
    async with Door(error_answers_per_second=3) as door:
        door.engine.plan = [REFUSED] * 20
        door.pool.hear(*(signed(("i", str(n)), ("bid", "1"), keys=MALLORY) for n in range(30)))
        door.pool.hear(*(signed(P_TIMMY, ("i", str(n), "url")) for n in range(3)))
        heard = await door.marked()
    unreadable = [fact for fact in heard if isinstance(fact, RequestUnreadable)]
    assert len(unreadable) == 3


async def test_who_makes_nothing_but_errors_may_still_cancel():
    async with Door() as door:
        mine = job("mine")
        door.books.has(mine)
        door.pool.hear(mine, *(signed(P_TIMMY, ("i", str(n), "url")) for n in range(30)))
        door.pool.hear(signed(("e", mine.id), kind=5))
        heard = await door.engine.wait_for(22)
    assert isinstance(heard[-1], CancelAsked)


async def test_a_kind_we_do_not_serve_is_answered_where_it_names_us():
    async with Door() as door:
        door.pool.hear(signed(("i", "a cat"), P_TIMMY, kind=5100))
        (fact,) = await door.engine.wait_for(1)
    assert fact.code == "kind_not_served"


# Cancellations (NIP-09).


async def test_a_cancellation_by_the_author_is_handed_in():
    request = job()
    async with Door() as door:
        door.books.has(request)
        cancel = signed(("e", request.id), kind=5)
        door.pool.hear(cancel)
        (fact,) = await door.engine.wait_for(1)
    assert fact == CancelAsked(event_id=cancel.id, request_event_id=request.id, pubkey=ALICE.public_key, at=NOW)


async def test_a_strangers_cancellation_costs_no_commit():
    request, unknown = job(), job("another")
    async with Door() as door:
        door.books.has(request)
        door.pool.hear(signed(("e", request.id), ("e", unknown.id), kind=5, keys=MALLORY))
        assert not await door.marked()
        door.pool.hear(unknown)
        assert len(await door.marked()) == 1


async def test_a_cancellation_that_comes_before_its_request_counts():
    """Relays tell what they have stored newest first."""
    request = job()
    async with Door() as door:
        door.pool.hear(signed(("e", request.id), kind=5))
        await door.marked()
        door.pool.hear(request)
        assert not await door.marked()


async def test_a_cancellation_waits_for_its_request_to_be_written():
    request, gate = job(), asyncio.Event()
    async with Door() as door:
        door.engine.plan = [gate]
        door.pool.hear(request, signed(("e", request.id), kind=5))
        assert not await door.marked()
        door.books.has(request)
        gate.set()
        first, second = await door.engine.wait_for(2)
    assert isinstance(first, RequestReceived)
    assert isinstance(second, CancelAsked)


async def test_a_cancellation_is_not_lost_while_the_ledger_is_away():
    request = job()
    async with Door() as door:
        door.books.has(request)
        door.books.errors = [StoreUnavailable("disk full")]
        door.pool.hear(signed(("e", request.id), kind=5))
        await door.waiting(2)
        await door.clock.advance(1, rounds=50)
        assert await door.engine.wait_for(1)


# Publishing.


# A real relay.


async def test_a_customer_reaches_us_over_a_real_relay_and_we_them():
    async with asyncio.timeout(30), LocalRelay() as relay, RelayPool([relay.url], keys=TIMMY) as pool:
        clock, engine = SystemClock(), RecordingEngine()
        port = port_of(pool, engine, Books(), clock)
        publisher = NostrPublisher(pool, clock, dials=False)
        running = asyncio.create_task(port.run())
        await port.ready()
        async with RelayPool([relay.url], keys=ALICE) as customers:
            await customers.wait_connected()
            request = job(at=int(clock.now()))
            assert (await customers.publish(request))[relay.url].is_accepted
            (fact,) = await engine.wait_for(1)
            assert fact.event_id == request.id
            answer = TIMMY.sign(kind=7000, created_at=int(clock.now()), tags=[("e", request.id)], aux=b"\x01" * 32)
            assert await publisher.publish(answer.to_json(), "[]") == {relay.url: "accepted"}
            assert await publisher.publish(answer.to_json(), f'["{relay.url}"]') == {relay.url: "accepted"}
        await port.stop()
        await running
