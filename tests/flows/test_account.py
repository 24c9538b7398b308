"""A customer's account over a relay: filled, used, paid out, forgotten, and a paid request taken back in time."""

import asyncio
import contextlib
import json
import os

import pytest

from ledger.audit import audit
from ledger.money import msats_from_sats
from ledger.sqlite import open_ledger
from lightning.simulated_node import Node
from tests.flows.live import asking, until
from tests.flows.shop import TIMMY, Shop, books, fresh_keys, heard, invoice_of, publish, said, serving, signed
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.clock import SystemClock
from timmy_dvm.nostr.customer import Order, Said
from timmy_dvm.nostr.privacy import Scheme

TEXT = 5050
ME = TIMMY.public_key
QUESTION = "Whisper: what does a data vending machine do for me?"
SCHEMES = pytest.mark.parametrize("scheme", [None, Scheme.NIP44, Scheme.NIP04], ids=["plain", "nip44", "nip04"])


class Regular:
    """A customer with a key, a wallet, and a way of asking."""

    def __init__(self, shop: Shop, scheme: Scheme | None) -> None:
        self._shop = shop
        self._scheme = scheme
        self.keys = fresh_keys()
        self.node = Node(b"customer", SystemClock().now, os.urandom)

    def asks(self, text: str = "", **params: str):
        order = Order(text=text, provider=ME, encrypt=self._scheme, params=params)
        return asking(self._shop.ready, order, self.keys)

    async def does(self, op: str, **params: str) -> dict:
        """The JSON of an operation's answer."""
        async with self.asks(op=op, **params) as errand:
            answer = await errand.hears(Said.RESULT)
        if self._scheme is not None:
            assert "Sats" not in answer.event.to_json()
        return json.loads(answer.text)

    async def is_refused(self, op: str, **params: str) -> str:
        async with self.asks(op=op, **params) as errand:
            return (await errand.hears(Said.ERROR)).text

    async def tops_up(self, sats: int) -> None:
        async with self.asks(op="topup", amount_sats=str(sats)) as errand:
            price = await errand.hears(Said.PRICE)
            answer = json.loads((await errand.hears(Said.RESULT)).text)
            assert answer["invoice"]["paymentRequest"] == price.bolt11
            assert price.amount == msats_from_sats(sats)
            await self._shop.pay(price.bolt11)
            receipt = await errand.hears(Said.RECEIPT)
        assert receipt.tag("credit")[1] == str(sats)

    async def takes_out(self, sats: int) -> str:
        invoice = self.node.invoice(msats_from_sats(sats), "mine", 3_600, None).bolt11
        async with self.asks(op="refund", invoice=invoice) as errand:
            assert json.loads((await errand.hears(Said.RESULT)).text)["refundAmountSats"] == sats
            moved = await errand.hears(Said.RECEIPT)
        assert list(moved.tag("refund")) == ["refund", "sent", str(sats)]
        return moved.text


@pytest.fixture
async def shop(tmp_path):
    async with serving(tmp_path) as made:
        yield made


async def delivered(shop: Shop) -> None:
    """Wait until all that was said has been taken by a relay."""

    async def nothing_waits() -> bool:
        store = open_ledger(f"sqlite:///{shop.folder / 'timmy.db'}", read_only=True)
        try:
            return all(row.kind != "Publish" for row in await store.pending())
        finally:
            await store.close()

    await until(nothing_waits)


@SCHEMES
async def test_an_account_from_its_filling_to_its_forgetting(shop, scheme):
    customer = Regular(shop, scheme)
    await customer.tops_up(500)
    assert (await customer.does("balance"))["creditSats"] == 500

    async with customer.asks(QUESTION) as errand:
        await errand.hears(Said.RECEIPT)
        assert [answer.said for answer in errand.answers].count(Said.PRICE) == 0
    left = (await customer.does("balance"))["creditSats"]
    assert 0 < left < 500

    told = await customer.takes_out(left - 10)
    assert "the way cost nothing" in told
    assert (await customer.does("balance"))["creditSats"] == 10

    await delivered(shop)
    assert await customer.does("forget") == {"op": "forget", "forgottenJobs": 1, "moreJobs": False}
    assert await customer.does("forget") == {"op": "forget", "forgottenJobs": 0, "moreJobs": False}
    (story,) = await books(shop.folder)
    assert story.texts.forgotten
    assert not any(event.json for event, _ in story.events)


