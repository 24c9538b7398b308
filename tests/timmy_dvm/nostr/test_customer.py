"""The customer's half of NIP-90: what a request says, whom it believes, and how it reads other providers."""

import asyncio
import contextlib
import json

import pytest

from ledger.money import Msats
from relay_client.dial import PublishOutcome, PublishState
from relay_client.pool import Received
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, RELAY, TIMMY, opened, sealed, signed
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.nostr.customer import Customer, Order, Said


class Relays:
    """A pool that records what was asked for and published, and delivers what it is given."""

    urls = (RELAY,)

    def __init__(self, *heard, outcome=PublishState.ACCEPTED, text=""):
        self._heard = heard
        self._outcome = PublishOutcome(outcome, text=text)
        self.filters = []
        self.published = []

    def subscribe(self, sub_id, filters):
        self._sub_id = sub_id
        self.filters += filters

    async def publish(self, event, **_):
        self.published.append(event)
        return {RELAY: self._outcome}

    async def events(self):
        for event in self._heard:
            yield Received(RELAY, "another", event)
            yield Received(RELAY, self._sub_id, event)
        await asyncio.Event().wait()


def customer(relays=None):
    return Customer(ALICE, relays or Relays(), ManualClock(NOW), SeededRandomness(1))


def tags_of(event, *names):
    return [tuple(tag) for tag in event.tags if tag[0] in names]


async def read(*events, provider=TIMMY.public_key):
    """What a customer makes of these events, each delivered once for them and once for another subscription."""
    who = customer(Relays(*events))
    request = who.request(Order(text="Hi", provider=provider))
    async with asyncio.timeout(10), contextlib.aclosing(who.ask(request, provider)) as answers:
        return [await anext(answers) for _ in events]


def feedback(*tags, content=""):
    return signed(*tags, kind=7000, content=content, keys=TIMMY)


def test_a_request_names_its_text_its_provider_and_where_to_answer():
    event = customer().request(
        Order(text="Hi", provider=TIMMY.public_key, bid=Msats(5_000), params={"max_tokens": "9"})
    )
    assert (event.kind, event.pubkey, event.created_at, event.content) == (5050, ALICE.public_key, NOW, "")
    assert tags_of(event, "i", "param", "bid", "p", "relays") == [
        ("i", "Hi", "text"),
        ("param", "max_tokens", "9"),
        ("bid", "5000"),
        ("p", TIMMY.public_key),
        ("relays", RELAY),
    ]


def test_a_request_that_goes_on_names_the_answer_it_follows():
    who, answer = customer(), "ab" * 32
    request = who.request(Order(text="And why?", provider=TIMMY.public_key, follows=answer))
    assert tags_of(request, "i") == [("i", "And why?", "text"), ("i", answer, "job")]
    hidden = Order(text="And why?", provider=TIMMY.public_key, follows=answer, encrypt="nip44")
    assert answer not in who.request(hidden).to_json()


def test_a_request_to_anybody_has_no_p_tag():
    assert not tags_of(customer().request(Order(text="Hi", provider=None)), "p")


def test_a_text_that_is_too_long_for_a_tag_travels_as_content():
    fits = customer().request(Order(text="ü" * 512, provider=None))
    long = customer().request(Order(text="ü" * 513, provider=None))
    assert (tags_of(fits, "i"), fits.content) == ([("i", "ü" * 512, "text")], "")
    assert (tags_of(long, "i"), long.content) == ([], "ü" * 513)


def test_the_same_order_twice_within_a_second_is_two_requests():
    who = customer()
    first, again = (who.request(Order(text="Hi", provider=None)) for _ in range(2))
    assert first.id != again.id


async def test_a_request_is_taken_back_by_an_event_that_names_it_its_kind_and_its_provider():
    relays = Relays()
    who = customer(relays)
    request = who.request(Order(text="Hi", provider=TIMMY.public_key))
    await who.cancel(request)
    (event,) = relays.published
    assert (event.kind, event.pubkey) == (5, ALICE.public_key)
    assert tags_of(event, "e", "k", "p") == [("e", request.id), ("k", "5050"), ("p", TIMMY.public_key)]


@pytest.mark.parametrize("scheme", ["nip44", "nip04"])
def test_an_encrypted_request_shows_no_word_of_what_is_asked(scheme):
    order = Order(
        text="a secret " * 200,
        provider=TIMMY.public_key,
        encrypt=scheme,
        bid=Msats(5_000),
        params={"model": "x"},
    )
    event = customer().request(order)
    assert {tag[0] for tag in event.tags} == {"p", "relays", "salt", "encrypted"}
    assert "secret" not in event.to_json()
    assert json.loads(opened(event.content, keys=TIMMY, sender=ALICE)) == [
        ["i", order.text, "text"],
        ["param", "model", "x"],
        ["bid", "5000"],
    ]


def test_an_encrypted_request_to_anybody_can_t_be():
    with pytest.raises(ValueError, match="must name its provider"):
        customer().request(Order(text="Hi", provider=None, encrypt="nip44"))


