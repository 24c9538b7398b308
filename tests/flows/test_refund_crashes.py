"""A refund that goes by itself, and a process that dies over it, or a wallet that takes its time: one payout."""

import asyncio
import contextlib

import pytest

from ledger.audit import audit
from lightning.backend import Sent
from lightning.simulated import Outcome, SimulatedWallet
from tests.flows.house import a_house
from tests.flows.test_refund_addresses import Way, invoices_of, refund_is, sold
from tests.lnurl_server import ADDRESS, NAME, an_address
from timmy_dvm.clock import ManualClock, SeededRandomness


class Fatal:
    """A wallet over whose `pay` the process dies, before or after it paid."""

    def __init__(self, wallet, moment):
        self._wallet, self._moment = wallet, moment
        self.reached = asyncio.Event()

    async def pay(self, *what, **how):
        if self._moment == "after":
            await self._wallet.pay(*what, **how)
        self.reached.set()
        await asyncio.Event().wait()

    def __getattr__(self, name):
        return getattr(self._wallet, name)


async def in_time(house, state, pause_s=600):
    """The one refund, once it is in a state; time goes by until then."""
    async with asyncio.timeout(20):
        while True:
            (row,) = await house.store.refunds(open_only=False)
            if row.state == state:
                return row
            await house.clock.advance(pause_s)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("moment", "payments"), [("before", 2), ("after", 1)])
async def test_killed_between_the_intent_and_its_outcome_a_refund_leaves_once(tmp_path, moment, payments):
    """What may have left is looked up; only what left no trace for ten minutes goes out again, the same BOLT11."""
    url = f"sqlite:///{tmp_path / 'timmy.db'}"
    clock, way = ManualClock(), Way()
    wallet = SimulatedWallet(
        seed=b"timmy", now=clock.now, random_bytes=SeededRandomness("wallet").token, balance_msat=100_000_000
    )
    fatal = Fatal(wallet, moment)
    async with a_house(url, fetch=way, wallet=fatal, clock=clock) as house:
        async with an_address(invoices_of(house)) as service:
            way.ports[NAME] = service.port
            await sold(house, refund_to=ADDRESS)
            async with asyncio.timeout(10):
                await fatal.reached.wait()
            (row,) = await refund_is(house, "sending")
        first = house.customer
    async with a_house(url, wallet=wallet, clock=clock) as house:
        if moment == "before":
            await refund_is(house, "in_doubt")
        sent = await in_time(house, "sent")
        assert (sent.payment_hash, sent.attempts) == (row.payment_hash, row.attempts)
        assert first.received == {row.payment_hash: row.amount}
        facts = [fact for fact in (await house.store.story(row.job_id)).facts if fact.kind == "PaymentOut"]
        assert len(facts) == payments
        await house.books_are_right()
    assert not audit(tmp_path / "timmy.db")


@pytest.mark.parametrize("truth", [Sent.SUCCEEDED, Sent.FAILED])
async def test_a_slow_wallet_keeps_a_refund_pending_and_no_second_invoice_is_asked_for_before_it_failed(truth):
    way = Way()
    async with a_house(fetch=way) as house, an_address(invoices_of(house)) as service:
        way.ports[NAME] = service.port
        house.wallet.next_outcomes.append(Outcome.IN_FLIGHT)
        await sold(house, refund_to=ADDRESS)
        (row,) = await refund_is(house, "in_doubt")
        for _ in range(5):
            await house.clock.advance(3_600)
            await refund_is(house, "in_doubt")
        assert (len(service.made), house.customer.received) == (1, {})
        house.wallet.resolve_payment(row.payment_hash, truth)
        sent = await in_time(house, "sent")
        is_another = sent.payment_hash != row.payment_hash
        assert (is_another, len(service.made)) == ((False, 1) if truth is Sent.SUCCEEDED else (True, 2))
        await house.books_are_right()


async def test_killed_while_an_address_is_asked_it_is_asked_again(tmp_path):
    url = f"sqlite:///{tmp_path / 'timmy.db'}"
    clock, way = ManualClock(), Way(deadline_s=60)
    wallet = SimulatedWallet(
        seed=b"timmy", now=clock.now, random_bytes=SeededRandomness("wallet").token, balance_msat=100_000_000
    )
    async with contextlib.AsyncExitStack() as stack:
        async with a_house(url, fetch=way, wallet=wallet, clock=clock) as house:
            customer = house.customer
            service = await stack.enter_async_context(an_address(invoices_of(house)))
            way.ports[NAME] = service.port
            service.mood = "silent"
            await sold(house, refund_to=ADDRESS)
            await house.until(lambda: service.requests)
        service.mood = ""
        async with a_house(url, fetch=way, wallet=wallet, clock=clock) as house:
            (sent,) = await refund_is(house, "sent")
            assert customer.received == {sent.payment_hash: sent.amount}
            await house.books_are_right()
