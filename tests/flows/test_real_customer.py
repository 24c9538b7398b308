"""A customer written by others, on nostr-tools, buys from the whole bot over the bot's own relay."""

import os
import time

import pytest

from ledger.money import Msats
from ledger.records import JobState, RefundState
from lightning.simulated_node import Node
from tests.flows.live import until
from tests.flows.shop import TIMMY, Shop, books, serving
from tests.peer_customer import Ending, ask

pytestmark = pytest.mark.peer

QUESTION = "What does a data vending machine do for me, how do I pay it, and what comes back if it should fail?"
SCHEMES = pytest.mark.parametrize("scheme", ["none", "nip44", "nip04"])


@pytest.fixture
async def shop(tmp_path):
    async with serving(tmp_path) as made:
        yield made


async def buy(shop: Shop, text=QUESTION, **wishes):
    """All that the customer heard; every event was proved by nostr-tools, and Timmy's."""
    wishes = {"pay_base": shop.ready.http, "receipt": True} | wishes
    heard = await ask(shop.ready.relays, TIMMY.public_key, text, **wishes)
    assert heard.answers, heard.log
    assert all(answer.valid and answer.event["pubkey"] == TIMMY.public_key for answer in heard.answers)
    return heard


@SCHEMES
async def test_it_is_told_the_price_pays_and_gets_result_and_receipt(shop, scheme):
    """TST-15."""
    heard = await buy(shop, encrypt=scheme)
    assert heard.ending is Ending.RESULT, heard.log
    assert heard.statuses == ["payment-required", "processing", "result", "success"]
    price, _, result, receipt = heard.answers
    assert "without a language model" in result.content
    # Where it is private, the words are one of the hidden tags.
    assert (receipt.tag("content") or receipt.content).startswith("Done for")
    (story,) = await books(shop.folder)
    (invoice,) = story.invoices
    assert (price.tag("amount"), price.tag("amount", 2)) == (str(invoice.amount), invoice.bolt11)
    assert story.job.state is JobState.COMPLETE


@pytest.mark.parametrize("scheme", ["nip44", "nip04"])
async def test_what_it_asked_in_private_nobody_else_can_read(shop, scheme):
    """JOB-21."""
    heard = await buy(shop, encrypt=scheme)
    assert all(answer.encrypted for answer in heard.answers)
    (story,) = await books(shop.folder)
    for answer in heard.answers:
        clear = str(answer.event)
        assert "without a language model" not in clear
        assert "vending" not in clear
        assert ("?iv=" in answer.event["content"]) is (scheme == "nip04")
    assert story.texts.request == QUESTION


@SCHEMES
async def test_a_bid_below_the_price_is_refused_and_nothing_is_made(shop, scheme):
    """JOB-22."""
    heard = await buy(shop, encrypt=scheme, tags=[["bid", "1000"]])
    assert heard.ending is Ending.REFUSED, heard.log
    assert heard.statuses == ["error"]
    assert heard.answers[0].tag("code") == "underbid"
    assert await books(shop.folder) == []


@pytest.mark.parametrize(("kind", "request_opens"), [(5001, "Summarize"), (5002, "Translate")])
async def test_other_kinds_are_answered_with_their_own_result(shop, kind, request_opens):
    heard = await buy(shop, kind=kind)
    assert heard.ending is Ending.RESULT, heard.log
    assert heard.result.kind == kind + 1_000
    (story,) = await books(shop.folder)
    assert story.texts.request.startswith(request_opens)


@SCHEMES
async def test_it_claims_its_change_with_an_invoice_of_its_own(shop, scheme):
    secret = os.urandom(32).hex()
    await buy(shop, encrypt=scheme, secret=secret)
    (story,) = await books(shop.folder)
    (held,) = (refund for refund in story.refunds if refund.state is RefundState.HELD)
    node = Node(b"customer", time.time, os.urandom)
    params = {
        "op": "refund",
        "job": story.job.event_id,
        "invoice": node.invoice(Msats(held.amount), "change", 3_600, None).bolt11,
    }
    tags = [["param", name, value] for name, value in params.items()]
    claim = await buy(shop, "", encrypt=scheme, secret=secret, tags=tags, receipt=False)
    assert claim.ending is Ending.RESULT, claim.log
    assert f'"refundAmountSats":{held.amount // 1_000}' in claim.result.content
    await until(lambda: is_sent(shop.folder))
    # Another tag makes it another request, were it asked within the same second.
    again = await buy(shop, "", encrypt=scheme, secret=secret, tags=[*tags, ["param", "try", "2"]], receipt=False)
    assert again.ending is Ending.RESULT, again.log
    assert '"refundState":"paid"' in again.result.content
    await until(lambda: is_sent(shop.folder))


async def is_sent(folder):
    (story,) = await books(folder)
    return {refund.state for refund in story.refunds} == {RefundState.SENT}
