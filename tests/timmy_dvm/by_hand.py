"""A house in which nothing happens by itself: a test takes each step of the outbox with its own hands.

Ledger, engine, wallet steps and runs are the production code; dispatcher, timers and ear are not running.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator

import msgspec

from ledger.money import msats_from_sats
from ledger.sqlite import open_ledger
from ledger.store import StoreUnavailable
from lightning import bolt11
from lightning.simulated import SimulatedWallet
from tests.flows.house import House
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.core.actions import Action, CreateInvoice, FindPayment, PayRefund, RunAgent
from timmy_dvm.core.facts import CancelAsked, DeadlinePassed, PaymentSeen, RefundClaimed
from timmy_dvm.engine import Engine
from timmy_dvm.runs import Runs
from timmy_dvm.wallet import WalletSteps

_decode = msgspec.json.Decoder(Action).decode


class Gate:
    """Where a step waits until a test lets it go on."""

    def __init__(self):
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()


class Moody:
    """The ledger, whose named methods fail as often as they were told to, or wait at a gate before they begin."""

    def __init__(self, store):
        self._store = store
        self.fails = {}
        self.gates = {}

    def __getattr__(self, name):
        if (gate := self.gates.pop(name, None)) is not None:
            return functools.partial(self._after, gate, name)
        if self.fails.get(name, 0) > 0:
            self.fails[name] -= 1
            raise StoreUnavailable("the disk is full; free some space")
        return getattr(self._store, name)

    async def _after(self, gate, name, *args):
        gate.reached.set()
        await gate.opened.wait()
        return await getattr(self._store, name)(*args)


class CountingWallet(SimulatedWallet):
    """Notes what it was told to pay, and whether the ledger knew of that by then. Says `answers` of an invoice."""

    def __init__(self, clock, random, **more):
        balance = msats_from_sats(100_000)
        super().__init__(seed=b"timmy", now=clock.now, random_bytes=random.token, balance_msat=balance, **more)
        self.paid = []
        self.before_paying = None
        self.says_of_invoice = None

    async def pay(self, text, **terms):
        self.paid.append(text)
        if self.before_paying is not None:
            await self.before_paying()
        return await super().pay(text, **terms)

    async def lookup_invoice(self, payment_hash):
        return self.says_of_invoice or await super().lookup_invoice(payment_hash)


class ByHand(House):
    """One job at a time, as far as the test takes it."""

    def __init__(self, store, clock, agent=None, *, in_flight=50):
        wallet = CountingWallet(clock, SeededRandomness("wallet"))
        super().__init__(Moody(store), clock, agent, wallet)
        self.engine = Engine(self.store, self.policy, self.recorder)
        self.steps = WalletSteps(wallet, self.store, self.engine, clock)
        self._cancels = 0
        self.runs = Runs(self.agent, self.store, self.engine, clock, self.policy.prices, in_flight)

    @property
    def now(self):
        return int(self.clock.now())

    async def rows(self, kind):
        """``(row id, action)`` of each outbox row of a kind, oldest first."""
        return [(r.id, _decode(r.body)) for r in await self.store.pending() if r.kind == kind.__name__]

    async def row(self, kind):
        """The one outbox row of that kind."""
        ((row_id, action),) = await self.rows(kind)
        return row_id, action

    async def is_done(self, row_id):
        return all(row.id != row_id for row in await self.store.pending())

    async def is_started(self, row_id):
        return next(row.started for row in await self.store.pending() if row.id == row_id)

    async def asked(self, text=None, **changes):
        """A job whose price was told; its id and the invoice."""
        job_id = await (self.ask(**changes) if text is None else self.ask(text, **changes))
        row_id, wanted = next(found for found in await self.rows(CreateInvoice) if found[1].job_id == job_id)
        assert await self.steps.create_invoice(row_id, wanted)
        (invoice,) = (await self.store.story(job_id)).invoices
        return job_id, invoice

    async def paid(self, text=None, **changes):
        """A job that was paid; its id. Its eval is in the outbox."""
        job_id, invoice = await self.asked(text, **changes)
        self.customer.pays(invoice.bolt11)
        await self.engine.handle(PaymentSeen(payment_hash=invoice.payment_hash, received=None, at=self.now))
        return job_id

    async def run(self):
        """The run in the outbox, to its fact."""
        row_id, wanted = await self.row(RunAgent)
        await self.runs.run(row_id, wanted, interrupted=False)

    async def cancel(self, job_id):
        """The customer takes the request back."""
        job = await self.job(job_id)
        self._cancels += 1
        fact = CancelAsked(
            event_id=f"{self._cancels:064x}", request_event_id=job.event_id, pubkey=job.pubkey, at=self.now
        )
        await self.engine.handle(fact)

    async def overdue(self, job_id):
        """The job's deadline passes, whatever the clock says."""
        due_at = (await self.job(job_id)).due_at
        await self.engine.handle(DeadlinePassed(job_id=job_id, due_at=due_at, at=due_at))

    async def claimed(self):
        """A job is done and its change claimed: ``(row id, PayRefund)``; nothing is sent yet."""
        job_id = await self.paid()
        await self.run()
        await self.run()
        (held,) = await self.store.refunds(open_only=True)
        job = await self.job(job_id)
        invoice = self.customer.invoice(held.amount)
        claim = RefundClaimed(
            event_id="c1" * 32,
            request_event_id=job.event_id,
            pubkey=job.pubkey,
            bolt11=invoice,
            payment_hash=bolt11.decode(invoice).payment_hash,
            amount=held.amount,
            rail_ok=True,
            expires_at=bolt11.decode(invoice).expires_at,
            origin="{}",
            at=self.now,
        )
        await self.engine.handle(claim)
        return await self.row(PayRefund)

    async def in_doubt(self, outcome):
        """A claim was sent and nobody knows what became of it: ``(row id, FindPayment)``."""
        row_id, refund = await self.claimed()
        self.wallet.next_outcomes.append(outcome)
        await self.steps.pay_refund(row_id, refund, interrupted=False)
        assert await self.refund_state() == "in_doubt"
        return await self.row(FindPayment)

    async def refund_state(self):
        (refund,) = await self.store.refunds(open_only=False)
        return str(refund.state)


@contextlib.asynccontextmanager
async def by_hand(agent=None, url="sqlite:///:memory:", **parts) -> AsyncIterator[ByHand]:
    store = open_ledger(url)
    try:
        house = ByHand(store, ManualClock(), agent, **parts)
        await store.open_books(await house.wallet.balance_msat(), msats_from_sats(10_000), house.now)
        yield house
    finally:
        await store.close()