async def test_what_is_wrong_with_a_topup_is_told_and_an_unknown_customer_has_nothing_to_take_out(shop):
    customer = Regular(shop, None)
    assert "1 to 1000000 sats" in await customer.is_refused("topup", amount_sats="1000001")
    assert "amount_sats" in await customer.is_refused("topup", amount_sats="much")
    invoice = customer.node.invoice(msats_from_sats(10), "mine", 3_600, None).bolt11
    assert "0 sats" in await customer.is_refused("refund", invoice=invoice)
    assert (await customer.does("balance"))["topups"] == []


async def test_a_topup_on_its_way_is_shown_and_limits_are_the_operators(tmp_path):
    async with serving(tmp_path, limits={"topup_max_sats": 50, "open_jobs_per_key": 1}) as shop:
        customer = Regular(shop, None)
        assert "1 to 50 sats" in await customer.is_refused("topup", amount_sats="51")
        body = await customer.does("topup", amount_sats="50")
        (shown,) = (await customer.does("balance"))["topups"]
        assert (shown["amountSats"], shown["invoice"]) == (50, body["invoice"])
        assert "pay or cancel one" in await customer.is_refused("topup", amount_sats="1")


async def test_a_topup_heard_on_two_relays_and_again_after_a_restart_is_one_invoice_and_paid_meanwhile_is_credited(
    tmp_path,
):
    keys = fresh_keys()
    wanted = signed(keys, TEXT, [("param", "op", "topup"), ("param", "amount_sats", "70")], to=ME)
    async with serving(tmp_path) as shop:
        relay = shop.ready.relays[0]
        await publish(relay, wanted)
        price = await heard(relay, wanted, "payment-required")
        await shop.pay(invoice_of(price))
        await heard(relay, wanted, "success")
    async with serving(tmp_path) as shop:
        relay = shop.ready.relays[0]
        await publish(relay, wanted)
        balance = signed(keys, TEXT, [("param", "op", "balance")], to=ME)
        await publish(relay, balance)
        assert json.loads((await heard(relay, balance, "result")).content)["creditSats"] == 70
    assert audit(tmp_path / "timmy.db") == []


class Slow(OfflineAgent):
    """Judges nothing until it is told to."""

    def __init__(self):
        super().__init__()
        self.begun: list[str] = []
        self.may_go_on = asyncio.Event()

    async def evaluate(self, task, *, deadline_s):
        self.begun.append(task.text)
        await self.may_go_on.wait()
        return await super().evaluate(task, deadline_s=deadline_s)


@contextlib.asynccontextmanager
async def at_work(folder):
    """A Timmy with one place for runs, which is taken."""
    agent = Slow()
    async with serving(folder, agent=agent, limits={"in_flight": 1}) as shop:
        first = signed(fresh_keys(), TEXT, [("i", "First in the queue", "text")], to=ME)
        await paid(shop, first)
        await until(lambda: agent.begun)
        yield shop, agent
        agent.may_go_on.set()
        await heard(shop.ready.relays[0], first, "success")


async def paid(shop, request):
    relay = shop.ready.relays[0]
    await publish(relay, request)
    await shop.pay(invoice_of(await heard(relay, request, "payment-required")))
    await heard(relay, request, "processing")


async def test_paid_and_queued_a_request_is_cancelled_refunded_and_never_seen_by_the_model(tmp_path):
    async with at_work(tmp_path) as (shop, agent):
        keys = fresh_keys()
        request = signed(keys, TEXT, [("i", "Second in the queue", "text")], to=ME)
        await paid(shop, request)
        await publish(shop.ready.relays[0], signed(keys, 5, [("e", request.id)], to=ME))
        told = await heard(shop.ready.relays[0], request, "error")
        assert told.tag("code") == ("code", "cancelled")
    assert agent.begun == ["First in the queue"]
    first_story, second_story = await books(tmp_path)
    assert (first_story.job.state, second_story.job.state) == ("complete", "cancelled")
    (invoice,), (refund,) = second_story.invoices, second_story.refunds
    assert refund.amount == invoice.received


async def test_once_it_has_begun_a_request_finishes_though_it_is_cancelled(tmp_path):
    keys = fresh_keys()
    agent = Slow()
    async with serving(tmp_path, agent=agent) as shop:
        request = signed(keys, TEXT, [("i", "Begun already", "text")], to=ME)
        await paid(shop, request)
        await until(lambda: agent.begun)
        await publish(shop.ready.relays[0], signed(keys, 5, [("e", request.id)], to=ME))

        async def told_that_it_goes_on():
            words = [event.content for event in await said(shop.ready.relays[0])]
            return any("has begun: it finishes" in text for text in words)

        await until(told_that_it_goes_on)
        agent.may_go_on.set()
        await heard(shop.ready.relays[0], request, "success")
    (story,) = await books(tmp_path)
    assert story.job.state == "complete"
