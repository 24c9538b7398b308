"""Gift wraps in, facts out: what is opened, and what becomes of it."""

import asyncio
import logging
import types

import pytest

from ledger.records import Door, JobState
from relay_client.nip59 import KIND_GIFT_WRAP, WRAP_KINDS, wrap
from tests.timmy_dvm.nostr.door import PRICES
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, P_TIMMY, RELAY, TIMMY, invoice, sealed, signed
from tests.timmy_dvm.nostr.post import ENTROPY, Post, letter, rumor, wrapped
from timmy_dvm.core.facts import CancelAsked, QuestionAsked, RefundClaimed, RequestReceived, RequestUnreadable
from timmy_dvm.nostr.origin import read_origin
from timmy_dvm.nostr.privacy import Scheme


@pytest.mark.parametrize("kind", sorted(WRAP_KINDS))
async def test_a_message_is_a_request_like_any_other(kind):
    said = rumor()
    async with Post() as post:
        post.hear(wrapped(said, kind=kind))
        (fact,) = await post.heard()
    assert isinstance(fact, RequestReceived)
    assert (fact.event_id, fact.pubkey, fact.text) == (said.id, ALICE.public_key, "What is a relay?")
    assert (fact.door, fact.addressed, fact.asked_at, fact.at) == (Door.NOSTR, True, NOW, NOW)
    origin, request = read_origin(fact.origin)
    assert (origin.scheme, origin.relay, request) == (Scheme.NIP59, RELAY, said)
    assert origin.btc_micro_usd == PRICES.current().micro_usd


@pytest.mark.parametrize("text", ["What is a relay?", "price What is a relay?"])
async def test_a_reply_goes_on_from_what_it_replies_to(text):
    earlier = rumor("Who are you?")
    async with Post() as post:
        post.books.answered = [
            types.SimpleNamespace(
                id="j" * 32, event_id=earlier.id, pubkey=ALICE.public_key, state=JobState.COMPLETE
            )
        ]
        post.hear(letter(text, ("e", earlier.id)), letter(text, ("e", earlier.id), keys=MALLORY))
        of = {fact.pubkey: fact for fact in await post.heard()}
    assert (of[ALICE.public_key].follows, of[MALLORY.public_key].follows) == ("j" * 32, None)
    assert [read_origin(of[key.public_key].origin)[0].goes_on for key in (ALICE, MALLORY)] == [True, False]


@pytest.mark.parametrize(
    ("text", "kind", "fact_type"),
    [
        ("help", 14, RequestUnreadable),
        ("balance", 14, QuestionAsked),
        ("price of what?", 14, QuestionAsked),
        (invoice(), 14, RefundClaimed),
        ("refund nonsense", 14, RequestUnreadable),
        ("https://files.example", 15, RequestUnreadable),
    ],
)
async def test_commands_are_the_operations_that_other_doors_have(text, kind, fact_type):
    async with Post() as post:
        post.hear(letter(text, kind=kind))
        (fact,) = await post.heard()
    assert isinstance(fact, fact_type)
    assert read_origin(fact.origin)[0].scheme is Scheme.NIP59
    assert getattr(fact, "request_event_id", None) is None


async def test_a_deletion_cancels_a_job_of_its_author():
    said = rumor()
    async with Post() as post:
        post.books.jobs[said.id] = signed()
        post.books.has(said)
        post.hear(letter("", ("e", said.id), kind=5))
        (fact,) = await post.heard()
    assert isinstance(fact, CancelAsked)
    assert (fact.request_event_id, fact.pubkey) == (said.id, ALICE.public_key)


async def test_the_same_message_in_other_wraps_is_taken_once():
    said = rumor()
    async with Post() as post:
        post.hear(wrapped(said), wrapped(said), wrapped(said))
        assert len(await post.heard()) == 1
        post.hear(wrapped(said))
        assert len(await post.heard()) == 1


async def test_a_message_that_is_being_dealt_with_is_not_taken_again():
    said, gate = rumor(), asyncio.Event()
    async with Post() as post:
        post.engine.plan = [gate]
        post.hear(wrapped(said))
        await post.engine.wait_tried(1)
        post.hear(wrapped(said))
        assert await post.heard() == []
        gate.set()
        await post.engine.wait_for(1)
        assert len(await post.heard()) == 1


def others():
    """What is not for us, or not true."""
    forged = rumor(keys=MALLORY).to_json().replace(MALLORY.public_key, ALICE.public_key)
    return {
        "for another reader": letter_to(MALLORY),
        "another's words": letter_of_another(forged),
        "no wrap": signed(P_TIMMY, kind=14, content="What is a relay?"),
        "not encrypted": signed(P_TIMMY, kind=KIND_GIFT_WRAP, content="What is a relay?"),
        "names nobody": signed(kind=KIND_GIFT_WRAP, content=letter().content),
        "from the future": wrapped(rumor(), at=NOW + 901),
        "our own": letter(keys=TIMMY),
        "a reaction": letter("+", kind=7),
        "another bot's": letter("Payment received.", ("bot", "answer")),
    }


def letter_to(reader):
    return wrap(rumor(), ALICE, reader.public_key, sealed_at=NOW, wrapped_at=NOW, entropy=ENTROPY)


def letter_of_another(text):
    """Sealed by Mallory, and in it what Alice is said to have said."""
    seal = signed(kind=13, content=sealed(text, "nip44", keys=MALLORY), keys=MALLORY)
    return signed(P_TIMMY, kind=KIND_GIFT_WRAP, content=sealed(seal.to_json(), "nip44"), keys=ALICE)


@pytest.mark.parametrize("event", others().values(), ids=others())
async def test_nothing_else_becomes_a_fact(event):
    async with Post() as post:
        post.hear(event)
        assert await post.heard() == []


async def test_who_could_not_be_answered_is_not_listened_to_and_the_log_says_so(caplog):
    caplog.set_level(logging.INFO)
    said = rumor(keys=MALLORY)
    async with Post() as post:
        post.outlet.beyond = {MALLORY.public_key}
        post.hear(wrapped(said, keys=MALLORY))
        assert await post.heard() == []
        assert "lists no relay for them" in caplog.text
        assert "relay?" not in caplog.text
        post.outlet.beyond = set()
        post.hear(wrapped(said, keys=MALLORY))
        (fact,) = await post.heard()
    assert fact.event_id == said.id


async def test_a_message_that_breaks_something_ends_nothing(caplog):
    async with Post() as post:
        post.outlet.broken = {MALLORY.public_key}
        post.hear(letter("secret", keys=MALLORY))
        assert await post.heard() == []
    assert "could not be dealt with" in caplog.text
    assert "secret" not in caplog.text
