"""A regular of a running Timmy, over its relay: the first answer is paid, and what it earned makes one free."""

import json

import pytest

from tests.flows.live import asking
from tests.flows.shop import TIMMY, Shop, books, fresh_keys, said, serving, status_of
from timmy_dvm.nostr.customer import Order, Said
from timmy_dvm.nostr.privacy import Scheme

ME = TIMMY.public_key
TEXT = "What is a relay?"
KIND = {
    "TIMMY_TRUST__ESTABLISHED": "1",
    "TIMMY_TRUST__FAILED_POINTS": "0",
    "TIMMY_TRUST__REJECTED_POINTS": "0",
    "TIMMY_FREE_TIER__DAILY_BUDGET_SATS__ESTABLISHED": "30",
}
"""One paid answer earns a budget that is good for two of these, and nothing takes it away."""
SCHEMES = pytest.mark.parametrize("scheme", [None, Scheme.NIP44], ids=["plain", "nip44"])


class Regular:
    """A customer who comes with the same key each time."""

    def __init__(self, shop: Shop, scheme: Scheme | None = None) -> None:
        self.shop = shop
        self.scheme = scheme
        self.keys = fresh_keys()

    async def asks(self, op: str) -> dict:
        async with asking(self.shop.ready, self._order(TEXT, op=op), self.keys) as errand:
            return json.loads((await errand.hears(Said.RESULT)).text)

    async def buys(self, text: str = TEXT) -> None:
        async with asking(self.shop.ready, self._order(text), self.keys) as errand:
            await self.shop.pay((await errand.hears(Said.PRICE)).bolt11)
            await errand.hears(Said.RECEIPT)

    async def gets(self, text: str = TEXT, last: Said = Said.RECEIPT):
        """A request nobody pays for: its id, and the answers until the last one, by what they are."""
        async with asking(self.shop.ready, self._order(text), self.keys) as errand:
            await errand.hears(last)
        return errand.id, {answer.said: answer for answer in errand.answers}

    def _order(self, text: str, **params: str) -> Order:
        return Order(text=text, provider=ME, encrypt=self.scheme, params=params)


@pytest.fixture
async def shop(tmp_path):
    async with serving(tmp_path, more=KIND) as made:
        yield made


def tags_of(answer):
    return {tag[0]: tag[1] for tag in answer.tags if len(tag) > 1}


@SCHEMES
async def test_who_paid_once_is_served_free_until_the_day_is_used_up(shop, scheme):
    customer = Regular(shop, scheme)
    before = await customer.asks("estimate")
    assert before["identity"]["free_tier"]["serve"] == "gate"
    price = before["estimatedSats"]
    await customer.buys()

    told = await customer.asks("estimate")
    free = {"serve": "free", "absorbSats": price, "chargeSats": 0}
    assert told["identity"].pop("why").startswith("1 of 100 points make this key established")
    assert (told["identity"], told["invoiceSats"]) == ({"trust_tier": "established", "free_tier": free}, 0)
    request_id, answers = await customer.gets()
    assert set(answers) == {Said.WORKING, Said.RESULT, Said.RECEIPT}
    assert answers[Said.WORKING].text == f"free: {price} of 30 sats used today."
    assert tags_of(answers[Said.WORKING])["absorbed_sats"] == str(price)

    receipt = answers[Said.RECEIPT]
    ledger = json.loads(tags_of(receipt)["ledger"])
    cost = ledger["absorbed_sats"]
    assert receipt.text.startswith(f"Done for free: the pool paid {cost} sats")
    assert (tags_of(receipt)["free_tier"], tags_of(receipt)["absorbed_sats"]) == ("true", str(cost))
    assert (ledger["actualAmountSats"], ledger["refundState"], 0 < cost < price) == (0, "not_applicable", True)
    assert not [e for e in await said(shop.ready.relays[0]) if request_id in e.tag_values("e") and e.tag("amount")]

    me = await customer.asks("me")
    assert (me["sats_absorbed_today"], me["daily_budget_sats"]) == (cost, 30)
    paid, job = await books(shop.folder)
    assert (paid.job.free_tier, job.job.free_tier, job.invoices) == (False, True, ())
    assert (await customer.asks("estimate"))["pool"][
        "balanceSats"
    ] == 10_000 - cost + paid.job.pool_credit // 1_000


@pytest.mark.parametrize(("text", "code"), [("[fail] work", "failed"), ("[reject] me", "rejected")])
async def test_what_fails_gives_its_claim_back_and_says_so(shop, text, code):
    customer = Regular(shop)
    await customer.buys()
    before = await customer.asks("estimate")
    _, answers = await customer.gets(text, Said.ERROR)
    error = answers[Said.ERROR]
    assert "Nothing of your free budget was used." in error.text
    assert (tags_of(error)["code"], tags_of(error)["absorbed_sats"]) == (code, "0")
    assert (await customer.asks("me"))["sats_absorbed_today"] == 0
    after = await customer.asks("estimate")
    why = after["identity"].pop("why")
    assert before["identity"].pop("why") != why
    assert f"A {code} request lowered it last, by 0 points or down to 0, less than a day ago." in why
    assert after == before
    assert [story.job.absorbed_sats for story in await books(shop.folder)] == [0, 0]


async def test_a_part_is_told_with_its_price_and_paid_for_by_both(shop):
    customer = Regular(shop)
    await customer.buys()
    long = "What does a data vending machine do, and who pays whom, and when? " * 5
    async with asking(shop.ready, Order(text=long, provider=ME), customer.keys) as errand:
        price = await errand.hears(Said.PRICE)
        assert "; the pool offers another 30 sats; what is not used comes back." in price.text
        assert (tags_of(price)["free_tier"], tags_of(price)["absorbed_sats"]) == ("true", "0")
        await shop.pay(price.bolt11)
        working = await errand.hears(Said.WORKING)
        receipt = await errand.hears(Said.RECEIPT)
    assert working.text.startswith("Payment received, the pool adds 30 sats (free: 30 of 30 sats used today)")
    assert tags_of(working)["absorbed_sats"] == "30"
    _, story = await books(shop.folder)
    granted = int(tags_of(receipt)["absorbed_sats"])
    assert granted == story.job.absorbed_sats > 0
    charged = story.job.charge_eval + story.job.charge_work
    assert charged + sum(row.amount for row in story.refunds) == price.amount + story.job.credit_used
    assert status_of(receipt.event) == "success"