async def test_only_answers_to_this_request_by_the_provider_that_was_asked_are_asked_for():
    relays = Relays(feedback(("status", "processing")))
    who = customer(relays)
    request = who.request(Order(text="Hi", provider=TIMMY.public_key))
    async with contextlib.aclosing(who.ask(request, TIMMY.public_key)) as answers:
        await anext(answers)
    (wanted,) = relays.filters
    assert relays.published == [request]
    mine = ("e", request.id)
    assert wanted.matches(feedback(mine))
    assert wanted.matches(signed(mine, kind=6050, keys=TIMMY))
    assert not wanted.matches(signed(mine, kind=6050, keys=MALLORY))
    assert not wanted.matches(feedback(("e", "0" * 64)))
    assert not wanted.matches(signed(mine, kind=6051, keys=TIMMY))


async def test_a_request_that_no_relay_takes_is_an_error_that_says_what_each_answered():
    who = customer(Relays(outcome=PublishState.REFUSED, text="blocked: not on the list"))
    answers = who.ask(who.request(Order(text="Hi", provider=None)), None)
    with pytest.raises(ConnectionError, match=f"{RELAY}: blocked: not on the list"):
        await anext(answers)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("payment-required", Said.PRICE),
        ("payment_required", Said.PRICE),
        ("processing", Said.WORKING),
        ("partial", Said.PARTIAL),
        ("success", Said.RECEIPT),
        ("error", Said.ERROR),
        ("result", Said.RESULT),
        ("chain-of-thought", Said.OTHER),
        ("", Said.OTHER),
    ],
)
async def test_feedback_is_read_by_its_status_in_both_spellings(status, said):
    (answer,) = await read(feedback(("status", status), content="words"))
    assert (answer.said, answer.text, answer.relay) == (said, "words", RELAY)


async def test_feedback_without_a_status_is_something_else():
    (answer,) = await read(feedback(("status",)))
    assert answer.said is Said.OTHER


@pytest.mark.parametrize(
    ("tag", "amount", "bolt11"),
    [
        (("amount", "21000", "lnbc1x"), 21_000, "lnbc1x"),
        (("amount", "21000"), 21_000, None),
        (("amount", "-1", "lnbc1x"), None, None),
        (("amount", "2.5", "lnbc1x"), None, None),
        (("amount", "9" * 40, "lnbc1x"), None, None),
        (("amount",), None, None),
    ],
)
async def test_a_price_is_whole_msats_or_none(tag, amount, bolt11):
    (answer,) = await read(feedback(("status", "payment-required"), tag))
    assert (answer.amount, answer.bolt11) == (amount, bolt11)


@pytest.mark.parametrize("scheme", ["nip44", "nip04"])
async def test_encrypted_feedback_is_read_from_within(scheme):
    inner = [["status", "payment-required"], ["amount", "7000", "lnbc1x"], ["content", "Please pay."]]
    content = sealed(inner, scheme, keys=TIMMY, to=ALICE)
    (answer,) = await read(feedback(("encrypted",), ("status", "processing"), content=content))
    assert (answer.said, answer.amount, answer.bolt11, answer.text) == (
        Said.PRICE,
        7_000,
        "lnbc1x",
        "Please pay.",
    )


async def test_an_encrypted_result_is_its_text():
    event = signed(("encrypted",), kind=6050, keys=TIMMY, content=sealed("[1, 2]", "nip44", TIMMY, ALICE))
    (answer,) = await read(event)
    assert (answer.said, answer.text) == (Said.RESULT, "[1, 2]")


@pytest.mark.parametrize(
    "content", ["", "nonsense", "A" * 200, sealed("for somebody else", "nip44", TIMMY, MALLORY)]
)
async def test_what_can_t_be_decrypted_is_said_so_and_ends_nothing(content):
    broken, whole = await read(
        feedback(("encrypted",), ("status", "error"), content=content), feedback(("status", "processing"))
    )
    assert broken.text == "(this answer could not be decrypted)"
    assert whole.said is Said.WORKING


@pytest.mark.parametrize(
    "inner", ["plain words", "{}", "7", "null", '["status", 7, [], {}, null]', '[["content"]]', "[" * 20_000]
)
async def test_encrypted_feedback_of_any_shape_ends_nothing(inner):
    event = feedback(("encrypted",), ("status", "error"), content=sealed(inner, "nip44", TIMMY, ALICE))
    (answer,) = await read(event)
    assert answer.said is Said.ERROR


async def test_an_answer_as_json_holds_what_scripts_want():
    event = feedback(("status", "payment-required"), ("amount", "7000", "lnbc1x"), content="Pay.")
    (answer,) = await read(event)
    assert answer.as_json() == {
        "kind": 7000,
        "id": event.id,
        "pubkey": TIMMY.public_key,
        "status": "payment-required",
        "content": "Pay.",
        "tags": [["status", "payment-required"], ["amount", "7000", "lnbc1x"]],
        "amountMsat": 7_000,
        "bolt11": "lnbc1x",
        "relay": RELAY,
    }
