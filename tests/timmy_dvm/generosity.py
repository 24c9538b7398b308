"""A pool, keys of any tier and jobs of any price: the production engine over a real ledger, all else by hand.

Amounts in the signatures are whole sats. A job costs what the test says: the bitcoin price is chosen so that one
thousandth of a dollar, the price of every text here, is that many sats.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator

from ledger import accounts
from ledger.audit import audit
from ledger.entries import Code, transfer
from ledger.money import Msats, msats_from_sats
from ledger.records import (
    Applied,
    Change,
    Door,
    FactRecord,
    IdentityRecord,
    JobRecord,
    JobState,
    Mode,
    Replayed,
)
from ledger.sqlite import open_ledger
from ledger.store import Store
from tests.flows.house import Recorder
from timmy_dvm.core.actions import Message
from timmy_dvm.core.donation_facts import DonationAsked
from timmy_dvm.core.facts import (
    CancelAsked,
    DeadlinePassed,
    EvalDone,
    InvoiceMade,
    InvoiceUnpaid,
    Op,
    PaymentSeen,
    QuestionAsked,
    RequestReceived,
    RunFailed,
    Step,
    WorkDone,
)
from timmy_dvm.core.free_tier import DailyBudgets
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import BtcPrice, Freshness, ModelRate, PriceList
from timmy_dvm.engine import Engine

NOW = 1_800_000_000
MIDNIGHT = NOW - NOW % 86_400
EVAL_FEE = 2
SCORES = {"new": 0, "established": 20, "trusted": 60, "elite": 90}
PRICES = PriceList(
    eval_fee_sats=EVAL_FEE, margin_percent=0, infra_micro_usd=1_000, rates=(ModelRate("offline", 0, 0),)
)
BUDGETS = DailyBudgets(elite=msats_from_sats(1_000_000))
"""As they are but for elite keys, of which one may drain a pool."""
MANY = {"jobs_per_key_minute": 10_000, "open_jobs_per_key": 10_000, "open_invoices": 10_000}
POLICY = Policy(prices=PRICES, daily_budgets=BUDGETS, **MANY)
RELAY = {"door": Door.NOSTR, "mode": Mode.ONCE}
STEPS = {"door": Door.HTTP, "mode": Mode.STEPS}
PAGE = {"door": Door.HTTP, "mode": Mode.ONCE}
"""Over HTTP with one invoice, as the pages ask."""


def priced(sats: int) -> BtcPrice:
    """The bitcoin price at which every text's work fee is that many sats."""
    return BtcPrice(-(-100_000_000_000 // sats), "test", Freshness.FIXED, NOW)


def hexed(text: str, digits: int = 64) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


class Generosity:
    """One ledger and its engine. Every step of a job is a fact that the test hands in."""

    def __init__(self, store: Store, policy: Policy = POLICY) -> None:
        self.store = store
        self.recorder = Recorder()
        self.engine = Engine(store, policy, self.recorder)
        self.now = NOW
        self._number = 0

    # Keys and the pool

    async def key(self, tier: str, name: str = "alice", **fields) -> str:
        """A key of that tier, as if it had earned it; its hex."""
        pubkey = hexed(f"key {name}")
        row = IdentityRecord(
            pubkey=pubkey, trust_score=SCORES[tier], first_seen=self.now, last_seen=self.now, **fields
        )
        await self.write(identity=row)
        return pubkey

    async def write(self, **change) -> None:
        fact = FactRecord(id=f"by hand {self.fresh()}", kind="Test", job_id=None, at=self.now, body="{}")
        outcome = await self.store.commit(fact, lambda _: Change(**change))
        assert isinstance(outcome, Applied), outcome

    def fresh(self) -> int:
        self._number += 1
        return self._number

    async def use(self, pubkey: str, sats: int) -> None:
        """The key has drawn that much today."""
        if sats:
            job_id = await self.ask(pubkey, sats)
            await self.accept(job_id)
            await self.answer(job_id, sats)
            assert await self.used(pubkey) == sats

    async def credit(self, pubkey: str, sats: int) -> None:
        """The key has that much credit."""
        name = f"settled:credit {self.fresh()}"
        paid = transfer(name, Code.SETTLED, accounts.NODE, accounts.customer(pubkey), msats_from_sats(sats))
        await self.write(entries=(paid,))

    async def gift(self, sats: int, *, donor: str | None = None) -> str:
        """Somebody wants to give; the hash of the invoice that was made."""
        topup_id, payment_hash = hexed(f"asked {self.fresh()}")[:32], hexed(f"gift {self.fresh()}")
        amount = msats_from_sats(sats)
        await self.engine.handle(
            DonationAsked(
                topup_id=topup_id, amount=amount, description_hash="", origin="a zap", donor=donor, at=self.now
            )
        )
        await self.engine.handle(
            InvoiceMade(
                job_id="", topup_id=topup_id, key=topup_id, payment_hash=payment_hash, bolt11="lnbc1",
                amount=amount, created_at=self.now, expires_at=self.now + 600, at=self.now,
            )
        )  # fmt: skip
        return payment_hash

    async def drain(self, left: int) -> None:
        """Another key takes all that the pool holds beyond that."""
        whale = await self.key("elite", f"whale {self.fresh()}")
        if (taken := await self.pool() - left) > 0:
            await self.ask(whale, taken)
        assert await self.pool() == left

    # A job, step by step

    async def ask(self, pubkey: str | None, estimate: int, *, how=RELAY, **changes) -> str:
        """A request; on a relay the estimate is eval and work together, over HTTP the work alone. Its job's id."""
        n = self.fresh()
        fact = RequestReceived(
            job_id=hexed(f"job {n}", 32),
            event_id=hexed(f"event {n}") if how["door"] is Door.NOSTR else None,
            pubkey=pubkey,
            text="Why?",
            origin="{}",
            btc=priced(estimate - EVAL_FEE if how is RELAY else estimate),
            asked_at=self.now,
            at=self.now,
            **how,
        )
        await self.engine.handle(dataclasses.replace(fact, **changes))
        if how is STEPS and (await self.job(fact.job_id)).state is JobState.AWAITING_EVAL_PAYMENT:
            assert await self.pay(fact.job_id) == EVAL_FEE
        return fact.job_id

    async def asked_for(self, job_id: str) -> int | None:
        """What the invoice that is to be made for a job asks; None where none is."""
        for action in await self.store.pending():
            if action.kind == "CreateInvoice" and action.job_id == job_id:
                return json.loads(action.body)["amount"] // 1_000
        return None

    async def bill(self, job_id: str) -> str:
        """Our wallet makes the invoice; its hash."""
        (action,) = [a for a in await self.store.pending() if (a.kind, a.job_id) == ("CreateInvoice", job_id)]
        wanted = json.loads(action.body)
        payment_hash = hexed(f"hash {wanted['key']}")
        fact = InvoiceMade(
            job_id=job_id,
            key=wanted["key"],
            payment_hash=payment_hash,
            bolt11="lnbc1",
            amount=Msats(wanted["amount"]),
            created_at=self.now,
            expires_at=self.now + 600,
            at=self.now,
        )
        await self.engine.handle(fact, done=action.id)
        return payment_hash

    async def settle(self, payment_hash: str, received: int | None = None) -> int:
        """The customer pays that invoice; what came in."""
        invoice = await self.store.invoice(payment_hash)
        assert invoice is not None
        came = invoice.amount if received is None else msats_from_sats(received)
        await self.engine.handle(PaymentSeen(payment_hash=payment_hash, received=came, at=self.now))
        return came // 1_000

    async def pay(self, job_id: str, received: int | None = None) -> int:
        """The invoice is made and paid; what came in."""
        return await self.settle(await self.bill(job_id), received)

    async def expire(self, payment_hash: str) -> None:
        await self.engine.handle(InvoiceUnpaid(payment_hash=payment_hash, at=self.now))

    async def cancel(self, job_id: str) -> None:
        job = await self.job(job_id)
        fact = CancelAsked(
            event_id=hexed(f"cancel {job_id}"), request_event_id=job.event_id, pubkey=job.pubkey, at=self.now
        )
        await self.engine.handle(fact)

    async def _judge(self, job_id: str, *, accepted: bool) -> None:
        tokens = {"input_tokens": 5, "output_tokens": 1}
        job = await self.job(job_id)
        fact = EvalDone(job_id=job_id, run=job.eval_runs, accepted=accepted, reason="No.", **tokens, at=self.now)
        await self.engine.handle(fact)

    async def accept(self, job_id: str) -> None:
        await self._judge(job_id, accepted=True)

    async def reject(self, job_id: str) -> None:
        await self._judge(job_id, accepted=False)

    async def answer(self, job_id: str, actual: int) -> Applied | Replayed:
        """The model answered. As the estimate, ``actual`` has the eval fee in it where the pool may pay that."""
        job = await self.job(job_id)
        fee = EVAL_FEE if (job.door, job.mode) == (Door.NOSTR, Mode.ONCE) else 0
        fact = WorkDone(
            job_id=job_id,
            run=job.work_runs,
            text="Because.",
            truncated=False,
            input_tokens=10,
            output_tokens=20,
            cost_micro_usd=1,
            charge_sats=actual - fee,
            at=self.now,
        )
        return await self.engine.handle(fact)

    async def fail(self, job_id: str, step: Step = Step.WORK) -> None:
        job = await self.job(job_id)
        run = job.work_runs if step is Step.WORK else job.eval_runs
        fact = RunFailed(job_id=job_id, step=step, run=run, sentence="The model is away.", at=self.now)
        await self.engine.handle(fact)

    async def fail_early(self, job_id: str) -> None:
        """The eval raised."""
        await self.fail(job_id, Step.EVAL)

    async def overdue(self, job_id: str) -> None:
        job = await self.job(job_id)
        await self.engine.handle(DeadlinePassed(job_id=job_id, due_at=job.due_at, at=job.due_at))

    async def question(self, pubkey: str, op: Op, estimate: int = 50, door: Door = Door.NOSTR) -> dict:
        """The answer to `op estimate` or `op me`."""
        fee = EVAL_FEE if door is Door.NOSTR else 0
        fact = QuestionAsked(
            event_id=hexed(f"question {self.fresh()}"),
            op=op,
            door=door,
            pubkey=pubkey,
            npub="npub1",
            origin="{}",
            btc=priced(estimate - fee),
            at=self.now,
            text="Why?",
        )
        await self.engine.handle(fact)
        return self.recorder.said[-1].body

    # What there is to see

    def said(self) -> list[Message]:
        return self.recorder.said

    async def job(self, job_id: str) -> JobRecord:
        job = await self.store.job(job_id)
        assert job is not None, "no job was made"
        return job

    async def pool(self) -> int:
        return await self.balance(accounts.POOL)

    async def balance(self, account: str) -> int:
        balance = await self.store.look(lambda view: view.balance(account))
        assert balance % 1_000 == 0
        return balance // 1_000

    async def used(self, pubkey: str) -> int:
        """The daily counter of a key."""
        row = await self.store.look(lambda view: view.identity(pubkey))
        return row.sats_absorbed_today

    async def grants(self) -> list[int]:
        """What the pool granted, the newest first."""
        return [grant.granted // 1_000 for grant in (await self.store.pool(since=0, limit=1_000)).grants]

    async def refunded(self, job_id: str) -> int:
        story = await self.store.story(job_id)
        return sum(row.amount for row in story.refunds) // 1_000


@contextlib.asynccontextmanager
async def generosity(
    pool: int = 10_000, policy: Policy = POLICY, url: str = "sqlite:///:memory:"
) -> AsyncIterator[Generosity]:
    """A fresh ledger with such a pool. At the end its books are in order."""
    store = open_ledger(url)
    try:
        await store.open_books(Msats(0), msats_from_sats(pool), NOW)
        yield Generosity(store, policy)
        assert [str(finding) for finding in await store._reader.run(audit)] == []
    finally:
        await store.close()
