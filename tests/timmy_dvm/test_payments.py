"""Money coming in: found whatever became of the push, booked once, and never on the word of a push alone."""

import asyncio
import contextlib
import hashlib

import pytest

from ledger.money import msats_from_sats
from ledger.sqlite import open_ledger
from ledger.store import StoreUnavailable
from lightning.simulated import SimulatedWallet
from tests.flows.house import ALICE, BTC, Recorder
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.core.facts import InvoiceMade, RequestReceived
from timmy_dvm.core.policy import Policy
from timmy_dvm.engine import Engine
from timmy_dvm.payments import Payments

TIMEOUT_S = 10
CURSOR = "wallet_cursor"


class Till:
    """A ledger, an engine and a wallet, with nobody who acts; jobs are made and priced by hand."""

    def __init__(self, store):
        self.clock = ManualClock()
        self.random = SeededRandomness("till")
        self.store = store
        self.engine = Engine(store, Policy(), Recorder())
        self.wallet = SimulatedWallet(seed=b"timmy", now=self.clock.now, random_bytes=self.random.token)
        self.heard = []
        self.news = asyncio.Event()
        self.engine.listen(self._hear)

    def _hear(self, applied):
        self.heard.append(applied)
        self.news.set()

    async def priced(self):
        """A job that waits for 20 sats; its id and its invoice's hash."""
        job_id = self.random.new_id()
        now = int(self.clock.now())
        await self.engine.handle(
            RequestReceived(
                job_id=job_id,
                door="nostr",
                mode="once",
                event_id=hashlib.sha256(job_id.encode()).hexdigest(),
                pubkey=ALICE,
                text="Hi",
                origin="{}",
                btc=BTC,
                asked_at=now,
                at=now,
            )
        )
        key = f"{job_id}:asked"
        made = await self.wallet.create_invoice(msats_from_sats(20), memo="Hi", expiry_s=600, key=key)
        await self.engine.handle(
            InvoiceMade(
                job_id=job_id,
                key=key,
                payment_hash=made.payment_hash,
                bolt11=made.bolt11,
                amount=made.amount_msat,
                created_at=now,
                expires_at=made.expires_at,
                at=now,
            )
        )
        return job_id, made.payment_hash

    @contextlib.asynccontextmanager
    async def watching(self):
        payments = Payments(self.store, self.engine, self.wallet, self.clock)
        task = asyncio.create_task(payments.run())
        try:
            yield payments
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def holds(self, job_id):
        """Wait until something is booked in the job's account; how much."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                self.news.clear()
                if held := (await self.store.balances()).get(f"job:{job_id}"):
                    return held
                await self.news.wait()

    async def is_empty(self, job_id):
        return f"job:{job_id}" not in await self.store.balances()


@contextlib.asynccontextmanager
async def a_till():
    store = open_ledger("sqlite:///:memory:")
    try:
        yield Till(store)
    finally:
        await store.close()


async def caught_up(payments):
    async with asyncio.timeout(TIMEOUT_S):
        await payments.caught_up.wait()


async def test_what_was_paid_while_we_were_down_is_booked_before_we_say_that_we_caught_up():
    async with a_till() as till:
        job_id, payment_hash = await till.priced()
        till.wallet.settle(payment_hash)
        async with till.watching() as payments:
            await caught_up(payments)
            assert (await till.store.balances())[f"job:{job_id}"] == 20_000


async def test_a_push_is_followed_at_once():
    async with a_till() as till, till.watching() as payments:
        await caught_up(payments)
        job_id, payment_hash = await till.priced()
        till.wallet.settle(payment_hash)
        assert await till.holds(job_id) == 20_000


async def test_a_lost_push_costs_half_a_minute_and_no_money():
    async with a_till() as till, till.watching() as payments:
        await caught_up(payments)
        till.wallet.muted = True
        job_id, payment_hash = await till.priced()
        till.wallet.settle(payment_hash)
        await till.clock.advance(29)
        assert await till.is_empty(job_id)
        await till.clock.advance(1)
        assert await till.holds(job_id) == 20_000


async def test_a_forged_push_books_nothing():
    async with a_till() as till, till.watching() as payments:
        await caught_up(payments)
        unpaid, forged = await till.priced()
        paid, payment_hash = await till.priced()
        till.wallet.push(forged)
        till.wallet.push("ff" * 32)
        till.wallet.settle(payment_hash)
        assert await till.holds(paid) == 20_000
        await till.clock.advance(60)
        assert await till.is_empty(unpaid)


async def test_however_often_it_is_pushed_and_listed_money_is_booked_once():
    """LNB-10."""
    async with a_till() as till:
        async with till.watching() as payments:
            await caught_up(payments)
            job_id, payment_hash = await till.priced()
            till.wallet.settle(payment_hash)
            await till.holds(job_id)
            facts = len(till.heard)
            for _ in range(3):
                till.wallet.push(payment_hash)
                await till.clock.advance(30)
        await till.store.remember(CURSOR, "")
        async with till.watching() as payments:
            await caught_up(payments)
        assert len(till.heard) == facts
        assert (await till.store.balances())[f"job:{job_id}"] == 20_000


async def test_what_others_paid_into_our_wallet_is_none_of_our_jobs():
    async with a_till() as till:
        made = await till.wallet.create_invoice(msats_from_sats(20), memo="mine", expiry_s=600, key="other")
        till.wallet.settle(made.payment_hash)
        async with till.watching() as payments:
            await caught_up(payments)
        assert till.heard == []


async def test_the_next_start_reads_on_where_this_one_stopped():
    async with a_till() as till:
        _, payment_hash = await till.priced()
        till.wallet.settle(payment_hash)
        async with till.watching() as payments:
            await caught_up(payments)
            await till.clock.advance(2)
        cursor = await till.store.setting(CURSOR)
        assert cursor
        assert await till.wallet.list_settled(cursor) == ([], cursor)


@pytest.mark.parametrize("cursor", ["nonsense", "999999"])
async def test_a_cursor_the_wallet_does_not_know_means_to_read_from_the_start(cursor):
    async with a_till() as till:
        job_id, payment_hash = await till.priced()
        till.wallet.settle(payment_hash)
        await till.store.remember(CURSOR, cursor)
        async with till.watching() as payments:
            await caught_up(payments)
            assert await till.holds(job_id) == 20_000


async def test_while_the_wallet_is_away_we_have_not_caught_up_and_then_we_have():
    async with a_till() as till:
        job_id, payment_hash = await till.priced()
        till.wallet.settle(payment_hash)
        till.wallet.down = True
        async with till.watching() as payments:
            await till.clock.advance(60)
            assert not payments.caught_up.is_set()
            assert await till.is_empty(job_id)
            till.wallet.down = False
            await till.clock.advance(5)
            await caught_up(payments)
            assert await till.holds(job_id) == 20_000


async def test_a_cursor_that_can_t_be_saved_is_saved_later():
    async with a_till() as till:
        _, payment_hash = await till.priced()
        till.wallet.settle(payment_hash)
        remember, errors = till.store.remember, [StoreUnavailable("disk full")]

        async def troubled(key, value):
            if errors:
                raise errors.pop()
            await remember(key, value)

        till.store.remember = troubled
        async with till.watching() as payments:
            await caught_up(payments)
            await till.clock.advance(2)
            assert (await till.store.setting(CURSOR), errors) == (None, [])
            await till.clock.advance(2)
            assert await till.store.setting(CURSOR)
