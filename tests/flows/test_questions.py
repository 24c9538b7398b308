"""What a customer asks beside jobs: answered over a relay from the books, and nothing in them moves."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from relay_client.local_relay import LocalRelay
from tests.flows.live import PATIENCE_S, asking
from tests.flows.shop import TIMMY, Shop, books, fresh_keys, heard, is_answer, publish, said, serving, signed
from timmy_dvm.nostr.customer import Order, Said
from timmy_dvm.nostr.privacy import Scheme

TEXT = 5050
ME = TIMMY.public_key
SMALL = "What is a relay?"
LARGE = 3 * "What does a data vending machine do for me, how do I pay it, and what comes back if it fails? "
SCHEMES = pytest.mark.parametrize("scheme", [None, Scheme.NIP44], ids=["plain", "nip44"])


class Regular:
    """A customer who comes with the same key each time."""

    def __init__(self, shop: Shop, scheme: Scheme | None) -> None:
        self._shop = shop
        self._scheme = scheme
        self.keys = fresh_keys()

    async def asks(self, op: str, text: str = "") -> dict:
        """The answer to a question; in private nothing of it can be read from outside."""
        async with asking(self._shop.ready, self._order(text, op=op), self.keys) as errand:
            answer = await errand.hears(Said.RESULT)
        assert answer.event.kind == TEXT + 1_000
        assert (answer.tag("encrypted") is None) is (self._scheme is None)
        if self._scheme is None:
            assert answer.tag("trust_tier") == ("trust_tier", "new")
        else:
            assert "Sats" not in answer.event.to_json()
        body = json.loads(answer.text)
        assert body["op"] == op
        return body

    async def buys(self, text: str) -> tuple[str, int]:
        """The request's id, and what was asked for it in msat."""
        async with asking(self._shop.ready, self._order(text), self.keys) as errand:
            price = await errand.hears(Said.PRICE)
            await self._shop.pay(price.bolt11)
            await errand.hears(Said.RECEIPT)
        return errand.id, price.amount

    def _order(self, text: str, **params: str) -> Order:
        return Order(text=text, provider=ME, encrypt=self._scheme, params=params)


@pytest.fixture
async def shop(tmp_path):
    async with serving(tmp_path) as made:
        yield made


@SCHEMES
async def test_a_regular_knows_the_price_before_and_what_is_left_after(shop, scheme):
    customer = Regular(shop, scheme)
    before = await customer.asks("estimate", SMALL)
    _, asked = await customer.buys(SMALL)
    assert asked == before["invoiceSats"] * 1_000 == before["estimatedSats"] * 1_000
    small = await customer.asks("balance")
    assert 0 < small["creditSats"] < 10
    assert (small["creditMsat"], small["refunds"]) == (small["creditSats"] * 1_000, [])

    before = await customer.asks("estimate", LARGE)
    assert before["creditSats"] == small["creditSats"]
    assert before["invoiceSats"] == before["estimatedSats"] - small["creditSats"]
    request_id, asked = await customer.buys(LARGE)
    assert asked == before["invoiceSats"] * 1_000

    _, large = await books(shop.folder)
    (held,) = [row for row in large.refunds if row.state == "held"]
    claim = {"requestId": request_id, "amountSats": held.amount // 1_000, "state": "held"}
    balance = await customer.asks("balance")
    assert balance["refunds"] == [{**claim, "reason": "change", "claimable": True}]
    me = await customer.asks("me")
    assert (me["pubkey"], me["npub"]) == (customer.keys.public_key, customer.keys.npub)
    assert (me["trust_score"], me["tier"], me["interaction_count"]) == (2, "new", 2)
    assert "8 more make it established" in me["why"]
    assert (
        "A paid answer raised it last, by 1 point, less than a day ago. Nothing has lowered it yet." in me["why"]
    )
    assert me["creditSats"] == balance["creditSats"]


@SCHEMES
async def test_questions_leave_nothing_behind_but_what_was_said(shop, scheme):
    customer, before = Regular(shop, scheme), all_rows(shop.folder)
    estimate = await customer.asks("estimate", LARGE)
    stranger = await customer.asks("me")
    assert (stranger["trust_score"], stranger["tier"], stranger["interaction_count"]) == (0, "new", 0)
    assert (await customer.asks("balance"))["creditMsat"] == 0
    assert await customer.asks("estimate", LARGE) == estimate
    said_of_it = set(all_rows(shop.folder)) ^ set(before)
    moved = {row.split('"')[1] for row in said_of_it}
    assert moved <= {"facts", "events", "deliveries", "outbox", "settings", "sqlite_sequence", "seals"}
    assert sum(row.startswith('INSERT INTO "facts"') for row in said_of_it) == 4
    assert not any("QuestionAsked" in row and LARGE in row for row in said_of_it)
    assert await books(shop.folder) == []


def all_rows(folder: Path) -> list[str]:
    """Every row of every table, as SQL."""
    with contextlib.closing(sqlite3.connect(f"file:{folder / 'timmy.db'}?mode=ro", uri=True)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize(("text", "code"), [(" ", "empty"), ("x" * 16_001, "too_long")])
async def test_what_would_be_refused_has_no_estimate(shop, text, code):
    async with asking(shop.ready, Order(text=text, provider=ME, params={"op": "estimate"})) as errand:
        answer = await errand.hears(Said.ERROR)
    assert answer.tag("code") == ("code", code)
    assert await books(shop.folder) == []


async def test_a_question_on_two_relays_and_again_after_a_restart_is_answered_once(tmp_path):
    question = signed(fresh_keys(), TEXT, [("param", "op", "balance")], to=ME)
    job = signed(fresh_keys(), TEXT, [("i", SMALL, "text")], to=ME)
    async with LocalRelay() as one, LocalRelay() as other:
        async with serving(tmp_path, one.url):
            await publish(one.url, question)
            await heard(one.url, question, "result")
        async with serving(tmp_path, one.url, other.url) as shop:
            await shop.is_connected(one.url, other.url)
            await publish(other.url, question, job)
            await heard(other.url, job, "payment-required")
        answers = [event for url in (one.url, other.url) for event in await said(url)]
    assert len({event.id for event in answers if is_answer(event, question)}) == 1


async def test_who_asks_three_hundred_questions_hears_twenty_answers_and_others_are_served(tmp_path):
    keys, honest = fresh_keys(), signed(fresh_keys(), TEXT, [("i", SMALL, "text")], to=ME)
    questions = [signed(keys, TEXT, [("param", "op", "me")], to=ME, ago_s=seconds) for seconds in range(300)]
    async with LocalRelay() as relay:
        async with serving(tmp_path, relay.url):
            await publish(relay.url, *questions, honest)
            await heard(relay.url, honest, "payment-required")
        answers = [event for event in await said(relay.url) if event.tag("p") == ("p", keys.public_key)]
    # A key's patience comes back within a minute, and what is begun at the start may take some seconds.
    assert 20 <= len(answers) <= 20 + PATIENCE_S // 3
