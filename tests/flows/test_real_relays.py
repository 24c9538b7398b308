"""A paid job over relay programs that were not written here, also while one of them dies and comes back."""

import asyncio
import json
import os
import time

import pytest

from ledger.money import Msats
from ledger.records import EventRole, JobState, RefundState
from lightning.simulated_node import Node
from relay_client.keys import Keys
from tests.flows.live import asking, until
from tests.flows.shop import FEEDBACK, TIMMY, books, fresh_keys, serving
from tests.peer_relays import NpmRelay, SdkRelay
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.nostr.customer import Order, Said
from timmy_dvm.terminal import read_ledger

pytestmark = pytest.mark.peer

QUESTION = "What does a data vending machine do for me, how do I pay it, and what comes back if it should fail?"
ACCEPTED = "accepted"
DYING = pytest.mark.parametrize(("dying", "other"), [("sdk", "npm"), ("npm", "sdk")])


class AtWork:
    """A model that begins at once and ends when the test lets it."""

    def __init__(self):
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.agent = OfflineAgent(1, sleep=self._think)

    async def _think(self, _):
        self.has_begun.set()
        await self.may_end.wait()


@pytest.fixture
async def relays():
    async with SdkRelay() as sdk, NpmRelay() as npm:
        yield {"sdk": sdk, "npm": npm}


async def claimed(ready, keys: Keys, request_id, receipt):
    """The customer claims the change with an invoice of a wallet of their own, and hears that it was sent."""
    (held,) = [row["amountSats"] for row in read_ledger(receipt)["refunds"] if row["state"] == "held"]
    node = Node(b"customer", time.time, os.urandom)
    invoice = node.invoice(Msats(1_000 * held), "change", 3_600, None).bolt11
    params = {"op": "refund", "job": request_id, "invoice": invoice}
    async with asking(ready, Order(text="", provider=TIMMY.public_key, params=params), keys) as claim:
        assert json.loads((await claim.hears(Said.RESULT)).text)["refundAmountSats"] == held
    return held


async def change_is_back(errand):
    """The customer hears of it as one more answer to the request."""
    await until(lambda: any((answer.tag("refund") or ["", ""])[1] == "sent" for answer in errand.answers))


async def the_story(folder):
    """The one job, with the books in order; every event that was published for it was taken somewhere."""
    (story,) = await books(folder)
    assert story.job.state is JobState.COMPLETE
    assert len(story.invoices) == 1
    assert [event.role for event, _ in story.events].count(EventRole.RESULT) == 1
    for event, deliveries in story.events:
        assert ACCEPTED in {delivery.outcome for delivery in deliveries}, event.json
    return story


def outcomes_of(story):
    """For each event of the job, by what it says: the last outcome at each relay."""
    return {
        word_of(event): {delivery.relay: delivery.outcome for delivery in deliveries}
        for event, deliveries in story.events
    }


def word_of(event):
    body = json.loads(event.json)
    tags = {tag[0]: tag for tag in body["tags"]}
    if event.role is EventRole.RESULT:
        return "result"
    if body["kind"] != FEEDBACK:
        return "claim"
    return "refund" if "refund" in tags else tags["status"][1]


@pytest.mark.parametrize("relay_class", [SdkRelay, NpmRelay])
async def test_a_whole_job_and_its_change_go_over_one_relay_of_others(relay_class, tmp_path):
    keys = fresh_keys()
    async with relay_class() as relay, serving(tmp_path, relay.url) as shop:
        async with asking(shop.ready, QUESTION, keys) as errand:
            await shop.pay((await errand.hears(Said.PRICE)).bolt11)
            assert "without a language model" in (await errand.hears(Said.RESULT)).text
            held = await claimed(shop.ready, keys, errand.id, await errand.hears(Said.RECEIPT))
            await change_is_back(errand)
        heard = [str(answer.said) for answer in errand.answers]
        url = shop.ready.relays[0]
    assert heard == ["payment-required", "processing", "result", "success", "success"]
    story = await the_story(tmp_path)
    assert [(refund.state, refund.amount) for refund in story.refunds] == [(RefundState.SENT, 1_000 * held)]
    told = ["payment-required", "processing", "result", "success", "claim", "refund"]
    assert outcomes_of(story) == {word: {url: ACCEPTED} for word in told}


@DYING
async def test_a_relay_that_dies_after_the_price_was_told_costs_nobody_the_result(relays, dying, other, tmp_path):
    dead, alive = relays[dying], relays[other]
    async with serving(tmp_path, dead.url, alive.url) as shop:
        await shop.is_connected(dead.url, alive.url)
        async with asking(shop.ready, QUESTION) as errand:
            price = await errand.hears(Said.PRICE)
            await dead.stop()
            await shop.is_cut_off_from(dead.url)
            await shop.pay(price.bolt11)
            result = await errand.hears(Said.RESULT)
            await errand.hears(Said.RECEIPT)
    assert result.relay == alive.url
    told = outcomes_of(await the_story(tmp_path))
    assert {told[word][alive.url] for word in told} == {ACCEPTED}
    assert {told[word][dead.url] for word in ("processing", "result", "success")} == {"not_connected"}


@DYING
async def test_a_relay_that_dies_during_the_work_costs_nobody_the_result_and_is_used_again(
    relays, dying, other, tmp_path
):
    dead, alive, model, keys = relays[dying], relays[other], AtWork(), fresh_keys()
    async with serving(tmp_path, dead.url, alive.url, agent=model.agent) as shop:
        await shop.is_connected(dead.url, alive.url)
        async with asking(shop.ready, QUESTION, keys) as errand:
            await shop.pay((await errand.hears(Said.PRICE)).bolt11)
            await errand.hears(Said.WORKING)
            await model.has_begun.wait()
            await dead.stop()
            await shop.is_cut_off_from(dead.url)
            model.may_end.set()
            result = await errand.hears(Said.RESULT)
            receipt = await errand.hears(Said.RECEIPT)
            await dead.start()
            await shop.is_connected(dead.url)
            held = await claimed(shop.ready, keys, errand.id, receipt)
            await change_is_back(errand)
    assert result.relay == alive.url
    story = await the_story(tmp_path)
    told = outcomes_of(story)
    assert told["result"] == told["success"] == {dead.url: "not_connected", alive.url: ACCEPTED}
    assert told["refund"] == {dead.url: ACCEPTED, alive.url: ACCEPTED}
    assert [(refund.state, refund.amount) for refund in story.refunds] == [(RefundState.SENT, 1_000 * held)]


@DYING
async def test_a_result_that_no_relay_took_is_offered_until_one_is_back(relays, dying, other, tmp_path):
    first_back, gone, model = relays[dying], relays[other], AtWork()
    async with serving(tmp_path, first_back.url, gone.url, agent=model.agent) as shop:
        await shop.is_connected(first_back.url, gone.url)
        async with asking(shop.ready, QUESTION) as errand:
            await shop.pay((await errand.hears(Said.PRICE)).bolt11)
            await errand.hears(Said.WORKING)
            await model.has_begun.wait()
            for relay in (first_back, gone):
                await relay.stop()
                await shop.is_cut_off_from(relay.url)
            model.may_end.set()
            await until(lambda: is_complete(tmp_path))
            await first_back.start()
            result = await errand.hears(Said.RESULT)
            await errand.hears(Said.RECEIPT)
    assert result.relay == first_back.url
    told = outcomes_of(await the_story(tmp_path))
    assert told["result"] == {first_back.url: ACCEPTED, gone.url: "not_connected"}


async def is_complete(folder):
    (story,) = await books(folder)
    return story.job.state is JobState.COMPLETE
